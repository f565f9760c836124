"""The program maps of an MPEG transport stream (ISO/IEC 13818-1, 2.4.4.8), as far as they say that a track changes.

Recordings that are joined have such changes: the first part is MPEG-2, for instance, and the next H.264. FFmpeg 8.1,
which PyAV 18 and 19 bring, ends the process at some of them. So it is given such a file up to the first change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

_PACKET = 188  # bytes
_HAS_FIELD, _HAS_PAYLOAD = 0x20, 0x10
_PROGRAM_MAP = 0x02
_HEAD, _CHECKSUM = 12, 4  # bytes of a map before its program's descriptors, and after its tracks
_WRONG_CHECKSUMS = 10  # of the maps in packets of one number; after these FFmpeg takes any
_STARTS = re.compile(rb"\x47(?=[\x40-\x7f\xc0-\xff])")  # packets in which a section begins
_POLYNOMIAL = 0x04C11DB7


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
        while at + _HEAD <= _PACKET and packet[at] != 0xFF:
            end = at + 3 + _twelve_bits(packet, at + 1)
            section = packet[at:end]
            is_map = section[0] == _PROGRAM_MAP and len(section) >= _HEAD
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
    at = _HEAD + _twelve_bits(section, 10)
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
