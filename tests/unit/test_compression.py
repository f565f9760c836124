"""Texts in the store: whatever was stored once can be read by every later release."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from comfy_assets_node.comfy_assets.db import compression
from comfy_assets_node.comfy_assets.db.compression import compress, decompress, decompress_within

GRAPH = json.dumps(
    {
        str(number): {"inputs": {"text": f"a castle at night, {number}", "clip": ["4", 1]}, "class_type": kind}
        for number, kind in enumerate(("CLIPTextEncode", "CLIPTextEncode", "KSampler", "VAEDecode", "SaveImage"))
    }
).encode()


def test_the_dictionary_stays_as_it_is() -> None:
    """Without exactly these bytes, no text that was compressed with them can be read again."""
    assert zlib.adler32(compression._DICTIONARY) == 0x3EE9CFD7


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 5000, 64 << 10, (64 << 10) + 1, 3 << 20])
@pytest.mark.parametrize("kind", ["graph", "random"])
def test_texts_of_every_size(size: int, kind: str) -> None:
    text = (GRAPH * (size // len(GRAPH) + 1))[:size] if kind == "graph" else random.Random(size).randbytes(size)
    body = compress(text)
    assert decompress(body) == text
    assert decompress_within(body, size) == text
    assert decompress_within(body, size - 1) is None if size else decompress_within(body, 0) == b""


def test_texts_of_earlier_releases() -> None:
    for body in (zlib.compress(GRAPH, 1), zlib.compress(GRAPH, 6)):
        assert decompress(body) == GRAPH
        assert decompress_within(body, len(GRAPH)) == GRAPH
        assert decompress_within(body, len(GRAPH) - 1) is None


def test_a_graph_takes_less_room() -> None:
    assert len(compress(GRAPH)) < len(zlib.compress(GRAPH, 1)) * 0.6


def test_a_damaged_text_is_an_error() -> None:
    body = compress(GRAPH)
    for damaged in (body[:-1], body[: len(body) // 2], body[:20] + b"\xff\xff\xff" + body[23:], b"", b"no zlib"):
        with pytest.raises(zlib.error):
            decompress(damaged)
