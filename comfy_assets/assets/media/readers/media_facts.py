"""Facts and tags of videos, sounds and 3D files, with one order, rounding, bound and names of codecs for all readers.

The names of codecs are those of FFmpeg. AVI, WAV, ASF and Matroska share codes for them: four characters for video, a
number for sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from . import texts
from .base import MAX_READ, MAX_TEXT, ByteSource, Contents, Read

MAX_TAGS = 1_000
# A hostile file may have a part for every eight bytes; walking through so many takes about 40 ms.
_MAX_READS = 8_000
_MAX_NAME = 32
_MAX_NUMBER = 1 << 40
_BLOCK = 8 << 10
_TOO_MANY_PARTS = "The file has too many parts to be read completely."

# Tags that are read as a description, too.
_DESCRIPTIVE = frozenset({"lyrics", "unsyncedlyrics", "synopsis", "summary", "subtitle"})

_VIDEO = {
    "H264": "h264",
    "X264": "h264",
    "AVC1": "h264",
    "DAVC": "h264",
    "HEVC": "hevc",
    "HVC1": "hevc",
    "H265": "hevc",
    "FMP4": "mpeg4",
    "XVID": "mpeg4",
    "DIVX": "mpeg4",
    "DX50": "mpeg4",
    "MP4V": "mpeg4",
    "MP43": "msmpeg4v3",
    "DIV3": "msmpeg4v3",
    "MP42": "msmpeg4v2",
    "MJPG": "mjpeg",
    "MPG1": "mpeg1video",
    "MPG2": "mpeg2video",
    "MPEG": "mpeg2video",
    "VP80": "vp8",
    "VP90": "vp9",
    "AV01": "av1",
    "FFV1": "ffv1",
    "HFYU": "huffyuv",
    "FFVH": "ffvhuff",
    "ULRG": "utvideo",
    "WMV1": "wmv1",
    "WMV2": "wmv2",
    "WMV3": "wmv3",
    "WVC1": "vc1",
    "H263": "h263",
    "FLV1": "flv1",
    "CRAM": "msvideo1",
    "DIB ": "rawvideo",
    "RGB ": "rawvideo",
    "\0\0\0\0": "rawvideo",
    "I420": "rawvideo",
    "IYUV": "rawvideo",
    "YUY2": "rawvideo",
    "UYVY": "rawvideo",
    "MPNG": "png",
    "PNG1": "png",
    "APCN": "prores",
    "APCH": "prores",
}
_AUDIO = {
    0x0001: "pcm",
    0x0002: "adpcm_ms",
    0x0003: "pcm_f32le",
    0x0006: "pcm_alaw",
    0x0007: "pcm_mulaw",
    0x0011: "adpcm_ima_wav",
    0x0031: "gsm_ms",
    0x0050: "mp2",
    0x0055: "mp3",
    0x00FF: "aac",
    0x0160: "wmav1",
    0x0161: "wmav2",
    0x0162: "wmapro",
    0x0163: "wmalossless",
    0x1600: "aac",
    0x1610: "aac",
    0x2000: "ac3",
    0x2001: "dts",
    0x566F: "vorbis",
    0x704F: "opus",
    0xA106: "aac",
    0xF1AC: "flac",
}
EXTENSIBLE = 0xFFFE


class ReadLimitError(Exception):
    """A reader has read as much of one file as it may."""


@dataclass
class MediaFacts:
    """Properties of a video or sound. None and impossible values are left out of the facts.

    ``width`` and ``height`` are pixels as shown, after turning. ``duration`` is in seconds, ``fps`` the average number
    of frames per second, ``frame_count`` the number of frames of the first video track.
    """

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    fps: float | None = None
    frame_count: int | None = None
    codec: str | None = None
    audio_codec: str | None = None
    sample_rate: float | None = None
    channels: int | None = None

    def add_to(self, contents: Contents, *, is_video: bool) -> None:
        """Write the facts, in the order of this class; ``has_audio`` only for videos."""
        contents.facts["kind"] = "video" if is_video else "audio"
        if is_video and _is_number(self.width) and _is_number(self.height):
            contents.facts |= {"width": self.width, "height": self.height}
        add_number(contents, "duration", self.duration)
        if is_video:
            add_number(contents, "fps", self.fps)
            add_number(contents, "frame_count", self.frame_count)
            _add_name(contents, "codec", self.codec)
            contents.facts["has_audio"] = self.audio_codec is not None
        _add_name(contents, "audio_codec", self.audio_codec)
        add_number(contents, "sample_rate", self.sample_rate)
        add_number(contents, "channels", self.channels)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and 0 < value < _MAX_NUMBER


def frames_of(seconds: float | None, fps: float | None) -> int | None:
    """Return the number of frames of a length and a rate; None if they are unknown or impossible."""
    frames = (seconds or 0) * (fps or 0)
    return round(frames) if _is_number(frames) else None


def add_number(contents: Contents, key: str, value: float | None) -> None:
    """Add a fact with three decimals, or a whole number; nothing for None, 0 and impossible values."""
    if value is None or not _is_number(value):
        return
    rounded = round(value, 3)
    if rounded:
        contents.facts[key] = int(rounded) if rounded == int(rounded) else rounded


def _add_name(contents: Contents, key: str, name: str | None) -> None:
    if name:
        contents.facts[key] = name[:_MAX_NAME]


def add_tag(contents: Contents, keyword: str, text: bytes) -> None:
    """Add a tag in UTF-8, if its keyword is of interest."""
    texts.add(contents, _keyword(keyword), text)


def read_tag(contents: Contents, read: Read, keyword: str, start: int, length: int) -> None:
    """Read and add a tag of a file, if its keyword is of interest and it is small enough."""
    if not is_tag_known(keyword):
        return
    if length + sum(map(len, contents.texts.values())) > MAX_TEXT:
        texts.omit(contents, _keyword(keyword))
    else:
        add_tag(contents, keyword, read(start, length).rstrip(b"\0"))


def is_tag_known(keyword: str) -> bool:
    """Return whether a tag is of interest, so that others need not be read."""
    return texts.is_known(_keyword(keyword))


def _keyword(keyword: str) -> str:
    return "description" if keyword.strip().lower() in _DESCRIPTIVE else keyword


def bounded(read: Callable[[Contents, ByteSource], None]) -> Callable[[Contents, ByteSource], None]:
    """Give a reader a source that ends it after ``_MAX_READS`` reads or ``MAX_READ`` bytes.

    What it has found until then stays, so that readers write their facts in a ``finally``; the file's problems name
    the limit.
    """

    def read_bounded(contents: Contents, source: ByteSource) -> None:
        try:
            read(contents, source._replace(read=_BoundedRead(source)))
        except ReadLimitError:
            contents.problems.append(_TOO_MANY_PARTS)

    return read_bounded


class _BoundedRead:
    """Reads of one file, with a bound. The many small ones of a header are served from a block of it."""

    def __init__(self, source: ByteSource) -> None:
        self._read, self._is_whole = source.read, source.in_memory
        self._block = source.read(0, source.size) if self._is_whole else b""  # all of a file in memory is no copy
        self._block_start = 0
        self._reads, self._left = _MAX_READS, MAX_READ

    def __call__(self, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        self._reads -= 1
        self._left -= length
        if self._reads < 0 or self._left < 0:
            raise ReadLimitError
        start = offset - self._block_start
        if start >= 0 and start + length <= len(self._block):
            return self._block[start : start + length]
        if self._is_whole or length >= _BLOCK:
            return self._read(offset, length)
        self._block, self._block_start = self._read(offset, _BLOCK), offset
        return self._block[:length]


def video_codec(code: bytes) -> str:
    """Return the name of a video codec; its code in lower case if it is unknown."""
    text = code.decode("latin-1")
    return _VIDEO.get(text.upper()) or text.strip("\0 ").lower()


def audio_codec(code: int, bits: int) -> str:
    """Return the name of a sound's codec; ``bits`` is the size of a sample, which PCM is named by."""
    if code == 0x0001:
        return "pcm_u8" if bits <= 8 else f"pcm_s{(bits + 7) // 8 * 8}le"
    if code == 0x0003 and bits == 64:
        return "pcm_f64le"
    return _AUDIO.get(code, f"0x{code:04x}")
