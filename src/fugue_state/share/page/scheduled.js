/**
 * Plays the stream where worklets are refused: some blocks at a time, each set to its moment. It speaks as the worklet
 * does, and takes its time from what has been played, as timers sleep in a tab that is put aside.
 */

const CUSHION_S = 0.25;
const PART_S = 0.09; // that is set at a time

export class Scheduled {
  /** @param {AudioContext} context */
  constructor(context) {
    this.context = context;
    this.port = { postMessage: ({ feed }) => feed && this.#listen(feed), onmessage: null };
    this.rate = context.sampleRate;
    this.first = 0; // sample of the stream that is set next
    this.waiting = 0; // samples that are not set yet
    /** @type {Float32Array[]} */ this.blocks = [];
    this.next = 0; // the time at which they are set
    this.taken = 0;
    this.underruns = 0;
  }

  /** @param {AudioNode} destination */
  connect(destination) {
    this.destination = destination;
  }

  /** @param {MessagePort} feed */
  #listen(feed) {
    this.feed = feed;
    feed.onmessage = ({ data }) => this.#hear(data);
    this.#report();
  }

  /** @param {{first: number, rate: number, samples: Float32Array}} block */
  #hear({ first, rate, samples }) {
    this.rate = rate;
    if (!this.blocks.length) this.first = first;
    this.blocks.push(samples);
    this.waiting += samples.length / 2;
    this.taken += samples.length / 2;
    if (this.waiting >= PART_S * rate) this.#set();
  }

  /** Set what waits to its moment. */
  #set() {
    const { context, rate, waiting } = this;
    const now = context.currentTime;
    if (this.next < now) {
      if (this.next) this.underruns += 1;
      this.next = now + CUSHION_S - PART_S;
    }
    const buffer = context.createBuffer(2, waiting, rate);
    const sides = [buffer.getChannelData(0), buffer.getChannelData(1)];
    let at = 0;
    for (const block of this.blocks) {
      for (let i = 0; i < block.length / 2; i++, at++) for (const side of [0, 1]) sides[side][at] = block[2 * i + side];
    }
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.destination);
    source.onended = () => this.#report();
    source.start(this.next);
    this.next += waiting / rate;
    this.first += waiting;
    this.waiting = 0;
    this.blocks = [];
  }

  /** Tell the page what is heard, and the feed how much was played and shall wait. */
  #report() {
    const { context, rate } = this;
    const time = context.currentTime;
    const left = Math.max(0, this.next - time) * rate;
    const report = { rate, time, cushion_ms: 1000 * CUSHION_S, underruns: this.underruns, holding: false };
    this.port.onmessage?.({ data: { ...report, sample: left ? this.first - left : null } });
    this.feed.postMessage({ played: this.taken - this.waiting - left, cushion: CUSHION_S * rate });
  }
}
