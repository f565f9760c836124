"""Multi-user mode: who is known, and who sees what."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

SOME_ID = "00000000-0000-7000-8000-000000000000"
OPERATIONS = [
    ("GET", "/api/assets"),
    ("GET", "/api/assets/tags/refine"),
    ("GET", "/api/assets/folders"),
    ("GET", "/api/assets/facets"),
    ("GET", "/api/assets/days"),
    ("GET", f"/api/assets/{SOME_ID}"),
    ("GET", f"/api/assets/{SOME_ID}/content"),
    ("HEAD", "/api/assets/hash/blake3:" + "0" * 64),
    ("POST", f"/api/assets/{SOME_ID}/restore"),
    ("GET", "/api/collections"),
    ("POST", "/api/collections"),
    ("GET", f"/api/collections/{SOME_ID}"),
    ("PATCH", f"/api/collections/{SOME_ID}"),
    ("DELETE", f"/api/collections/{SOME_ID}"),
    ("POST", f"/api/collections/{SOME_ID}/restore"),
    ("POST", f"/api/collections/{SOME_ID}/assets"),
    ("DELETE", f"/api/collections/{SOME_ID}/assets"),
    ("POST", f"/api/collections/{SOME_ID}/order"),
    ("GET", "/api/saved-searches"),
    ("POST", "/api/saved-searches"),
    ("GET", f"/api/saved-searches/{SOME_ID}"),
    ("PUT", f"/api/saved-searches/{SOME_ID}"),
    ("DELETE", f"/api/saved-searches/{SOME_ID}"),
    ("GET", f"/api/assets/{SOME_ID}/uses"),
    ("POST", f"/api/assets/{SOME_ID}/show-in-folder"),
    ("GET", "/api/network"),
    ("POST", "/api/assets/batch"),
    ("GET", "/api/assets/batches"),
    ("POST", f"/api/assets/batch/{SOME_ID}/undo"),
    ("GET", "/api/trash"),
    ("POST", "/api/trash/empty"),
    ("POST", f"/api/trash/{SOME_ID}/restore"),
    ("DELETE", f"/api/trash/{SOME_ID}"),
    ("GET", "/api/tags"),
    ("POST", "/api/assets/seed"),
    ("GET", "/api/assets/seed/status"),
    ("POST", "/api/assets/seed/cancel"),
    ("POST", "/api/assets/seed/pause"),
    ("POST", "/api/assets/seed/resume"),
    ("POST", "/api/assets/prune"),
    ("POST", "/api/assets/export"),
    ("GET", "/api/assets/exports/x.zip"),
    ("POST", "/api/assets/from-workflow"),
    ("DELETE", f"/api/jobs/{SOME_ID}"),
    ("GET", "/api/workflows"),
    ("POST", "/api/workflows"),
    ("GET", f"/api/workflows/{SOME_ID}"),
    ("PATCH", f"/api/workflows/{SOME_ID}"),
    ("DELETE", f"/api/workflows/{SOME_ID}"),
    ("POST", f"/api/workflows/{SOME_ID}/restore"),
    ("GET", f"/api/workflows/{SOME_ID}/content"),
    ("GET", f"/api/workflows/{SOME_ID}/requirements"),
    ("POST", f"/api/workflows/{SOME_ID}/relink"),
    ("POST", f"/api/workflows/{SOME_ID}/export"),
    ("POST", "/api/workflows/import"),
    ("POST", f"/api/workflows/{SOME_ID}/fork"),
    ("GET", f"/api/workflows/{SOME_ID}/versions"),
    ("POST", f"/api/workflows/{SOME_ID}/versions"),
    ("GET", f"/api/workflows/{SOME_ID}/versions/1"),
    ("GET", "/api/userdata/workflows%2Fx.json/publish"),
    ("POST", "/api/userdata/workflows%2Fx.json/publish"),
    ("DELETE", "/api/userdata/workflows%2Fx.json/publish"),
    ("GET", "/api/workflows/published/x"),
    ("POST", "/api/assets/import"),
    ("GET", "/api/tasks"),
    ("GET", f"/api/tasks/{SOME_ID}"),
    ("DELETE", f"/api/tasks/{SOME_ID}"),
    ("GET", "/api/assets/remote-metadata?url=https://a.example/x.png"),
    ("POST", "/api/assets/download"),
    ("GET", "/api/secrets"),
    ("POST", "/api/secrets"),
    ("GET", "/api/secrets/providers"),
    ("GET", f"/api/secrets/{SOME_ID}"),
    ("PATCH", f"/api/secrets/{SOME_ID}"),
    ("PUT", f"/api/secrets/{SOME_ID}"),
    ("DELETE", f"/api/secrets/{SOME_ID}"),
    ("GET", "/api/user"),
    ("POST", "/api/feedback"),
    ("GET", "/api/vhs/queryvideo"),
]


@pytest.fixture
async def shared(make_library: Any, hand_of: Any) -> Any:
    """Ann's file, Bob's file and a public one."""
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("ann.png", "bob.png", "all.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    hand = hand_of(library)
    await hand.belongs("ann.png", "ann", "output", "anns")
    await hand.belongs("bob.png", "bob", "output", "bobs")
    await hand.user_metadata("ann.png", {"secret": "ann"})
    return library


@pytest.fixture
async def ids(shared: Any) -> dict[str, str]:
    """The asset ids by name."""
    return dict(await shared.services.db.fetch_all("SELECT name, uuid FROM assets"))


async def test_an_unknown_user(shared: Any, api_of: Any) -> None:
    users = ("nobody", "", "ANN", "default", None)
    for user, (method, path) in itertools.product(users, OPERATIONS):
        api = api_of(shared) if user is None else api_of(shared).as_user(user)
        answer = await api.send(method, path, 401)
        if method != "HEAD":
            assert answer.json["code"] == "UNAUTHORIZED"
            assert answer.json["message"]


async def test_an_unknown_user_starts_nothing(shared: Any, api_of: Any) -> None:
    (shared.base / "output/all.png").unlink()
    nobody = api_of(shared).as_user("nobody")
    await nobody.send("POST", "/api/assets/prune", 401)
    await nobody.send("POST", "/api/assets/seed", 401)
    status = await api_of(shared).as_user("ann").get("/api/assets", include_tags="missing")
    assert status["total"] == 0


@pytest.mark.parametrize(
    ("user", "public", "names"),
    [
        ("ann", "true", {"ann.png", "all.png"}),
        ("ann", "false", {"ann.png"}),
        ("bob", "true", {"bob.png", "all.png"}),
        ("bob", "false", {"bob.png"}),
    ],
)
async def test_lists(shared: Any, api_of: Any, user: str, public: str, names: set[str]) -> None:
    api = api_of(shared).as_user(user)
    for query in ({}, {"name_contains": "."}, {"include_tags": "output"}, {"sort": "name"}):
        page = await api.get("/api/assets", include_public=public, **query)
        assert {asset["name"] for asset in page["assets"]} == names
        assert page["total"] == len(names)
        counts = {k: v for k, v in query.items() if k != "sort"}
        histogram = await api.get("/api/assets/tags/refine", include_public=public, **counts)
        assert histogram["tag_counts"] == {"output": len(names), f"{user}s": 1}


@pytest.mark.parametrize(("user", "public", "counts"), [
    ("ann", "true", [("output", 1, 3), ("output/all", 1, 1), ("output/anns", 1, 1)]),
    ("ann", "false", [("output", 1, 2), ("output/anns", 1, 1)]),
    ("bob", "true", [("output", 1, 2), ("output/all", 1, 1)]),
    ("bob", "false", [("output", 1, 1)]),
])  # fmt: skip
async def test_folders(
    shared: Any, api_of: Any, hand_of: Any, user: str, public: str, counts: list[tuple[str, int, int]]
) -> None:
    (shared.base / "output/all").mkdir()
    (shared.base / "output/all.png").rename(shared.base / "output/all/all.png")
    shared.write("output/anns/secret.png", b"secret")
    await shared.scan()
    await hand_of(shared).belongs("secret.png", "ann", "output", "anns")
    api = api_of(shared).as_user(user)
    found = (await api.get("/api/assets/folders", include_public=public))["folders"]
    assert [(each["path"], each["asset_count"], each["total_count"]) for each in found] == counts
    total = (await api.get("/api/assets", include_public=public, folder="output/anns"))["total"]
    assert total == (user == "ann")


async def test_no_filter_reaches_what_others_have(shared: Any, api_of: Any) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    (mine,) = (await ann.get("/api/assets", name_contains="ann"))["assets"]
    queries = (
        {"include_tags": "anns"},
        {"name_contains": "ann"},
        {"hash": mine["hash"]},
        {"metadata_filter": json.dumps({"secret": "ann"})},
    )
    for query in queries:
        assert await ann.names(**query) == ["ann.png"]
        assert (await bob.get("/api/assets", **query)) == {"assets": [], "total": 0, "has_more": False}
        if "hash" not in query:
            assert (await bob.get("/api/assets/tags/refine", **query)) == {"tag_counts": {}}


async def test_a_cursor_of_another_user_shows_no_more(shared: Any, api_of: Any) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    query = {"sort": "name", "order": "asc"}
    page = await ann.get("/api/assets", limit="1", **query)
    assert await bob.names(after=page["next_cursor"], **query) == ["bob.png"]


async def test_single_assets(shared: Any, api_of: Any, ids: dict[str, str]) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    for suffix in ("", "/content"):
        url = f"/api/assets/{ids['ann.png']}{suffix}"
        await ann.send("GET", url)
        body = await bob.get(url, 404)
        unknown = await bob.get(f"/api/assets/{SOME_ID}{suffix}", 404)
        # Nothing tells that there is such an asset.
        assert body["code"] == unknown["code"] == "ASSET_NOT_FOUND"
        assert body["message"] == unknown["message"]
        await bob.send("GET", f"/api/assets/{ids['all.png']}{suffix}")


async def test_what_was_deleted_is_restored_by_those_who_saw_it(shared: Any, api_of: Any, ids: dict[str, str]) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    before = await ann.get("/api/assets", sort="name")
    for name in ("ann.png", "all.png"):
        url = f"/api/assets/{ids[name]}"
        assert (await ann.send("POST", f"{url}/restore", 404)).json["code"] == "ASSET_NOT_FOUND"  # it is not deleted
        await ann.send("DELETE", url, 204)
        if name == "ann.png":
            assert (await bob.send("POST", f"{url}/restore", 404)).json["code"] == "ASSET_NOT_FOUND"
        assert (await ann.send("POST", f"{url}/restore")).json["id"] == ids[name]
    assert await ann.get("/api/assets", sort="name") == before


@pytest.mark.parametrize("zero", ["true", "false"])
async def test_tags(shared: Any, api_of: Any, zero: str) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    assert (await ann.get("/api/tags", include_zero=zero))["tags"] == [
        {"name": "output", "count": 2},
        {"name": "anns", "count": 1},
    ]
    assert (await bob.get("/api/tags", include_zero=zero, order="name_asc"))["tags"] == [
        {"name": "bobs", "count": 1},
        {"name": "output", "count": 2},
    ]
    mine = await ann.get("/api/tags", include_public="false", include_zero=zero)
    assert mine["tags"] == [{"name": "anns", "count": 1}, {"name": "output", "count": 1}]
    assert await bob.get("/api/tags", prefix="ann", include_zero=zero) == {
        "tags": [],
        "total": 0,
        "has_more": False,
    }


async def test_a_private_tag_that_is_no_longer_used_stays_private(shared: Any, api_of: Any, hand_of: Any) -> None:
    await hand_of(shared).belongs("ann.png", "ann", "output")
    assert (await api_of(shared).as_user("bob").get("/api/tags", prefix="ann", include_zero="true"))["total"] == 0


async def test_what_a_scan_finds_is_for_all(shared: Any, api_of: Any) -> None:
    ann, bob = api_of(shared).as_user("ann"), api_of(shared).as_user("bob")
    shared.write("input/new.png")
    await ann.send("POST", "/api/assets/seed", data=b"{}")
    await shared.services.indexer.finish()
    assert "new.png" in await bob.names()
    assert "new.png" not in await ann.names(include_public="false")


async def test_one_user_is_everybody_without_multi_user_mode(library: Any, api: Any, hand: Any) -> None:
    library.write("output/a.png")
    library.write("output/b.png")
    await library.scan()
    await hand.belongs("a.png", "default", "output")
    for client in (api, api.as_user("anybody")):
        assert set(await client.names()) == {"a.png", "b.png"}
        # What belongs to nobody in particular is that user's, too: pages fill their model library with such a request.
        assert set(await client.names(include_public="false")) == {"a.png", "b.png"}
