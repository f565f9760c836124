"""Changes of many assets: what each action does, what is reported, and undoing."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from random import Random
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import batch_actions, batches
from comfy_assets_node.comfy_assets.db import batches as batch_rows
from comfy_assets_node.comfy_assets.db import tags as tag_rows
from comfy_assets_node.comfy_assets.db.assets import visible
from support.files import picture

NONE = "00000000-0000-4000-8000-000000000000"
COUNT = 5


@pytest.fixture
async def shelf(library: Any) -> Any:
    """Some pictures, of which one is rated and one has a tag."""
    for number in range(COUNT):
        library.write(f"output/{number}.png", picture(number))
    await library.scan()
    return library


async def batch(api: Any, status: int = 200, **body: Any) -> Any:
    """Make a batch; wait for its end if it succeeds (200)."""
    return await _ended(api, status, await api.send("POST", "/api/assets/batch", None, json={"wait": 10, **body}))


async def undo(api: Any, batch_id: str, status: int = 200) -> Any:
    """Undo a batch; wait for its end if it succeeds (200)."""
    answer = await api.send("POST", f"/api/assets/batch/{batch_id}/undo", None, json={"wait": 10})
    return await _ended(api, status, answer)


async def _ended(api: Any, status: int, answer: Any) -> Any:
    body = answer.json
    while status == 200 and body["status"] == "running":  # on a very busy machine
        await asyncio.sleep(0.1)
        body |= {key: (await api.get(f"/api/tasks/{body['task_id']}"))[key] for key in ("status", "result")}
        answer = None
    assert answer is None or answer.status == status, answer.text
    return body


async def ids(api: Any) -> list[str]:
    """The ids of all assets, by name."""
    return [asset["id"] for asset in (await api.get("/api/assets", sort="name", order="asc"))["assets"]]


async def state(api: Any) -> Any:
    """Changes by batches, of all assets and in the trash."""
    shown = ("id", "name", "tags", "user_metadata", "file_path")
    listed = (await api.get("/api/assets", sort="name", order="asc"))["assets"]
    deleted = (await api.get("/api/trash"))["entries"]
    return [{key: asset[key] for key in shown} for asset in listed], deleted


def files(shelf: Any) -> dict[str, bytes]:
    """The files of the output folder."""
    return {path.name: path.read_bytes() for path in (shelf.base / "output").iterdir() if path.is_file()}


BODIES: list[dict[str, Any]] = [
    {"action": "tag", "tags": ["a", "b"]},
    {"action": "untag", "tags": ["kept", "none"]},
    {"action": "rate", "rating": 5},
    {"action": "rate", "rating": 0},
    {"action": "favourite", "favourite": True},
    {"action": "favourite", "favourite": False},
    {"action": "remove"},
    {"action": "trash"},
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: "-".join(map(str, body.values())))
@pytest.mark.parametrize("by", ["ids", "filter"])
async def test_each_action_and_its_undoing(shelf: Any, api: Any, body: dict[str, Any], by: str) -> None:
    known = await ids(api)
    metadata = {"rating": 3, "favorite": True, "note": "mine", "large": 12345678901234567890}
    await api.send("PUT", f"/api/assets/{known[0]}", json={"user_metadata": metadata})
    await api.send("PUT", f"/api/assets/{known[1]}", json={"user_metadata": {"rating": 5, "favorite": "yes"}})
    await api.send("POST", f"/api/assets/{known[2]}/tags", json={"tags": ["kept", "a"]})
    before = await state(api)
    selection = {"ids": [*known, NONE]} if by == "ids" else {"filter": {"tags_all": ["output"]}}
    made = await batch(api, **body, **selection)
    assert made["status"] == "completed"
    result = made["result"]
    assert (result["total"], result["done"]) == (COUNT + (by == "ids"), COUNT + (by == "ids"))
    if by == "ids":
        assert [(failure["id"], failure["code"]) for failure in result["failures"]] == [(NONE, "ASSET_NOT_FOUND")]
    after = await state(api)
    assert after != before and result["changed"] > 0 and result["can_undo"]
    check(body, after)
    undone = await undo(api, made["batch_id"])
    assert (undone["status"], undone["result"]["changed"]) == ("completed", result["changed"])
    assert await state(api) == before
    assert (await undo(api, made["batch_id"]))["status"] == "completed"  # once more changes nothing
    assert await state(api) == before


def check(body: dict[str, Any], after: Any) -> None:
    listed, deleted = after
    if body["action"] == "tag":
        assert all({"a", "b"} <= set(asset["tags"]) for asset in listed)
    elif body["action"] == "untag":
        assert not any("kept" in asset["tags"] for asset in listed)
    elif body["action"] == "rate":
        assert all(asset["user_metadata"].get("rating", 0) == body["rating"] for asset in listed)
    elif body["action"] == "favourite":
        assert all(asset["user_metadata"].get("favorite", False) is body["favourite"] for asset in listed)
    else:
        kind = {"remove": "removed", "trash": "trashed"}[body["action"]]
        assert listed == [] and [entry["kind"] for entry in deleted] == [kind] * COUNT


@pytest.mark.parametrize("seed", range(4))
async def test_any_sequence_is_undone_step_by_step(shelf: Any, api: Any, seed: int) -> None:
    """Each undoing brings back the state before its batch: of assets, of their files, and of the trash."""
    random = Random(seed)
    every = await ids(api)
    before, made = [], []
    for _ in range(10):
        before.append((await state(api), files(shelf)))
        chosen = random.sample(every, random.randint(1, COUNT))
        body: dict[str, Any] = random.choice([*BODIES, *([{"action": "restore"}] * 3)])
        result = (await batch(api, **body, ids=chosen))["result"]
        made.append(result["batch_id"] if result["can_undo"] else None)  # None: nothing was changed
    assert len([each for each in made if each]) > 2
    for batch_id in reversed(made):
        if batch_id is not None:
            await undo(api, batch_id)
        assert (await state(api), files(shelf)) == before.pop()


async def test_restoring_many_and_undoing_that(shelf: Any, api: Any) -> None:
    known = await ids(api)
    await batch(api, action="trash", ids=known[:3])
    await batch(api, action="remove", ids=known[3:])
    before = await state(api)
    made = await batch(api, action="restore", ids=known)
    assert made["result"]["changed"] == COUNT
    assert await ids(api) == known
    await undo(api, made["batch_id"])
    assert await state(api) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "burn", "ids": [NONE]}, "action"),
        ({"action": "tag", "ids": [NONE]}, "tags"),
        ({"action": "tag", "tags": [], "ids": [NONE]}, "tags"),
        ({"action": "rate", "ids": [NONE]}, "rating"),
        ({"action": "rate", "rating": 6, "ids": [NONE]}, "rating"),
        ({"action": "favourite", "ids": [NONE]}, "favourite"),
        ({"action": "add_to_collection", "ids": [NONE]}, "collection_id"),
        ({"action": "remove_from_collection", "ids": [NONE]}, "collection_id"),
        ({"action": "remove"}, "ids"),
        ({"action": "remove", "ids": []}, "ids"),
        ({"action": "remove", "ids": [NONE], "filter": {}}, "ids"),
        ({"action": "remove", "ids": [NONE] * 10_001}, "ids"),
        ({"action": "remove", "filter": {"tag": ["a"]}}, "filter"),
        ({"action": "remove", "filter": {"folder": "nowhere"}}, "filter.folder"),
        ({"action": "remove", "filter": {"metadata_filter": "["}}, "filter.metadata_filter"),
        ({"action": "restore", "filter": {}}, "filter"),
        ({"action": "remove", "ids": [NONE], "exclude_ids": [NONE]}, "exclude_ids"),
        ({"action": "remove", "filter": {}, "exclude_ids": [NONE] * 10_001}, "exclude_ids"),
        ({"action": "remove", "ids": [NONE], "sort": "name"}, "sort"),
        ({"action": "remove", "filter": {}, "sort": "colour"}, "sort"),
        ({"action": "remove", "filter": {}, "sort": "collection"}, "sort"),
        ({"action": "remove", "filter": {}, "sort": "name", "order": "up"}, "order"),
        ({"action": "remove", "ids": [NONE], "wait": 11}, "wait"),
    ],
)
async def test_requests_that_are_refused(shelf: Any, api: Any, body: dict[str, Any], field: str) -> None:
    before = await state(api)
    error = await batch(api, 400, **body)
    assert error["code"] == "INVALID_BODY" and error["details"]["field"].startswith(field), error
    assert await state(api) == before and (await api.get("/api/assets/batches"))["batches"] == []


TEXTS_OF_FILTERS = [
    *("name_contains", "q", "rating", "kind", "base_model", "folder", "created_from", "updated_to", "size_min"),
    *("orientation", "job_id", "made_with", "collection", "tags_all", "tags_any", "tags_none", "metadata_filter"),
    *("created_days", "utc_offset", "include_tags"),
]


@pytest.mark.parametrize("name", TEXTS_OF_FILTERS)
async def test_a_filter_with_a_nul_character(shelf: Any, api: Any, name: str) -> None:
    """SQLite ends some texts at such a character."""
    wanted = {"filter": {name: ["a\0b"] if name.startswith(("tags_", "include_")) else "a\0b"}}
    for path, body in {"/api/assets/batch": {"action": "remove", **wanted}, "/api/assets/export": wanted}.items():
        error = (await api.send("POST", path, 400, json=body)).json
        assert error["details"]["field"].startswith(f"filter.{name}"), error
    assert len(await ids(api)) == COUNT and (await api.get("/api/tasks", task_name="asset_export"))["tasks"] == []


async def test_a_search_with_exceptions(shelf: Any, api: Any) -> None:
    known = await ids(api)
    left = [known[1].upper(), NONE, "no id"]
    made = await batch(api, action="tag", tags=["most"], filter={"tags_all": ["output"]}, exclude_ids=left)
    assert (made["result"]["total"], made["result"]["failures"]) == (COUNT - 1, [])
    found = (await api.get("/api/assets", tags_none="most"))["assets"]
    assert [asset["id"] for asset in found] == [known[1]]


async def test_tags_that_are_refused(shelf: Any, api: Any) -> None:
    known = await ids(api)
    error = await batch(api, 422, action="tag", tags=["missing"], ids=known)
    assert error["code"] == "RESERVED_TAG"
    await api.send("POST", f"/api/assets/{known[0]}/tags", json={"tags": [f"t{n}" for n in range(99)]})
    made = await batch(api, action="tag", tags=["one", "two"], ids=known)
    assert made["result"]["changed"] == COUNT - 1
    assert [(each["id"], each["code"]) for each in made["result"]["failures"]] == [(known[0], "INVALID_TAGS")]


async def collection(api: Any, name: str = "Mine", **more: Any) -> str:
    """The id of a new collection."""
    made = await api.send("POST", "/api/collections", 201, json={"name": name, **more})
    return str(made.json["id"])


async def members(api: Any, collection_id: str) -> str:
    """The names of a collection's assets in order, as digits."""
    query = {"collection": collection_id, "sort": "collection", "order": "asc"}
    return "".join(asset["name"][0] for asset in (await api.get("/api/assets", **query))["assets"])


