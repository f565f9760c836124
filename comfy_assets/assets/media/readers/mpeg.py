"""MPEG streams: MP3 and AAC, and program and transport streams.

MP3 and AAC are ISO/IEC 11172-3 and 13818-3 with the headers of Xing, LAME and Fraunhofer, and ISO/IEC 13818-7. The
length of a file with frames of different sizes is in a header in its first frame. Where there is none, the first frames
speak for all.

Program and transport streams (ISO/IEC 13818-1) have no header for the whole file: the size of the pictures is in the
codec's own data, the length follows from the first and last time stamps. PyAV reads them where it is installed, from
the first megabytes and the end of the file; without it only the type is known.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from ..ffmpeg import before_changes, pyav
from . import id3
from .base import ByteSource, Contents, Format, starts_with
from .media_facts import MediaFacts, bounded
from .xiph import read_flac_at

_HEAD = 4096  # enough for two frames, the longest of which has 2,881 bytes
_SEARCHED = 64 << 10  # bytes after a tag in which the first frame is looked for
_MAX_AAC = 128 << 10
_MAX_TAGS = 4  # tags one after another at the beginning

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: 1, 2 and 2.5
_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # version 1, layer I
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_PACKET, _PACKETS = 188, 5
_SYNC = 0x47
_MAX_READ = 12 << 20
_PROBED = 2 << 20
_PROBED_US = 2_000_000
_OPTIONS = {"probesize": str(_PROBED), "analyzeduration": str(_PROBED_US), "fpsprobesize": "30"}


class _Frame(NamedTuple):
    """A frame of MPEG audio. ``samples`` and ``length`` (bytes) are those of one frame."""

    layer: int
    sample_rate: int
    kbits: int
    channels: int
    samples: int
    length: int
    side_information: int


def _frame(head: bytes) -> _Frame | None:
    """Return the frame whose four bytes of header these are, or None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, kbits = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or kbits in (0, 15):
        return None
    sample_rate, bit_rate = _RATES[version][rate], _KBITS[3 if version == 3 else 2, layer][kbits - 1]
    padding, is_mono = head[2] >> 1 & 1, head[3] >> 6 == 3
    samples = 384 if layer == 3 else 1152 if layer == 2 or version == 3 else 576
    unit = 4 if layer == 3 else 1
    length = (samples // 8 * bit_rate * 1000 // (sample_rate * unit) + padding) * unit
    side = (17 if is_mono else 32) if version == 3 else (9 if is_mono else 17)
    return _Frame(4 - layer, sample_rate, bit_rate, 1 if is_mono else 2, samples, length, side)


def _aac_length(head: bytes) -> int:
    """Return the length of an ADTS frame with this header, or 0."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_AAC_RATES):
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


def _is_mp3(head: bytes) -> bool:
    """Return whether two frames follow each other here, or an ID3 tag begins whose sound is not seen yet."""
    if id3.length_of(head):
        return _kind_after_tag(head) == "mp3"
    frame = _frame(head[:4])
    return frame is not None and (
        _frame(head[frame.length : frame.length + 4]) is not None or len(head) == frame.length
    )


def _is_aac(head: bytes) -> bool:
    if id3.length_of(head):
        return _kind_after_tag(head) == "aac"
    length = _aac_length(head[:7])
    return bool(length) and (bool(_aac_length(head[length : length + 7])) or len(head) == length)


def _kind_after_tag(head: bytes) -> str:
    """Return the format after an ID3 tag: mp3 if the tag ends beyond the first bytes, as it nearly always does."""
    rest = head[id3.length_of(head) :]
    if rest.startswith((b"fLaC", b"OggS", b"RIFF", b"FORM", b"\xff\xd8\xff")):
        return ""
    return "aac" if _aac_length(rest[:7]) else "mp3"


@bounded
def read_mpeg_audio(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an MP3 file, or of an AAC stream after a long tag."""
    start = _read_tags(contents, source)
    facts = MediaFacts()
    try:
        head = source.read(start, _SEARCHED)
        if head.startswith(b"fLaC"):
            read_flac_at(contents, source, start)
            return
        if _aac_length(head[:7]) and _aac_length(head[_aac_length(head[:7]) :][:7]):
            contents.facts["format"], contents.mime_type = "aac", "audio/aac"
            _read_aac_frames(facts, source, start)
            return
        offset = _first_frame(head)
        frame = _frame(head[offset : offset + 4]) if offset >= 0 else None
        if frame is None:
            contents.problems.append("The file has no sound.")
            return
        end = source.size - id3.read_version_1(contents, source.read, source.size)
        _add_frame_facts(facts, frame, head[offset : offset + frame.length], end - start - offset)
        if frame.layer != 3:
            contents.facts["format"] = facts.audio_codec
    finally:
        if "audio_codec" not in contents.facts:
            facts.add_to(contents, is_video=False)


def _read_tags(contents: Contents, source: ByteSource) -> int:
    """Read the tags at the beginning; return where they end."""
    start = 0
    for _ in range(_MAX_TAGS):
        length = id3.length_of(source.read(start, id3.HEADER))
        if not length:
            break
        id3.read_tag_block(contents, source.read, start, source.size)
        start += length
    return start


def _first_frame(head: bytes) -> int:
    """Return the offset of the first of two frames that follow each other; -1 if there is none."""
    offset = head.find(b"\xff")
    for _ in range(1_000):
        if offset < 0:
            break
        frame = _frame(head[offset : offset + 4])
        if frame is not None:
            following = head[offset + frame.length : offset + frame.length + 4]
            if _frame(following) is not None or len(following) < 4:
                return offset
        offset = head.find(b"\xff", offset + 1)
    return -1


def _add_frame_facts(facts: MediaFacts, frame: _Frame, body: bytes, length: int) -> None:
    """Add the facts of a stream of ``length`` bytes by its first frame."""
    facts.audio_codec = f"mp{frame.layer}"
    facts.sample_rate, facts.channels = frame.sample_rate, frame.channels
    samples = _stated_samples(frame, body)
    facts.duration = samples / frame.sample_rate if samples else max(length, 0) * 8 / (frame.kbits * 1000)


def _stated_samples(frame: _Frame, body: bytes) -> int:
    """Return the number of samples that the first frame states, without those that its encoder added; or 0."""
    start = 4 + frame.side_information
    if body[start : start + 4] in (b"Xing", b"Info") and len(body) >= start + 12:
        flags, frames = struct.unpack_from(">II", body, start + 4)
        if not flags & 1:
            return 0
        # Each of the four flags announces a field; LAME's part follows, with delay and padding of 12 bits.
        lame = start + 12 + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
        is_lame = body[lame : lame + 4] in (b"LAME", b"Lavc", b"Lavf")
        gaps = int.from_bytes(body[lame + 21 : lame + 24], "big") if is_lame else 0
        samples: int = frames * frame.samples - (gaps >> 12) - (gaps & 0xFFF)
        return max(samples, 0)
    if body[36:40] == b"VBRI" and len(body) >= 54:
        return int(struct.unpack_from(">I", body, 50)[0]) * frame.samples
    return 0


@bounded
def read_aac(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an AAC stream in ADTS frames."""
    facts = MediaFacts()
    try:
        _read_aac_frames(facts, source, _read_tags(contents, source))
    finally:
        facts.add_to(contents, is_video=False)


def _read_aac_frames(facts: MediaFacts, source: ByteSource, start: int) -> None:
    """Count the frames in the first part of a stream; the length of a longer one is in proportion."""
    body = source.read(start, _MAX_AAC)
    if len(body) < 7:
        return
    facts.audio_codec, facts.sample_rate = "aac", _AAC_RATES[min(body[2] >> 2 & 15, len(_AAC_RATES) - 1)]
    configuration = (body[2] & 1) << 2 | body[3] >> 6
    facts.channels = 8 if configuration == 7 else configuration
    offset = frames = 0
    while length := _aac_length(body[offset : offset + 7]):
        offset, frames = offset + length, frames + 1
    if offset:
        ratio = 1.0 if start + len(body) >= source.size else (source.size - start) / offset
        facts.duration = frames * 1024 / facts.sample_rate * ratio


SOUNDS: tuple[Format, ...] = (
    Format("mp3", "audio/mpeg", "audio", _is_mp3, read_mpeg_audio),
    Format("aac", "audio/aac", "audio", _is_aac, read_aac),
)


def _is_transport_stream(head: bytes) -> bool:
    """Return whether packets of 188 bytes follow each other, or of 192 with a time stamp, as cameras write them."""
    return any(
        len(head) > start + length * _PACKETS
        and all(head[start + length * number] == _SYNC for number in range(_PACKETS))
        for start, length in ((0, _PACKET), (4, _PACKET + 4))
    )


class PyAVError(Exception):
    """FFmpeg cannot read a file."""


class _BoundedFile(io.RawIOBase):
    """A file for FFmpeg that ends after ``_MAX_READ`` bytes read, so that a damaged one is not read from end to end.

    A transport stream ends before the first track that changes.
    """

    def __init__(self, source: ByteSource, container: str) -> None:
        self._source, self._position, self._left = source, 0, _MAX_READ
        self._before_changes = before_changes(container)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._position, min(size if size >= 0 else self._left, self._left))
        self._left -= len(data)
        data = self._before_changes(self._position, data)
        self._position += len(data)
        return data


def _reader(container: str) -> Callable[[Contents, ByteSource], None]:
    def read(contents: Contents, source: ByteSource) -> None:
        try:
            facts = read_with_pyav(container, source)
        except PyAVError:
            contents.problems.append("The file is damaged or of an unknown kind.")
        else:
            if facts is not None:
                facts.add_to(contents, is_video=facts.codec is not None or facts.audio_codec is None)

    return read


def read_with_pyav(container: str, source: ByteSource) -> MediaFacts | None:
    """Return the facts that FFmpeg finds, by its name of the container; None if PyAV is not installed.

    Raises PyAVError if FFmpeg cannot read the file.
    """
    av = pyav()
    if av is None:
        return None
    try:
        # Not ``options``: with those, PyAV before 18 ends the process if streams are found while the file is probed.
        with av.open(_BoundedFile(source, container), format=container, container_options=_OPTIONS) as opened:
            return _facts(av, opened)
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        raise PyAVError from error


def _facts(av: ModuleType, opened: Any) -> MediaFacts:
    facts = MediaFacts(duration=opened.duration / av.time_base if opened.duration else None)
    video, sound = _first_known(opened.streams.video), _first_known(opened.streams.audio)
    if sound is not None:
        facts.audio_codec = _codec(sound)
        facts.sample_rate, facts.channels = sound.sample_rate, sound.channels
    if video is not None:
        facts.codec = _codec(video)
        facts.width, facts.height = _size(video)
        facts.fps = float(video.average_rate or 0)
        if video.duration and video.time_base:
            facts.frame_count = round(float(video.duration * video.time_base) * facts.fps)
    return facts


def _first_known(streams: Any) -> Any:
    """Return the first stream that FFmpeg has a decoder for; others have no properties. None if there is none."""
    return next((stream for stream in streams if stream.codec_context is not None), None)


def _codec(stream: Any) -> str:
    """Return the name of a stream's codec, not of the decoder that FFmpeg has for it."""
    codec = stream.codec_context.codec
    return str(getattr(codec, "canonical_name", codec.name))  # PyAV before 14.2 knows the decoder alone


def _size(video: Any) -> tuple[int, int]:
    """Return the size as shown: pixels that are not square, as on a DVD, are stretched."""
    ratio = video.sample_aspect_ratio
    return round(video.width * float(ratio)) if ratio else video.width, video.height


STREAMS: tuple[Format, ...] = (
    Format("mpeg", "video/mpeg", "video", starts_with(b"\0\0\x01\xba"), _reader("mpeg")),
    Format("mpegvideo", "video/mpeg", "video", starts_with(b"\0\0\x01\xb3"), _reader("mpegvideo")),
    Format("mpegts", "video/mp2t", "video", _is_transport_stream, _reader("mpegts")),
)
