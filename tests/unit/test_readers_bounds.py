"""Memory and time of every reader with the largest files it accepts: 16 MiB beside the texts, 50 ms of the lock."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media import own_pictures
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract_source
from comfy_assets_node.comfy_assets.assets.media.readers.base import ByteSource
from comfy_assets_node.comfy_assets.search.documents import words_in
from support.large_files import LARGE, workflow

MIB = 1 << 20
MOST_MEMORY = 16 * MIB
MOST_HELD = 0.05  # seconds of the processor
_PAUSE = 0.001
_TRIES = 6
# The others take seconds, most of them for making their file.
_FAST = ("sidecar", "gltf", "gguf keys", "png escapes", "safetensors graph")


def source_of(data: bytes) -> ByteSource:
    """Return the bytes as a file on disk: each read is a copy."""
    view = memoryview(data)
    return ByteSource(lambda offset, length: bytes(view[offset : offset + length]), len(data), in_memory=False)


def read_picture(data: bytes) -> bytes | None:
    """Read the picture in a scene or a model, as thumbnails do."""
    source = source_of(data)
    if own_pictures.is_gltf(data[:4096]):
        return own_pictures.gltf_picture(source.read, source.size)
    if own_pictures.is_safetensors(data[:4096], source.size):
        return own_pictures.header_picture(source.read, source.size)
    return None


def peak_of(call: Callable[[], Any]) -> tuple[int, Any]:
    """Return the most bytes of memory that a call has taken at a time, and what it returns."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def longest_hold(call: Callable[[], Any]) -> float:
    """Return the most seconds of the processor for which a call keeps another thread from running.

    On a busy machine the other thread can be kept by others: the least of several tries counts.
    """
    held = []
    while len(held) < _TRIES and (not held or held[-1] > MOST_HELD):
        held.append(_longest_hold(call))
    return min(held)


def _longest_hold(call: Callable[[], Any]) -> float:
    is_over, longest = threading.Event(), 0.0

    def tick() -> None:
        nonlocal longest
        while not is_over.is_set():
            start = time.process_time()
            time.sleep(_PAUSE)
            longest = max(longest, time.process_time() - start)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        call()
    finally:
        is_over.set()
        ticker.join()
    return longest


def kept(found: FileMetadata) -> int:
    return sum(map(len, found.documents.values()))


@pytest.mark.parametrize(
    "case", [case if case.startswith(_FAST) else pytest.param(case, marks=pytest.mark.slow) for case in LARGE]
)
def test_memory_and_time(case: str) -> None:
    name, data = LARGE[case]()
    peak, found = peak_of(lambda: extract_source(name, source_of(data)))
    assert peak <= MOST_MEMORY + kept(found), f"{peak / MIB:.1f} MiB with {kept(found) / MIB:.1f} MiB of texts"
    assert longest_hold(lambda: extract_source(name, source_of(data))) <= MOST_HELD
    for key, document in found.documents.items():
        peak, _ = peak_of(lambda key=key, document=document: words_in(key, document))  # type: ignore[misc]
        assert peak <= MOST_MEMORY + len(document), f"{peak / MIB:.1f} MiB for the words of {key}"
        assert longest_hold(lambda key=key, document=document: words_in(key, document)) <= MOST_HELD  # type: ignore[misc]
    peak, picture = peak_of(lambda: read_picture(data))
    assert peak <= MOST_MEMORY + len(picture or b""), f"{peak / MIB:.1f} MiB for the picture"


def test_a_workflow_of_two_megabytes_is_found_whole() -> None:
    document = workflow(2 * MIB, "zqlighthouse")
    assert len(document) > 1.9 * MIB
    assert "zqlighthouse" in words_in("workflow", document)
    found = extract_source("x.json", source_of(document))
    assert found.documents["workflow"] == document
