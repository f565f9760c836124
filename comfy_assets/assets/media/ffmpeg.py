"""Files of videos and sounds for FFmpeg, which PyAV brings where it is installed.

FFmpeg is told the container of a file, and gets a transport stream of MPEG up to the first change of a track: those are
in its program maps (ISO/IEC 13818-1, 2.4.4.8). Recordings that are joined have such changes: the first part is MPEG-2,
for instance, and the next H.264. FFmpeg 8.1, which PyAV 18 and 19 bring, ends the process at some of them.
"""

from __future__ import annotations

import errno
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import IO, Any

from ...errors import ImageUnreadableError, NoThumbnailError

HEAD = 1024  # bytes that ``container_of`` needs

# Atoms that a QuickTime or MP4 file may begin with. FFmpeg gets the container's name, because it would otherwise also
# open playlists and follow them to other files and servers.
_QUICKTIME = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"))
_CONTAINERS = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"\0\0\x01\xb3", "mpegvideo"),
    (b"\x06\x0e\x2b\x34", "mxf"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"#!AMR", "amr"),
    (b"caff", "caf"),
    (b".snd", "au"),
    (b"wvpk", "wv"),
    (b"\x0b\x77", "ac3"),
)
_RIFF = {b"AVI ": "avi", b"WAVE": "wav"}
_PACKET, _M2TS_PACKET = 188, 192  # bytes; the second kind has a time stamp of 4 bytes in front

# Program maps.
_HAS_FIELD, _HAS_PAYLOAD = 0x20, 0x10
_PROGRAM_MAP = 0x02
_MAP_HEAD, _CHECKSUM = 12, 4  # bytes of a map before its program's descriptors, and after its tracks
_WRONG_CHECKSUMS = 10  # of the maps in packets of one number; after these FFmpeg takes any
_STARTS = re.compile(rb"\x47(?=[\x40-\x7f\xc0-\xff])")  # packets in which a section begins
_POLYNOMIAL = 0x04C11DB7