async def test_a_collection_and_undoing_its_changes(shelf: Any, api: Any) -> None:
    """Added in the order of the request, removed, and back at their places."""
    known = await ids(api)
    mine = await collection(api, asset_ids=[known[2]])
    before = len(shelf.host.events)
    added = await batch(api, action="add_to_collection", collection_id=mine.upper(), ids=[known[4], known[2], known[0]])
    assert (added["result"]["changed"], await members(api, mine)) == (2, "240")
    assert "collections.changed" in {event.type for event in shelf.host.events[before:]}
    removed = await batch(api, action="remove_from_collection", collection_id=mine, ids=[known[4], known[2], known[1]])
    assert (removed["result"]["changed"], await members(api, mine)) == (2, "0")
    await api.send("POST", f"/api/collections/{mine}/assets", json={"asset_ids": [known[3]], "before": known[0]})
    blocked = await undo(api, added["batch_id"], 409)
    assert (blocked["code"], blocked["details"]["later"]) == ("UNDO_BLOCKED", [removed["batch_id"]])
    assert (await undo(api, removed["batch_id"]))["result"]["changed"] == 2
    assert (await members(api, mine)).replace("3", "") == "240"  # wherever 3 is among them
    await api.send("DELETE", f"/api/collections/{mine}/assets", json={"asset_ids": [known[4]]})
    undone = (await undo(api, added["batch_id"]))["result"]
    assert [(each["id"], each["code"]) for each in undone["failures"]] == [(known[4], "CHANGED_SINCE")]
    assert await members(api, mine) == "23"


