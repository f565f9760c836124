"""listTags and getAssetTagHistogram."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
async def shelf(library: Any, hand: Any) -> Any:
    """Five public files; tags with characters that patterns know."""
    for name in ("a.safetensors", "b.safetensors", "notes.txt"):
        library.write(f"models/loras/{name}")
    library.write("models/checkpoints/c.ckpt")
    library.write("output/o.png")
    await library.scan()
    await hand.belongs("o.png", "", "output", "100%", "100_percent", "Größe", "größe", "a,b")
    return library


COUNTS = {
    "models": 4, "loras": 3, "model_type:loras": 2, "checkpoints": 1, "model_type:checkpoints": 1,
    "output": 1, "100%": 1, "100_percent": 1, "Größe": 1, "größe": 1, "a,b": 1,
}  # fmt: skip
BY_COUNT = sorted(COUNTS, key=lambda name: (-COUNTS[name], name))
BY_NAME = sorted(COUNTS)


async def listed(api: Any, **query: str) -> list[str]:
    return [tag["name"] for tag in (await api.get("/api/tags", **query))["tags"]]


async def test_tags_and_their_counts(shelf: Any, api: Any) -> None:
    page = await api.get("/api/tags")
    assert page["tags"] == [{"name": name, "count": COUNTS[name]} for name in BY_COUNT]
    assert page["total"] == len(COUNTS)
    assert page["has_more"] is False
    assert await listed(api, order="count_desc") == BY_COUNT
    assert await listed(api, order="name_asc") == BY_NAME


PREFIXES: list[tuple[str, set[str]]] = [
    ("model", {"models", "model_type:loras", "model_type:checkpoints"}),
    ("model_type:", {"model_type:loras", "model_type:checkpoints"}),
    ("100%", {"100%"}),
    ("100_", {"100_percent"}),
    ("%", set()),
    ("_", set()),
    ("*", set()),
    ("Grö", {"Größe"}),
    ("MODEL", set()),
    ("models and more", set()),
    ("", set(COUNTS)),
    ("x" * 3000, set()),
    ("'", set()),
]


async def test_a_prefix_is_taken_literally(shelf: Any, api: Any) -> None:
    for prefix, names in PREFIXES:
        page = await api.get("/api/tags", prefix=prefix)
        assert {tag["name"] for tag in page["tags"]} == names, prefix
        assert page["total"] == len(names)


@pytest.mark.parametrize("order", ["count_desc", "name_asc"])
async def test_tags_page_by_page(shelf: Any, api: Any, order: str) -> None:
    pages = [await api.get("/api/tags", order=order, limit="4", offset=str(offset)) for offset in (0, 4, 8, 12)]
    names = [tag["name"] for page in pages for tag in page["tags"]]
    assert names == (BY_COUNT if order == "count_desc" else BY_NAME)
    assert [page["has_more"] for page in pages] == [True, True, False, False]
    assert {page["total"] for page in pages} == {len(COUNTS)}


@pytest.mark.parametrize("offset", ["11", "1000", str(2**63 - 1)])
async def test_an_offset_behind_the_end(shelf: Any, api: Any, offset: str) -> None:
    expected = {"tags": [], "total": len(COUNTS), "has_more": False}
    assert await api.get("/api/tags", offset=offset) == expected


async def test_tags_nothing_carries_any_more(shelf: Any, api: Any, hand: Any) -> None:
    await hand.belongs("notes.txt", "", "models", "loras", "passing")
    assert "passing" in await listed(api)
    await hand.belongs("notes.txt", "", "models", "loras")
    assert "passing" not in await listed(api)
    assert (await api.get("/api/tags", include_zero="false"))["total"] == len(COUNTS)
    page = await api.get("/api/tags", include_zero="true")
    assert {"name": "passing", "count": 0} in page["tags"]
    assert page["total"] == len(page["tags"]) == len(COUNTS) + 1
    assert page["tags"][-1]["count"] == 0
    assert await listed(api, include_zero="1", prefix="pass") == ["passing"]


async def test_public_tags_can_be_left_out(shelf: Any, api: Any, hand: Any) -> None:
    """Where there are several users."""
    shelf.host.users = frozenset({"default"})
    assert await api.get("/api/assets/tags/refine", include_public="false") == {"tag_counts": {}}
    assert await api.get("/api/tags", include_public="false") == {"tags": [], "total": 0, "has_more": False}
    await hand.belongs("notes.txt", "default", "models", "mine")
    page = await api.get("/api/tags", include_public="false")
    assert page["tags"] == [{"name": "mine", "count": 1}, {"name": "models", "count": 1}]
    assert {"name": "models", "count": 4} in (await api.get("/api/tags"))["tags"]
    shelf.host.users = None
    assert await api.get("/api/tags", include_public="false") == await api.get("/api/tags")
    histogram = "/api/assets/tags/refine"
    assert await api.get(histogram, include_public="false") == await api.get(histogram)


async def test_a_library_without_files(library: Any, api: Any) -> None:
    assert await api.get("/api/tags") == {"tags": [], "total": 0, "has_more": False}
    assert await api.get("/api/assets/tags/refine") == {"tag_counts": {}}


BAD_FOR_LIST = [
    *(("limit", v) for v in ["0", "-1", "1001", str(2**63), "9" * 5000, "x", "", "1.5"]),
    *(("offset", v) for v in ["-1", str(2**63), "9" * 5000, "x", ""]),
    *(("order", v) for v in ["", "count_asc", "name_desc", "COUNT_DESC"]),
    *(("include_zero", v) for v in ["", "yes", "2"]),
    *(("include_public", v) for v in ["", "yes", "2"]),
    ("prefix", "\0"),
]


async def test_a_bad_parameter_of_list_tags(library: Any, api: Any) -> None:
    for field, value in BAD_FOR_LIST:
        body = await api.error("/api/tags", 400, {field: value})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": field}), value


NOTES = {"models": 1, "loras": 1}
LORA_FILES = {"models": 2, "loras": 2, "model_type:loras": 2}
LORAS = {"models": 3, "loras": 3, "model_type:loras": 2}


HISTOGRAMS: list[tuple[list[tuple[str, str]], dict[str, int]]] = [
    ([], COUNTS),
    ([("limit", "1000")], COUNTS),
    ([("limit", "2")], {"models": 4, "loras": 3}),
    ([("include_tags", "loras")], LORAS),
    ([("include_tags", "models"), ("include_tags", "loras")], LORAS),
    ([("include_tags", "models,loras,model_type:loras")], LORA_FILES),
    ([("include_tags", "models"), ("exclude_tags", "model_type:loras,checkpoints")], NOTES),
    ([("exclude_tags", "output")], {n: c for n, c in COUNTS.items() if n in LORAS or "checkpoints" in n}),
    ([("include_tags", "nothing-has-this")], {}),
    ([("name_contains", "NOTES")], NOTES),
    ([("name_contains", "o"), ("include_tags", "models"), ("exclude_tags", "model_type:loras")], NOTES),
    ([("name_contains", "SAFETENSORS"), ("limit", "1")], {"loras": 2}),
    ([("name_contains", "%")], {}),
    ([("metadata_filter", json.dumps({"kind": "style"}))], {**NOTES, "model_type:loras": 1}),
    ([("metadata_filter", json.dumps({"kind": "other"}))], {}),
]


async def test_histogram(shelf: Any, api: Any, hand: Any) -> None:
    await hand.user_metadata("a.safetensors", {"kind": "style"})
    for query, counts in HISTOGRAMS:
        body = (await api.send("GET", "/api/assets/tags/refine", params=query)).json
        assert body == {"tag_counts": counts}, query


async def test_a_histogram_starts_with_the_most_frequent(shelf: Any, api: Any) -> None:
    assert list((await api.get("/api/assets/tags/refine"))["tag_counts"]) == BY_COUNT


async def test_a_histogram_has_no_tags_of_assets_that_are_gone(shelf: Any, api: Any, hand: Any) -> None:
    await hand.execute("DELETE FROM assets WHERE name = 'o.png'")
    for query in ({}, {"name_contains": "."}):
        assert "output" not in (await api.get("/api/assets/tags/refine", **query))["tag_counts"]


BAD_FOR_HISTOGRAM = [
    *(("limit", v) for v in ["0", "-1", "1001", str(2**63), "9" * 5000, "x", ""]),
    *(("include_public", v) for v in ["", "yes"]),
    ("metadata_filter", "["),
    ("name_contains", "\0"),
]


async def test_a_bad_parameter_of_the_histogram(library: Any, api: Any) -> None:
    for field, value in BAD_FOR_HISTOGRAM:
        body = await api.error("/api/assets/tags/refine", 400, {field: value})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": field}), value
