"""Sound files, opened by whichever library can and read block by block to their true end.

A header's length is never trusted: some files hold an estimate, some none, some a wrong one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.arrays import Array
from fugue_state.audio import speakers, wave
from fugue_state.errors import AudioError, FugueError, a_file, shown
from fugue_state.limits import SOUND_CHANNELS, SOUND_RATE

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

LOWEST_HZ = 1000  # lower rates hold nothing that a memory could learn
NONE = "0 samples are too few to be a sound"
BLOCK = 2**18  # values read at once
LENGTH_UNKNOWN = 2**62  # frames; about what libsndfile reports for a FLAC that was written into a pipe
LIBSNDFILE_FIRST = (
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b".snd", b"dns.", b"caff", b"riff", b"OggS",
    b"Crea", b"NIST", b"PVF1", b" paf", b"fap ", b"2BIT", b"d\xa3\x01\x00", b"d\xa3\x02\x00", b"\x00\x01\xa3d",
)  # fmt: skip
FFMPEG_CODECS = {0x50, 0x55}  # MPEG layers in a WAV file: libsndfile guesses their length
# Formats of FFmpeg that hold sound and cannot refer to other files or addresses.
FFMPEG_FORMATS = (
    "aac,ac3,aiff,aax,act,adx,aea,afc,amr,amrnb,amrwb,ape,aptx,asf,asf_o,ast,au,avi,avr,bonk,caf,codec2,dff,dsf,dss,dts,dtshd,"
    "dv,eac3,epaf,flac,flv,g722,gsm,gxf,hca,iff,ilbc,ircam,iv8,loas,latm,lc3,lvf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mlp,"
    "mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,nuv,ogg,oma,osq,paf,pva,pvf,qcp,qoa,rka,rl2,rm,rso,sbc,sds,shn,siff,smjpeg,"
    "sol,sox,spdif,svs,swf,tak,truehd,tta,vag,voc,vqf,w64,wav,wavarc,wsd,wsvqa,wtv,wv,wve,xa,xwma"
)


class Source(Protocol):
    """An open sound file. `speakers` names the speaker of each channel; empty if unknown."""

    sample_rate_hz: int
    channels: int
    speakers: tuple[str, ...]

    def blocks(self, start: int = 0) -> Iterator[Array]:
        """Yield the samples (n, channels) from `start` on, to the true end; call it once.

        Raises AudioError at the end of a file that is cut short.
        """

    def quick_length(self) -> int | None:
        """Return the number of samples if it is certain without reading them all; call it before `blocks`."""


Way = Callable[[Path, BinaryIO, contextlib.ExitStack], Source]


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Source]:
    """Open a sound file, whatever its name, with the library that its first bytes suggest, else with the other.

    Raises AudioError, also for any error inside the `with` block: a decoder may fail at any sample.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(a_file(path))
    with contextlib.ExitStack() as stack, _told(path):
        file = stack.enter_context(path.open("rb"))
        head = file.read(12)
        if not head:
            raise AudioError(f"{path}: the file is empty (0 bytes)")
        source = _first_of(_ways(head), path, file, stack)
        _check(path, source.channels, source.sample_rate_hz)
        yield source


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn any error of a decoder into an AudioError of one line that names the file."""
    try:
        yield
    except FugueError:
        raise
    except MemoryError:
        raise AudioError(f"{path}: takes more memory than there is") from None
    # Two libraries and their bindings raise errors of many unrelated classes, and new ones in each version.
    except Exception as error:  # noqa: BLE001
        raise AudioError(f"{path}: not a readable sound file ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).rsplit(": ", maxsplit=1)[-1]
    return shown(" ".join(text.split()).rstrip(".") or type(error).__name__)[1:-1]


def _ways(head: bytes) -> tuple[Way, ...]:
    """Return the ways to read a file with these first bytes, the likeliest first."""
    if head[:4] in LIBSNDFILE_FIRST:
        return _by_libsndfile, _by_ffmpeg
    if head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return (_by_ffmpeg,)  # MPEG layers: libsndfile reads damaged ones in part, and prints warnings
    return _by_ffmpeg, _by_libsndfile


def _first_of(ways: tuple[Way, ...], path: Path, file: BinaryIO, stack: contextlib.ExitStack) -> Source:
    """Open in the first way that works. If none does, raise the first error; a FugueError is raised at once."""
    failed: Exception | None = None
    for way in ways:
        with contextlib.ExitStack() as own:
            try:
                source = way(path, file, own)
            except FugueError:
                raise
            except Exception as error:  # noqa: BLE001 - as in `_told`
                failed = failed or error
                continue
            stack.push(own.pop_all())
            return source
    raise failed or ValueError("no library to read it with")


def _check(path: Path, channels: int, sample_rate_hz: int) -> None:
    """Raise AudioError for an implausible sample rate or number of channels."""
    if channels > SOUND_CHANNELS.most:
        raise AudioError(f"{path}: {SOUND_CHANNELS.passed(channels)}")
    if sample_rate_hz > SOUND_RATE.most:
        raise AudioError(f"{path}: {SOUND_RATE.passed(sample_rate_hz)}")
    if sample_rate_hz < LOWEST_HZ:
        raise AudioError(f"{path}: {sample_rate_hz} Hz is too low a sample rate (at least {LOWEST_HZ} Hz)")


class _Libsndfile:
    """A file read by libsndfile; `cut` if samples are known to be missing."""

    def __init__(self, file: soundfile.SoundFile, path: Path, names: tuple[str, ...], *, cut: bool) -> None:
        self._file, self._path, self._cut = file, path, cut
        self.sample_rate_hz, self.channels, self.speakers = file.samplerate, file.channels, names

    def blocks(self, start: int = 0) -> Iterator[Array]:
        size = max(1, BLOCK // self.channels)
        at = self._file.seek(min(start, self._file.frames)) if start else 0
        while len(block := self._file.read(size, dtype="float32", always_2d=True)):
            at += len(block)
            yield block
        if self._cut or at < self._file.frames:
            raise AudioError(f"{self._path}: cut short, the file is not whole")

    def quick_length(self) -> int | None:
        frames: int = self._file.frames
        if self._cut or frames <= 0 or not self._file.seekable():
            return None
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.seek(frames - 1)
            if len(self._file.read(2)) == 1:
                self._file.seek(0)
                return frames
        self._file.seek(0)
        return None


def _by_libsndfile(path: Path, file: BinaryIO, stack: contextlib.ExitStack) -> Source:
    found = wave.find(file)
    if found is None:
        sound = stack.enter_context(_without_name(path, file))
        source = _Libsndfile(sound, path, (), cut=False)
        if sound.format == "FLAC" and source.quick_length() is None:
            raise ValueError("a length that is none or a lie, which libsndfile believes")
        if sound.channels > 2:
            source.speakers = _speakers(path, file, sound)
    else:
        _check(path, found.channels, found.sample_rate_hz)
        if not found.size:
            raise AudioError(f"{path}: {NONE}")
        if found.codec in FFMPEG_CODECS:
            raise ValueError("a codec of which libsndfile guesses the length")
        mended = path if found.plain else wave.Mended(found.header(), file, found.start, found.size)
        sound = stack.enter_context(soundfile.SoundFile(mended))
        source = _Libsndfile(sound, path, found.speakers, cut=found.cut)
    if sound.frames <= 0:
        raise ValueError(NONE)  # FFmpeg may still find some
    return source


def _without_name(path: Path, file: BinaryIO) -> soundfile.SoundFile:
    """Open a file by its content; where content is not enough, libsndfile needs the name's suffix."""
    whole = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in {b".snd", b"dns."} and head[8:] == bytes(4):  # its size was never written
        return soundfile.SoundFile(wave.Mended(head[:8] + b"\xff" * 4, file, 12, whole - 12))
    file.seek(0)
    return soundfile.SoundFile(path if head[:4] in LIBSNDFILE_FIRST else file)


