"""getUserdataFilePublish, postUserdataFilePublish, getPublishedWorkflow; withdrawing, importing and reading shares."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import ShareNotFoundError
from comfy_assets_node.comfy_assets.workflows.service import purge_workflows, restore_workflow
from support.files import picture
from yarl import URL

GRAPH = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["photo.png", "image"]}], "version": 0.4}
SHARE = "/api/workflows/published/"
IMPORT = "/api/assets/import"
NOBODY = "00000000-0000-4000-8000-00000000ffff"
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


png = partial(picture, size=(8, 4))


@dataclass(frozen=True)
class Desk:
    """A user of the file ``workflows/portrait.json``."""

    library: Any
    api: Any
    hand: Any
    file: str = "/api/userdata/workflows%2Fportrait.json/publish"

    async def save(self, value: Any = GRAPH, name: str = "portrait") -> Any:
        """Save a workflow in a file of the user."""
        return (await self.api.send("POST", "/api/workflows", 201, json={"workflow_json": value, "name": name})).json

    async def publish(self, *names: str) -> Any:
        """Publish the workflow with the assets of these names, and return the response."""
        ids = [(await self.named(name))["id"] for name in names]
        return (await self.api.send("POST", self.file, json={"asset_ids": ids})).json

    async def named(self, name: str) -> Any:
        (found,) = [asset for asset in (await self.api.get("/api/assets"))["assets"] if asset["name"] == name]
        return found

    async def status(self) -> Any:
        return await self.api.get(self.file)

    async def open(self, share_id: str, status: int = 200) -> Any:
        return await self.api.get(SHARE + share_id, status)

    async def take(self, share: Any, status: int = 200, ids: Any = None) -> Any:
        wanted = [asset["id"] for asset in share["assets"]] if ids is None else ids
        body = {"published_asset_ids": wanted, "share_id": share["share_id"]}
        return (await self.api.send("POST", IMPORT, status, json=body)).json

    async def content(self, asset: Any, status: int = 200) -> bytes:
        return (await replace(self.api, user=None).send("GET", asset["storage_url"], status)).body


@pytest.fixture
async def desk(library: Any, api: Any, hand: Any) -> Desk:
    """An image, a model and a saved workflow."""
    library.write("input/photo.png", png(1))
    library.write("models/loras/style/ink.safetensors", b"ink")
    await library.scan()
    made = Desk(library, api, hand)
    await made.save()
    return made


@pytest.fixture
async def pair(make_library: Any, api_of: Any, hand_of: Any) -> tuple[Desk, Desk]:
    """Ann and Bob on one server; Ann has uploaded an image and saved a workflow."""
    library = await make_library(users=frozenset({"ann", "bob"}))
    api, hand = api_of(library), hand_of(library)
    ann, bob = Desk(library, api.as_user("ann"), hand), Desk(library, api.as_user("bob"), hand)
    form = FormData()
    form.add_field("file", png(7), filename="secret.png")
    await ann.api.send("POST", "/api/assets", 201, data=form)
    await ann.save()
    return ann, bob


def without(body: Any, *members: str) -> Any:
    return {key: value for key, value in body.items() if key not in members}


async def test_a_workflow_that_was_never_published(desk: Desk) -> None:
    body = await desk.status()
    assert without(body, "workflow_id") == {
        "share_id": "",
        "listed": False,
        "publish_time": None,
        "open": False,
        "assets": [],
    }


async def test_what_is_published(desk: Desk) -> None:
    share = await desk.publish("photo.png", "ink.safetensors")
    assert WELL_FORMED.fullmatch(share["share_id"]) and len(share["share_id"]) >= 32
    assert await desk.status() == share
    url = f"{SHARE}{share['share_id']}/assets/{share['assets'][0]['id']}/content"
    assert share["assets"][0] == {
        "id": share["assets"][0]["id"],
        "name": "photo.png",
        "model": False,
        "public": False,
        "in_library": True,
        "storage_url": url,
        "preview_url": url + "?res=512",
    }
    model = share["assets"][1]
    assert (model["name"], model["model"], model["preview_url"]) == ("ink.safetensors", True, "")
    ids = {(await desk.named(name))["id"] for name in ("photo.png", "ink.safetensors")}
    assert not ids & {asset["id"] for asset in share["assets"]}
    opened = await desk.open(share["share_id"])
    assert without(opened, "name", "workflow_json") == without(share, "open")
    assert (opened["name"], opened["workflow_json"]) == ("portrait", GRAPH)


async def test_a_snapshot_tells_where_assets_were_found(desk: Desk) -> None:
    share = await desk.publish("photo.png", "ink.safetensors")
    snapshot = await desk.library.services.shares.snapshot(share["share_id"])
    assert json.loads(snapshot.text) == GRAPH
    assert (snapshot.name, snapshot.version, snapshot.owner) == ("portrait", 1, "default")
    assert [(a.kind, a.category, a.path, a.name, a.size) for a in snapshot.assets] == [
        ("input", None, "photo.png", "photo.png", len(png(1))),
        ("models", "loras", "style/ink.safetensors", "ink.safetensors", 3),
    ]
    assert "blake3:" + snapshot.assets[0].hash.hex() == (await desk.named("photo.png"))["hash"]
    with pytest.raises(ShareNotFoundError):
        await desk.library.services.shares.snapshot("x")


@pytest.mark.parametrize(
    "file",
    [
        "workflows%2Fportrait.json",
        "workflows%252Fportrait.json",
        "%77orkflows%2F%70ortrait.json",
        "workflows%2F..%2Fworkflows%2Fportrait.json",
    ],
)
async def test_how_the_file_may_be_written(desk: Desk, file: str) -> None:
    share = await desk.publish()
    async with desk.library.client.get(URL(f"/api/userdata/{file}/publish", encoded=True)) as response:
        assert (await response.json())["share_id"] == share["share_id"]


@pytest.mark.parametrize(
    "file",
    ["portrait.json", "workflows", "workflows%2F", "workflows%2Fother.json", "workflows%2Fsub%2Fportrait.json",
     "portraits%2Fportrait.json", "comfy.settings.json", "workflows%2F..%2F..%2Fworkflows%2Fportrait.json",
     "%FF", "workflows%2F%00", "workflows%25zz"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_files_that_are_no_workflows(desk: Desk, method: str, file: str) -> None:
    share = await desk.publish("photo.png")
    body = {"json": {"asset_ids": []}} if method == "POST" else {}
    url = URL(f"/api/userdata/{file}/publish", encoded=True)
    async with desk.library.client.request(method, url, **body) as response:
        assert (response.status, (await response.json())["code"]) == (404, "WORKFLOW_NOT_FOUND")
    assert await desk.status() == share


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "INVALID_BODY", "asset_ids"),
        (b"{", "INVALID_BODY", None),
        (b"[]", "INVALID_BODY", None),
        (b"\xff", "INVALID_BODY", None),
        ({}, "INVALID_BODY", "asset_ids"),
        ({"asset_ids": None}, "INVALID_BODY", "asset_ids"),
        ({"asset_ids": "x"}, "INVALID_BODY", "asset_ids"),
        ({"asset_ids": [7]}, "INVALID_BODY", "asset_ids[0]"),
        ({"asset_ids": [NOBODY] * 501}, "INVALID_BODY", "asset_ids"),
        ({"asset_ids": ["no-uuid"]}, "UNKNOWN_ASSETS", "asset_ids"),
        ({"asset_ids": ["../x"]}, "UNKNOWN_ASSETS", "asset_ids"),
        ({"asset_ids": ["\0"]}, "UNKNOWN_ASSETS", "asset_ids"),
        ({"asset_ids": [NOBODY]}, "UNKNOWN_ASSETS", "asset_ids"),
    ],
)
async def test_what_cannot_be_published(desk: Desk, body: Any, code: str, field: str | None) -> None:
    share = await desk.publish("photo.png")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = (await desk.api.send("POST", desk.file, 400, data=raw)).json
    assert (error["code"], error.get("details", {}).get("field")) == (code, field)
    if code == "UNKNOWN_ASSETS":
        assert error["details"]["ids"] == body["asset_ids"]
    assert await desk.status() == share


async def test_assets_whose_files_are_away(desk: Desk) -> None:
    ids = [(await desk.named(name))["id"] for name in ("ink.safetensors", "photo.png")]
    (desk.library.base / "input/photo.png").unlink()
    await desk.library.scan()
    error = (await desk.api.send("POST", desk.file, 400, json={"asset_ids": ids})).json
    assert (error["code"], error["details"]["ids"]) == ("ASSET_NOT_SHAREABLE", ids[1:])
    assert (await desk.status())["share_id"] == ""


async def test_an_asset_that_was_not_read_yet_is_read(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    desk = Desk(library, api_of(library), hand_of(library))
    library.write("input/photo.png", png(1))
    library.write("input/gone.png", png(2))
    library.write("input/rewritten.png", png(3))
    await library.scan()
    await desk.save()
    ids = [(await desk.named(name))["id"] for name in ("photo.png", "gone.png", "rewritten.png")]
    (library.base / "input/gone.png").unlink()
    library.write("input/rewritten.png", png(4) + b"longer")
    error = (await desk.api.send("POST", desk.file, 400, json={"asset_ids": ids})).json
    assert (error["code"], error["details"]["ids"]) == ("ASSET_NOT_SHAREABLE", [ids[1]])
    share = (await desk.api.send("POST", desk.file, json={"asset_ids": [ids[0], ids[2], ids[0].upper()]})).json
    assert [await desk.content(asset) for asset in share["assets"]] == [png(1), png(4) + b"longer"]
    assert "hash" in await desk.named("photo.png")


async def test_a_snapshot_does_not_change(desk: Desk) -> None:
    share = await desk.publish("photo.png", "ink.safetensors")
    before = await desk.open(share["share_id"])
    url = f"/api/workflows/{share['workflow_id']}"
    await desk.api.send("PATCH", url, json={"name": "Other"})
    await desk.api.send("POST", f"{url}/versions", 201, json={"base_version": 1, "workflow_json": {"new": 1}})
    photo = await desk.named("photo.png")
    await desk.api.send("PUT", f"/api/assets/{photo['id']}", json={"name": "other.png", "mime_type": "image/webp"})
    assert await desk.open(share["share_id"]) == before
    moved = desk.library.base / "input/moved.png"
    (desk.library.base / "input/photo.png").rename(moved)
    await desk.library.scan()
    assert await desk.open(share["share_id"]) == before
    assert await desk.content(share["assets"][0]) == png(1)


async def test_a_file_that_has_changed_unnoticed_is_read_again(desk: Desk) -> None:
    desk.library.write("input/photo.png", png(5) + b"longer")
    share = await desk.publish("photo.png")
    assert await desk.content(share["assets"][0]) == png(5) + b"longer"


async def test_what_comes_to_lie_in_the_place_of_a_shared_file_is_not_shared(desk: Desk) -> None:
    """Whether or not the change of the file has been noticed."""
    share = await desk.publish("photo.png")
    desk.library.write("input/photo.png", b"somebody's diary")
    error = json.loads(await desk.content(share["assets"][0], 404))
    assert error["code"] == "ASSET_CONTENT_MISSING"
    assert (await desk.take(share, 404))["code"] == "ASSET_CONTENT_MISSING"
    await desk.library.scan()
    assert [asset["in_library"] for asset in (await desk.open(share["share_id"]))["assets"]] == [False]
    assert json.loads(await desk.content(share["assets"][0], 404))["code"] == "ASSET_CONTENT_MISSING"


async def test_publishing_again(desk: Desk) -> None:
    first = await desk.publish("photo.png", "ink.safetensors")
    url = f"/api/workflows/{first['workflow_id']}/versions"
    await desk.api.send("POST", url, 201, json={"base_version": 1, "workflow_json": {"new": 1}})
    second = await desk.publish("photo.png")
    assert second["share_id"] == first["share_id"]
    assert second["publish_time"] >= first["publish_time"]
    opened = await desk.open(first["share_id"])
    assert (opened["workflow_json"], without(opened, "name", "workflow_json")) == ({"new": 1}, without(second, "open"))
    assert second["assets"][0]["id"] != first["assets"][0]["id"]
    error = await desk.take(first, 400)
    assert (error["code"], error["details"]["ids"]) == ("UNKNOWN_ASSETS", [a["id"] for a in first["assets"]])
    assert json.loads(await desk.content(first["assets"][1], 404))["code"] == "ASSET_NOT_FOUND"
    model = await desk.named("ink.safetensors")
    await desk.api.send("DELETE", f"/api/assets/{model['id']}", 204)  # which the first snapshot alone has named


async def test_a_share_that_is_withdrawn(desk: Desk) -> None:
    share = await desk.publish("photo.png")
    await desk.api.send("DELETE", desk.file, 204)
    assert (await desk.status())["share_id"] == ""
    assert (await desk.open(share["share_id"], 404))["code"] == "SHARE_NOT_FOUND"
    assert json.loads(await desk.content(share["assets"][0], 404))["code"] == "SHARE_NOT_FOUND"
    assert (await desk.take(share, 404))["code"] == "SHARE_NOT_FOUND"
    assert (await desk.api.send("DELETE", desk.file, 404)).json["code"] == "SHARE_NOT_FOUND"
    again = await desk.publish("photo.png")
    assert again["share_id"] != share["share_id"]
    assert (await desk.open(share["share_id"], 404))["code"] == "SHARE_NOT_FOUND"


async def test_the_share_of_a_deleted_workflow(desk: Desk) -> None:
    """A share is deleted and restored with its workflow."""
    share = await desk.publish("ink.safetensors")
    model = await desk.named("ink.safetensors")
    await desk.api.send("DELETE", f"/api/workflows/{share['workflow_id']}", 204)
    assert (await desk.open(share["share_id"], 404))["code"] == "SHARE_NOT_FOUND"
    assert (await desk.api.error(desk.file, 404))["code"] == "WORKFLOW_NOT_FOUND"
    await restore_workflow(desk.library.services.db, share["workflow_id"])
    assert without(await desk.open(share["share_id"]), "name", "workflow_json") == without(share, "open")
    await desk.api.send("DELETE", f"/api/assets/{model['id']}", 409)
    await desk.api.send("DELETE", f"/api/workflows/{share['workflow_id']}", 204)
    await desk.api.send("DELETE", f"/api/assets/{model['id']}", 204)
    assert await purge_workflows(desk.library.services.db, 1 << 50) == 1
    for table in ("shares", "shared_assets", "asset_uses", "workflows"):
        assert await desk.library.services.db.fetch_all(f"SELECT * FROM {table}") == [], table


async def test_a_shared_asset_cannot_be_deleted(desk: Desk) -> None:
    share = await desk.publish("ink.safetensors")
    url = f"/api/assets/{(await desk.named('ink.safetensors'))['id']}"
    error = (await desk.api.send("DELETE", url, 409)).json
    assert error["code"] == "ASSET_IN_USE"
    (use,) = error["details"]["used_by"]
    assert (use["kind"], use["id"], use["name"]) == ("share", share["share_id"], "portrait")
    await desk.api.send("DELETE", desk.file, 204)
    await desk.api.send("DELETE", url, 204)


async def test_another_user_learns_no_share_id(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    ann.library.write("output/all.png", png(9))
    await ann.library.scan()
    share = await ann.publish("all.png")
    answer = await bob.api.send("DELETE", f"/api/assets/{(await bob.named('all.png'))['id']}", 409)
    assert answer.json["details"]["used_by"] == [{"kind": "share", "owner": "ann"}]
    assert share["share_id"] not in answer.text


async def test_one_user_shares_with_another(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    share = await ann.publish("secret.png")
    assert (await bob.api.get("/api/assets"))["total"] == 0
    opened = await bob.open(share["share_id"])
    assert [asset["in_library"] for asset in opened["assets"]] == [False]
    assert [asset["in_library"] for asset in share["assets"]] == [True]
    # Pages load pictures without telling whose they are: the share id is what counts.
    assert await bob.content(opened["assets"][0]) == png(7)
    preview = await replace(bob.api, user=None).send("GET", opened["assets"][0]["preview_url"])
    assert preview.headers["Content-Type"] == "image/jpeg" and preview.body.startswith(b"\xff\xd8")

    (taken,) = (await bob.take(opened))["assets"]
    (listed,) = (await bob.api.get("/api/assets", include_tags="input"))["assets"]
    assert (listed["id"], listed["name"], listed["tags"]) == (taken["id"], "secret.png", ["input"])
    assert (await bob.api.send("GET", taken["storage_url"])).body == png(7)
    assert (await bob.take(opened))["assets"] == [taken]
    assert (await bob.api.get("/api/assets"))["total"] == (await ann.api.get("/api/assets"))["total"] == 1
    assert [asset["in_library"] for asset in (await bob.open(share["share_id"]))["assets"]] == [True]


async def test_a_model_is_imported_with_what_its_loaders_need(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    ann.library.write("models/loras/style/ink.safetensors", b"ink")
    await ann.library.scan()
    await ann.hand.belongs("ink.safetensors", "ann", "models", "loras", "model_type:loras")
    share = await ann.publish("ink.safetensors")
    await bob.take(share)
    (listed,) = (await bob.api.get("/api/assets"))["assets"]
    assert listed["tags"] == ["models", "loras", "model_type:loras"]
    assert (listed["loader_path"], listed["file_path"]) == (
        "style/ink.safetensors",
        "models/loras/style/ink.safetensors",
    )


async def test_what_is_public_is_not_added(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    ann.library.write("input/all.png", png(9))
    await ann.library.scan()
    share = await ann.publish("all.png")
    opened = await bob.open(share["share_id"])
    assert [asset["in_library"] for asset in opened["assets"]] == [True]
    (taken,) = (await bob.take(opened))["assets"]
    assert taken["id"] == (await bob.named("all.png"))["id"]
    assert (await bob.api.get("/api/assets"))["total"] == 1


async def test_assets_of_others_cannot_be_published(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    await bob.save()
    secret = (await ann.named("secret.png"))["id"]
    error = (await bob.api.send("POST", bob.file, 400, json={"asset_ids": [secret]})).json
    assert (error["code"], error["details"]["ids"]) == ("UNKNOWN_ASSETS", [secret])
    assert (await bob.status())["share_id"] == ""


async def test_workflows_of_others_are_not_there(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    share = await ann.publish("secret.png")
    for method in ("GET", "POST", "DELETE"):
        body = {"json": {"asset_ids": []}} if method == "POST" else {}
        assert (await bob.api.send(method, bob.file, 404, **body)).json["code"] == "WORKFLOW_NOT_FOUND"
    assert await ann.status() == share


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "INVALID_BODY", "published_asset_ids"),
        (b"[]", 400, "INVALID_BODY", None),
        ({"published_asset_ids": []}, 400, "INVALID_BODY", "share_id"),
        ({"share_id": "SHARE"}, 400, "INVALID_BODY", "published_asset_ids"),
        ({"published_asset_ids": [], "share_id": None}, 400, "INVALID_BODY", "share_id"),
        ({"published_asset_ids": [7], "share_id": "SHARE"}, 400, "INVALID_BODY", "published_asset_ids[0]"),
        ({"published_asset_ids": [NOBODY] * 501, "share_id": "SHARE"}, 400, "INVALID_BODY", "published_asset_ids"),
        ({"published_asset_ids": ["x"], "share_id": "SHARE"}, 400, "UNKNOWN_ASSETS", "published_asset_ids"),
        ({"published_asset_ids": ["ASSET", NOBODY], "share_id": "SHARE"}, 400, "UNKNOWN_ASSETS", "published_asset_ids"),
        ({"published_asset_ids": ["ASSET"], "share_id": "x"}, 404, "SHARE_NOT_FOUND", None),
        ({"published_asset_ids": [], "share_id": ""}, 404, "SHARE_NOT_FOUND", None),
        ({"published_asset_ids": ["ASSET"], "share_id": "a" * 5000}, 404, "SHARE_NOT_FOUND", None),
        ({"published_asset_ids": ["ASSET"], "share_id": "%' OR 1=1 --"}, 404, "SHARE_NOT_FOUND", None),
    ],
)
async def test_what_cannot_be_imported(
    pair: tuple[Desk, Desk], body: Any, status: int, code: str, field: str | None
) -> None:
    ann, bob = pair
    share = await ann.publish("secret.png")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    raw = raw.replace(b"SHARE", share["share_id"].encode()).replace(b"ASSET", share["assets"][0]["id"].encode())
    error = (await bob.api.send("POST", IMPORT, status, data=raw)).json
    assert (error["code"], error.get("details", {}).get("field")) == (code, field)
    assert (await bob.api.get("/api/assets"))["total"] == 0


async def test_nothing_is_imported_when_a_content_is_gone(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    form = FormData()
    form.add_field("file", png(8), filename="kept.png")
    await ann.api.send("POST", "/api/assets", 201, data=form)
    share = await ann.publish("kept.png", "secret.png")
    (ann.library.base / "input/secret.png").unlink()
    await ann.library.scan()
    error = await bob.take(share, 404)
    assert (error["code"], error["details"]["ids"]) == ("ASSET_CONTENT_MISSING", [share["assets"][1]["id"]])
    assert (await bob.api.get("/api/assets"))["total"] == 0
    assert len((await bob.take(share, ids=[share["assets"][0]["id"]]))["assets"]) == 1
    assert (await bob.take(share, ids=[]))["assets"] == []


async def test_a_workflow_that_is_larger_than_is_taken_now(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(Config(scan_on_start=False, max_workflow_size=100_000))
    desk = Desk(library, api_of(library), hand_of(library))
    await desk.save(value={"text": "x" * 90_000})
    share = await desk.publish()
    await library.services.stop()
    library = await make_library(Config(scan_on_start=False, max_workflow_size=80_000))
    desk = Desk(library, api_of(library), hand_of(library))
    error = await desk.open(share["share_id"], 413)
    assert (error["code"], error["details"]) == ("WORKFLOW_TOO_LARGE", {"max_bytes": 80_000})
    assert (await desk.status())["share_id"] == share["share_id"]
    assert len((await library.services.shares.snapshot(share["share_id"])).text) > 90_000


@pytest.mark.parametrize("share_id", ["x", "%00", "%FF", "%2E%2E", "a" * 2000, "%25", "%E2%82%AC", "-"])
async def test_shares_that_there_are_not(desk: Desk, share_id: str) -> None:
    for path in ("", f"/assets/{NOBODY}/content"):
        url = (
            URL(SHARE + share_id + path, encoded=True)
            if share_id != ".."
            else URL(SHARE + "%2E%2E" + path, encoded=True)
        )
        async with desk.library.client.get(url) as response:
            assert (response.status, (await response.json())["code"]) == (404, "SHARE_NOT_FOUND")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "x" * 255, "é🎉", "'; DROP TABLE shares"])
async def test_names_are_kept_as_they_are(desk: Desk, name: str) -> None:
    await desk.save(name=name)
    ((path,),) = await desk.library.services.db.fetch_all("SELECT path FROM workflows WHERE name = ?", (name,))
    desk = replace(desk, file=f"/api/userdata/{quote('workflows/' + path, safe='')}/publish")
    assert (await desk.open((await desk.publish())["share_id"]))["name"] == name


async def test_a_workflow_without_a_name_has_that_of_its_file(desk: Desk) -> None:
    await desk.api.send("POST", "/api/workflows", 201, json={"workflow_json": {}})
    desk = replace(desk, file="/api/userdata/workflows%2FUntitled.json/publish")
    assert (await desk.open((await desk.publish())["share_id"]))["name"] == "Untitled"


async def test_what_is_published_is_what_the_file_holds_now(desk: Desk) -> None:
    file = desk.library.host.user_directory("default") / "workflows/sub/my cat.json"
    file.parent.mkdir()
    for number in (1, 2):
        file.write_text(json.dumps({"nodes": [], "number": number}))
        cat = replace(desk, file="/api/userdata/workflows%2Fsub%2Fmy%20cat.json/publish")
        opened = await desk.open((await cat.publish())["share_id"])
        assert (opened["name"], opened["workflow_json"]["number"]) == ("my cat", number)


async def test_of_many_who_publish_at_once_one_is_last(desk: Desk) -> None:
    ids = [(await desk.named(name))["id"] for name in ("photo.png", "ink.safetensors")]
    bodies = [{"asset_ids": ids[number % 2 :]} for number in range(20)]
    answers = await asyncio.gather(*(desk.api.send("POST", desk.file, json=body) for body in bodies))
    assert len({answer.json["share_id"] for answer in answers}) == 1
    share = await desk.status()
    assert share in [answer.json for answer in answers]
    taken = await asyncio.gather(*(desk.take(share) for _ in range(10)))
    assert all(each == taken[0] for each in taken)


async def test_many_who_import_at_once_get_one_asset(pair: tuple[Desk, Desk]) -> None:
    ann, bob = pair
    share = await ann.publish("secret.png")
    taken = await asyncio.gather(*(bob.take(share) for _ in range(20)))
    assert len({each["assets"][0]["id"] for each in taken}) == 1
    assert (await bob.api.get("/api/assets"))["total"] == 1


async def test_how_shared_contents_are_sent(desk: Desk) -> None:
    desk.library.write("input/page.html", b"<script>alert(1)</script>")
    await desk.library.scan()
    share = await desk.publish("page.html", "photo.png")
    page, photo = share["assets"]
    assert page["preview_url"] == ""
    for asset, query, kind, shown in (
        (page, "", "application/octet-stream", "attachment"),
        (page, "?disposition=inline", "application/octet-stream", "attachment"),
        (photo, "", "application/octet-stream", "attachment"),
        (photo, "?disposition=inline", "image/png", "inline"),
    ):
        answer = await desk.api.send("GET", asset["storage_url"] + query)
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Disposition"].startswith(shown)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for query in ("?res=7", "?res=x", "?disposition=other"):
        assert (await desk.api.send("GET", photo["storage_url"] + query, 400)).json["code"] == "INVALID_QUERY"
    assert (await desk.api.send("GET", page["storage_url"] + "?res=64", 400)).json["code"] == "NO_THUMBNAIL"
    part = await desk.api.send("GET", photo["storage_url"], 206, headers={"Range": "bytes=0-3"})
    assert part.body == png(1)[:4]
