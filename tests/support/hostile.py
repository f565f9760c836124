"""Damaged copies of valid files, and the check that a reader survives them: no exception, bounded reads, small facts.

A damage is a list of steps, so that hypothesis can shrink it and ``tests/fuzz_readers.py`` can print it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.assets.media.readers.base import ByteSource, Contents
from comfy_assets_node.comfy_assets.assets.media.readers.registry import read
from comfy_assets_node.comfy_assets.assets.media.readers.texts import documents
from hypothesis import strategies as st

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


def read_hostile(name: str, data: bytes) -> Contents:
    """Read bytes under a name as the registry does, and check the bounds that every reader promises."""
    counts = {"bytes": 0, "calls": 0}

    def counted(offset: int, length: int) -> bytes:
        assert offset >= 0 and length >= 0, (
            "a file refuses a negative offset, and reads everything for a negative length"
        )
        part = data[offset : offset + length]
        counts["bytes"] += len(part)
        counts["calls"] += 1
        return part

    contents = read(name, ByteSource(counted, len(data), in_memory=False))
    assert counts["bytes"] <= MAX_READ and counts["calls"] <= MAX_CALLS, counts
    found = documents(contents)
    assert len(msgspec.json.encode(contents.facts)) <= 4096
    for document in found.values():
        json.loads(document.decode(), parse_constant=pytest.fail)
    for problem in contents.problems:
        assert problem.endswith(".") and len(problem) < 200
    return contents


def fuzz(name: str, samples: Sequence[bytes], random: Random, is_over: Callable[[], bool]) -> int:
    """Read damaged samples until the time is over; return their number. Raises with the damage in its notes."""
    count = 0
    while not is_over():
        sample, damage = random.randrange(len(samples)), random_damage(random)
        try:
            read_hostile(name, damaged(samples[sample], damage))
        except BaseException as error:
            raise AssertionError(f"{name}: sample {sample}, damage {damage!r}") from error
        count += 1
    return count