def _speakers(path: Path, file: BinaryIO, sound: soundfile.SoundFile) -> tuple[str, ...]:
    """Return the speakers of a file that libsndfile reads."""
    if sound.format == "OGG":
        raise ValueError("an order of channels that libsndfile keeps to itself")
    names: tuple[str, ...] = ()
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:  # then they stay unknown
        names = _by_ffmpeg(path, file, stack).speakers
    return names if len(names) == sound.channels else speakers.USUAL.get(sound.channels, ())


class _Ffmpeg:
    """The first audio stream of a file, read by FFmpeg; rate and channels are those of the first decoded frame."""

    def __init__(self, path: Path, container: InputContainer, stream: AudioStream, *, cut: bool) -> None:
        self._path, self._container, self._stream, self._cut = path, container, stream, cut
        self._last: Packet[AudioStream] | None = None
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None:
            raise ValueError("nothing of it can be decoded")
        self._first, self._alike = first, _kind(first)
        self.sample_rate_hz, self.channels = first.sample_rate, first.layout.nb_channels
        names = tuple(channel.name for channel in first.layout.channels)
        self.speakers = speakers.USUAL.get(self.channels, ()) if set(names) == {"NONE"} else names

    def _decoded(self) -> Iterator[AudioFrame]:
        """Yield frame after frame; damaged packets are skipped, as players do."""
        import av

        with contextlib.suppress(av.error.InvalidDataError, av.error.EOFError):  # a file may end within a packet
            for packet in self._container.demux(self._stream):
                self._last = packet if packet.size else self._last
                with contextlib.suppress(av.error.InvalidDataError):
                    yield from packet.decode()

    def blocks(self, start: int = 0) -> Iterator[Array]:
        size, end = max(1, BLOCK // self.channels), self._end()
        held: list[Array] = []
        count = at = 0
        for part in map(_samples, self._even(itertools.chain([self._first], self._frames))):
            kept = part[max(0, start - at) : max(0, end - at)]
            at += len(part)
            held.append(kept)
            count += len(kept)
            if count >= size:
                yield np.concatenate(held)
                held, count = [], 0
        if count:
            yield np.concatenate(held)
        if self._cut or (self._container.format.name == "flac" and self._last and _crc16(bytes(self._last))):
            raise AudioError(f"{self._path}: cut short, the file is not whole")

    def quick_length(self) -> int | None:
        return None

    def _end(self) -> int:
        """Return where an MP4 file says its sound ends: its last packet is padded with silence."""
        stream = self._stream
        if "mp4" not in self._container.format.name or not stream.duration or stream.time_base is None:
            return LENGTH_UNKNOWN
        end = round(stream.duration * stream.time_base * self.sample_rate_hz)
        return end if stream.frames else LENGTH_UNKNOWN

    def _even(self, frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
        """Yield frames of one rate and one channel layout, since a stream may change them midway."""
        import av

        for kind, alike in itertools.groupby(frames, _kind):
            if kind == self._alike:
                yield from alike
                continue
            resampler = av.AudioResampler("flt", self._first.layout, self.sample_rate_hz)
            for frame in itertools.chain(alike, [None]):
                yield from resampler.resample(frame)


def _kind(frame: AudioFrame) -> tuple[int, str]:
    return frame.sample_rate, frame.layout.name


def _samples(frame: AudioFrame) -> Array:
    """Return the samples of a frame (n, channels), where full scale is 1."""
    found: npt.NDArray[Any] = frame.to_ndarray()
    found = found.T if frame.format.is_planar else found.reshape(-1, frame.layout.nb_channels)
    if found.dtype.kind == "f":
        return found.astype(np.float32)
    full = np.float32(2.0 ** (8 * found.dtype.itemsize - 1))
    middle = full if found.dtype.kind == "u" else np.float32(0.0)
    return (found.astype(np.float32) - middle) / full


def _crc16(frame: bytes) -> int:
    """Return the CRC of a FLAC frame including its own checksum at the end: 0 if the frame is whole."""
    rest = 0
    for byte in frame:
        rest ^= byte << 8
        for _ in range(8):
            rest = rest << 1 ^ (0x18005 if rest & 0x8000 else 0)
    return rest


class _Nameless:
    """An open file without a name, so that only its content decides its format."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        """Seek; return -1 for an impossible position, which FFmpeg understands. PyAV would print an exception."""
        try:
            return self._seek(to, whence)
        except (OSError, ValueError):
            return -1


def _by_ffmpeg(path: Path, file: BinaryIO, stack: contextlib.ExitStack) -> Source:
    import av

    file.seek(0)
    container = stack.enter_context(
        av.open(
            _Nameless(file),
            "r",
            metadata_errors="replace",
            container_options={"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": "file"},
        )
    )
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise AudioError(f"{path}: holds no sound")
    if stream.codec_context is None:
        raise AudioError(f"{path}: there is no decoder here for the sound in it ({container.format.long_name})")
    missing = {"mov,mp4,m4a,3gp,3g2,mj2": _boxes_missing, "mp3": _frames_missing}.get(container.format.name)
    return _Ffmpeg(path, container, stream, cut=missing is not None and _kept_place(missing, file))


def _kept_place(asked: Callable[[BinaryIO, int], bool], file: BinaryIO) -> bool:
    """Call `asked` with a file and its size in bytes, and restore the file's position."""
    place = file.tell()
    try:
        return asked(file, file.seek(0, os.SEEK_END))
    finally:
        file.seek(place)


def _boxes_missing(file: BinaryIO, whole: int) -> bool:
    """Say whether an MP4 file is shorter than the sizes of its boxes require."""
    at = 0
    while at <= whole - 8:
        file.seek(at)
        size, _, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        at += whole - at if size == 0 else max(8, long if size == 1 else size)
    return at > whole


def _frames_missing(file: BinaryIO, whole: int) -> bool:
    """Say whether an MP3 file is shorter than its first frame says; most files do not say."""
    file.seek(0)
    tag = file.read(10)
    size = 0  # size of the tag before the sound
    if tag[:3] == b"ID3" and len(tag) == 10:
        size = 10 + sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    file.seek(size)
    frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16 or not frame[at + 7] & 2:
        return False
    place = at + 12 if frame[at + 7] & 1 else at + 8
    return size + int.from_bytes(frame[place : place + 4]) > whole
