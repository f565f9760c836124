"""Safetensors headers: facts, documents, damaged and hostile files."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract, extract_path
from comfy_assets_node.comfy_assets.assets.media.readers import safetensors as safetensors_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from support.windows import allowed_s

NAME = "model.safetensors"
ONE = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}


def file_of(header: dict[str, Any] | bytes, data: int = 0, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def assert_bounded(found: FileMetadata) -> None:
    assert len(msgspec.json.encode(found.facts)) <= 4096
    for document in found.documents.values():
        assert len(document) <= 16 << 20
        json.loads(document.decode())


def both(tmp_path: Path, data: bytes) -> FileMetadata:
    """Extract from memory and from disk, and compare."""
    path = tmp_path / NAME
    path.write_bytes(data)
    found = extract(NAME, data)
    assert extract_path(NAME, path) == found
    assert_bounded(found)
    return found


def test_what_the_library_writes(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {
        "a": np.zeros((4, 5), np.float16),
        "b": np.zeros((7,), np.float32),
        'größe."x"': np.zeros((), np.float32),
        "empty": np.zeros((0, 3), np.int8),
    }
    found = both(tmp_path, save(tensors, metadata={"title": "Ä", "line": "a\nb"}))
    assert found.facts == {
        "format": "safetensors",
        "kind": "model",
        "tensor_count": 4,
        "parameter_count": 28,
        "dtypes": {"F16": 1, "F32": 2, "I8": 1},
        "name": "Ä",
        "header": {"title": "Ä", "line": "a\nb"},
    }
    assert found.documents == {}
    assert found.mime_type == "application/safetensors"


@pytest.mark.parametrize("header", [b"{}", b"{ \n}   ", b'{"__metadata__":{}}', b'{"__metadata__" : { } } '])
def test_no_tensors(tmp_path: Path, header: bytes) -> None:
    facts = {"format": "safetensors", "kind": "model", "tensor_count": 0, "parameter_count": 0, "dtypes": {}}
    assert both(tmp_path, file_of(header)).facts == facts


@pytest.mark.parametrize(
    ("metadata", "shown", "has_document"),
    [
        ({}, None, False),
        ({"a": "x" * 256}, {"a": "x" * 256}, False),
        ({"a": "x" * 257, "b": "y"}, {"b": "y"}, True),
        ({str(i): "v" for i in range(32)}, {str(i): "v" for i in range(32)}, False),
        ({str(i): "v" for i in range(33)}, {str(i): "v" for i in range(32)}, True),
        ({str(i): "v" * 250 for i in range(20)}, {str(i): "v" * 250 for i in range(7)}, True),
        ({"quoted": '{"a": "}{\\\\"}', "b": "},"}, {"quoted": '{"a": "}{\\\\"}', "b": "},"}, False),
        ({"a": '\\"' * 50_000, "b": "}"}, {"b": "}"}, True),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_metadata_is_shown_or_a_document(
    tmp_path: Path, metadata: dict[str, str], shown: dict[str, str] | None, has_document: bool, first: bool
) -> None:
    header = {"__metadata__": metadata, "t": ONE} if first else {"t": ONE, "__metadata__": metadata}
    found = both(tmp_path, file_of(header, 12))
    assert found.facts.get("header") == shown
    assert "error" not in found.facts
    assert found.facts["tensor_count"] == 1
    documents = {key: json.loads(text) for key, text in found.documents.items()}
    assert documents == ({"header": metadata} if has_document else {})


def test_metadata_too_large_for_a_document(tmp_path: Path) -> None:
    found = both(tmp_path, file_of({"__metadata__": {"a": "x" * (17 << 20), "b": "y"}}))
    assert found.facts["header"] == {"b": "y"}
    assert found.facts["omitted"] == ["header"]
    assert found.documents == {}


@pytest.mark.parametrize("missing", [1, 11, 12])
def test_a_download_cut_short_keeps_what_is_known(tmp_path: Path, missing: int) -> None:
    found = both(tmp_path, file_of({"t": ONE}, 12)[:-missing])
    assert found.facts["parameter_count"] == 6
    assert "truncated" in found.facts["error"]


DEEP = b"[" * 100_000
HUGE = 1 << 60
HOSTILE = {
    "empty": (b"", "empty"),
    "no length": (b"\x05\0\0", "truncated"),
    "length of 2^60": (file_of({}, length=HUGE), "32 MiB"),
    "length of 2^64-1": (b"\xff" * 8 + b"{}", "32 MiB"),
    "length beyond the file": (file_of({"t": ONE}, length=5000), "truncated"),
    "a web page": (b"<!DOCTYPE html><html><title>Sign &amp; in</title>", 'a web page ("Sign & in")'),
    "a web page behind a mark": (b"\xef\xbb\xbf\n<!-- x --> <HTML lang=en>", "a web page,"),
    "an error of a web site": (b'{"error":"Unauthorized"}', "error message of a web site"),
    "bad JSON": (file_of(b'{"t": {"dtype": }}'), "tensor wrongly"),
    "no object": (file_of(b'[{"t": 1}]'), "JSON"),
    "text behind": (file_of(b"{}x"), "JSON"),
    "unfinished": (file_of(b'{"t":' + json.dumps(ONE).encode()), "JSON"),
    "trailing comma": (file_of(b'{"t":' + json.dumps(ONE).encode() + b",}"), "JSON"),
    "deep nesting": (file_of(DEEP), "JSON"),
    "deep nesting in an entry": (file_of(b'{"t":{"dtype":' + b"[" * 10_000 + b"}}"), "tensor wrongly"),
    "deep nesting behind a key": (file_of(b'{"t":' + DEEP), "JSON"),
    "deep objects": (file_of(b'{"a":' * 50_000), "JSON"),
    "entry is no object": (file_of({"t": 5}), "JSON"),
    "entry without shape": (file_of({"t": {"dtype": "F16", "data_offsets": [0, 12]}}), "wrongly"),
    "wrong types": (file_of({"t": {**ONE, "shape": "2"}}), "wrongly"),
    "fractional shape": (file_of({"t": {**ONE, "shape": [2.5]}}), "wrongly"),
    "negative shape": (file_of({"t": {**ONE, "shape": [-2, -3]}}), "wrongly"),
    "huge shape": (file_of({"t": {**ONE, "shape": [1 << 62, 1 << 62]}}), "wrongly"),
    "many dimensions": (file_of({"t": {**ONE, "shape": [1] * 65}}), "wrongly"),
    "huge product": (file_of({"t": {**ONE, "dtype": "NEW", "shape": [1 << 50] * 60}}), "more than"),
    "contradictory": (file_of({"t": {**ONE, "shape": [2, 4]}}, 12), "contradict"),
    "offsets reversed": (file_of({"t": {**ONE, "data_offsets": [12, 0]}}), "contradict"),
    "odd type": (file_of({"t": {**ONE, "dtype": "\0" * 9}}), "wrongly"),
    "endless type": (file_of({"t": {**ONE, "dtype": "F" * 2000}}), "wrongly"),
    "many types": (file_of({str(i): {**ONE, "dtype": f"N{i}"} for i in range(500)}), "more than"),
    "duplicate": (file_of(b'{"t":%b,"t":%b}' % ((json.dumps(ONE).encode(),) * 2)), "twice"),
    "duplicate by escape": (file_of(b'{"t":%b,"\\u0074":%b}' % ((json.dumps(ONE).encode(),) * 2)), "twice"),
    "name is no text": (file_of(b'{"\xff":%b}' % json.dumps(ONE).encode()), "wrongly"),
    "name is half a character": (file_of(b'{"\\ud800":%b}' % json.dumps(ONE).encode()), "wrongly"),
    "endless name": (file_of({"x" * 20_000: ONE}), "JSON"),
    "metadata of a wrong word": (file_of(b'{"__metadata__":nil}'), "JSON"),
    "metadata too deep": (file_of(b'{"__metadata__":' + b"[" * 100 + b"]" * 100 + b"}"), "JSON"),
    "metadata not closed": (file_of(b'{"__metadata__":{"a":[}'), "JSON"),
    "metadata twice": (file_of(b'{"__metadata__":{},"__metadata__":{}}'), "JSON"),
    "metadata is no text": (file_of(b'{"__metadata__":{"a":"\xff"}}'), "JSON"),
    "long metadata is no text": (file_of(b'{"__metadata__":{"a":"%b\xff"}}' % (b"x" * 9000)), "JSON"),
    "metadata control character": (file_of(b'{"__metadata__":{"a":"\x01"}}'), "JSON"),
    "metadata unfinished": (file_of(b'{"__metadata__":{"a":"\\'), "JSON"),
    "64 MiB of spaces": (file_of(b" " * (64 << 20)), "32 MiB"),
    "32 MiB of spaces": (file_of(b"{" + b" " * ((32 << 20) - 2) + b"}"), "JSON"),
    "32 MiB of a name": (file_of(b'{"' + b"x" * (32 << 20 >> 1)), "JSON"),
    "32 MiB of backslashes": (file_of(b'{"__metadata__":{"' + b"\\" * (31 << 20)), "JSON"),
}


@pytest.mark.parametrize(("data", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile(tmp_path: Path, data: bytes, words: str) -> None:
    start = time.thread_time()
    found = both(tmp_path, data)
    assert time.thread_time() - start < allowed_s(2)
    assert set(found.facts) == {"format", "kind", "error"}
    assert words in found.facts["error"]
    assert found.documents == {}
    assert found.mime_type is None


def test_a_header_of_many_tensors_takes_bounded_memory() -> None:
    entry = b'"%d":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}'
    data = file_of(b"{" + b",".join(entry % i for i in range(50_000)) + b"}")
    tracemalloc.start()
    try:
        assert extract(NAME, data).facts["tensor_count"] == 50_000
        assert tracemalloc.get_traced_memory()[1] < 8 * len(data)
    finally:
        tracemalloc.stop()


def test_an_oversized_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", 1 << 40))
        stream.truncate(1 << 41)  # a hole: costs nothing on disk
    tracemalloc.start()
    try:
        assert "32 MiB" in extract_path(NAME, path).facts["error"]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


NOT_TEXT, NOT_OBJECT = "holds something that is not text", "is not an object of texts"


@pytest.mark.parametrize(
    ("metadata", "shown", "document", "error"),
    [
        (None, None, None, NOT_OBJECT),
        ([], None, None, NOT_OBJECT),
        (5, None, None, NOT_OBJECT),
        ("text", None, None, NOT_OBJECT),
        ({"a": None}, None, {"a": None}, NOT_TEXT),
        ({"a": 5, "b": "c"}, {"b": "c"}, {"a": 5, "b": "c"}, NOT_TEXT),
        ({"a": {"b": ["}", {"c": 1.5}]}, "d": "e"}, {"d": "e"}, {"a": {"b": ["}", {"c": 1.5}]}, "d": "e"}, NOT_TEXT),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_metadata_against_the_format_is_read_and_reported(
    tmp_path: Path, metadata: Any, shown: dict[str, str] | None, document: Any, error: str, first: bool
) -> None:
    header = {"__metadata__": metadata, "t": ONE} if first else {"t": ONE, "__metadata__": metadata}
    found = both(tmp_path, file_of(header, 12))
    assert found.facts["tensor_count"] == 1
    assert found.facts.get("header") == shown
    assert error in found.facts["error"]
    assert [json.loads(text) for text in found.documents.values()] == ([] if document is None else [document])
    assert found.mime_type == "application/safetensors"


@pytest.mark.parametrize("key", ["modelspec.thumbnail", "ssmd_cover_images"])
def test_pictures_are_no_documents(tmp_path: Path, key: str) -> None:
    metadata = {"a": "b", key: "data:image/jpeg;base64," + "A" * (2 << 20), "c": "d" * 300}
    found = both(tmp_path, file_of({"__metadata__": metadata, "t": ONE}, 12))
    assert found.facts["has_picture"] is True
    assert json.loads(found.documents["header"]) == {"a": "b", "c": "d" * 300}
    small = both(tmp_path, file_of({"__metadata__": {**metadata, "c": "d"}, "t": ONE}, 12))
    assert small.facts["header"] == {"a": "b", "c": "d"}
    assert small.documents == {}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(noise: bytes, as_header: bool) -> None:
    found = extract(NAME, file_of(b"{" + noise) if as_header else noise)
    assert found.facts["format"], "of some other format if the noise looks like it"
    assert_bounded(found)


VALID = file_of({"__metadata__": {"a": "b", "c": 'x\\"y' * 80, "d": {"e": [None]}}, "t": ONE, "u": ONE}, 12)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_mutation(data: st.DataObject) -> None:
    mutated = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"{", b"}", b",", b"\\", b":", b"9" * 30]))
        )
        if not mutated:
            break
    found = extract(NAME, bytes(mutated))
    assert_bounded(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safetensors_reader, "_MAX_DECODED_AT_ONCE", 0)
        assert extract(NAME, bytes(mutated)) == found, "both ways to read a header agree"