async def test_a_whole_search_into_a_collection(shelf: Any, api: Any) -> None:
    mine, other = await collection(api), await collection(api, "Other")
    made = await batch(api, action="add_to_collection", collection_id=mine, filter={})
    assert (made["result"]["changed"], await members(api, mine)) == (COUNT, "01234")
    again = await batch(api, action="add_to_collection", collection_id=mine, filter={})
    assert (again["result"]["changed"], again["result"]["can_undo"]) == (0, False)
    await batch(api, action="add_to_collection", collection_id=other, filter={"collection": mine})
    await undo(api, made["batch_id"])
    assert (await members(api, mine), await members(api, other)) == ("", "01234")


SORTS = ("name", "created_at", "updated_at", "size", "rating", "kind", "last_access_time")


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_a_whole_search_is_added_in_the_order_of_the_list(shelf: Any, api: Any, sort: str, order: str) -> None:
    known = await ids(api)
    await api.send("PUT", f"/api/assets/{known[2]}", json={"user_metadata": {"rating": 5}})
    listed = "".join(asset["name"][0] for asset in (await api.get("/api/assets", sort=sort, order=order))["assets"])
    mine, other = await collection(api), await collection(api, "Other")
    await batch(api, action="add_to_collection", collection_id=mine, filter={}, sort=sort, order=order)
    assert await members(api, mine) == listed
    of_mine: dict[str, Any] = {"filter": {"collection": mine}, "sort": "collection", "order": "asc"}
    await batch(api, action="add_to_collection", collection_id=other, **of_mine)
    assert await members(api, other) == listed


