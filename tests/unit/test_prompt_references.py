"""References to assets in prompts; all other values stay unchanged."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.prompts.references import (
    AssetReference,
    DependentOutputs,
    find_references,
    parse_reference,
    replace_references,
)
from hypothesis import given
from hypothesis import strategies as st

HEX = "0123456789abcdef" * 4
HASH = f"blake3:{HEX}"
ID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
ASSET = f"asset:{ID}"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (HASH, AssetReference(digest=bytes.fromhex(HEX))),
        (f"blake3:{HEX.upper()}", AssetReference(digest=bytes.fromhex(HEX))),
        (ASSET, AssetReference(asset_id=ID)),
        (f"asset:{ID.upper()}", AssetReference(asset_id=ID)),
        (f"{HASH} [output]", AssetReference(digest=bytes.fromhex(HEX))),
        (f"{ASSET} [input]", AssetReference(asset_id=ID)),
        (f"{HASH} [other]", None),
        (f"{HASH}[output]", None),
        (HASH[:-1], None),
        (HASH + "0", None),
        (HASH[:-1] + "g", None),
        (" " + HASH, None),
        (HASH + "\n", None),
        (HEX, None),
        (f"sha256:{HEX}", None),
        (f"BLAKE3:{HEX}", None),
        (f"asset:{ID.replace('-', '')}", None),
        (f"asset:{{{ID}}}", None),
        (f"asset:{ID}.png", None),
        ("asset:", None),
        ("blake3:", None),
        (f"a picture of {HASH}", None),
        ("", None),
    ],
)
def test_what_is_a_reference(text: str, reference: AssetReference | None) -> None:
    assert parse_reference(text) == reference


def body(**inputs: Any) -> dict[str, Any]:
    """A submitted body with one node."""
    return {"prompt": {"1": {"class_type": "Some", "inputs": inputs}}, "client_id": HASH}


@pytest.mark.parametrize(
    ("value", "replaced"),
    [
        (HASH, "new"),
        (["a", HASH, 1], ["a", "new", 1]),
        ([HASH, HASH], ["new", "new"]),
        ([HASH], ["new"]),
        ({"__value__": HASH}, {"__value__": "new"}),
        ({"__value__": [HASH, "b"]}, {"__value__": ["new", "b"]}),
        ({"__value__": HASH, "__type__": "COMBO"}, {"__value__": "new", "__type__": "COMBO"}),
        # Links, and what is no place for a file's name.
        ([HASH, 0], None),
        ([HASH, 1.0], None),
        ({"__value__": [HASH, 0]}, None),
        ({"file": HASH}, None),
        ([[HASH]], None),
        ({"__value__": {"a": HASH}}, None),
        (f"{HASH} ", None),
        (7, None),
        (None, None),
        (True, None),
    ],
)
def test_which_values_are_replaced(value: Any, replaced: Any) -> None:
    submitted = body(image=copy.deepcopy(value), other="text")
    uses = find_references(submitted)
    assert [(use.node_id, use.class_type, use.input_name, use.text) for use in uses] == (
        [("1", "Some", "image", HASH)] if replaced is not None else []
    )
    answer = replace_references(submitted, {("1", "image", HASH): "new"})
    assert answer == body(image=value if replaced is None else replaced, other="text")


def test_a_reference_may_stand_for_different_values_in_different_inputs() -> None:
    submitted = body(image=HASH, model=HASH, kept=HASH)
    answer = replace_references(
        submitted, {("1", "image", HASH): "a.png", ("1", "model", HASH): "b", ("2", "kept", HASH): "c"}
    )
    assert answer["prompt"]["1"]["inputs"] == {"image": "a.png", "model": "b", "kept": HASH}


@pytest.mark.parametrize(
    "odd",
    [
        None,
        HASH,
        [HASH],
        {},
        {"prompt": None},
        {"prompt": [HASH]},
        {"prompt": {"1": HASH}},
        {"prompt": {"1": {"inputs": HASH}}},
        {"prompt": {"1": {"inputs": [HASH]}}},
        {"prompt": {"1": {"class_type": HASH}}},
        {"extra_data": {"prompt": {"1": {"inputs": {"image": HASH}}}}},
    ],
)
def test_what_is_no_prompt_has_no_references(odd: Any) -> None:
    assert find_references(odd) == []
    if isinstance(odd, dict):
        assert replace_references(copy.deepcopy(odd), {}) == odd


def test_a_node_without_a_proper_class_type_may_name_assets() -> None:
    for class_type in (None, 3, {"a": 1}):
        submitted = {"prompt": {"1": {"class_type": class_type, "inputs": {"image": ASSET}}}}
        (use,) = find_references(submitted)
        assert (use.class_type, use.reference) == ("", AssetReference(asset_id=ID))
        assert DependentOutputs(submitted, lambda _: True).of("1") in ([], ["1"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([HASH, ASSET]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["__value__", "prompt", "inputs"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.dictionaries(st.text(max_size=2), st.fixed_dictionaries({"inputs": json_values})))
def test_without_values_nothing_changes_and_nothing_fails(rest: Any, graph: Any) -> None:
    for submitted in ({"prompt": graph, "rest": rest}, {"prompt": rest}):
        uses = find_references(submitted)
        assert replace_references(copy.deepcopy(submitted), {}) == submitted
        done = replace_references(copy.deepcopy(submitted), {(u.node_id, u.input_name, u.text): "new" for u in uses})
        assert find_references(done) == []


def test_the_outputs_that_depend_on_a_node() -> None:
    links = {"load": [], "scale": ["load"], "save": ["scale"], "peek": ["load"], "show": ["save"], "alone": []}
    graph = {
        name: {"class_type": name, "inputs": {str(i): [source, 0] for i, source in enumerate(sources)}}
        for name, sources in links.items()
    }
    graph["loop"] = {"class_type": "loop", "inputs": {"a": ["loop", 0], "b": ["nothing", 0]}}

    def above(node_id: str) -> list[str]:
        return DependentOutputs({"prompt": graph}, lambda kind: kind in ("save", "show", "alone", "loop")).of(node_id)

    assert above("load") == ["save", "show"]
    assert above("save") == ["save", "show"]
    assert above("peek") == []
    assert above("alone") == ["alone"]
    assert above("loop") == ["loop"]
