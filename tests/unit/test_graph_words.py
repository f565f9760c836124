"""What the documents in files say, in words; and what hostile ones cannot do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.search.decoding import MAX_DOCUMENT
from comfy_assets_node.comfy_assets.search.documents import MAX_WORDS, words_in, words_in_facts
from hypothesis import given
from hypothesis import strategies as st

PROMPT = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 42,
            "steps": 20,
            "cfg": 7.5,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "model": ["10", 0],
            "positive": ["6", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl\\juggernautXL_v9.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red Dragon, größe", "clip": ["4", 1]}},
    "10": {
        "class_type": "Power Lora Loader",
        "inputs": {"lora_1": {"on": True, "lora": "style/inkDrop.safetensors", "strength": 1}, "model": ["4", 0]},
    },
}
# Nodes as the page saves them: a seed is told by the widget behind it.
NODES = [
    {"type": "KSampler", "widgets_values": [7, "randomize", 20, 8, "euler", "normal", 1]},
    {"type": "CLIPTextEncode", "widgets_values": ["two knights"]},
    {"type": "LoraLoader", "widgets_values": ["detail.safetensors", 0.8, 1]},
    {"type": "Video", "widgets_values": {"noise_seed": 77, "frame_rate": 24, "format": "h264"}},
    {"type": "Note"},
]
PARAMETERS = (
    "a cat, (masterpiece:1.2) <lora:foo_bar:0.8>\nNegative prompt: ugly\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234567, Size: 512x768, Model hash: abcdef1234,"
    ' Model: dreamshaper_8, Lora hashes: "foo_bar: 0123456789ab", Version: 1'
)
HEADER = {
    "modelspec.title": "Ink Drop",
    "ss_output_name": "inkdrop_v2",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_sd_model_name": "base.safetensors",
    "ss_tag_frequency": json.dumps({"10_inky": {"lineart": 5, "old paper": 9}}),
    "ss_learning_rate": "0.0001",
}
# key, document, some of its words, some that are none
DOCUMENTS: list[tuple[str, Any, str, str]] = [
    (
        "prompt",
        PROMPT,
        "42 dpmpp 2m karras xl juggernautxl v9 a red dragon grosse style inkdrop",
        "20 7 5 ksampler safetensors 6 10 true",
    ),
    ("prompt", {"1": {"inputs": {"value": 5_000_000}}, "2": {"inputs": {"width": 4096}}}, "5000000", "4096"),
    ("prompt", {"1": {"inputs": {"text": ["a", "b"]}}}, "a b", ""),
    ("prompt", {"1": None, "2": {"inputs": 3}, "3": {"inputs": {"text": "still"}}}, "still", ""),
    ("workflow", {"nodes": NODES}, "7 euler normal two knights detail 77 h264", "20 8 24 0 ksampler randomized"),
    ("workflow", {"definitions": {"subgraphs": [{"nodes": NODES}]}}, "7 knights", ""),
    ("workflow", {"nodes": {"1": NODES[1]}}, "knights", ""),
    ("parameters", PARAMETERS, "cat masterpiece foo bar ugly dpm 2m karras 1234567 dreamshaper 8", "512x768 7 20"),
    ("header", HEADER, "ink drop inkdrop v2 sdxl base inky lineart old paper", "10 0001 safetensors"),
    ("something", {"nodes": NODES}, "", "knights"),
]


@pytest.mark.parametrize(("key", "document", "present", "absent"), DOCUMENTS)
def test_what_a_document_says(key: str, document: Any, present: str, absent: str) -> None:
    found = words_in(key, json.dumps(document).encode())
    assert set(present.split()) <= set(found)
    assert not set(absent.split()) & set(found)
    assert len(set(found)) == len(found)


def test_what_lists_show_of_a_header() -> None:
    shown = {"format": "safetensors", "header": {"modelspec.title": "Ink Drop", "ss_output_name": "x.safetensors"}}
    assert words_in_facts(json.dumps(shown)) == ("ink", "drop", "x")
    assert words_in_facts('{"format":"png","width":3}') == ()
    assert words_in_facts('{"header": 3}') == ()


def test_names_go_before_a_long_prompt() -> None:
    prose = " ".join(f"word{number}" for number in range(2 * MAX_WORDS))
    graph = {"1": {"inputs": {"text": prose}}, "2": {"inputs": {"ckpt_name": "last.safetensors", "seed": 3}}}
    found = words_in("prompt", json.dumps(graph).encode())
    assert {"last", "3"} <= set(found)
    assert len(found) == MAX_WORDS


def _nested(depth: int) -> bytes:
    return b'{"1":{"inputs":{"t":' + b"[" * depth + b'"deep"' + b"]" * depth + b"}}}"


HOSTILE = {
    "not JSON": b"{",
    "no object": b"[1, 2]",
    "not UTF-8": b'{"1":{"inputs":{"t":"\xff"}}}',
    "deep": _nested(400),
    "deeper": b'{"a":' * 100_000,
    "one long word": b'{"1":{"inputs":{"t":"' + b"x" * 900_000 + b'"}}}',
    "many values": b'{"1":{"inputs":{"t":[' + b",".join([b'"ab c"'] * 100_000) + b"]}}}",
    "many ideographs": b'{"1":{"inputs":{"t":"' + "日本 ".encode() * 100_000 + b'"}}}',
    "a large number": b'{"1":{"inputs":{"seed":' + b"9" * 4000 + b"}}}",
    "too large": b'{"1":{"inputs":{"t":"word"}}}' + b" " * MAX_DOCUMENT,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["prompt", "workflow", "parameters", "header"])
def test_hostile_documents_cost_little(key: str, name: str) -> None:
    started = time.process_time()
    assert len(words_in(key, HOSTILE[name])) <= MAX_WORDS
    assert time.process_time() - started < 2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(key=st.sampled_from(["prompt", "workflow", "parameters", "header"]), document=values | st.binary(max_size=60))
def test_any_document_gives_words(key: str, document: Any) -> None:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    assert all(isinstance(word, str) and word for word in words_in(key, raw))
