"""Links to folders: into several categories, to a folder above, to another root; by a scan and while following."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index import content_reader, watcher
from comfy_assets_node.comfy_assets.assets.index.content_reader import SMALL_FILE
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import tags
from comfy_assets_node.comfy_assets.host.testing import USER_HEADER
from support.files import safetensors
from support.windows import symbolic_links

pytestmark = symbolic_links

FOLLOWING = Config(scan_on_start=True, follow=True)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(400):
        if await holds():
            return
        await asyncio.sleep(0.05)
    assert await holds()


async def places(library: Any, **parameters: str) -> dict[str, list[str]]:
    return {asset["file_path"]: asset["tags"] for asset in await library.assets(**parameters)}


def link(library: Any, name: str, target: str | Path) -> Path:
    path = Path(library.base / name)
    path.symlink_to(target)
    return path


def typed(category: str, *more: str) -> list[str]:
    return ["models", category, f"model_type:{category}", *more]


BOTH = {
    "models/checkpoints/both/d.safetensors": typed("checkpoints"),
    "models/checkpoints/both/sub/e.safetensors": typed("checkpoints"),
    "models/loras/both/d.safetensors": typed("loras"),
    "models/loras/both/sub/e.safetensors": typed("loras"),
}


@pytest.fixture(params=["two links", "a link to a real folder", "a link to a link"])
def store(request: pytest.FixtureRequest, library: Any) -> Path:
    """A folder that two categories list as "both"."""
    real = Path(library.base / ("models/checkpoints/both" if request.param == "a link to a real folder" else "store"))
    (real / "sub").mkdir(parents=True)
    (real / "d.safetensors").write_bytes(b"d")
    (real / "sub/e.safetensors").write_bytes(b"e")
    if request.param != "a link to a real folder":
        link(library, "models/checkpoints/both", real)
    link(library, "models/loras/both", library.base / "models/checkpoints/both" if "to a" in request.param else real)
    return real


async def test_a_folder_in_two_categories_is_in_both(library: Any, store: Path) -> None:
    status = await library.scan()
    assert (status["problems"], await places(library)) == (0, BOTH)
    for category in ("checkpoints", "loras"):
        found = await library.assets(include_tags=f"model_type:{category}")
        assert {a["loader_path"] for a in found} == {"both/d.safetensors", "both/sub/e.safetensors"}
        assert len({a["hash"] for a in found}) == 2
    assert len({a["id"] for a in await library.assets()}) == 4
    assert (await library.scan())["missing"] == 0
    assert await places(library) == BOTH


async def test_each_name_keeps_what_it_was_given_when_the_file_moves(library: Any, store: Path) -> None:
    await library.scan()
    given = await give_tags(library)
    (store / "d.safetensors").rename(store / "sub/renamed.safetensors")
    (store / "sub/e.safetensors").rename(store / "e.safetensors")
    (store / "sub").rename(store / "deep")
    status = await library.scan()
    assert (status["moved"], await library.assets(include_tags="missing")) == (4, [])
    for category in ("checkpoints", "loras"):
        found = {a["id"]: (a["file_path"], a["tags"]) for a in await library.assets(include_tags=category)}
        assert found == {
            given[category, "d"]: (
                f"models/{category}/both/deep/renamed.safetensors",
                typed(category, f"{category}-d"),
            ),
            given[category, "e"]: (f"models/{category}/both/e.safetensors", typed(category, f"{category}-e")),
        }


async def give_tags(library: Any) -> dict[tuple[str, str], str]:
    """Tag every name with its category and letter; answers the ids."""
    given = {}
    for asset in await library.assets():
        key = asset["tags"][1], asset["name"][0]
        response = await library.client.post(f"/api/assets/{asset['id']}/tags", json={"tags": ["-".join(key)]})
        assert response.status == 200, await response.text()
        given[key] = asset["id"]
    return given


async def test_a_link_that_is_removed_takes_its_names_alone(library: Any, store: Path) -> None:
    await library.scan()
    given = await give_tags(library)
    removed = library.base / "models/loras/both"
    target = os.readlink(removed)
    removed.unlink()
    await library.scan()
    gone = await library.assets(include_tags="missing")
    assert {a["id"] for a in gone} == {given["loras", "d"], given["loras", "e"]}
    assert {a["tags"][1] for a in await library.assets(exclude_tags="missing")} == {"checkpoints"}
    link(library, "models/loras/other", target)  # under another name
    await library.scan()
    assert await library.assets(include_tags="missing") == []
    moved = {a["id"]: a["loader_path"] for a in await library.assets(include_tags="loras")}
    assert moved == {
        given["loras", "d"]: "other/d.safetensors",
        given["loras", "e"]: "other/sub/e.safetensors",
    }


async def test_a_name_that_is_deleted_leaves_the_other(library: Any, store: Path) -> None:
    await library.scan()
    [asset] = [a for a in await library.assets(include_tags="loras") if a["name"] == "d.safetensors"]
    assert (await library.client.delete(f"/api/assets/{asset['id']}")).status == 204
    left = {path: tags for path, tags in BOTH.items() if path != "models/loras/both/d.safetensors"}
    assert await places(library) == left
    await library.scan()
    assert await places(library) == left and (store / "d.safetensors").read_bytes() == b"d"
    (store / "d.safetensors").rename(store / "x.safetensors")
    await library.scan()
    assert set(await places(library)) - set(left) == {"models/checkpoints/both/x.safetensors"}
    await library.services.trash.restore(asset["id"])
    assert "models/loras/both/x.safetensors" in await places(library)


async def test_an_upload_in_such_a_folder_goes_to_the_trash_and_back(library: Any) -> None:
    link(library, "models/checkpoints/all", library.base / "models/loras")
    form = FormData({"tags": '["models", "loras"]'})
    form.add_field("file", safetensors(), filename="u.safetensors")
    uploaded = await (await library.client.post("/api/assets", data=form)).json()
    await library.scan()
    both = {"models/checkpoints/all/u.safetensors", "models/loras/u.safetensors"}
    assert set(await places(library)) == both
    assert (await library.client.delete(f"/api/assets/{uploaded['id']}")).status == 204
    await library.scan()
    assert not (library.base / "models/loras/u.safetensors").exists()
    assert await places(library) == {"models/checkpoints/all/u.safetensors": typed("checkpoints", "missing")}
    await library.services.trash.restore(uploaded["id"])
    await library.scan()
    assert set(await places(library)) == both and await library.assets(include_tags="missing") == []


@pytest.mark.parametrize("kind", ["an upload", "an output"])
async def test_other_names_of_a_users_file_are_the_users(make_library: Callable[..., Any], kind: str) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    if kind == "an upload":
        form = FormData({"tags": '["models", "loras"]'})
        form.add_field("file", safetensors(), filename="u.safetensors")
        response = await library.client.post("/api/assets", data=form, headers={USER_HEADER: "ann"})
        assert response.status == 201, await response.text()
        path, name = "models/loras/u.safetensors", "models/checkpoints/all"
    else:
        library.write("output/trained/u.safetensors", safetensors())
        await library.scan()
        async with library.services.db.transaction() as tx:
            await tags.give_public(tx, [await tx.fetch_value("SELECT id FROM assets")], "ann")
        path, name = "output/trained/u.safetensors", "models/loras/trained"
    library.write(f"{Path(path).parent}/public.safetensors", safetensors(1))
    link(library, name, (library.base / path).parent)
    await library.scan()

    async def seen_by(user: str) -> set[str]:
        answer = await library.get("/api/assets?limit=500", headers={USER_HEADER: user})
        return {asset["file_path"] for asset in answer["assets"]}

    public = {f"{Path(path).parent}/public.safetensors", f"{name}/public.safetensors"}
    assert await seen_by("bob") == public
    assert await seen_by("ann") == {*public, path, f"{name}/u.safetensors"}
    (library.base / name / "x.safetensors").write_bytes(b"public")
    await library.scan()
    assert await seen_by("bob") == {*public, f"{name}/x.safetensors", f"{Path(path).parent}/x.safetensors"}
    # Then ann's file gets the name, once the public one is gone.
    (library.base / name / "x.safetensors").unlink()
    await library.scan()
    (library.base / path).rename((library.base / path).with_name("x.safetensors"))
    await library.scan()
    here = await library.get("/api/assets?exclude_tags=missing", headers={USER_HEADER: "bob"})
    assert {asset["file_path"] for asset in here["assets"]} == public


@pytest.mark.parametrize("later", [False, True], ids=["both at once", "one after the other"])
async def test_a_large_model_in_two_categories_is_hashed_once(
    library: Any, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    library.write("store/large.safetensors", safetensors(elements=SMALL_FILE))
    hashed: list[str] = []
    real = content_reader._digest_large

    def digest_large(stream: Any, file: Any, *rest: Any) -> bytes:
        hashed.append(file.name)
        return real(stream, file, *rest)

    monkeypatch.setattr(content_reader, "_digest_large", digest_large)
    link(library, "models/checkpoints/both", library.base / "store")
    if later:
        await library.scan()
    link(library, "models/loras/both", library.base / "store")
    await library.scan()
    found = await library.assets()
    assert len({a["hash"] for a in found}) == 1 and len(found) == 2
    assert [a["metadata"] for a in found] == [found[0]["metadata"]] * 2 and found[0]["metadata"] != {}
    assert hashed == ["large.safetensors"]
    # Another file of the same size and time is read.
    path = library.base / "store/large.safetensors"
    replaced = path.with_name("x")
    replaced.write_bytes(safetensors(fill=1, elements=SMALL_FILE))
    os.utime(replaced, ns=(0, path.stat().st_mtime_ns))
    replaced.replace(path)
    await library.scan()
    assert {a["hash"] for a in await library.assets()} == {f"blake3:{blake3(path.read_bytes()).hexdigest()}"}
    assert len(hashed) == 2


REFUSED = [
    ("models/loras/up", "..", "that it is in"),
    ("models/loras/up2", "../..", "that it is in"),
    ("models/loras/self", ".", "that it is in"),
    ("models/loras/results", "../../output", "indexed as output"),
    ("input/link", "../output", "indexed as output"),
    ("input/part", "../output/deep", "indexed as output"),
    ("output/models", "../models/loras", "indexed as models"),
    ("output/above", "../..", "that it is in"),
]


@pytest.mark.parametrize(("name", "target", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_link_to_a_folder_above_or_to_another_root_is_not_followed(
    library: Any, name: str, target: str, reason: str
) -> None:
    files = {"models/loras/a.safetensors", "output/deep/b.png", "input/c.png"}
    for path in files:
        library.write(path, path.encode())
    link(library, name, target)
    status = await library.scan()
    assert set(await places(library)) == files
    assert status["problems"] == 1 and reason in status["errors"][0] and name in status["errors"][0]


async def test_links_do_not_lead_round(library: Any, tmp_path: Path) -> None:
    """Each alone leads elsewhere."""
    library.write("elsewhere/a.safetensors", b"a")
    library.write("models/loras/b.safetensors", b"b")
    link(library, "models/loras/out", library.base / "elsewhere")
    link(library, "elsewhere/back", library.base / "models")
    link(library, "elsewhere/again", library.base / "elsewhere")
    await library.scan()
    assert set(await places(library)) == {"models/loras/out/a.safetensors", "models/loras/b.safetensors"}


async def test_a_root_below_a_linked_folder_is_not_listed_again(library: Any) -> None:
    drive = library.base / "drive"
    library.write("drive/models/a.safetensors", b"a")
    (library.base / "output").rmdir()
    (drive / "pictures").mkdir()
    link(library, "output", drive / "pictures")
    library.write("drive/pictures/b.png", b"b")
    link(library, "models/loras/drive", drive)
    await library.scan()
    assert set(await places(library)) == {"models/loras/drive/models/a.safetensors", "output/b.png"}


async def test_models_in_the_output_folder_may_be_linked_into_a_category(library: Any) -> None:
    library.write("output/trained/a.safetensors", b"a")
    link(library, "models/loras/trained", library.base / "output/trained")
    await library.scan()
    assert await places(library) == {
        "output/trained/a.safetensors": ["output"],
        "models/loras/trained/a.safetensors": typed("loras"),
    }


async def test_what_a_link_gave_before_keeps_all(library: Any, annotate: Callable[..., Any]) -> None:
    """Earlier versions followed such links."""
    library.write("kept/a.png", b"a")
    entry = link(library, "input/link", library.base / "kept")
    await library.scan()
    asset_id = await annotate(library, "a.png", "mine")
    entry.unlink()
    library.write("output/a.png", b"b")
    link(library, "input/link", library.base / "output")
    await library.scan()
    assert {a["id"]: a["tags"] for a in await library.assets(include_tags="mine")} == {
        asset_id: ["input", "mine", "missing"]
    }


@pytest.fixture
async def followed(make_library: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A library that is followed, with a folder in two categories."""
    monkeypatch.setattr(watcher, "TICK_S", 0.02)
    monkeypatch.setattr(watcher, "POLL_S", 0.1)
    monkeypatch.setattr(watcher, "POLL_SHARE", 1)
    monkeypatch.setattr(watcher, "STABLE_S", 0.1)
    monkeypatch.setattr(watcher, "REMOVAL_S", 0.2)
    library = await make_library(Config(scan_on_start=False))
    (library.base / "store/sub").mkdir(parents=True)
    library.write("store/d.safetensors", b"d")
    library.write("store/sub/e.safetensors", b"e")
    for category in ("checkpoints", "loras"):
        link(library, f"models/{category}/both", library.base / "store")
    await library.services.stop()
    library = await make_library(FOLLOWING)

    async def is_listed() -> bool:
        return await places(library) == BOTH

    await until(is_listed)
    await library.services.indexer.finish()
    yield library


