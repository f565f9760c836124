"""Collections: members, their order, changes at once, the trash, users."""

from __future__ import annotations

import random
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import collections as service
from comfy_assets_node.comfy_assets.db import collections as rows
from comfy_assets_node.comfy_assets.db.collections import spaced
from comfy_assets_node.comfy_assets.db.listing import columns
from comfy_assets_node.comfy_assets.db.listing import filters as listing_members
from hypothesis import given
from hypothesis import strategies as st
from support.files import picture

COUNT = 6
NO_ID = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def shelf(library: Any) -> Any:
    for number in range(COUNT):
        library.write(f"output/{number}.png", picture(number))
    await library.scan()
    return library


@pytest.fixture
async def ids(shelf: Any) -> list[str]:
    """The ids of 0.png, 1.png …"""
    found = {asset["name"]: asset["id"] for asset in await shelf.assets()}
    return [found[f"{number}.png"] for number in range(COUNT)]


async def create(api: Any, name: str = "Mine", **more: Any) -> Any:
    return (await api.send("POST", "/api/collections", 201, json={"name": name, **more})).json


async def listed(api: Any, collection: Any, **more: Any) -> str:
    """The names of its members in order, as digits."""
    query = {"collection": collection["id"], "sort": "collection", "order": "asc", **more}
    page = await api.get("/api/assets", **query)
    assert page["total"] == len(page["assets"])
    return "".join(asset["name"][0] for asset in page["assets"])


async def test_life_of_a_collection(shelf: Any, api: Any, ids: list[str]) -> None:
    made = await create(api, " Mine ", description="for the wall", asset_ids=[ids[3], ids[1], ids[3]])
    assert (made["name"], made["asset_count"], made["version"]) == ("Mine", 2, 1)
    assert made["description"] == "for the wall" and made["cover_id"] == ids[3] and "3.png" in made["cover_url"]
    assert await api.get(f"/api/collections/{made['id']}") == made
    assert await api.get("/api/collections") == {"collections": [made], "total": 1, "has_more": False}
    changed = (
        await api.send(
            "PATCH", f"/api/collections/{made['id']}", json={"name": "Yours", "description": "", "cover_id": ids[1]}
        )
    ).json
    assert (changed["name"], changed["cover_id"], changed["version"]) == ("Yours", ids[1], 2)
    assert "description" not in changed
    changed = (await api.send("PATCH", f"/api/collections/{made['id']}", json={"cover_id": ""})).json
    assert changed["cover_id"] == ids[3]
    await api.send("DELETE", f"/api/collections/{made['id']}", 204)
    assert (await api.error(f"/api/collections/{made['id']}", 404))["code"] == "COLLECTION_NOT_FOUND"
    assert (await api.error("/api/assets", 404, {"collection": made["id"]}))["code"] == "COLLECTION_NOT_FOUND"
    assert (await api.get("/api/collections"))["total"] == 0
    await create(api, "yours")
    restored = (await api.send("POST", f"/api/collections/{made['id']}/restore")).json
    assert (restored["name"], restored["asset_count"]) == ("Yours (2)", 2)
    assert await listed(api, restored) == "31"
    assert (await api.error(f"/api/collections/{made['id']}/restore", 404, method="POST"))["code"]


async def test_members(shelf: Any, api: Any, ids: list[str]) -> None:
    made = await create(api, asset_ids=ids[:2])
    path = f"/api/collections/{made['id']}/assets"
    added = (await api.send("POST", path, json={"asset_ids": [ids[4], ids[1], ids[2]]})).json
    assert (added["added"], added["already_present"], added["collection"]["asset_count"]) == (2, 1, 4)
    assert await listed(api, made) == "0142"
    added = (await api.send("POST", path, json={"asset_ids": [ids[5].upper(), ids[3]], "before": ids[1]})).json
    assert added["added"] == 2 and await listed(api, made) == "053142"
    removed = (await api.send("DELETE", path, json={"asset_ids": [ids[3], ids[0], NO_ID]})).json
    assert (removed["removed"], removed["not_present"]) == (2, 1) and await listed(api, made) == "5142"
    order = f"/api/collections/{made['id']}/order"
    moved = (await api.send("POST", order, json={"asset_ids": [ids[2], ids[5]], "before": ids[1]})).json
    assert await listed(api, made) == "2514" and moved["version"] > removed["collection"]["version"]
    await api.send("POST", order, json={"asset_ids": [ids[5], ids[2]]})
    assert await listed(api, made) == "1452"
    assert await listed(api, made, order="desc") == "2541"
    assert (await api.get("/api/assets", collection=made["id"], kind="image"))["total"] == 4
    assert (await api.get("/api/assets/tags/refine", collection=made["id"]))["tag_counts"] == {"output": 4}
    assert (await api.get("/api/assets/facets", collection=made["id"]))["total"] == 4
    assert [each["path"] for each in (await api.get("/api/assets/folders", collection=made["id"]))["folders"]]
    nothing = (await api.send("POST", path, json={"asset_ids": ids[1:2]})).json
    assert nothing["added"] == 0 and nothing["collection"]["version"] == moved["version"] + 1


