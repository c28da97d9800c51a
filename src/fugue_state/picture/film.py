"""The film of a piece: its sound, and its units dying in sync (H.264 and AAC in MP4)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import numpy as np
import soundfile

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.config import FilmConfig
from fugue_state.errors import InputError, OutputError, counted
from fugue_state.files import output_path, replacing
from fugue_state.look.saved import save_png
from fugue_state.output.provenance import PART, START, provenance, read_provenance
from fugue_state.output.render import Cut, cut_of
from fugue_state.picture.frames import Frames
from fugue_state.picture.heard import Heard
from fugue_state.piece.piece import Piece
from fugue_state.progress import Track, untracked
from fugue_state.score.model import Score

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

FILM, STILL = ".mp4", ".png"
VIDEO: Final = "libx264"
AUDIO: Final = "aac"
AUDIO_BITS = 256_000
# Moving parts are small and sharp, and most of the frame is still: searching for motion gains little.
X264 = {"preset": "superfast", "tune": "animation", "crf": "21", "x264-params": "me=dia:subme=0"}
BT709 = 1  # code in H.273 for primaries, transfer and matrix
LIMITED = 1
THREADS = 4  # of the encoder: fixed, because the bytes depend on their number
GROUP_S = 2  # seconds between key frames, to which players can seek
SETTLE_S = 2.0  # drawn before a still, so that flares and fades have settled
ALIVE_S = 0.35  # seconds into a chord at which a still is taken


def film(
    sound: str | Path,
    piece: Piece,
    out: str | Path,
    config: FilmConfig | None = None,
    *,
    start: float | str | None = None,
    until: float | str | None = None,
    force: bool = False,
    track: Track = untracked,
) -> Path:
    """Film a finished piece to an mp4 file and return its path, all or nothing, in constant memory.

    `sound` is the WAV or FLAC file that the piece was rendered to: the film's sound, and the source of its
    spectrogram. The film contains the same record of how it was made. `start` and `until` are times as in a score:
    only the part between them is filmed, from the frame on that shows `start`.

    Raises InputError before any work if the output cannot be written, the sound is not this piece's, there is no part
    from `start` to `until`, the frame is too small for the memory or an encoder is missing; OutputError if the disk
    fills up.
    """
    config = asked.kind("config", config or FilmConfig(), FilmConfig, "FilmConfig()")
    asked.kind("piece", piece, Piece, "Piece(score, memory)")
    sound = asked.path("the sound of a film", sound)
    path = output_path(asked.path("the file of a film", out), force=force, suffixes=(FILM,), reads=[sound])
    cut = cut_of(piece.score, start, until)
    _check_encoders()
    with _heard(sound, piece) as heard:
        rate, told = heard.sample_rate_hz, _told(sound, piece.score, cut)
        numbers = range(cut.first * config.fps // rate, math.ceil(cut.end * config.fps / rate))
        frames = _settled(piece, heard, config, numbers.start)
        try:
            with replacing(path) as beside:
                drawn = _drawn_ahead(frames, track(numbers, len(numbers), "filming"))
                _encode(beside, drawn, sound, told, config)
        except av.FFmpegError as error:
            raise OutputError(f"{path}: could not be written ({error.strerror})") from error
    return path


def still(
    sound: str | Path,
    piece: Piece,
    out: str | Path,
    config: FilmConfig | None = None,
    *,
    at_s: float | None = None,
    force: bool = False,
) -> Path:
    """Write one frame of the film as PNG and return its path; by default from where forgetting is halfway.

    Raises InputError as `film`, and for a time outside the piece.
    """
    from PIL import Image

    config = config or FilmConfig()
    path = output_path(out, force=force, suffixes=(STILL,))
    moment = _telling_moment(piece) if at_s is None else at_s
    if not 0.0 <= moment <= piece.score.length_s:
        raise InputError(f"a still is taken within 0..{piece.score.length_s:g} s of the piece, got {moment:g}")
    with _heard(sound, piece) as heard:
        last = min(int(moment * config.fps), math.ceil(piece.score.length_s * config.fps) - 1)
        frames = _settled(piece, heard, config, last)
        frames.draw()
    save_png(Image.fromarray(frames.rgb()), path, provenance(piece, path.parent))
    return path


def poster(piece: Piece, out: str | Path, config: FilmConfig | None = None, *, force: bool = False) -> Path:
    """Write the units of a piece as its first chord sounds as PNG and return its path; no sound is needed.

    Raises InputError if the output cannot be written or the frame is too small for the memory.
    """
    from PIL import Image

    config = config or FilmConfig()
    path = output_path(out, force=force, suffixes=(STILL,))
    frames = Frames(piece, None, config, round(min(ALIVE_S, piece.score.length_s / 2) * config.fps))
    frames.draw()
    save_png(Image.fromarray(frames.rgb()), path, provenance(piece, path.parent))
    return path


def _settled(piece: Piece, heard: Heard, config: FilmConfig, number: int) -> Frames:
    """Return the frames of a piece from a number on, where flares and fades have settled by then."""
    first = max(0, number - round(SETTLE_S * config.fps))
    frames = Frames(piece, heard, config, first)
    for _ in range(first, number):
        frames.draw()
    return frames


@contextmanager
def _heard(sound: str | Path, piece: Piece) -> Iterator[Heard]:
    """Open the sound of a piece; InputError if its length or rate differs."""
    score = piece.score
    with Heard(sound) as heard:
        if heard.samples < score.samples and _is_part(sound):
            raise InputError(
                f"{sound}: holds a part, and a film is made of the whole: render it without --from, --until and "
                "--from-record; fugue film --from films a part of it"
            )
        if (heard.samples, heard.sample_rate_hz) != (score.samples, score.file.sample_rate_hz):
            raise InputError(
                f"{sound}: holds {counted(heard.samples, 'sample')} at {heard.sample_rate_hz} Hz, the piece "
                f"{score.samples} at {score.file.sample_rate_hz} Hz; it was changed since, render it again"
            )
        yield heard


def _is_part(sound: str | Path) -> bool:
    """Return whether a file says that it holds only a part of its piece."""
    with suppress(InputError):  # it does not say how it was made
        return not {START, PART}.isdisjoint(read_provenance(sound))
    return False


def _check_encoders() -> None:
    """Raise InputError if PyAV lacks an encoder that is needed."""
    for name, what in ((VIDEO, "H.264"), (AUDIO, "AAC")):
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            raise InputError(
                f"this build of PyAV has no encoder for {what} ({name}); its binary wheel has: "
                "pip install --force-reinstall --only-binary av av"
            ) from None


def _encode(
    path: Path, drawn: Iterator[tuple[int, av.VideoFrame]], sound: str | Path, told: dict[str, str], config: FilmConfig
) -> None:
    """Write numbered frames and their sound to a file, interleaved."""
    with (
        soundfile.SoundFile(sound) as file,
        av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        out.metadata.update(told)
        rate = file.samplerate
        video, audio = _video(out, config), out.add_stream(AUDIO, rate=rate, layout="stereo", bit_rate=AUDIO_BITS)
        for count, (number, frame) in enumerate(drawn):
            if not count:
                begin = file.seek(number * rate // config.fps)
            frame.pts, frame.time_base = count, Fraction(1, config.fps)
            frame.colorspace, frame.color_range = BT709, LIMITED
            out.mux(video.encode(frame))
            if len(part := file.read((number + 1) * rate // config.fps - file.tell(), "float32", always_2d=True)):
                out.mux(audio.encode(_audio(part, rate, file.tell() - len(part) - begin)))
        out.mux([*video.encode(), *audio.encode()])


def _drawn_ahead(frames: Frames, numbers: Iterable[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield each number and its frame; the next one is drawn while the current one is encoded."""

    def draw() -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(frames.draw(), format="yuv420p")

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(draw)
        for number in numbers:
            frame = drawing.result()
            drawing = pool.submit(draw)
            yield number, frame


