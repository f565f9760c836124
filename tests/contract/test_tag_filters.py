"""tags_all, tags_any and tags_none of listings and histograms, their older names, and what is unknown of a query."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
from support.files import write_tagged

FILES = {
    "models/loras/ink.safetensors": [],
    "models/checkpoints/base.ckpt": ["keep"],
    "input/photo.jpg": ["keep", "x"],
    "input/mask.png": [],
    "output/1.png": ["keep"],
    "output/2.png": ["x"],
    "output/3.png": ["Keep"],
}
NAMES = {path.rpartition("/")[2] for path in FILES}


@pytest.fixture
async def shelf(library: Any, api: Any) -> Any:
    """Seven files, some with tags of a user, of which one is gone."""
    await write_tagged(library, api, FILES)
    (library.base / "output/2.png").unlink()
    await library.scan()
    return library


PASSING: list[tuple[list[tuple[str, str]], set[str]]] = [
    ([("tags_any", "input")], {"photo.jpg", "mask.png"}),
    ([("tags_any", "output,temp"), ("tags_none", "missing")], {"1.png", "3.png"}),
    ([("tags_any", "output"), ("tags_any", "loras")], {"1.png", "2.png", "3.png", "ink.safetensors"}),
    ([("tags_any", "keep")], {"base.ckpt", "photo.jpg", "1.png"}),
    ([("tags_any", "Keep, x")], {"photo.jpg", "2.png", "3.png"}),
    ([("tags_any", "x,keep,nobody-has-this")], {"base.ckpt", "photo.jpg", "1.png", "2.png"}),
    ([("tags_any", "loras,keep")], {"ink.safetensors", "base.ckpt", "photo.jpg", "1.png"}),
    ([("tags_any", "nobody-has-this")], set()),
    ([("tags_any", "")], NAMES),
    ([("tags_any", ","), ("tags_all", ""), ("include_tags", "input"), ("tags_none", "")], {"photo.jpg", "mask.png"}),
    ([("tags_all", "output"), ("tags_any", "keep,x")], {"1.png", "2.png"}),
    ([("tags_all", "keep"), ("tags_any", "input,models")], {"base.ckpt", "photo.jpg"}),
    ([("tags_all", "keep,x")], {"photo.jpg"}),
    ([("tags_any", "keep,x"), ("tags_none", "x")], {"base.ckpt", "1.png"}),
    ([("tags_any", "keep"), ("tags_none", "keep")], set()),
    ([("tags_any", "output,keep"), ("tags_none", "keep,missing")], {"3.png"}),
    ([("include_tags", "output"), ("tags_none", "missing")], {"1.png", "3.png"}),
    ([("tags_all", "output"), ("exclude_tags", "missing")], {"1.png", "3.png"}),
    ([("tags_none", "missing,models")], {"photo.jpg", "mask.png", "1.png", "3.png"}),
    ([("include_tags", "keep"), ("exclude_tags", "keep")], set()),
    ([("tags_any", "keep,x"), ("name_contains", "png")], {"1.png", "2.png"}),
    ([("tags_any", "keep,loras"), ("q", "base")], {"base.ckpt"}),
]


@pytest.mark.parametrize(("query", "names"), PASSING, ids=[str(query)[:60] for query, _ in PASSING])
async def test_assets_by_their_tags(shelf: Any, api: Any, query: list[tuple[str, str]], names: set[str]) -> None:
    page = (await api.send("GET", "/api/assets", params=[*query, ("sort", "name"), ("order", "asc")])).json
    assert [asset["name"] for asset in page["assets"]] == sorted(names)
    assert page["total"] == len(names)
    histogram = (await api.send("GET", "/api/assets/tags/refine", params=query)).json
    assert histogram["tag_counts"] == Counter(tag for asset in page["assets"] for tag in asset["tags"])


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "name", "size"])
async def test_any_of_several_by_cursor(shelf: Any, api: Any, sort: str) -> None:
    names: list[str] = []
    query = {"tags_any": "keep,x,loras", "sort": sort, "limit": "2"}
    while True:
        page = await api.get("/api/assets", **query)
        assert page["total"] == 5
        names += [asset["name"] for asset in page["assets"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
    assert Counter(names) == Counter(["ink.safetensors", "base.ckpt", "photo.jpg", "1.png", "2.png"])


MANY = ",".join(f"tag{n}" for n in range(101))
REFUSED: list[tuple[dict[str, str], dict[str, Any]]] = [
    *(({name: MANY}, {"field": name, "parameter": name, "count": 101, "max": 100}) for name in
      ("tags_all", "tags_any", "tags_none", "include_tags", "exclude_tags")),
    ({"tags_any": ",".join(f"t{n}" for n in range(1200))},
     {"field": "tags_any", "parameter": "tags_any", "count": 1200, "max": 100}),
    ({"include_tags": "a", "tags_all": "b"}, {"field": "include_tags", "parameters": ["include_tags", "tags_all"]}),
    ({"include_tags": "a", "tags_all": "a"}, {"field": "include_tags", "parameters": ["include_tags", "tags_all"]}),
    ({"exclude_tags": "a", "tags_none": "b"}, {"field": "exclude_tags", "parameters": ["exclude_tags", "tags_none"]}),
    ({"tags_all": "b,a,c", "tags_none": "c,b"},
     {"field": "tags_none", "parameters": ["tags_all", "tags_none"], "conflicting_tags": ["b", "c"]}),
    ({"include_tags": "a", "tags_none": "a"},
     {"field": "tags_none", "parameters": ["include_tags", "tags_none"], "conflicting_tags": ["a"]}),
    ({"include_tags": "a", "exclude_tags": "a", "tags_any": "b"},
     {"field": "exclude_tags", "parameters": ["include_tags", "exclude_tags"], "conflicting_tags": ["a"]}),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/api/assets", "/api/assets/tags/refine"])
async def test_filters_that_make_no_sense_are_refused(library: Any, api: Any, path: str) -> None:
    for query, details in REFUSED:
        body = await api.error(path, 400, query)
        assert (body["code"], body["details"]) == ("INVALID_TAG_FILTER", details)
        assert body["message"]
    hundred = ",".join(f"tag{n}" for n in range(100))
    assert (await api.send("GET", path, params={"tags_any": hundred, "tags_none": hundred})).status == 200
    assert (await api.send("GET", path, params={"tags_any": ",".join(["tag"] * 300)})).status == 200


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "query parameter" in record.getMessage()]


async def test_an_unknown_parameter_is_reported_once(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        await api.get("/api/assets", tags_anyy="secret", limit="1", tags_any="a")
        await api.get("/api/tags", tags_anyy="secret")
        await api.get("/api/assets/seed/status", verbose="1")
        await api.get("/api/assets", **{"a\nb\x1b[31m": "1"})
    assert sorted(reports(caplog)) == [
        "getAssetSeedStatus has no query parameter 'verbose': it is ignored",
        "listAssets has no query parameter 'a\\nb\\x1b[31m': it is ignored",
        "listAssets has no query parameter 'tags_anyy': it is ignored",
        "listTags has no query parameter 'tags_anyy': it is ignored",
    ]
    assert "secret" not in caplog.text


async def test_reports_of_parameters_are_bounded(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for number in range(15):
        await api.get("/api/assets", **{f"{'x' * 200}{number}": "1"})  # told apart by their beginnings only
        await api.get("/api/tags", **{f"n{number}_{each}": "1" for each in range(20)})
    assert len(reports(caplog)) <= 202
    assert max(map(len, reports(caplog))) < 200