async def test_both_names_follow_the_disk(followed: Any) -> None:
    library = followed
    given = await give_tags(library)
    library.write("store/new.safetensors", b"new")
    (library.base / "store/d.safetensors").rename(library.base / "store/renamed.safetensors")
    (library.base / "store/sub/e.safetensors").unlink()

    async def is_followed() -> bool:
        found = await library.assets()
        return {(a["id"] if a["name"][0] != "n" else "", a["file_path"], a["tags"][-1]) for a in found} == {
            row
            for category in ("checkpoints", "loras")
            for row in (
                ("", f"models/{category}/both/new.safetensors", f"model_type:{category}"),
                (given[category, "d"], f"models/{category}/both/renamed.safetensors", f"{category}-d"),
                (given[category, "e"], f"models/{category}/both/sub/e.safetensors", "missing"),
            )
        }

    await until(is_followed)


async def test_a_link_that_is_made_while_the_disk_is_followed(followed: Any) -> None:
    library = followed
    library.write("output/a.png", b"a")
    link(library, "input/link", library.base / "output")
    link(library, "models/loras/up", library.base / "models")
    link(library, "models/loras/third", library.base / "store/sub")
    library.write("output/b.png", b"b")

    async def is_followed() -> bool:
        return set(await places(library)) == {*BOTH, "output/a.png", "output/b.png"}

    # The third link leads to a folder that this category lists already.
    await until(is_followed)
    await library.scan()
    assert await is_followed()
