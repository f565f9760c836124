"""listAssets page by page: offsets, cursors, and cursors that are none."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from yarl import URL

COUNT = 23
SORTS = ["name", "created_at", "updated_at", "size"]


@pytest.fixture
async def shelf(library: Any, hand: Any) -> Any:
    """23 files with many equal names, sizes and times."""
    for index in range(COUNT):
        library.write(f"input/{index}/n{index % 5}.txt", b"x" * (index % 4))
    await library.scan()
    await hand.execute("UPDATE assets SET created_at = id % 3, updated_at = id % 6")
    return library


async def walk(api: Any, **query: Any) -> list[dict[str, Any]]:
    """Every page, by cursor."""
    pages = [await api.get("/api/assets", **query)]
    while "next_cursor" in pages[-1]:
        assert len(pages) <= COUNT * 2
        pages.append(await api.get("/api/assets", after=pages[-1]["next_cursor"], **query))
    return pages


def ids(*pages: dict[str, Any]) -> list[str]:
    return [asset["id"] for page in pages for asset in page["assets"]]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_cursors_lead_through_everything_once(shelf: Any, api: Any, sort: str, order: str) -> None:
    whole = await api.get("/api/assets", sort=sort, order=order, limit="500")
    for limit in ("1", "4", "23", "500"):
        pages = await walk(api, sort=sort, order=order, limit=limit)
        assert ids(*pages) == ids(whole), limit
        for page in pages:
            assert page["total"] == COUNT
            assert page["has_more"] is (page is not pages[-1])
            assert ("next_cursor" in page) is page["has_more"]


async def test_cursors_keep_to_the_filters(shelf: Any, api: Any) -> None:
    query = {"name_contains": "n2", "limit": "2", "sort": "size", "order": "asc"}
    pages = await walk(api, **query)
    assert {asset["name"] for page in pages for asset in page["assets"]} == {"n2.txt"}
    assert len(ids(*pages)) == len(set(ids(*pages))) == pages[0]["total"] == 5


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", [*SORTS, "last_access_time"])
async def test_offsets_lead_through_everything_once(shelf: Any, api: Any, sort: str, order: str) -> None:
    whole = await api.get("/api/assets", sort=sort, order=order, limit="500")
    pages = [
        await api.get("/api/assets", sort=sort, order=order, limit="5", offset=str(offset))
        for offset in range(0, COUNT + 5, 5)
    ]
    assert ids(*pages) == ids(whole)
    assert [page["has_more"] for page in pages] == [True] * 4 + [False, False]
    assert {page["total"] for page in pages} == {COUNT}
    if sort != "last_access_time":
        assert ["next_cursor" in page for page in pages] == [page["has_more"] for page in pages]


async def test_a_cursor_goes_before_an_offset(shelf: Any, api: Any) -> None:
    first = await api.get("/api/assets", limit="3")
    query = {"limit": "3", "after": first["next_cursor"]}
    assert ids(await api.get("/api/assets", offset="9", **query)) == ids(await api.get("/api/assets", **query))


@pytest.mark.parametrize(("sort", "order"), [("created_at", "desc"), ("name", "asc"), ("size", "asc")])
async def test_files_that_come_meanwhile_neither_repeat_nor_hide_others(
    shelf: Any, api: Any, sort: str, order: str
) -> None:
    before = set(ids(await api.get("/api/assets", limit="500")))
    seen: list[str] = []
    query: dict[str, str] = {"sort": sort, "order": order, "limit": "4"}
    while True:
        page = await api.get("/api/assets", **query)
        seen += ids(page)
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
        if len(seen) < COUNT:  # the newest come first: before the cursor, not after it
            shelf.write(f"input/new{len(seen)}/0.txt", b"")
            await shelf.scan()
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


async def test_an_asset_that_goes_meanwhile_is_no_obstacle(shelf: Any, api: Any, hand: Any) -> None:
    first = await api.get("/api/assets", limit="4")
    await hand.execute("DELETE FROM assets WHERE uuid = ?", ids(first)[-1])
    rest = await api.get("/api/assets", limit="500", after=first["next_cursor"])
    assert len(ids(first, rest)) == len(set(ids(first, rest))) == COUNT


async def test_a_cursor_serves_one_sort_and_order(shelf: Any, api: Any) -> None:
    kinds = list(itertools.product(SORTS, ("asc", "desc")))
    for own, (sort, order) in itertools.product(kinds, kinds):
        page = await api.get("/api/assets", sort=own[0], order=own[1], limit="3")
        query = {"sort": sort, "order": order, "after": page["next_cursor"]}
        if own == (sort, order):
            await api.get("/api/assets", **query)
            continue
        body = await api.error("/api/assets", 400, query)
        assert (body["code"], body["details"]) == ("INVALID_CURSOR", {"field": "after"})


async def test_the_last_access_time_has_no_cursors(shelf: Any, api: Any) -> None:
    page = await api.get("/api/assets", sort="last_access_time", limit="3")
    assert page["has_more"] is True
    assert "next_cursor" not in page
    cursor = (await api.get("/api/assets", limit="3"))["next_cursor"]
    for after in (cursor, "nonsense"):
        body = await api.error("/api/assets", 400, {"sort": "last_access_time", "after": after})
        assert body["details"] == {"field": "after"}


def token(*members: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


BAD_CURSORS = {
    "empty": "",
    "blank": " ",
    "words": "not a cursor",
    "no base64": "!!!!",
    "base64 of another alphabet": "a+/b",
    "one character": "a",
    "padding": "====",
    "unicode": "ｃｕｒｓｏｒ",
    "an emoji": "🦊",
    "not JSON": encoded(b"\xff\xfe\x00"),
    "JSON cut off": encoded(b'[1,"created_at"'),
    "null": encoded(b"null"),
    "an object": encoded(b"{}"),
    "too few members": token(1, "created_at", "desc", 5),
    "another version": token(2, "created_at", "desc", 5, 5),
    "no version": token(None, "created_at", "desc", 5, 5),
    "a true version": token(True, "created_at", "desc", 5, 5),
    "a text for a number": token(1, "created_at", "desc", "5", 5),
    "null for a number": token(1, "created_at", "desc", None, 5),
    "a list for a number": token(1, "created_at", "desc", [5], 5),
    "a fraction": token(1, "created_at", "desc", 5.5, 5),
    "a bool for a number": token(1, "created_at", "desc", True, 5),
    "a text for the row": token(1, "created_at", "desc", 5, "5"),
    "null for the row": token(1, "created_at", "desc", 5, None),
    "a value beyond 64 bits": token(1, "created_at", "desc", 2**63, 5),
    "a value far beyond": token(1, "created_at", "desc", 10**400, 5),
    "a row beyond 64 bits": token(1, "created_at", "desc", 5, -(2**63) - 1),
    "an unknown sort": token(1, "nothing", "desc", 5, 5),
    "half a character": encoded(b'[1,"created_at","desc","\\ud800",5]'),
    "no UTF-8": encoded(b'[1,"created_at","desc","\xed\xa0\x80",5]'),
    "deeply nested": encoded(b"[" * 3000),
    "huge": "A" * 7000,
}


async def test_a_bad_cursor(library: Any, api: Any) -> None:
    for case, text in BAD_CURSORS.items():
        body = await api.error("/api/assets", 400, {"after": text})
        assert (body["code"], body["details"]) == ("INVALID_CURSOR", {"field": "after"}), case
    for raw in ("%00", "AAAA%00AAAA", "%ED%A0%80", "%FF"):
        answer = await api.send("GET", URL(f"/api/assets?after={raw}", encoded=True), 400)
        assert answer.json["details"] == {"field": "after"}, raw


async def test_a_well_formed_cursor_may_point_anywhere(shelf: Any, api: Any) -> None:
    for number in (2**63 - 1, -(2**63), 0):
        page = await api.get("/api/assets", after=token(1, "created_at", "desc", number, number))
        assert page["total"] == COUNT
    for text in ("", "\0", "zzz", "'; --", "🦊"):
        page = await api.get("/api/assets", sort="name", order="asc", after=token(1, "name", "asc", text, 0))
        assert len(page["assets"]) in (0, 20), text


async def test_an_empty_library(library: Any, api: Any) -> None:
    assert await api.get("/api/assets") == {"assets": [], "total": 0, "has_more": False}
    assert await api.get("/api/assets", offset="5") == {"assets": [], "total": 0, "has_more": False}
