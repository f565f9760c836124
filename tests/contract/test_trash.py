"""The two ways to delete, what uses an asset, and the trash: lists, thumbnails, restoring, removal for good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import trash_files
from comfy_assets_node.comfy_assets.fs import atomic
from support.files import picture, safetensors

GRAPH = {"nodes": [{"type": "LoadImage", "widgets_values": ["photo.png"]}]}
LORA = {"nodes": [{"type": "LoraLoader", "widgets_values": ["ink.safetensors", 1, 1]}]}
NONE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def shelf(library: Any) -> Any:
    """A picture among the inputs, one among the outputs, and a model with sidecars."""
    library.write("input/photo.png", picture(1))
    library.write("output/made.png", picture(2))
    library.write("models/loras/ink.safetensors", safetensors(1))
    library.write("models/loras/ink.preview.png", picture(3))
    await library.scan()
    return library


async def delete(api: Any, asset: Any, status: int = 204, **query: Any) -> Any:
    answer = await api.send("DELETE", f"/api/assets/{asset['id']}", status, params=query)
    return answer.json if status >= 400 else None


async def entries(api: Any, **query: str) -> list[Any]:
    """The deleted assets of a list."""
    return list((await api.get("/api/trash", **query))["entries"])


async def ended(api: Any, task_id: str) -> Any:
    """Wait for the end of a task."""
    while True:
        task = await api.get(f"/api/tasks/{task_id}")
        if task["status"] not in ("created", "running"):
            return task
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "action", "kind", "is_there"),
    [
        ("made.png", None, "removed", True),
        ("made.png", "remove", "removed", True),
        ("made.png", "trash", "trashed", False),
        ("ink.safetensors", None, "removed", True),
        ("ink.safetensors", "remove", "removed", True),
        ("ink.safetensors", "trash", "trashed", False),
    ],
)
async def test_the_two_actions(shelf: Any, api: Any, name: str, action: str | None, kind: str, is_there: bool) -> None:
    asset = await shelf.asset(name)
    body = {"user_metadata": {"rating": 4, "favorite": True}, "name": "my best"}
    await api.send("PUT", f"/api/assets/{asset['id']}", json=body)
    await api.send("POST", f"/api/assets/{asset['id']}/tags", json={"tags": ["mine"]})
    before = await api.get(f"/api/assets/{asset['id']}")
    path = shelf.base / asset["file_path"]
    query: dict[str, Any] = {"action": action} if action else {}
    await delete(api, asset, **query)
    assert path.exists() == is_there
    assert (shelf.base / "models/loras/ink.preview.png").exists() == (is_there or name == "made.png")
    await shelf.scan()
    assert "my best" not in await api.names()
    (entry,) = await entries(api)
    shown = {key: entry[key] for key in ("id", "name", "kind", "size", "file_path", "deleted_by", "can_delete")}
    assert shown == {
        "id": asset["id"], "name": "my best", "kind": kind, "size": asset["size"],
        "file_path": asset["file_path"], "deleted_by": "default", "can_delete": True,
    }  # fmt: skip
    restored = (await api.send("POST", f"/api/trash/{asset['id']}/restore")).json
    assert restored["is_renamed"] is False
    after = await api.get(f"/api/assets/{asset['id']}")
    assert {**after, "updated_at": ""} == {**before, "updated_at": ""}
    assert path.exists() and await entries(api) == []
    await shelf.scan()
    assert len(await api.names()) == 3


@pytest.mark.parametrize("query", [{"action": "hide"}, {"action": ""}, {"force": "perhaps"}])
async def test_an_unknown_action_deletes_nothing(shelf: Any, api: Any, query: dict[str, str]) -> None:
    error = await delete(api, await shelf.asset("made.png"), 400, **query)
    assert (error["code"], error["details"]["field"]) == ("INVALID_QUERY", next(iter(query)))
    assert len(await api.names()) == 3 and await entries(api) == []


async def save(api: Any, name: str, *graphs: Any) -> str:
    """Save a workflow with a version of each graph; return its id."""
    saved = (await api.send("POST", "/api/workflows", 201, json={"name": name, "workflow_json": graphs[0]})).json
    for base, graph in enumerate(graphs[1:], 1):
        body = {"base_version": base, "workflow_json": graph}
        await api.send("POST", f"/api/workflows/{saved['id']}/versions", 201, json=body)
    return str(saved["id"])


@pytest.mark.parametrize("action", ["remove", "trash"])
async def test_what_an_old_version_uses_can_be_deleted_anyway(shelf: Any, api: Any, action: str) -> None:
    workflow = await save(api, "Portrait", GRAPH, {"nodes": []})
    photo = await shelf.asset("photo.png")
    error = await delete(api, photo, 409, action=action)
    assert error["code"] == "ASSET_IN_USE" and "version 1 of Portrait" in error["message"]
    assert error["details"]["only_old_versions"] and error["details"]["can_force"]
    (use,) = error["details"]["used_by"]
    assert (await api.get(f"/api/assets/{photo['id']}/uses"))["uses"] == [use]
    del use["id"]
    assert use == {
        "kind": "workflow_version", "name": "Portrait", "workflow_id": workflow, "version": 1, "is_latest": False,
    }  # fmt: skip
    await delete(api, photo, action=action, force="true")
    assert (shelf.base / "input/photo.png").exists() == (action == "remove")
    await api.send("POST", f"/api/trash/{photo['id']}/restore")
    uses = (await api.get(f"/api/assets/{photo['id']}/uses"))["uses"]
    assert [(use["kind"], use["version"]) for use in uses] == [("workflow_version", 1)]


async def test_a_model_in_use(shelf: Any, api: Any, prompts: Any) -> None:
    model = await shelf.asset("ink.safetensors")
    await save(api, "Ink", LORA)
    graph = {
        "1": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors"}},
        "2": {"class_type": "SaveImage", "inputs": {}},
    }
    running = prompts.submit(graph=graph)
    prompts.start()
    waiting = prompts.submit(graph=graph)
    error = await delete(api, model, 409, action="trash")
    assert [each["kind"] for each in error["details"]["used_by"]] == ["workflow_version", "job", "job"]
    uses = (await api.get(f"/api/assets/{model['id']}/uses"))["uses"]
    jobs = [(use["id"], use["is_running"]) for use in uses if use["kind"] == "job"]
    assert jobs == [(running, True), (waiting, False)]
    assert (shelf.base / "models/loras/ink.safetensors").exists()
    await delete(api, model, action="trash", force="true")
    assert sorted(path.name for path in (shelf.base / "models/loras").iterdir()) == []
    await api.send("POST", f"/api/trash/{model['id']}/restore")
    assert sorted(path.name for path in (shelf.base / "models/loras").iterdir()) == [
        "ink.preview.png",
        "ink.safetensors",
    ]


async def test_references_and_previews_are_uses(shelf: Any, api: Any) -> None:
    made, photo = await shelf.asset("made.png"), await shelf.asset("photo.png")
    body = {"hash": made["hash"], "tags": ["input"], "name": "again.png"}
    reference = (await api.send("POST", "/api/assets/from-hash", None, json=body)).json
    await api.send("PUT", f"/api/assets/{photo['id']}", json={"preview_id": made["id"]})
    uses = (await api.get(f"/api/assets/{made['id']}/uses"))["uses"]
    kinds = {use["kind"]: use["name"] for use in uses}
    if reference["id"] != made["id"]:
        assert kinds == {"reference": "again.png", "preview": "photo.png"}
        assert (await delete(api, made, 409, action="trash"))["code"] == "ASSET_IN_USE"
    else:  # the content was the user's already
        assert kinds == {"preview": "photo.png"}
    await delete(api, made, action="trash", force="true")


async def test_pages_of_the_trash(library: Any, api: Any) -> None:
    for number in range(7):
        library.write(f"output/{number}.png", picture(number))
    await library.scan()
    for number in range(7):
        action = "trash" if number % 2 else "remove"
        await delete(api, await library.asset(f"{number}.png"), action=action)
    sizes = {number: len(picture(number)) for number in range(7)}
    seen: list[str] = []
    query = {"limit": "3"}
    while True:
        page = await api.get("/api/trash", **query)
        assert (page["total"], page["size"]) == (7, sizes[1] + sizes[3] + sizes[5])
        seen += [entry["name"] for entry in page["entries"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
    assert seen == [f"{number}.png" for number in reversed(range(7))]
    assert [entry["name"] for entry in await entries(api, kind="trashed")] == ["5.png", "3.png", "1.png"]
    assert [entry["name"] for entry in await entries(api, kind="removed", name_contains="4.P")] == ["4.png"]
    assert await entries(api, kind="left_out") == []
    assert [entry["name"] for entry in await entries(api, offset="5")] == ["1.png", "0.png"]
    for bad in ({"kind": "x"}, {"limit": "0"}, {"after": "x"}):
        error = await api.error("/api/trash", 400, bad)
        assert error["details"]["field"] == next(iter(bad))


@pytest.mark.parametrize("action", ["remove", "trash"])
async def test_a_thumbnail_of_a_deleted_picture(shelf: Any, api: Any, action: str) -> None:
    await delete(api, await shelf.asset("made.png"), action=action)
    (entry,) = await entries(api)
    answer = await api.send("GET", entry["thumbnail_url"])
    assert answer.headers["Content-Type"] == "image/jpeg" and answer.body[:2] == b"\xff\xd8"
    etag = {"If-None-Match": answer.headers["ETag"]}
    await api.send("GET", entry["thumbnail_url"], 304, headers=etag)
    await api.send("GET", f"/api/trash/{NONE}/thumbnail", 404)
    if action == "remove":
        (shelf.base / "output/made.png").unlink()
        await api.send("GET", entry["thumbnail_url"], 404)
        await shelf.scan()
        (entry,) = await entries(api)
        assert entry["is_missing"] and "thumbnail_url" not in entry


async def test_a_file_returns_beside_another(shelf: Any, api: Any) -> None:
    made = await shelf.asset("made.png")
    await delete(api, made, action="trash")
    shelf.write("output/MADE.png", picture(9))
    restored = (await api.send("POST", f"/api/trash/{made['id']}/restore")).json
    assert restored["is_renamed"] is True
    assert restored["asset"]["file_path"] == "output/made (1).png"
    assert (shelf.base / "output/made (1).png").read_bytes() == picture(2)
    assert (shelf.base / "output/MADE.png").read_bytes() == picture(9)
    await api.send("POST", f"/api/trash/{made['id']}/restore", 404)


@pytest.mark.parametrize("how", ["one", "all"])
async def test_removal_for_good(shelf: Any, api: Any, how: str) -> None:
    made, model, photo = [await shelf.asset(name) for name in ("made.png", "ink.safetensors", "photo.png")]
    await delete(api, made, action="remove")
    await delete(api, model, action="trash")
    await delete(api, photo, action="trash")
    if how == "one":
        for asset in (made, model, photo):
            await api.send("DELETE", f"/api/trash/{asset['id']}", 204)
    else:
        started = (await api.send("POST", "/api/trash/empty", 202, json={})).json
        task = await ended(api, started["task_id"])
        assert (task["status"], task["result"]["done"], task["result"]["failed"]) == ("completed", 3, [])
        assert task["result"]["freed"] >= model["size"] + photo["size"]
    assert await entries(api) == []
    # The file that stayed is still there, and does not come back by itself.
    assert (shelf.base / "output/made.png").exists() and not (shelf.base / "input/photo.png").exists()
    assert not list((shelf.base / "models/loras").iterdir())
    trash = shelf.host.data_directory() / "trash"
    assert not [path for path in trash.rglob("*") if path.is_file()]
    await shelf.scan()
    assert await api.names() == []
    (note,) = await entries(api, kind="left_out")
    assert (note["name"], note["file_path"]) == ("made.png", "output/made.png")
    await api.send("POST", f"/api/trash/{photo['id']}/restore", 404)
    # It can be taken up again, but nothing that it had is left.
    await api.send("POST", f"/api/trash/{made['id']}/restore")
    assert await api.names() == ["made.png"]


async def test_a_note_goes_with_its_file(shelf: Any, api: Any) -> None:
    made = await shelf.asset("made.png")
    await api.send("POST", f"/api/assets/{made['id']}/tags", json={"tags": ["mine"]})
    await delete(api, made, action="remove")
    await api.send("DELETE", f"/api/trash/{made['id']}", 204)
    assert "mine" not in [tag["name"] for tag in (await api.get("/api/tags"))["tags"]]
    (shelf.base / "output/made.png").unlink()
    await shelf.scan()
    started = (await api.send("POST", "/api/trash/empty", 202, json={"kinds": ["removed"]})).json
    await ended(api, started["task_id"])
    assert await entries(api, kind="left_out") == []
    shelf.write("output/made.png", picture(2))
    await shelf.scan()
    assert "made.png" in await api.names()


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"kinds": ["trashed"]}, ["made.png"]),
        ({"kinds": ["removed"]}, ["photo.png"]),
        ({"older_than_days": 3}, ["made.png", "photo.png"]),
        ({"older_than_days": 0}, []),
    ],
)
async def test_emptying_in_part(shelf: Any, api: Any, body: Any, left: list[str]) -> None:
    await delete(api, await shelf.asset("photo.png"), action="trash")
    await delete(api, await shelf.asset("made.png"), action="remove")
    await asyncio.sleep(0.002)
    started = (await api.send("POST", "/api/trash/empty", 202, json=body)).json
    assert (await ended(api, started["task_id"]))["status"] == "completed"
    assert [entry["name"] for entry in await entries(api)] == left


async def test_emptying_chosen_ones(shelf: Any, api: Any) -> None:
    chosen = await shelf.asset("photo.png")
    for name in ("photo.png", "ink.safetensors"):
        await delete(api, await shelf.asset(name), action="trash")
    body = {"ids": [chosen["id"].upper(), NONE, "no id"]}
    started = (await api.send("POST", "/api/trash/empty", 202, json=body)).json
    task = await ended(api, started["task_id"])
    assert (task["result"]["total"], task["result"]["freed"]) == (1, chosen["size"])
    assert [entry["name"] for entry in await entries(api)] == ["ink.safetensors"]


@pytest.mark.parametrize(
    "body",
    [
        {"kinds": []},
        {"ids": []},
        {"ids": [NONE] * 10_001},
        {"kinds": ["left_out"]},
        {"older_than_days": -1},
        {"kinds": "x"},
    ],
)
async def test_a_wrong_request_empties_nothing(shelf: Any, api: Any, body: Any) -> None:
    await delete(api, await shelf.asset("photo.png"), action="trash")
    error = (await api.send("POST", "/api/trash/empty", 400, json=body)).json
    assert error["code"] == "INVALID_BODY" and error["details"]["field"].startswith(next(iter(body)))
    assert len(await entries(api)) == 1


async def test_users_and_what_belongs_to_all(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("anns.png", "all.png", "other.png"):
        library.write(f"output/{name}", picture(len(name)))
    await library.scan()
    await hand_of(library).belongs("anns.png", "ann", "output")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    ids = {asset["name"]: asset for asset in (await ann.get("/api/assets"))["assets"]}
    await delete(bob, ids["anns.png"], 404, action="trash")
    await delete(ann, ids["anns.png"], action="trash")
    await delete(ann, ids["all.png"], action="trash")
    assert [(entry["name"], entry["can_delete"]) for entry in await entries(bob)] == [("all.png", False)]
    assert [(entry["name"], entry["can_delete"]) for entry in await entries(ann)] == [
        ("all.png", False),
        ("anns.png", True),
    ]
    assert [entry["name"] for entry in await entries(ann, can_delete="true")] == ["anns.png"]
    assert await entries(bob, can_delete="true") == []
    error = (await bob.send("DELETE", f"/api/trash/{ids['all.png']['id']}", 403)).json
    assert error["code"] == "TRASH_FORBIDDEN"
    for api in (bob, ann):
        await ended(api, (await api.send("POST", "/api/trash/empty", 202, json={})).json["task_id"])
    assert [entry["name"] for entry in await entries(ann)] == ["all.png"]
    await bob.send("POST", f"/api/trash/{ids['all.png']['id']}/restore")
    # What another user's workflow uses cannot be taken away, not even by force.
    graph = {"nodes": [{"type": "LoadImage", "widgets_values": ["all.png [output]"]}]}
    await save(ann, "Hers", graph)
    for force in ("false", "true"):
        error = await delete(bob, ids["all.png"], 409, action="trash", force=force)
        assert error["details"]["used_by"] == [{"kind": "workflow_version", "owner": "ann"}]
        assert error["details"]["can_force"] is False and "Hers" not in error["message"]
    await delete(ann, ids["all.png"], action="trash", force="true")


@pytest.fixture
def other_volume(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the models lie on a volume of their own; files are copied to and from it."""
    models = shelf.base / "models"

    def is_same_volume(source: Path, folder: Path) -> bool:
        return source.is_relative_to(models) == folder.is_relative_to(models)

    monkeypatch.setattr(atomic, "is_same_volume", is_same_volume)
    monkeypatch.setattr(atomic, "copy_to_volume", lambda *_: pytest.fail("a file was copied"))
    return models / trash_files.LIBRARY_FOLDER


async def test_a_file_stays_on_its_volume(shelf: Any, api: Any, other_volume: Path) -> None:
    model = await shelf.asset("ink.safetensors")
    await delete(api, model, action="trash")
    kept = [path for path in other_volume.rglob("*") if path.is_file()]
    # Loaders list hidden folders, too: the suffix keeps them from showing it.
    assert len(kept) == 2 and {path.suffix for path in kept} == {".trashed"}
    await shelf.scan()
    assert "ink.safetensors" not in await api.names()
    (entry,) = await entries(api)
    assert (entry["kind"], entry["file_path"]) == ("trashed", "models/loras/ink.safetensors")
    restored = (await api.send("POST", f"/api/trash/{model['id']}/restore")).json
    assert restored["asset"]["file_path"] == "models/loras/ink.safetensors" and not restored["is_renamed"]
    assert not [path for path in other_volume.rglob("*") if path.is_file()]
    await delete(api, model, action="trash")
    await api.send("DELETE", f"/api/trash/{model['id']}", 204)
    assert not [path for path in other_volume.rglob("*") if path.is_file()]