def _video(out: OutputContainer, config: FilmConfig) -> VideoStream:
    video = out.add_stream(VIDEO, rate=config.fps, options=X264)
    video.width, video.height = config.pixels
    video.pix_fmt = "yuv420p"
    context = video.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED
    context.gop_size = GROUP_S * config.fps
    context.thread_count = THREADS
    return video


def _audio(part: Array, rate: int, position: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part.T), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
    return frame


def _told(sound: str | Path, score: Score, cut: Cut) -> dict[str, str]:
    """Return the file's metadata: title, artists, and how to make it again."""
    told = {
        "title": score.title,
        "artist": ", ".join(score.credits),
        "comment": json.dumps(read_provenance(sound) | cut.told, separators=(",", ":")),
    }
    return {key: text for key, text in told.items() if text}


def _telling_moment(piece: Piece) -> float:
    """Return a time shortly after an onset at which forgetting is halfway between its least and its most."""
    left = [(time_s, float(strengths.mean())) for time_s, strengths in piece.moves()]
    if not left:
        return piece.score.length_s / 2
    shares = np.array([share for _, share in left])
    nearest = int(np.abs(shares - (shares.max() + shares.min()) / 2).argmin())
    return min(left[nearest][0] + ALIVE_S, piece.score.length_s)
