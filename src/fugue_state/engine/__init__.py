"""Sound: events become voices, and voices become blocks.

How a block comes to be, offline and live:

1. Something decides what plays. Offline all events are known beforehand, and `whole` goes through them. Live, hands may
   change anything between two blocks, and `performance` asks its conductor block by block.
2. Every event becomes a voice. There are two kinds: `whole` voices are inverted as a whole, on all cores, some time
   before they are due; `stream` voices are read frame by frame and may change while they sound. Each hands on a
   `Passage`, the part of it that falls into a block (`voice`).
3. One chain makes the block: it mixes the passages, tones the mix, puts it into the room and applies the gain
   (`chain`). Every block says what shows with it, by one rule (`piece/seen.py`).
4. The limiter comes last. What is heard at once passes it block by block (`monitor`). A file passes it when all of
   it was played, since only then is its gain known (`output/render.py`).

`blocks` in `playing` plays any piece to its end.
"""
