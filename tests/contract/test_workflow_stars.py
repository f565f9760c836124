"""Stars of workflows: set by their users, a filter, and an order of the list."""

from __future__ import annotations

from typing import Any

import pytest


async def save(api: Any, name: str) -> str:
    body = {"name": name, "workflow_json": {"nodes": [], "name": name}}
    return str((await api.send("POST", "/api/workflows", 201, json=body)).json["id"])


async def star(api: Any, workflow_id: str, value: Any = True, status: int = 200) -> Any:
    return (await api.send("PATCH", f"/api/workflows/{workflow_id}", status, json={"starred": value})).json


async def names(api: Any, **query: Any) -> list[str]:
    page = await api.get("/api/workflows", **query)
    assert page["pagination"]["total"] == len(page["data"])
    return [workflow["name"] for workflow in page["data"]]


async def test_stars_are_a_filter_and_an_order(api: Any) -> None:
    ids = [await save(api, name) for name in "abcde"]
    before = await api.get(f"/api/workflows/{ids[1]}")
    assert before["starred"] is False
    starred = await star(api, ids[1])
    # A star is no change of the workflow: lists by time keep their order.
    assert starred == {**before, "starred": True}
    await star(api, ids[3])
    assert await names(api, starred="true", sort="name", order="asc") == ["b", "d"]
    assert await names(api, starred="false", sort="name", order="asc") == ["a", "c", "e"]
    assert await names(api, sort="starred") == ["d", "b", "e", "c", "a"]
    pages, query = [], {"sort": "starred", "limit": "2"}
    for _ in range(3):
        page = await api.get("/api/workflows", **query)
        pages.append([workflow["name"] for workflow in page["data"]])
        query["after"] = page.get("next_cursor", "")
    assert pages == [["d", "b"], ["e", "c"], ["a"]]
    # Deleted and restored, it keeps its star; a fork has none.
    await api.send("DELETE", f"/api/workflows/{ids[1]}", 204)
    assert await names(api, starred="true") == ["d"]
    assert (await api.send("POST", f"/api/workflows/{ids[1]}/restore")).json["starred"] is True
    fork = (await api.send("POST", f"/api/workflows/{ids[1]}/fork", 201, json={"source_version": 1})).json
    assert fork["starred"] is False
    assert (await star(api, ids[1], False))["starred"] is False
    assert await names(api, starred="true") == ["d"]


@pytest.mark.parametrize("value", [1, "yes", None, []])
async def test_other_values_change_nothing(api: Any, value: Any) -> None:
    workflow = await save(api, "a")
    error = await star(api, workflow, value, 422)
    assert error["details"] == {"field": "starred"}
    assert (await api.get(f"/api/workflows/{workflow}"))["starred"] is False


async def test_pages_learn_of_a_star(api: Any, library: Any) -> None:
    workflow = await save(api, "a")
    library.host.events.clear()
    await star(api, workflow)
    await star(api, workflow)  # no change
    assert [event.type for event in library.host.events] == ["workflows.changed"]