async def test_pages_in_the_order_of_a_collection(shelf: Any, api: Any, ids: list[str]) -> None:
    order = [ids[number] for number in (3, 0, 5, 1, 4, 2)]
    made = await create(api, asset_ids=order)
    for direction, wanted in (("asc", order), ("desc", order[::-1])):
        found: list[str] = []
        query = {"collection": made["id"], "sort": "collection", "order": direction, "limit": "2"}
        after: dict[str, str] = {}
        while True:
            page = await api.get("/api/assets", **query, **after)
            found += [asset["id"] for asset in page["assets"]]
            if not page["has_more"]:
                break
            after = {"after": page["next_cursor"]}
        assert found == wanted
        assert [a["id"] for a in (await api.get("/api/assets", offset="3", **query))["assets"]] == wanted[3:5]


async def test_an_asset_in_several(shelf: Any, api: Any, ids: list[str]) -> None:
    one, two = await create(api, "One", asset_ids=ids[:2]), await create(api, "Two", asset_ids=ids[1:3])
    await create(api, "Three")
    for asset_id, names in ((ids[1], ["One", "Two"]), (ids[2], ["Two"]), (NO_ID, [])):
        page = await api.get("/api/collections", asset_id=asset_id)
        assert [each["name"] for each in page["collections"]] == names and page["total"] == len(names)
    page = await api.get("/api/collections", name_contains="T", sort="created_at", order="desc", limit="1")
    assert ([each["name"] for each in page["collections"]], page["total"], page["has_more"]) == (["Three"], 2, True)
    page = await api.get("/api/collections", name_contains="t", offset="1")
    assert [each["name"] for each in page["collections"]] == ["Two"]
    assert await listed(api, one) == "01" and await listed(api, two) == "12"


async def test_deleted_assets_come_back_into_their_places(shelf: Any, api: Any, ids: list[str]) -> None:
    made = await create(api, asset_ids=[ids[2], ids[0], ids[1]])
    for asset_id in (ids[0], ids[2]):
        await api.send("DELETE", f"/api/assets/{asset_id}", 204)
    body = await api.get(f"/api/collections/{made['id']}")
    assert (body["asset_count"], body["cover_id"]) == (1, ids[1]) and await listed(api, made) == "1"
    await api.send("POST", f"/api/collections/{made['id']}/assets", json={"asset_ids": [ids[3]]})
    for asset_id in (ids[0], ids[2]):
        await api.send("POST", f"/api/assets/{asset_id}/restore")
    assert await listed(api, made) == "2013"
    assert (await api.get(f"/api/collections/{made['id']}"))["cover_id"] == ids[2]


async def test_a_moved_file_keeps_its_place(shelf: Any, api: Any, ids: list[str]) -> None:
    made = await create(api, asset_ids=[ids[2], ids[0], ids[1]])
    (shelf.base / "output/0.png").rename(shelf.base / "output/9.png")
    await shelf.scan()
    assert await listed(api, made) == "291"
    # A new file that a user has put into a collection is not merged with a missing one of the same look.
    (shelf.base / "output/1.png").unlink()
    await shelf.scan()
    assert await listed(api, made) == "291"