async def test_a_collection_that_is_full_or_deleted(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = await ids(api)
    mine = await collection(api)
    monkeypatch.setattr(batch_actions, "MAX_MEMBERS", 3)
    made = await batch(api, action="add_to_collection", collection_id=mine, ids=known)
    assert (made["result"]["changed"], await members(api, mine)) == (3, "012")
    assert [(each["id"], each["code"]) for each in made["result"]["failures"]] == [
        (known[3], "COLLECTION_FULL"),
        (known[4], "COLLECTION_FULL"),
    ]
    removed = await batch(api, action="remove_from_collection", collection_id=mine, ids=known)
    await api.send("DELETE", f"/api/collections/{mine}", 204)
    for action in ("add_to_collection", "remove_from_collection"):
        assert (await batch(api, 404, action=action, collection_id=mine, ids=known))["code"] == "COLLECTION_NOT_FOUND"
    assert (await undo(api, removed["batch_id"]))["result"]["changed"] == 3  # it has them again when it is restored
    await api.send("POST", f"/api/collections/{mine}/restore")
    assert await members(api, mine) == "012"


async def test_a_collection_that_is_deleted_meanwhile(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = await ids(api)
    mine = await collection(api)
    check = batch_actions.AddToCollection.check_target

    async def deleted_then(*arguments: Any) -> None:
        await check(*arguments)
        await shelf.services.collections.delete(mine, arguments[-1])

    monkeypatch.setattr(batch_actions.AddToCollection, "check_target", deleted_then)
    made = await batch(api, action="add_to_collection", collection_id=mine, ids=known[:1])
    assert [each["code"] for each in made["result"]["failures"]] == ["COLLECTION_NOT_FOUND"]


async def test_an_asset_in_use_does_not_keep_the_others(shelf: Any, api: Any) -> None:
    graph = {"nodes": [{"type": "LoadImage", "widgets_values": ["2.png [output]"]}]}
    await api.send("POST", "/api/workflows", 201, json={"workflow_json": graph, "name": "one"})
    known = await ids(api)
    made = await batch(api, action="trash", ids=known)
    assert made["result"]["changed"] == COUNT - 1
    assert [(each["id"], each["code"]) for each in made["result"]["failures"]] == [(known[2], "ASSET_IN_USE")]
    made = await batch(api, action="trash", ids=known, force=True)
    assert made["result"]["changed"] == 1
    await undo(api, made["batch_id"])
    assert await ids(api) == [known[2]]


async def test_later_changes_stay(shelf: Any, api: Any) -> None:
    known = await ids(api)
    rated = await batch(api, action="rate", rating=2, ids=known)
    await api.send("PUT", f"/api/assets/{known[0]}", json={"user_metadata": {"rating": 4}})
    undone = await undo(api, rated["batch_id"])
    assert undone["result"]["changed"] == COUNT - 1
    assert [(each["id"], each["code"]) for each in undone["result"]["failures"]] == [(known[0], "CHANGED_SINCE")]
    assert (await api.get(f"/api/assets/{known[0]}"))["user_metadata"] == {"rating": 4}


async def test_the_order_of_undoing(shelf: Any, api: Any) -> None:
    known = await ids(api)
    first = await batch(api, action="rate", rating=2, ids=known)
    tagged = await batch(api, action="tag", tags=["x"], ids=known)
    second = await batch(api, action="rate", rating=5, ids=known[:1])
    other = await batch(api, action="tag", tags=["y"], ids=known)
    error = await undo(api, first["batch_id"], 409)
    assert (error["code"], error["details"]["later"]) == ("UNDO_BLOCKED", [second["batch_id"]])
    await undo(api, tagged["batch_id"])  # another tag, and the ratings, are no obstacle
    await undo(api, second["batch_id"])
    await undo(api, first["batch_id"])
    assert all(asset["user_metadata"] == {} for asset in await shelf.assets())
    listed = (await api.get("/api/assets/batches"))["batches"]
    assert [(each["id"], each["is_undone"]) for each in listed] == [
        (other["batch_id"], False),
        (second["batch_id"], True),
        (tagged["batch_id"], True),
        (first["batch_id"], True),
    ]
    assert (listed[0]["action"], listed[0]["parameters"], listed[0]["changed"]) == ("tag", {"tags": ["y"]}, COUNT)


async def test_an_undoing_that_a_kill_cuts_short_after_its_last_step_is_complete(
    shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await batch(api, action="rate", rating=2, ids=await ids(api))
    store = batch_rows.set_state

    async def set_state(tx: Any, row_id: int, state: int) -> None:
        if state != batch_rows.UNDO_BEGUN:
            raise RuntimeError("killed")
        await store(tx, row_id, state)

    monkeypatch.setattr(batch_rows, "set_state", set_state)
    assert (await undo(api, made["batch_id"]))["status"] == "failed"
    assert all(asset["user_metadata"] == {} for asset in await shelf.assets())
    assert [each["is_undone"] for each in (await api.get("/api/assets/batches"))["batches"]] == [True]
    assert (await undo(api, made["batch_id"]))["status"] == "completed"


async def test_an_undoing_whose_rest_was_removed_for_good_is_complete(
    shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await ids(api)
    made = await batch(api, action="trash", ids=known[:2])
    restore = batch_actions.Delete.undo

    async def undo_one(self: Any, work: Any, items: Any) -> None:
        await restore(self, work, items[:1])
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(batch_actions.Delete, "undo", undo_one)
        assert (await undo(api, made["batch_id"]))["status"] == "failed"
    gone = (await api.get("/api/trash"))["entries"]
    assert len(gone) == 1
    await api.send("DELETE", f"/api/trash/{gone[0]['id']}", 204)
    assert (await undo(api, made["batch_id"]))["status"] == "completed"


async def test_what_was_removed_for_good_cannot_return(shelf: Any, api: Any) -> None:
    known = await ids(api)
    made = await batch(api, action="trash", ids=known[:2])
    await api.send("DELETE", f"/api/trash/{known[0]}", 204)
    undone = await undo(api, made["batch_id"])
    assert undone["result"]["changed"] == 1
    made = await batch(api, action="trash", ids=known[1:2])
    await api.send("DELETE", f"/api/trash/{known[1]}", 204)
    assert (await undo(api, made["batch_id"], 409))["code"] == "UNDO_IMPOSSIBLE"
    assert (await undo(api, NONE, 404))["code"] == "BATCH_NOT_FOUND"
    nothing = await batch(api, action="untag", tags=["none"], ids=known[2:])
    assert (nothing["result"]["changed"], nothing["result"]["can_undo"]) == (0, False)
    assert (await undo(api, nothing["batch_id"], 404))["code"] == "BATCH_NOT_FOUND"


async def test_old_batches_are_dropped(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "KEPT", 3)
    known = await ids(api)
    made = [(await batch(api, action="rate", rating=1 + n % 5, ids=known))["batch_id"] for n in range(5)]
    assert [each["id"] for each in (await api.get("/api/assets/batches"))["batches"]] == made[:1:-1]
    monkeypatch.setattr(batches, "KEPT_ITEMS", COUNT)
    made.append((await batch(api, action="favourite", favourite=True, ids=known))["batch_id"])
    assert [each["id"] for each in (await api.get("/api/assets/batches"))["batches"]] == made[-1:]


async def test_users_are_kept_apart(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("anns.png", "bobs.png", "all.png"):
        library.write(f"output/{name}", picture(len(name)))
    await library.scan()
    hand = hand_of(library)
    await hand.belongs("anns.png", "ann", "output")
    await hand.belongs("bobs.png", "bob", "output")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    hers = {asset["name"]: asset["id"] for asset in (await ann.get("/api/assets"))["assets"]}
    made = await batch(bob, action="rate", rating=1, filter={})
    assert made["result"]["changed"] == 2  # his own and the public one
    made = await batch(bob, action="trash", ids=[hers["anns.png"]])
    assert made["result"]["failures"][0]["code"] == "ASSET_NOT_FOUND"
    rated = await batch(ann, action="rate", rating=5, ids=[hers["anns.png"]])
    assert (await undo(bob, rated["batch_id"], 404))["code"] == "BATCH_NOT_FOUND"
    hers_alone = await collection(ann)
    for action in ("add_to_collection", "remove_from_collection"):
        refused = await batch(bob, 404, action=action, collection_id=hers_alone, filter={})
        assert refused["code"] == "COLLECTION_NOT_FOUND"
    assert [each["changed"] for each in (await bob.get("/api/assets/batches"))["batches"]] == [2]
    await bob.send("GET", f"/api/tasks/{rated['task_id']}", 404)
    assert [event for event in library.host.events if event.type == "asset_batch"] == []


async def test_progress_and_cancellation(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = await ids(api)
    trash, moved = shelf.services.trash, 0
    delete, gate = trash.delete, asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> None:
        nonlocal moved
        if moved == 2:
            await gate.wait()
        moved += 1
        await delete(*arguments, **options)

    monkeypatch.setattr(trash, "delete", slow)
    monkeypatch.setattr("comfy_assets_node.comfy_assets.assets.batch_actions.Delete.at_once", 1)
    made = await batch(api, 202, action="trash", ids=known, wait=1)
    assert (made["status"], made["result"]["done"]) == ("running", 2)
    assert (await undo(api, made["batch_id"], 409))["code"] == "BATCH_RUNNING"
    await api.send("DELETE", f"/api/tasks/{made['task_id']}", 204)
    gate.set()
    while (task := await api.get(f"/api/tasks/{made['task_id']}"))["status"] == "running":
        await asyncio.sleep(0.01)
    assert (task["status"], task["result"]["changed"]) == ("cancelled", 3)
    assert shelf.host.events[-1].data["status"] == "cancelled"
    assert len(await ids(api)) == COUNT - 3
    assert (await undo(api, made["batch_id"]))["result"]["changed"] == 3
    assert await ids(api) == known


@pytest.mark.parametrize(
    "look_up", [partial(batch_rows.rows_of, deleted=False), partial(batch_rows.rows_of, deleted=True), visible]
)
async def test_ids_are_looked_up_one_by_one(shelf: Any, api: Any, look_up: Any) -> None:
    """The time does not grow with the library: each id leads to its asset by an index."""
    known = await ids(api)
    db = shelf.services.db
    asked: list[tuple[str, Any]] = []

    class Noting:
        async def fetch_all(self, sql: str, parameters: Any = ()) -> Any:
            asked.append((sql, parameters))
            return await db.fetch_all(sql, parameters)

    await look_up(Noting(), known, "")
    plan = [row[3] for row in await db.fetch_all(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1])]
    steps = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert steps[0].startswith("SCAN j ") and all(step.startswith("SEARCH") for step in steps[1:]), plan


async def test_five_thousand_tags(library: Any, api: Any) -> None:
    """In steps that let others write, and in one go; the time is that of a busy machine."""
    new = [f"00000000-0000-4000-8000-{n:012d}" for n in range(5000)]
    async with library.services.db.transaction() as tx:
        tag_set = await tag_rows.intern(tx, "", ("output",))
        await tx.execute_many(
            "INSERT INTO assets (uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at)"
            " VALUES (?1, ?2, ?1, ?1, 'image/png', 1, 1, 1)",
            [(asset_id, tag_set) for asset_id in new],
        )
    steps: list[float] = []
    timed = batches._Step.timed

    async def noted(self: Any, work: Any) -> None:
        began = time.monotonic()
        await timed(self, work)
        steps.append(time.monotonic() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches._Step, "timed", noted)
        made = await batch(api, 200, action="tag", tags=["many"], ids=new)
    assert made["result"]["changed"] == 5000 and len(steps) > 4
    assert (await api.get("/api/assets", tags_all="many", limit="1"))["total"] == 5000
    await undo(api, made["batch_id"])
    assert (await api.get("/api/assets", tags_all="many", limit="1"))["total"] == 0
