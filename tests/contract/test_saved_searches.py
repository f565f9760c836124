"""Saved searches: kept as they were given, checked as a list checks them, apart for each user."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import saved_searches as service

PATH = "/api/saved-searches"
NO_ID = "00000000-0000-7000-8000-000000000000"
QUERIES: list[dict[str, Any]] = [
    {},
    {"q": "cat -dog rating:>=4"},
    {"kind": ["image", "video"], "rating": "4..", "favorite": True, "sort": "rating", "order": "asc"},
    {"tags_all": ["a", "b"], "size_min": 5, "created_days": 7, "utc_offset": -60, "folder": "output/x"},
    {"metadata_filter": '{"width": 512}', "stack": "job", "missing": "exclude"},
    {"collection": NO_ID, "sort": "collection"},
]


async def save(api: Any, name: str, query: dict[str, Any]) -> Any:
    return (await api.send("POST", PATH, 201, json={"name": name, "query": query})).json


async def test_life_of_a_search(api: Any) -> None:
    made = [await save(api, f"{number} Ä", query) for number, query in enumerate(QUERIES)]
    assert [each["query"] for each in made] == QUERIES
    assert await api.get(PATH) == {"saved_searches": made, "total": len(made)}
    assert await api.get(f"{PATH}/{made[1]['id']}") == made[1]
    body = {"name": "0 ä ", "query": {"q": "dog"}}
    assert (await api.send("PUT", f"{PATH}/{made[1]['id']}", 409, json=body)).json["code"] == "SAVED_SEARCH_EXISTS"
    changed = (await api.send("PUT", f"{PATH}/{made[0]['id']}", json=body)).json
    assert (changed["name"], changed["query"], changed["id"]) == ("0 ä", {"q": "dog"}, made[0]["id"])
    await api.send("DELETE", f"{PATH}/{made[0]['id']}", 204)
    for method in ("GET", "DELETE"):
        assert (await api.error(f"{PATH}/{made[0]['id']}", 404, method=method))["code"] == "SAVED_SEARCH_NOT_FOUND"
    assert (await api.get(PATH))["total"] == len(made) - 1


async def test_pages_are_told_of_changes(library: Any, api: Any) -> None:
    def told() -> int:
        return sum(event.type == "saved_searches.changed" for event in library.host.events)

    made = await save(api, "red", {"q": "red"})
    assert told() == 1
    await api.send("PUT", f"{PATH}/{made['id']}", json={"name": "red", "query": {"q": "blue"}})
    assert told() == 2
    await api.send("POST", PATH, 409, json={"name": "red", "query": {}})
    assert told() == 2
    await api.send("DELETE", f"{PATH}/{made['id']}", 204)
    assert told() == 3


REFUSED: list[tuple[Any, str, str]] = [
    ({"name": "", "query": {}}, "INVALID_NAME", "name"),
    ({"name": "a\x00b", "query": {}}, "INVALID_NAME", "name"),
    ({"name": "x"}, "INVALID_BODY", "query"),
    ({"name": "x", "query": []}, "INVALID_BODY", "query"),
    ({"name": "x", "query": {"q": None}}, "INVALID_BODY", "query[...]"),
    ({"name": "x", "query": {"q": {"a": 1}}}, "INVALID_BODY", "query[...]"),
    ({"name": "x", "query": {"limit": 5}}, "INVALID_BODY", "query.limit"),
    ({"name": "x", "query": {"after": "x"}}, "INVALID_BODY", "query.after"),
    ({"name": "x", "query": {"colour": "red"}}, "INVALID_BODY", "query.colour"),
    ({"name": "x", "query": {"kind": ["image", "x"]}}, "INVALID_BODY", "query.kind"),
    ({"name": "x", "query": {"rating": 9}}, "INVALID_BODY", "query.rating"),
    ({"name": "x", "query": {"q": "seed:red"}}, "INVALID_BODY", "query.q"),
    ({"name": "x", "query": {"q": "a\0b"}}, "INVALID_BODY", "query.q"),
    ({"name": "x", "query": {"sort": "colour"}}, "INVALID_BODY", "query.sort"),
    ({"name": "x", "query": {"sort": "collection"}}, "INVALID_BODY", "query.sort"),
    ({"name": "x", "query": {"folder": "../x"}}, "INVALID_BODY", "query.folder"),
    ({"name": "x", "query": {"tags_all": ["a"], "tags_none": ["a"]}}, "INVALID_BODY", "query.tags_none"),
    ({"name": "x", "query": {"tags_all": ["x" * 9000 for _ in range(9)]}}, "INVALID_BODY", "query"),
]


async def test_what_is_refused(api: Any) -> None:
    made = await save(api, "kept", {"q": "cat"})
    for body, code, field in REFUSED:
        for method, path in (("POST", PATH), ("PUT", f"{PATH}/{made['id']}")):
            answer = (await api.send(method, path, 400, json=body)).json
            assert (answer["code"], answer.get("details", {}).get("field", "")) == (code, field), body
    assert (await api.get(PATH))["saved_searches"] == [made]


async def test_the_wrong_term_is_told(api: Any) -> None:
    body = {"name": "x", "query": {"q": "cat seed:red"}}
    details = (await api.send("POST", PATH, 400, json=body)).json["details"]
    assert details == {"field": "query.q", "position": 5, "term": "seed:red"}


async def test_a_limit(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_SEARCHES", 2)
    for name in ("a", "b"):
        await save(api, name, {})
    body = (await api.send("POST", PATH, 409, json={"name": "c", "query": {}})).json
    assert (body["code"], body["details"]["max"]) == ("TOO_MANY_SAVED_SEARCHES", 2)


async def test_users_apart(make_library: Any, api_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = api_of(library).as_user("ann"), api_of(library).as_user("bob")
    made = await save(ann, "Same", {"q": "a"})
    await save(bob, "same", {"q": "b"})
    assert [each["query"] for each in (await bob.get(PATH))["saved_searches"]] == [{"q": "b"}]
    for method, body in (("GET", None), ("PUT", {"name": "x", "query": {}}), ("DELETE", None)):
        options = {} if body is None else {"json": body}
        answer = await bob.send(method, f"{PATH}/{made['id']}", 404, **options)
        assert answer.json["code"] == "SAVED_SEARCH_NOT_FOUND"
    assert await ann.get(f"{PATH}/{made['id']}") == made
