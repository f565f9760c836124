"""Damaged copies of valid files, and the check that a reader survives them: no exception, bounded reads, small facts.

A damage is a list of steps, so that hypothesis can shrink it. Files that once broke a reader, or that reach code that
no sample reaches, are kept in ``tests/seeds`` and read again by the tests.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.assets.media import own_pictures, thumbnails
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract_source
from comfy_assets_node.comfy_assets.assets.media.readers.base import ByteSource
from comfy_assets_node.comfy_assets.errors import ApiError
from comfy_assets_node.comfy_assets.search.documents import words_in, words_in_facts
from comfy_assets_node.comfy_assets.search.generation import generation_of
from hypothesis import strategies as st

from .reader_samples import Sample

Step = tuple[str, int, int]
Damage = list[Step]
"""Steps of a kind, a place in 1/65536 of the file, and a value of 32 bits."""

MAX_READ = (16 << 20) + (4 << 20)  # texts, and the headers on the way to them
MAX_CALLS = 60_000
_WIDTHS = {"byte": 1, "short": 2, "long": 4, "longlong": 8}
_KINDS = (*_WIDTHS, "flip", "cut", "drop", "repeat", "head")
_VALUES = (0, 1, 2, 8, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def damages() -> st.SearchStrategy[Damage]:
    values = st.sampled_from(_VALUES) | st.integers(0, 0xFFFFFFFF)
    return st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(0, 0xFFFF), values), min_size=1, max_size=6)


def random_damage(random: Random) -> Damage:
    def step() -> Step:
        value = random.choice(_VALUES) if random.random() < 0.5 else random.getrandbits(32)
        return random.choice(_KINDS), random.getrandbits(16), value

    return [step() for _ in range(random.randint(1, 6))]


def damaged(data: bytes, damage: Damage) -> bytes:
    """Return a copy with numbers overwritten, bits flipped, parts dropped and repeated, and the end cut off."""
    copy = bytearray(data)
    for kind, place, value in damage:
        at = len(copy) * place >> 16
        if kind in _WIDTHS:
            width = _WIDTHS[kind]
            number = value if value < 0xFFFFFFFE else (1 << 8 * width) - 1
            order: Any = "big" if place & 1 else "little"
            copy[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, order)
        elif kind == "flip" and copy:
            copy[min(at, len(copy) - 1)] ^= 1 << (value & 7)
        elif kind == "head":  # near the beginning, where most lengths and counts are
            copy[place & 63 : (place & 63) + 1] = bytes((value & 0xFF,))
        elif kind == "cut":
            del copy[at:]
        elif kind == "drop":
            del copy[at : at + (value & 63)]
        elif kind == "repeat":
            copy[at:at] = copy[at : at + (value & 255)] * (1 + (value >> 8 & 3))
    return bytes(copy)


def read_hostile(name: str, data: bytes) -> FileMetadata:
    """Read bytes under a name as the library does: metadata, words, and the picture in the file.

    Checks the bounds that every reader promises.
    """
    counts = {"bytes": 0, "calls": 0}

    def counted(offset: int, length: int) -> bytes:
        assert offset >= 0 and length >= 0, (
            "a file refuses a negative offset, and reads everything for a negative length"
        )
        part = data[offset : offset + length]
        counts["bytes"] += len(part)
        counts["calls"] += 1
        return part

    found = extract_source(name, ByteSource(counted, len(data), in_memory=False))
    assert counts["bytes"] <= MAX_READ and counts["calls"] <= MAX_CALLS, counts
    facts = msgspec.json.encode(found.facts)
    assert len(facts) <= 4096
    for key, document in found.documents.items():
        json.loads(document.decode(), parse_constant=pytest.fail)
        assert len(words_in(key, document)) <= 20_000
    words_in_facts(facts.decode())
    msgspec.json.encode(generation_of(found.documents))
    problem = found.facts.get("error", "A sentence.")
    assert problem.endswith(".") and len(problem) < 1000
    _read_picture(counted, data)
    return found


def _read_picture(read: Callable[[int, int], bytes], data: bytes) -> None:
    """Read the picture in a scene, a model or an icon, and check a drawing."""
    head, size = data[:4096], len(data)
    if own_pictures.is_gltf(head):
        own_pictures.gltf_picture(read, size)
    if own_pictures.is_safetensors(head, size):
        own_pictures.header_picture(read, size)
    own_pictures.icon_picture(read, size)
    if thumbnails.is_svg(head):
        with contextlib.suppress(ApiError):  # what the route reports
            thumbnails.read_svg(io.BytesIO(data), size)


def fuzz(samples: Sequence[Sample], random: Random, is_over: Callable[[], bool]) -> int:
    """Read damaged samples until the time is over; return their number. Raises with the damage in its message."""
    count = 0
    while not is_over():
        sample, damage = random.choice(samples), random_damage(random)
        try:
            read_hostile(sample.name, damaged(sample.data, damage))
        except BaseException as error:
            raise AssertionError(f"{sample.name}: damage {damage!r} of {sample.data!r}") from error
        count += 1
    return count


_SEEDS = Path(__file__).resolve().parent.parent / "seeds"


def seeds(format_name: str) -> Iterator[Sample]:
    """Return the files that are kept for a format."""
    path = _SEEDS / f"{format_name}.txt"
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        body, _, name = line.partition(" ")
        yield Sample(name, zlib.decompress(base64.b85decode(body)))


def keep_seeds(format_name: str, files: Iterable[Sample]) -> None:
    """Replace the files that are kept for a format. Each is a line: its compressed bytes in base 85, and its name."""
    lines = [f"{base64.b85encode(zlib.compress(each.data, 9)).decode()} {each.name}\n" for each in files]
    _SEEDS.mkdir(exist_ok=True)
    (_SEEDS / f"{format_name}.txt").write_text("".join(lines), "ascii")
