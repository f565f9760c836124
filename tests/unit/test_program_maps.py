"""The changes of tracks in MPEG transport streams, of which FFmpeg 8.1 survives not all."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from comfy_assets_node.comfy_assets.assets.media.ffmpeg import TrackChanges

MPEG2, H264, AAC = 0x02, 0x1B, 0x0F


def crc(data: bytes) -> int:
    """The CRC-32 of MPEG, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            is_set = (value >> 31) ^ (byte >> bit & 1)
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if is_set else 0)
    return value


def program_map(*tracks: tuple[int, int], wrong: int = 0, described: int = 0) -> bytes:
    """A section with tracks, each a number and a type; ``described`` bytes of descriptors for each."""
    listed = b"".join(
        struct.pack(">BHH", kind, 0xE000 | number, 0xF000 | described) + bytes(described) for number, kind in tracks
    )
    head = struct.pack(">BHHBBBHH", 2, 0xB000 | len(listed) + 13, 1, 0xC1, 0, 0, 0xE100, 0xF000)
    return head + listed + struct.pack(">I", crc(head + listed) ^ wrong)


def packet(section: bytes, *, number: int = 0x1000, field: int | None = None, pointer: int = 0) -> bytes:
    """A packet in which a section begins, behind a field of some bytes and the end of another section."""
    before = b"" if field is None else bytes([field]) + bytes(field)
    head = struct.pack(">BHB", 0x47, 0x4000 | number, 0x10 if field is None else 0x30)
    whole = head + before + bytes([pointer]) + bytes(pointer) + section
    return whole[:188].ljust(188, b"\xff")


PICTURES = struct.pack(">BHB", 0x47, 0x4100, 0x10) + b"\0\0\1\xe0" + bytes(180)
FIRST, SAME = packet(program_map((0x100, H264), (0x101, AAC))), packet(program_map((0x101, AAC), (0x100, H264)))
OTHER = packet(program_map((0x100, MPEG2)))


@pytest.mark.parametrize(
    ("packets", "kept"),
    [
        ([FIRST, PICTURES, SAME, PICTURES], 4),
        ([FIRST, PICTURES, OTHER, PICTURES], 2),
        ([PICTURES, OTHER, OTHER, FIRST], 3),
        ([FIRST, packet(program_map((0x102, MPEG2)))], 2),
        ([FIRST, packet(program_map((0x100, MPEG2)), field=20, pointer=5)], 1),
        ([FIRST, packet(program_map((0x100, MPEG2)), number=0x1001)], 1),
        ([FIRST, packet(program_map((0x102, AAC)) + program_map((0x100, MPEG2)))], 1),
        ([FIRST, packet(program_map((0x100, MPEG2), *[(0x200, AAC)] * 3, described=60))], 1),
        ([FIRST, *[packet(program_map((0x100, MPEG2), wrong=1))] * 9, PICTURES], 11),
        ([FIRST, *[packet(program_map((0x100, MPEG2), wrong=1))] * 11], 10),
        ([FIRST, packet(b"\x02\xbf\xff"), packet(b""), PICTURES, packet(b"\x02", field=182)], 5),
        ([FIRST, *[packet(b"\x02\xb0\x04" + bytes(4))] * 11, OTHER], 12),
        ([FIRST, packet(b"", field=183), PICTURES[:100], OTHER], 2.532),
    ],
    ids=[
        "the same map",
        "a change",
        "an order of its own",
        "another track",
        "behind a field",
        "another program",
        "the second section",
        "a section of two packets",
        "wrong checksums",
        "many wrong checksums",
        "cut sections",
        "short maps",
        "another alignment",
    ],
)
@pytest.mark.parametrize("at_once", [1, 187, 500, 1 << 15])
def test_a_stream_ends_before_a_change(packets: Sequence[bytes], kept: float, at_once: int) -> None:
    data = b"".join(packets)
    changes = TrackChanges()
    read = b""
    while part := changes.before(len(read), data[len(read) : len(read) + at_once]):
        read += part
    # What was given before the rest of the packet came cannot be taken back. It is no whole packet.
    assert 0 <= len(read) - round(188 * kept) < 188 and data.startswith(read)
    if at_once > len(data):
        assert len(read) == round(188 * kept)


def test_the_end_may_be_read_first() -> None:
    data = FIRST + PICTURES * 9 + OTHER + PICTURES
    changes = TrackChanges()
    assert changes.before(1880, data[1880:]) == data[1880:]
    assert changes.before(0, data[:500]) == b""
    assert changes.before(1880, data[1880:]) == b""
