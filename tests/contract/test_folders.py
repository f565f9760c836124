"""`folder` of listings and histograms, and the tree of folders: paths, forms of names, counts, pages, users."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.fields import folder_path
from comfy_assets_node.comfy_assets.db.listing import folders as listing_folders
from comfy_assets_node.comfy_assets.errors import InvalidQueryError
from support.files import write_tagged

FILES = {
    "models/loras/plain.safetensors": [],
    "models/loras/Pony/Style/ink.safetensors": ["keep"],
    "models/loras/Pony/pony.safetensors": [],
    "models/checkpoints/base.ckpt": ["keep"],
    "input/photo.jpg": ["keep"],
    "output/1.png": [],
    "output/2026-01/2.png": ["keep"],
    "output/2026-01/3.png": [],
    "output/2026-01/cat/4.png": [],
    "output/2026-01-b/5.png": [],
    "output/École/6.png": [],
    "output/100%_x/7.png": [],
    "output/gone/8.png": [],
}
TREE = [
    ("input", 1, 1),
    ("models", 0, 4),
    ("models/checkpoints", 1, 1),
    ("models/loras", 1, 3),
    ("models/loras/Pony", 1, 2),
    ("models/loras/Pony/Style", 1, 1),
    ("output", 1, 7),
    ("output/100%_x", 1, 1),
    ("output/2026-01", 2, 3),
    ("output/2026-01/cat", 1, 1),
    ("output/2026-01-b", 1, 1),
    ("output/École", 1, 1),
]


@pytest.fixture
async def shelf(library: Any, api: Any) -> Any:
    """Files in folders, some with a tag of a user, of which one is gone."""
    await write_tagged(library, api, FILES)
    (library.base / "output/gone/8.png").unlink()
    await library.scan()
    return library


def rows(body: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The folders of an answer, with their counts."""
    for folder in body["folders"]:
        assert folder["name"] == folder["path"].rpartition("/")[2]
        assert folder["has_folders"] == (folder["total_count"] > folder["asset_count"])
    return [(each["path"], each["asset_count"], each["total_count"]) for each in body["folders"]]


SELECTED: list[tuple[dict[str, str], str]] = [
    ({"folder": "output"}, "1 2 3 4 5 6 7 8"),
    ({"folder": "output", "folder_recursive": "false"}, "1"),
    ({"folder": "output/"}, "1 2 3 4 5 6 7 8"),
    ({"folder": "output/2026-01"}, "2 3 4"),
    ({"folder": "output/2026-01", "folder_recursive": "false"}, "2 3"),
    ({"folder": "output/2026"}, ""),
    ({"folder": "output/100%_x"}, "7"),
    ({"folder": "output/École"}, "6"),
    ({"folder": "output/E\u0301cole"}, "6"),
    ({"folder": "models"}, "base ink plain pony"),
    ({"folder": "models/loras"}, "ink plain pony"),
    ({"folder": "models/loras/Pony/Style"}, "ink"),
    ({"folder": "models/loras/Pony", "folder_recursive": "false"}, "pony"),
    ({"folder": "temp"}, ""),
    ({"folder": ""}, "1 2 3 4 5 6 7 8 base ink photo plain pony"),
    ({"folder_recursive": "false"}, "1 2 3 4 5 6 7 8 base ink photo plain pony"),
    ({"folder": "output", "tags_all": "keep"}, "2"),
    ({"folder": "output", "tags_none": "keep,missing"}, "1 3 4 5 6 7"),
    ({"folder": "models", "tags_any": "checkpoints,keep"}, "base ink"),
    ({"folder": "output/2026-01", "name_contains": "4"}, "4"),
    ({"folder": "output", "q": "png"}, "1 2 3 4 5 6 7 8"),
    ({"folder": "output/2026-01", "q": "keep"}, "2"),
    ({"folder": "output/2026-01", "metadata_filter": '{"none": 1}'}, ""),
]


async def test_assets_in_a_folder(shelf: Any, api: Any) -> None:
    for query, stems in SELECTED:
        for sort in ("name", "created_at"):
            page = await api.get("/api/assets", sort=sort, order="asc", **query)
            assert sorted(asset["name"].partition(".")[0] for asset in page["assets"]) == stems.split(), query
            assert page["total"] == len(stems.split()), query
        histogram = await api.get("/api/assets/tags/refine", **query)
        assert histogram["tag_counts"] == Counter(tag for asset in page["assets"] for tag in asset["tags"]), query


async def test_a_hash_in_a_folder(shelf: Any, api: Any) -> None:
    asset = await shelf.asset("2.png")
    for folder, total in (("output/2026-01", 1), ("output/2026-01-b", 0)):
        assert (await api.get("/api/assets", hash=asset["hash"], folder=folder))["total"] == total
        assert (await api.get("/api/assets", hash="2026-01/2.png", folder=folder))["total"] == total


NO_FOLDERS = (
    "loras", "/output", "/", "\\output", "Output", "output//x", "output/..", "output/./x", "output/x/ .. ", "C:/output",
    "//", "output//", ".", "..", " ", "outputs",
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "field"),
    [("/api/assets", "folder"), ("/api/assets/tags/refine", "folder"), ("/api/assets/folders", "prefix")],
)
async def test_what_is_no_folder(api: Any, path: str, field: str) -> None:
    for folder in NO_FOLDERS:
        body = await api.error(path, 400, {field: folder})
        assert (body["code"], body["details"]["field"]) == ("INVALID_QUERY", field), folder


