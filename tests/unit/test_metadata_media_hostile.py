"""Readers of videos, sounds, 3D files and texts with hostile bytes: no exception, bounded reads, short facts."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from functools import cache

import msgspec
import pytest
from comfy_assets_node.comfy_assets.assets.media import metadata
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract
from comfy_assets_node.comfy_assets.assets.media.readers import mpeg
from comfy_assets_node.comfy_assets.assets.media.readers.base import ByteSource
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media_files import (
    OPUS_HEADER,
    SAMPLES,
    box,
    chunk,
    element,
    full_box,
    glb,
    id3,
    id3_frame,
    item_list,
    matroska,
    movie,
    mp3_frames,
    mp4,
    ogg_page,
    simple_tags,
    video_track,
)

MIB = 1 << 20
TABLE = full_box(b"stts", struct.pack(">I", 1 << 31), bytes(4 * MIB))
TABLE = box(b"mdia", full_box(b"hdlr", bytes(4), b"vide", bytes(13)), box(b"minf", box(b"stbl", TABLE)))
RUN = full_box(b"trun", struct.pack(">I", 1 << 30), bytes(64), flags=0x100)
RUN = box(b"moof", box(b"traf", full_box(b"tfhd", struct.pack(">I", 1)), RUN))


@cache
def sample_bytes(name: str) -> bytes:
    return SAMPLES[name]()


def assert_bounded(found: FileMetadata) -> None:
    assert len(msgspec.json.encode(found.facts)) <= 4096
    for document in found.documents.values():
        assert len(document) <= 16 * MIB
        json.loads(document.decode(), parse_constant=pytest.fail)


def read_counted(name: str, data: bytes) -> tuple[int, int]:
    """Read a file as from a disk; return the number of reads and of bytes asked for."""
    counts = [0, 0]

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0
        counts[0] += 1
        counts[1] += length
        return data[offset : offset + length]

    metadata.read_contents(name, ByteSource(read, len(data), in_memory=False))
    return counts[0], counts[1]


def suffix_of(name: str) -> str:
    return f"file{name}" if name.startswith(".") else "file"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read_without_problems(name: str) -> None:
    found = extract(suffix_of(name), sample_bytes(name))
    assert "error" not in found.facts
    assert found.facts["kind"] in ("video", "audio", "3d", "text")


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_survived(name: str, data: st.DataObject) -> None:
    body = bytearray(sample_bytes(name))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(len(body), 4096) - 1) | st.integers(0, len(body) - 1))
        change = data.draw(
            st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0"])
            | st.binary(min_size=1, max_size=8)
        )
        body[position : position + len(change)] = change
    changed = bytes(body[: data.draw(st.just(len(body)) | st.integers(0, len(body)))])
    assert_bounded(extract(suffix_of(name), changed))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in ("workflow", "prompt", ".txt")])
def test_every_length_of_a_cut_file_is_survived(name: str) -> None:
    body = sample_bytes(name)
    chance = random.Random(name)
    lengths = {*range(min(len(body), 200)), *(chance.randrange(len(body)) for _ in range(200))}
    for length in lengths:
        assert_bounded(extract(suffix_of(name), body[:length]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([name for name in SAMPLES if not name.startswith(".")]), st.binary(max_size=600))
def test_any_bytes_after_a_magic_are_survived(name: str, rest: bytes) -> None:
    assert_bounded(extract("file", sample_bytes(name)[:16] + rest))


def many(part: bytes, total: int = 17 * MIB) -> bytes:
    return part * (total // len(part))


# Files of as many parts as fit, each of which asks for work.
GREEDY: dict[str, Callable[[], bytes]] = {
    "boxes": lambda: box(b"ftyp", b"isom", bytes(4)) + many(box(b"free")),
    "tracks": lambda: box(b"ftyp", b"isom", bytes(4)) + movie(many(video_track(), MIB)),
    "tables": lambda: box(b"ftyp", b"isom", bytes(4)) + movie(*[box(b"trak", TABLE)] * 4),
    "fragments": lambda: box(b"ftyp", b"isom", bytes(4)) + movie(video_track(), box(b"mvex")) + many(RUN),
    "items": lambda: mp4(video_track(), item_list({f"k{number}": "v" for number in range(200_000)})),
    "prompts": lambda: mp4(video_track(), *[item_list({"prompt": "{" * (4 * MIB)})] * 4),
    "elements": lambda: matroska(many(element(0x1F43B675))),
    "tags": lambda: matroska(tags=simple_tags({f"k{number}": "v" for number in range(100_000)})),
    "chunks": lambda: b"RIFF\xff\xff\xff\xffWAVE" + many(chunk(b"junk", b"")),
    "lists": lambda: b"RIFF\xff\xff\xff\xffAVI " + many(chunk(b"LIST", b"hdrl" + chunk(b"LIST", b"strl"))),
    "pages": lambda: many(ogg_page(OPUS_HEADER, flags=2)),
    "comments": lambda: b"fLaC\x84\xff\xff\xff" + struct.pack("<II", 0, 1 << 31) + many(struct.pack("<I", 2) + b"a="),
    "blocks": lambda: b"fLaC" + many(b"\1\0\0\0"),
    "frames": lambda: id3(4) + many(b"\xff\xf1\x50\x80\0\xff\xfc", MIB),
    "id3": lambda: id3(4, *[id3_frame(4, b"TXXX", b"\3k\0v")] * 300_000) + mp3_frames(),
    "sync": lambda: id3(4) + b"\xff" * (17 * MIB),
    "scene": lambda: glb({"asset": {"version": "2.0"}, "accessors": [{}] * 3_000_000}),
    "json": lambda: b'{"nodes":[' + many(b"{},", 8 * MIB) + b"{}]}",
    "classes": lambda: b'{"1":0' + many(b',"1":{"class_type":"","inputs":0}', 15 * MIB) + b"}",
    "members": lambda: b"{" + b",".join(b'"%x":0' % number for number in range(1_000_000)) + b"}",
    "ply": lambda: b"ply\nformat ascii 1.0\n" + many(b"element vertex 1\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_files_of_countless_parts_are_read_within_bounds(name: str) -> None:
    data = GREEDY[name]()
    reads, length = read_counted("file", data)
    assert reads <= 8_100
    assert length <= 16 * MIB + 8_000 * 8192  # small reads are served from blocks
    tracemalloc.start()
    try:
        metadata.read_contents(
            "file", ByteSource(lambda offset, length: data[offset : offset + length], len(data), in_memory=False)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 18 * MIB


def test_a_stream_for_ffmpeg_ends_after_some_megabytes() -> None:
    source = ByteSource(lambda offset, length: bytes(length), 1 << 40, in_memory=False)
    file = mpeg._BoundedFile(source, "mpeg")
    total = sum(len(file.read(MIB)) for _ in range(100))
    assert total == 12 * MIB
    assert file.seek(0, 2) == 1 << 40
