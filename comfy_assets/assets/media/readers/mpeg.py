"""MPEG program and transport streams (ISO/IEC 13818-1).

They have no header for the whole file: the size of the pictures is in the codec's own data, the length follows from the
first and last time stamps. PyAV reads them where it is installed, from the first megabytes and the end of the file;
without it only the type is known.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .base import ByteSource, Contents, Format, starts_with
from .media_facts import MediaFacts

_PACKET, _PACKETS = 188, 5
_SYNC = 0x47
_MAX_READ = 12 << 20
_PROBED = 2 << 20
_PROBED_US = 2_000_000
_OPTIONS = {"probesize": str(_PROBED), "analyzeduration": str(_PROBED_US), "fpsprobesize": "30"}


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
    """A file for FFmpeg that ends after ``_MAX_READ`` bytes read, so that a damaged one is not read from end to end."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._position, self._left = source, 0, _MAX_READ

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
        self._position += len(data)
        self._left -= len(data)
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
    from ..video import pyav  # here: it imports Pillow, which most libraries are read without

    av = pyav()
    if av is None:
        return None
    try:
        with av.open(_BoundedFile(source), format=container, options=_OPTIONS) as opened:
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
    return str(stream.codec_context.codec.canonical_name)


def _size(video: Any) -> tuple[int, int]:
    """Return the size as shown: pixels that are not square, as on a DVD, are stretched."""
    ratio = video.sample_aspect_ratio
    return round(video.width * float(ratio)) if ratio else video.width, video.height


FORMATS: tuple[Format, ...] = (
    Format("mpeg", "video/mpeg", "video", starts_with(b"\0\0\x01\xba"), _reader("mpeg")),
    Format("mpegvideo", "video/mpeg", "video", starts_with(b"\0\0\x01\xb3"), _reader("mpegvideo")),
    Format("mpegts", "video/mp2t", "video", _is_transport_stream, _reader("mpegts")),
)