def pyav() -> ModuleType | None:
    """Import PyAV; return None if it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def require_pyav() -> ModuleType:
    """Import PyAV. Raises NoThumbnailError if it is not installed."""
    av = pyav()
    if av is None:
        raise NoThumbnailError("Thumbnails of files of this type need PyAV, which is not installed (pip install av).")
    return av


@contextmanager
def map_ffmpeg_errors(av: ModuleType) -> Iterator[None]:
    """Turn the exceptions that FFmpeg raises for damaged files into ImageUnreadableError."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, EOFError, LookupError) as error:
        raise ImageUnreadableError("The file cannot be read. It is damaged or of an unknown kind.") from error


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the container format for the first bytes of a file of video or sound, or None."""
    if head[4:8] in _QUICKTIME:
        return "mov"
    for magic, name in _CONTAINERS:
        if head.startswith(magic):
            return name
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    return "mpegts" if _is_transport_stream(head) else _frames_of_sound(head)


def _is_transport_stream(head: bytes) -> bool:
    for start, step in ((0, _PACKET), (4, _M2TS_PACKET)):
        marks = head[start::step][:3]
        if len(marks) == 3 and set(marks) == {0x47}:
            return True
    return False


def _frames_of_sound(head: bytes) -> str | None:
    """Return the format of MPEG audio without a container, which begins with a frame (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return "aac" if head[1] & 0x06 == 0 else "mp3"


class _FFmpegInput:
    """A file for FFmpeg. A transport stream ends before the first track that changes.

    A seek to an impossible place returns an error number: PyAV prints exceptions to the log.
    """

    def __init__(self, stream: IO[bytes], container: str) -> None:
        self._stream = stream
        self._before_changes = before_changes(container)
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        position = self._stream.tell()
        return self._before_changes(position, self._stream.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def open_container(av: ModuleType, stream: IO[bytes], container: str) -> Any:
    """Open a file with FFmpeg, as this container alone. Tags that are not UTF-8 are no reason to fail."""
    return av.open(_FFmpegInput(stream, container), format=container, **tolerance_of(av))


def tolerance_of(av: ModuleType) -> dict[str, Any]:
    """Return the arguments with which ``av.open`` accepts tags that are not UTF-8."""
    # PyAV 19 and later accept them always, and have no such argument.
    return {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


def before_changes(container: str) -> Callable[[int, bytes], bytes]:
    """Return a function for what is read of a file, by position: it returns the part that FFmpeg may have.

    That is all of it, but for transport streams, by FFmpeg's name of the container.
    """
    return TrackChanges().before if container == "mpegts" else lambda _, data: data


class TrackChanges:
    """Finds the first change in what is read of a transport stream, in any order."""

    def __init__(self) -> None:
        self._types: dict[int, int] = {}  # the type of each track
        self._wrong: Counter[int] = Counter()
        self._rest = b""  # the end of what was read last, which may be the first part of a packet
        self._next = -1
        self._end: int | None = None

    def before(self, position: int, data: bytes) -> bytes:
        """Return what was read at a position, up to the first change that has been found so far."""
        if self._end is None:
            rest = self._rest if position == self._next else b""
            read = rest + data
            at = self._find(read)
            if at is None:
                self._rest, self._next = read[1 - _PACKET :], position + len(data)
                return data
            self._end = position - len(rest) + at
        return data[: max(0, self._end - position)]

    def _find(self, data: bytes) -> int | None:
        """Return where the first packet begins that gives a track another type, None if there is none."""
        for match in _STARTS.finditer(data):
            packet = data[match.start() : match.start() + _PACKET]
            if len(packet) < _PACKET:
                break
            for number, kind in self._tracks(packet):
                if self._types.setdefault(number, kind) != kind:
                    return match.start()
        return None

    def _tracks(self, packet: bytes) -> Iterator[tuple[int, int]]:
        """Yield the number and the type of each track in the maps of a packet."""
        if not packet[3] & _HAS_PAYLOAD:
            return
        at = 5 + packet[4] if packet[3] & _HAS_FIELD else 4
        at += 1 + packet[at] if at < _PACKET else 0
        while at + _MAP_HEAD <= _PACKET and packet[at] != 0xFF:
            end = at + 3 + _twelve_bits(packet, at + 1)
            section = packet[at:end]
            is_map = section[0] == _PROGRAM_MAP and len(section) >= _MAP_HEAD
            if is_map and self._is_read(_thirteen_bits(packet, 1), section, end <= _PACKET):
                yield from _tracks_of(section, end - at - _CHECKSUM)
            at = end

    def _is_read(self, number: int, section: bytes, is_whole: bool) -> bool:
        """Return whether FFmpeg may take a section for a map: its checksum decides, if it is there."""
        if not is_whole:
            return section[1] & 0xF0 == 0xB0 and section[6:8] == b"\0\0"
        is_right = _checksum(section) == 0
        self._wrong[number] += not is_right
        return is_right or self._wrong[number] >= _WRONG_CHECKSUMS


def _tracks_of(section: bytes, end: int) -> Iterator[tuple[int, int]]:
    at = _MAP_HEAD + _twelve_bits(section, 10)
    while at + 5 <= min(end, len(section)):
        yield _thirteen_bits(section, at + 1), section[at]
        at += 5 + _twelve_bits(section, at + 3)


def _twelve_bits(data: bytes, at: int) -> int:
    return (data[at] & 0x0F) << 8 | data[at + 1]


def _thirteen_bits(data: bytes, at: int) -> int:
    return (data[at] & 0x1F) << 8 | data[at + 1]


def _checksum(section: bytes) -> int:
    """Return the CRC-32 of a section with its checksum (annex A), 0 if that is right."""
    value = 0xFFFFFFFF
    for byte in section:
        value = (value << 8 & 0xFFFFFFFF) ^ _REMAINDERS[value >> 24 ^ byte]
    return value


def _remainder(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = ((value << 1) ^ (_POLYNOMIAL if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


_REMAINDERS = [_remainder(byte) for byte in range(256)]