REFUSED: list[tuple[str, str, Any, int, str, str]] = [
    ("POST", "", {"name": ""}, 400, "INVALID_NAME", "name"),
    ("POST", "", {"name": " \t"}, 400, "INVALID_NAME", "name"),
    ("POST", "", {"name": "x" * 256}, 400, "INVALID_NAME", "name"),
    ("POST", "", {"name": "a\nb"}, 400, "INVALID_NAME", "name"),
    ("POST", "", {}, 400, "INVALID_BODY", "name"),
    ("POST", "", {"name": "MINE"}, 409, "COLLECTION_EXISTS", "name"),
    ("POST", "", {"name": "x", "asset_ids": ["no uuid"]}, 400, "INVALID_BODY", "asset_ids"),
    ("POST", "", {"name": "x", "asset_ids": [NO_ID]}, 400, "UNKNOWN_ASSETS", "asset_ids"),
    ("POST", "", {"name": "x", "asset_ids": [NO_ID] * 10_001}, 400, "INVALID_BODY", "asset_ids"),
    ("PATCH", "/{id}", {}, 400, "INVALID_BODY", ""),
    ("PATCH", "/{id}", {"base_version": 1}, 400, "INVALID_BODY", ""),
    ("PATCH", "/{id}", {"name": "other"}, 409, "COLLECTION_EXISTS", "name"),
    ("PATCH", "/{id}", {"name": "x", "base_version": 9}, 409, "VERSION_CONFLICT", ""),
    ("PATCH", "/{id}", {"cover_id": "x"}, 400, "INVALID_BODY", "cover_id"),
    ("PATCH", "/{id}", {"cover_id": NO_ID}, 404, "ASSET_NOT_FOUND", "cover_id"),
    ("POST", "/{id}/assets", {"asset_ids": []}, 400, "INVALID_BODY", "asset_ids"),
    ("POST", "/{id}/assets", {"asset_ids": ["{0}", NO_ID]}, 400, "UNKNOWN_ASSETS", "asset_ids"),
    ("POST", "/{id}/assets", {"asset_ids": ["{4}"], "before": "{5}"}, 400, "UNKNOWN_ASSETS", "before"),
    ("POST", "/{id}/assets", {"asset_ids": ["{4}"], "before": "x"}, 400, "INVALID_BODY", "before"),
    ("DELETE", "/{id}/assets", {}, 400, "INVALID_BODY", "asset_ids"),
    ("POST", "/{id}/order", {"asset_ids": ["{0}", "{4}"]}, 400, "UNKNOWN_ASSETS", "asset_ids"),
    ("POST", "/{id}/order", {"asset_ids": ["{0}"], "before": "{0}"}, 400, "INVALID_BODY", "before"),
    ("POST", "/{id}/order", {"asset_ids": ["{0}"], "before": "{4}"}, 400, "UNKNOWN_ASSETS", "before"),
    ("POST", "/{id}/order", {"asset_ids": ["{0}"], "base_version": 7}, 409, "VERSION_CONFLICT", ""),
    ("GET", f"/{NO_ID}", None, 404, "COLLECTION_NOT_FOUND", ""),
    ("GET", "/x", None, 404, "COLLECTION_NOT_FOUND", ""),
    ("DELETE", f"/{NO_ID}", None, 404, "COLLECTION_NOT_FOUND", ""),
    ("POST", "/{id}/restore", None, 404, "COLLECTION_NOT_FOUND", ""),
    ("GET", "?asset_id=x", None, 400, "INVALID_QUERY", "asset_id"),
    ("GET", "?sort=size", None, 400, "INVALID_QUERY", "sort"),
]


async def test_what_is_refused(shelf: Any, api: Any, ids: list[str]) -> None:
    made = await create(api, asset_ids=ids[:3])
    await create(api, "Other")

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return ids[int(value[1])] if value[:1] == "{" else value
        if isinstance(value, list):
            return [filled(each) for each in value]
        return {key: filled(each) for key, each in value.items()} if isinstance(value, dict) else value

    for method, path, body, status, code, field in REFUSED:
        path = f"/api/collections{path.replace('{id}', made['id'])}"
        options = {} if body is None else {"json": filled(body)}
        answer = (await api.send(method, path, status, **options)).json
        assert (answer["code"], answer.get("details", {}).get("field", "")) == (code, field), (method, path, body)
    assert await api.get(f"/api/collections/{made['id']}") == made and await listed(api, made) == "012"
    for query, field in (({"collection": "x"}, "collection"), ({"sort": "collection"}, "sort")):
        assert (await api.error("/api/assets", 400, query))["details"]["field"] == field