def test_backslashes_part_the_names_of_windows_alone() -> None:
    assert folder_path("models\\loras\\style\\", "folder", windows=True) == "models/loras/style"
    assert folder_path("output/a\\b", "folder", windows=False) == "output/a\\b"
    with pytest.raises(InvalidQueryError):
        folder_path("output\\a", "folder", windows=False)


@pytest.mark.parametrize("ignores_case", [False, True])
async def test_cases_are_as_on_the_file_system(
    shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch, ignores_case: bool
) -> None:
    monkeypatch.setattr(listing_folders, "IGNORES_CASE", ignores_case)
    found = int(ignores_case)
    for folder in ("models/loras/pony/STYLE", "output/école", "output/e\u0301COLE"):
        assert (await api.get("/api/assets", folder=folder))["total"] == found, folder
        assert len((await api.get("/api/assets/folders", prefix=folder))["folders"]) == found, folder


TREES: list[tuple[dict[str, str], list[tuple[str, int, int]]]] = [
    ({}, TREE),
    ({"depth": "1"}, [row for row in TREE if "/" not in row[0]]),
    ({"depth": "2"}, [row for row in TREE if row[0].count("/") < 2]),
    ({"depth": "0"}, []),
    ({"prefix": "output"}, [row for row in TREE if row[0].startswith("output")]),
    ({"prefix": "output/2026-01"}, [("output/2026-01", 2, 3), ("output/2026-01/cat", 1, 1)]),
    ({"prefix": "output/2026-01", "depth": "0"}, [("output/2026-01", 2, 3)]),
    ({"prefix": "models/loras", "depth": "1"}, [("models/loras", 1, 3), ("models/loras/Pony", 1, 2)]),
    ({"prefix": "output/E\u0301cole"}, [("output/École", 1, 1)]),
    ({"prefix": "output/gone"}, []),
    ({"prefix": "temp"}, []),
    ({"tags_all": "models"}, [row for row in TREE if row[0].startswith("models")]),
    ({"tags_none": "models,output"}, [("input", 1, 1)]),
    ({"tags_all": "missing"}, []),
    (
        {"tags_all": "keep", "depth": "2"},
        [("input", 1, 1), ("models", 0, 2), ("models/checkpoints", 1, 1), ("models/loras", 0, 1), ("output", 0, 1),
         ("output/2026-01", 1, 1)],
    ),
    ({"q": "pony -style"}, [("models", 0, 1), ("models/loras", 0, 1), ("models/loras/Pony", 1, 1)]),
]  # fmt: skip


async def test_the_tree(shelf: Any, api: Any) -> None:
    for query, wanted in TREES:
        assert rows(await api.get("/api/assets/folders", **query)) == wanted, query
        found: list[tuple[str, int, int]] = []
        after: dict[str, str] = {}
        while True:
            page = await api.get("/api/assets/folders", limit="4", **query, **after)
            found += rows(page)
            assert page["has_more"] == ("next_cursor" in page) == (len(found) < len(wanted)), query
            if not page["has_more"]:
                break
            after = {"after": page["next_cursor"]}
        assert found == wanted, query


async def test_counts_follow_the_files(shelf: Any, api: Any) -> None:
    """Moved, deleted, restored, returned and new ones."""
    (shelf.base / "output/2026-01").rename(shelf.base / "output/2026-02")
    shelf.write("output/gone/8.png", b"output/gone/8.png")
    shelf.write("output/2026-02/new/9.png", b"new")
    await shelf.scan()
    moved = [("output", 1, 9), ("output/2026-02", 2, 4), ("output/gone", 1, 1)]
    found = rows(await api.get("/api/assets/folders", prefix="output"))
    assert [row for row in found if row[0] in ("output", "output/2026-01", "output/2026-02", "output/gone")] == moved
    asset = await shelf.asset("2.png")
    await api.send("DELETE", f"/api/assets/{asset['id']}", 204)
    assert rows(await api.get("/api/assets/folders", prefix="output/2026-02", depth=0)) == [("output/2026-02", 1, 3)]
    assert (await api.get("/api/assets", folder="output/2026-02"))["total"] == 3
    await api.send("POST", f"/api/assets/{asset['id']}/restore")
    assert rows(await api.get("/api/assets/folders", prefix="output/2026-02", depth=0)) == [("output/2026-02", 2, 4)]


async def test_numbers_out_of_range(api: Any) -> None:
    for field, value in (("depth", "-1"), ("depth", "x"), ("depth", "1001"), ("limit", "0"), ("limit", "1001")):
        body = await api.error("/api/assets/folders", 400, {field: value})
        assert (body["code"], body["details"]["field"]) == ("INVALID_QUERY", field)


async def test_a_cursor_of_another_list(shelf: Any, api: Any) -> None:
    cursor = (await api.get("/api/assets", limit="1", sort="name"))["next_cursor"]
    for after in (cursor, "x"):
        assert (await api.error("/api/assets/folders", 400, {"after": after}))["code"] == "INVALID_CURSOR"
