"""Cursors of pages: opaque to clients, and refused if anybody changed them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.errors import InvalidCursorError
from comfy_assets_node.comfy_assets.models import CursorKey
from comfy_assets_node.routes.params import decode_cursor, encode_cursor
from hypothesis import given
from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)


def packed(value: Any) -> str:
    """A cursor that holds this, as the module writes it."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(INT64, INT64, st.sampled_from(["created_at", "size"]), st.sampled_from(["asc", "desc"]))
def test_numbers_come_back(value: int, row_id: int, sort: str, order: str) -> None:
    key = CursorKey(value, row_id)
    assert decode_cursor(encode_cursor(key, sort, order), sort, order) == key


@given(st.text(max_size=300), INT64)
def test_names_come_back(name: str, row_id: int) -> None:
    key = CursorKey(name, row_id)
    text = encode_cursor(key, "name", "asc")
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert decode_cursor(text, "name", "asc") == key


def test_its_form_is_stable() -> None:
    """Cursors that a client keeps over an update stay valid."""
    text = encode_cursor(CursorKey("a", 7), "name", "desc")
    assert text == packed([1, "name", "desc", "a", 7]) == "WzEsIm5hbWUiLCJkZXNjIiwiYSIsN10"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "=",
        "!!!!",
        "a b",
        "[]",
        packed(b"\xff"),
        packed([]),
        packed({}),
        packed([1, "size", "asc", 5]),
        packed([0, "size", "asc", 5, 1]),
        packed([2, "size", "asc", 5, 1]),
        packed([True, "size", "asc", 5, 1]),
        packed(["1", "size", "asc", 5, 1]),
        packed([1, "size", "asc", 5.5, 1]),
        packed([1, "size", "asc", None, 1]),
        packed([1, "size", "asc", "5", 1]),
        packed([1, "size", "asc", 5, "1"]),
        packed([1, "size", "asc", 2**63, 1]),
        packed([1, "size", "asc", -(2**63) - 1, 1]),
        packed([1, "size", "asc", 5, 2**63]),
        packed([1, "size", "asc", 5, -(2**63) - 1]),
        packed([1, "size", "asc", 10**400, 1]),
        packed([1, "size", "asc", 5, 1]) + "!",
        packed([1, "size", "asc", 5, 1]) + "!!!!",
        packed([1, "size", "asc", 5, 1]).replace("W", "+", 1),
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(InvalidCursorError, match=r"^The cursor is malformed\.$") as caught:
        decode_cursor(text, "size", "asc")
    assert caught.value.details == {"field": "after"}


def test_names_have_texts_and_others_numbers() -> None:
    with pytest.raises(InvalidCursorError, match="malformed"):
        decode_cursor(packed([1, "name", "asc", 5, 1]), "name", "asc")
    assert decode_cursor(packed([1, "name", "asc", "5", 1]), "name", "asc") == CursorKey("5", 1)


@pytest.mark.parametrize(("sort", "order"), [("created_at", "asc"), ("size", "desc"), ("name", "desc")])
def test_a_cursor_of_another_order(sort: str, order: str) -> None:
    with pytest.raises(InvalidCursorError, match=rf"belongs to sort={sort}, order={order}\.") as caught:
        decode_cursor(packed([1, sort, order, 5, 1]), "size", "asc")
    assert caught.value.details == {"field": "after"}


def test_how_long_it_may_be() -> None:
    name = "a" * (6144 - len(json.dumps([1, "name", "asc", "", 1], separators=(",", ":"))))
    longest = packed([1, "name", "asc", name, 1])
    assert len(longest) == 8192 and decode_cursor(longest, "name", "asc").value == name
    with pytest.raises(InvalidCursorError, match="malformed"):
        decode_cursor(packed([1, "name", "asc", name + "a", 1]), "name", "asc")


@given(st.one_of(st.text(), st.binary().map(packed), st.recursive(st.integers() | st.text(), st.lists).map(packed)))
def test_whatever_comes_is_a_key_or_refused(text: str) -> None:
    try:
        key = decode_cursor(text, "size", "asc")
    except InvalidCursorError:
        return
    assert isinstance(key.value, int) and isinstance(key.row_id, int)