async def test_limits(shelf: Any, api: Any, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_MEMBERS", 3)
    monkeypatch.setattr(service, "MAX_COLLECTIONS", 2)
    made = await create(api, asset_ids=ids[:2])
    path = f"/api/collections/{made['id']}/assets"
    body = (await api.send("POST", path, 409, json={"asset_ids": ids[2:4]})).json
    assert (body["code"], body["details"]["max"]) == ("COLLECTION_FULL", 3) and await listed(api, made) == "01"
    await create(api, "Other")
    assert (await api.send("POST", "/api/collections", 409, json={"name": "x"})).json["code"] == "COLLECTION_FULL"


async def test_any_sequence_of_changes_of_the_order(shelf: Any, api: Any, ids: list[str]) -> None:
    """Beside a plain list, with gaps so small that they run out."""
    chance = random.Random(7)
    made = await create(api, asset_ids=ids)
    order = list(range(COUNT))
    async with shelf.services.db.transaction() as tx:
        await tx.execute("UPDATE collection_members SET position = position >> 32")
    for _ in range(30):
        moved = chance.sample(order, chance.randint(1, COUNT - 1))
        rest = [number for number in order if number not in moved]
        before = chance.choice([None, *rest])
        at = len(rest) if before is None else rest.index(before)
        order = rest[:at] + moved + rest[at:]
        body = {"asset_ids": [ids[number] for number in moved]}
        if before is not None:
            body["before"] = ids[before]  # type: ignore[assignment]
        await api.send("POST", f"/api/collections/{made['id']}/order", json=body)
        assert await listed(api, made) == "".join(map(str, order))


@given(st.none() | st.integers(-(2**61), 2**61), st.none() | st.integers(-(2**61), 2**61), st.integers(0, 50))
def test_positions_lie_between_their_neighbours(left: int | None, right: int | None, count: int) -> None:
    if left is not None and right is not None and left >= right:
        left, right = right, left + 1
    found = spaced(left, right, count)
    if found is None:
        assert left is not None and right is not None and right - left <= count
        return
    whole = [*([left] if left is not None else []), *found, *([right] if right is not None else [])]
    assert len(found) == count and whole == sorted(set(whole))


async def test_users_apart(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("ann.png", "all.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    ann, bob = api_of(library).as_user("ann"), api_of(library).as_user("bob")
    found = {asset["name"]: asset["id"] for asset in (await ann.get("/api/assets"))["assets"]}
    both = await create(bob, "Bobs", asset_ids=[found["ann.png"], found["all.png"]])
    await hand_of(library).belongs("ann.png", "ann", "output")
    assert (await bob.get(f"/api/collections/{both['id']}"))["asset_count"] == 1
    assert await listed(bob, both) == "a"
    made = await create(ann, "Bobs", asset_ids=[found["ann.png"]])
    assert (await bob.get("/api/collections"))["total"] == 1
    requests: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        ("POST", "/restore", None),
        ("POST", "/assets", {"asset_ids": [found["all.png"]]}),
        ("DELETE", "/assets", {"asset_ids": [found["all.png"]]}),
        ("POST", "/order", {"asset_ids": [found["all.png"]]}),
    ]
    for method, path, sent in requests:
        options = {} if sent is None else {"json": sent}
        answer = await bob.send(method, f"/api/collections/{made['id']}{path}", 404, **options)
        assert answer.json["code"] == "COLLECTION_NOT_FOUND", (method, path)
    assert (await bob.error("/api/assets", 404, {"collection": made["id"]}))["code"] == "COLLECTION_NOT_FOUND"
    body = {"name": "x", "asset_ids": [found["ann.png"]]}
    assert (await bob.send("POST", "/api/collections", 400, json=body)).json["code"] == "UNKNOWN_ASSETS"


async def test_old_ones_are_removed(shelf: Any, api: Any, ids: list[str], hand: Any) -> None:
    made, kept = await create(api, "One", asset_ids=ids), await create(api, "Two")
    for each in (made, kept):
        await api.send("DELETE", f"/api/collections/{each['id']}", 204)
    await hand.execute("UPDATE collections SET deleted_at = 1 WHERE name = 'One'")
    await shelf.services.collections.purge()
    await api.send("POST", f"/api/collections/{made['id']}/restore", 404)
    await api.send("POST", f"/api/collections/{kept['id']}/restore")
    assert (await api.get("/api/assets"))["total"] == COUNT


async def test_lists_go_by_indexes(shelf: Any, api: Any) -> None:
    """However large collections and the history are, no table is read as a whole."""
    db = shelf.services.db
    for sql, parameters in (
        (f"SELECT {rows._COLUMNS.sql} FROM collections c WHERE c.owner = ?1 AND c.deleted_at IS NULL", ("",)),
        (f"SELECT group_concat(asset_id) {listing_members._OF_COLLECTION}", ("x",)),
        (columns._USED, ()),
    ):
        plan = [row[3] for row in await db.fetch_all(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        tables = {"assets", "collections", "collection_members", "job_inputs", "a", "c", "m"}
        read_whole = [step for step in plan if step.startswith("SCAN") and "INDEX" not in step]
        assert not any(tables & set(step.split()) for step in read_whole), plan
