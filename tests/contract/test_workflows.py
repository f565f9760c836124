"""listWorkflows, createWorkflow, getWorkflow, updateWorkflow, deleteWorkflow, getWorkflowContent,
createWorkflowVersion, forkWorkflow, and the lists of versions."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import UnprocessableBodyError
from comfy_assets_node.comfy_assets.workflows.document import parse_workflow
from comfy_assets_node.comfy_assets.workflows.service import restore_workflow

NOBODY = "00000000-0000-4000-8000-00000000ffff"
PAGE = {
    "nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["photo.png", "image"]}],
    "links": [],
    "version": 0.4,
}
LORA = {"nodes": [{"id": 1, "type": "LoraLoader", "widgets_values": ["style/ink.safetensors", 1.0]}]}
URL = "/api/workflows"


async def create(api: Any, status: int = 201, **body: Any) -> Any:
    return (await api.send("POST", URL, status, json={"workflow_json": PAGE, **body})).json


async def save(api: Any, workflow: Any, base: int, value: Any = PAGE, status: int = 201) -> Any:
    body = {"base_version": base, "workflow_json": value}
    return (await api.send("POST", f"{URL}/{workflow['id']}/versions", status, json=body)).json


async def fork(api: Any, workflow: Any, status: int = 201, **body: Any) -> Any:
    return (await api.send("POST", f"{URL}/{workflow['id']}/fork", status, json={"source_version": 1, **body})).json


async def content(api: Any, workflow: Any) -> Any:
    return await api.get(f"{URL}/{workflow['id']}/content")


async def names(api: Any, **parameters: Any) -> list[str]:
    return [each.get("name") for each in (await api.get(URL, **parameters))["data"]]


@pytest.fixture
async def shared(make_library: Any, api_of: Any) -> tuple[Any, Any]:
    """Ann and Bob, on one server."""
    api = api_of(await make_library(users=frozenset({"ann", "bob"})))
    return api.as_user("ann"), api.as_user("bob")


async def test_a_new_workflow(api: Any) -> None:
    made = await create(api, name="Portrait", description="of a cat", default_view="app")
    assert {key: made[key] for key in ("name", "description", "default_view", "latest_version", "created_by")} == {
        "name": "Portrait",
        "description": "of a cat",
        "default_view": "app",
        "latest_version": 1,
        "created_by": "default",
    }
    assert made["created_at"] == made["updated_at"] and "forked_from" not in made
    assert await api.get(f"{URL}/{made['id']}") == made == await api.get(f"{URL}/{made['id'].upper()}")
    body = await content(api, made)
    assert (body["version"], body["workflow_json"], body["dependency_asset_ids"]) == (1, PAGE, [])
    assert body["id"] != made["id"]


async def test_only_the_workflow_is_needed(api: Any) -> None:
    made = await create(api, workflow_json={})
    assert (made["default_view"], set(made) & {"name", "description"}) == ("workflow", set())
    assert (await content(api, made))["workflow_json"] == {}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "INVALID_BODY", None),
        (b"[]", "INVALID_BODY", None),
        (b"{", "INVALID_BODY", None),
        (b"\xff", "INVALID_BODY", None),
        ({}, "INVALID_BODY", "workflow_json"),
        ({"name": "x"}, "INVALID_BODY", "workflow_json"),
        ({"workflow_json": None}, "INVALID_BODY", "workflow_json"),
        ({"workflow_json": []}, "INVALID_BODY", "workflow_json"),
        ({"workflow_json": "{}"}, "INVALID_BODY", "workflow_json"),
        ({"workflow_json": 7}, "INVALID_BODY", "workflow_json"),
        (b'{"workflow_json": {"a": NaN}}', "INVALID_BODY", None),
        (b'{"workflow_json": {"a": "\xff"}}', "INVALID_BODY", "workflow_json"),
        (b'{"workflow_json": {"a": "\xed\xa0\x80"}}', "INVALID_BODY", "workflow_json"),
        (b'{"workflow_json": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "INVALID_BODY", None),
        ({"workflow_json": {}, "name": None}, "INVALID_BODY", "name"),
        ({"workflow_json": {}, "name": 7}, "INVALID_BODY", "name"),
        ({"workflow_json": {}, "name": ""}, "INVALID_NAME", "name"),
        ({"workflow_json": {}, "name": "  "}, "INVALID_NAME", "name"),
        ({"workflow_json": {}, "name": "x" * 256}, "INVALID_NAME", "name"),
        ({"workflow_json": {}, "name": "a\0b"}, "INVALID_NAME", "name"),
        ({"workflow_json": {}, "name": "a\nb"}, "INVALID_NAME", "name"),
        ({"workflow_json": {}, "name": "../../x"}, "INVALID_NAME", "name"),
        (b'{"workflow_json": {}, "name": "\\ud800"}', "INVALID_BODY", None),
        (b'{"workflow_json": {"a": "\\ud800"}, "name": 7}', "INVALID_BODY", "name"),
        (b'{"workflow_json": ["\\ud800"]}', "INVALID_BODY", "workflow_json"),
        (b'["\\ud800"]', "INVALID_BODY", None),
        (b'{"workflow_json": {"a": "\\ud800", "b": -Infinity}}', "INVALID_BODY", None),
        (b'{"name": "\\ud800"}', "INVALID_BODY", None),
        ({"workflow_json": {}, "description": None}, "INVALID_BODY", "description"),
        ({"workflow_json": {}, "description": "x" * 10_001}, "INVALID_BODY", "description"),
        ({"workflow_json": {}, "description": "\0"}, "INVALID_BODY", "description"),
        ({"workflow_json": {}, "default_view": "other"}, "INVALID_BODY", "default_view"),
        ({"workflow_json": {}, "default_view": None}, "INVALID_BODY", "default_view"),
        ({"workflow_json": {}, "forked_from_workflow_id": ""}, "INVALID_BODY", "forked_from_workflow_id"),
        ({"workflow_json": {}, "forked_from_workflow_id": "a b"}, "INVALID_BODY", "forked_from_workflow_id"),
    ],
)
async def test_what_cannot_be_created(api: Any, body: Any, code: str, field: str | None) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = (await api.send("POST", URL, 422, data=raw)).json
    assert (error["code"], error.get("details", {}).get("field")) == (code, field)
    assert (await api.get(URL))["pagination"]["total"] == 0


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-32"),
        b'{"a": NaN}',
        b'{"a": -Infinity, "b": 1e999}',
        b'{"a": [' + b"0, " * 30_000 + b"NaN]}",
    ],
)
def test_a_text_that_not_every_client_can_read_is_no_workflow(text: bytes) -> None:
    """Of bundles and files as well: responses embed the text as it is."""
    with pytest.raises(UnprocessableBodyError) as raised:
        parse_workflow(text)
    assert raised.value.details == {"field": "workflow_json"}
    parse_workflow(b'{"a": "\\ud83d", "b": 1e999}')


async def test_the_text_comes_back_letter_by_letter(api: Any) -> None:
    text = (
        '{"nodes": [ ],\n "b":1.50, "a": 1e2, "big": 123456789012345678901, "far": 1e999, "u": "\\u00e9é🎉", "z":-0.0}'
    )
    raw = b'{"workflow_json": ' + text.encode() + b', "name": "x"}'
    made = (await api.send("POST", URL, 201, data=raw)).json
    answer = await api.send("GET", f"{URL}/{made['id']}/content")
    assert f'"workflow_json":{text},' in answer.text


HALF = b"\\ud83d"  # of a character pair, as browsers write it when a text was cut there


@pytest.mark.parametrize(
    "body",
    [
        b'{"workflow_json":%s,"name":"x","base_version":1}',
        b' {\n "name" : "x\\"}{" , "base_version":1,\t"workflow_json" : %s } ',
        b'{"workflow_json":{},"base_version":1,"z":{"workflow_json":[]},"workflow_json":%s,"a":"%%"}',
    ],
)
async def test_half_a_character_is_kept(library: Any, api: Any, body: bytes) -> None:
    library.write("input/photo.png", b"photo")
    await library.scan()
    text = b'{"nodes": [{"title": "%s", "widgets_values": ["photo.png", "%s.png"]}], "\\\\%s": 1}' % (HALF, HALF, HALF)
    made = (await api.send("POST", URL, 201, data=body % text)).json
    await api.send("POST", f"{URL}/{made['id']}/versions", 201, data=body % text)
    for number in (1, 2):
        answer = await api.send("GET", f"{URL}/{made['id']}/versions/{number}")
        assert b'"workflow_json":' + text + b"," in answer.body
        assert len(answer.json["dependency_asset_ids"]) == 1


async def test_a_body_that_others_have_read_on_the_way(library: Any, aiohttp_client: Any) -> None:
    @web.middleware
    async def curious(request: web.Request, handler: Any) -> Any:
        await request.read()
        return await handler(request)

    client = await aiohttp_client(web.Application(middlewares=[curious, library.host.plugin.middleware]))
    async with client.post(URL, json={"workflow_json": PAGE, "name": "x"}) as response:
        assert response.status == 201, await response.text()


async def test_a_fork_that_a_client_tells_of(api: Any) -> None:
    made = await create(api, forked_from_workflow_id=NOBODY, forked_from_workflow_version_id="v-7")
    assert made["forked_from"] == {"workflow_id": NOBODY, "workflow_version_id": "v-7"}
    assert (await create(api, forked_from_workflow_id=NOBODY))["forked_from"] == {"workflow_id": NOBODY}


async def test_a_workflow_that_is_too_large(make_library: Any, api_of: Any) -> None:
    """The limit applies to the workflow, not to the rest of the body, and the server's own limit does not apply."""
    api = api_of(await make_library(Config(scan_on_start=False, max_workflow_size=3 << 20)))
    fits = {"x": "y" * ((3 << 20) - 9)}
    assert len(json.dumps(fits)) == 3 << 20
    made = await create(api, workflow_json=fits)
    assert (await content(api, made))["workflow_json"] == fits
    for size in ((3 << 20) - 8, 5 << 20):
        for answer in (
            await create(api, 422, workflow_json={"x": "y" * size}),
            await save(api, made, 1, {"x": "y" * size}, 422),
        ):
            assert (answer["code"], answer["details"]["max_bytes"]) == ("WORKFLOW_TOO_LARGE", 3 << 20)
    assert (await api.get(URL))["pagination"]["total"] == 1
    assert (await api.get(f"{URL}/{made['id']}"))["latest_version"] == 1


@pytest.mark.slow
async def test_five_megabytes(api: Any) -> None:
    large = {"nodes": [{"id": n, "type": "Note", "widgets_values": [f"note {n} " * 20]} for n in range(27_000)]}
    assert len(json.dumps(large)) > 5 << 20
    assert (await content(api, await create(api, workflow_json=large)))["workflow_json"] == large


async def test_versions(library: Any, api: Any) -> None:
    made = await create(api, name="x")
    second = await save(api, made, 1, LORA)
    assert (second["version"], second["latest_version"]) == (2, 2)
    third = await save(api, made, 2, PAGE)
    assert third["version"] == 3 and third["id"] != second["id"]
    body = await content(api, made)
    assert (body["id"], body["version"], body["workflow_json"]) == (third["id"], 3, PAGE)
    now = await api.get(f"{URL}/{made['id']}")
    assert (now["latest_version"], now["created_at"], now["name"]) == (3, made["created_at"], "x")
    assert now["updated_at"] == third["created_at"] >= made["updated_at"]
    listed = await api.get(f"{URL}/{made['id']}/versions")
    assert listed["pagination"] == {"offset": 0, "limit": 20, "total": 3, "has_more": False}
    assert listed["data"][:2] == [third, {**second, "latest_version": 3}]
    page = await api.get(f"{URL}/{made['id']}/versions", limit="1", offset="1")
    assert page["data"] == listed["data"][1:2] and page["pagination"]["has_more"]
    assert (await api.get(f"{URL}/{made['id']}/versions/2"))["workflow_json"] == LORA
    # The third has the text of the first.
    assert await library.services.db.fetch_one("SELECT count(*) FROM documents") == (2,)


@pytest.mark.parametrize("base", [0, 1, 3, -1, 2**63 - 1])
async def test_a_version_that_is_based_on_another_than_the_latest(api: Any, base: int) -> None:
    made = await create(api)
    await save(api, made, 1, LORA)
    error = await save(api, made, base, PAGE, 409)
    assert (error["code"], error["details"]) == ("VERSION_CONFLICT", {"base_version": base, "latest_version": 2})
    assert (await content(api, made))["workflow_json"] == LORA


@pytest.mark.parametrize(
    "body",
    [
        {"workflow_json": {}},
        {"base_version": 1},
        {"base_version": "1", "workflow_json": {}},
        {"base_version": None, "workflow_json": {}},
        {"base_version": True, "workflow_json": {}},
        {"base_version": 2**63, "workflow_json": {}},
        {"base_version": 1.5, "workflow_json": {}},
        {"base_version": 1, "workflow_json": []},
        {"base_version": 1, "workflow_json": None},
        [],
    ],
)
async def test_what_is_no_version(api: Any, body: Any) -> None:
    made = await create(api)
    error = (await api.send("POST", f"{URL}/{made['id']}/versions", 422, json=body)).json
    assert error["code"] == "INVALID_BODY"
    assert await api.get(f"{URL}/{made['id']}") == made


async def test_of_a_hundred_writers_one_wins(api: Any) -> None:
    made = await create(api)

    async def write(number: int) -> int:
        body = {"base_version": 1, "workflow_json": {"writer": number}}
        return int((await api.send("POST", f"{URL}/{made['id']}/versions", None, json=body)).status)

    statuses = await asyncio.gather(*map(write, range(100)))
    assert Counter(statuses) == {201: 1, 409: 99}
    body = await content(api, made)
    assert (body["version"], body["workflow_json"]) == (2, {"writer": statuses.index(201)})


async def test_two_stores_over_one_file(make_library: Any, api_of: Any) -> None:
    """As with two servers on one data folder."""
    one, two = api_of(await make_library()), api_of(await make_library())
    made = await create(one)
    answers = await asyncio.gather(
        *(
            api.send(
                "POST", f"{URL}/{made['id']}/versions", None, json={"base_version": 1, "workflow_json": {"n": number}}
            )
            for number, api in enumerate([one, two] * 10)
        )
    )
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 19}


async def test_forks(api: Any) -> None:
    made = await create(api, name="Portrait", description="of a cat", default_view="app")
    await save(api, made, 1, LORA)
    first = await api.get(f"{URL}/{made['id']}/versions/1")
    forked = await fork(api, made)
    assert forked["forked_from"] == {"workflow_id": made["id"], "workflow_version_id": first["id"]}
    assert [forked[key] for key in ("name", "description", "default_view")] == ["Portrait", "of a cat", "app"]
    assert (forked["latest_version"], forked["id"] != made["id"]) == (1, True)
    assert (await content(api, forked))["workflow_json"] == PAGE
    other = await fork(api, made, source_version=2, name="Ink")
    assert (other["name"], (await content(api, other))["workflow_json"]) == ("Ink", LORA)
    await save(api, forked, 1, {"changed": 1})
    assert (await content(api, made))["workflow_json"] == LORA
    await api.send("DELETE", f"{URL}/{made['id']}", 204)
    assert (await api.get(f"{URL}/{forked['id']}"))["forked_from"] == forked["forked_from"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "INVALID_BODY"),
        ({"source_version": "1"}, 422, "INVALID_BODY"),
        ({"source_version": None}, 422, "INVALID_BODY"),
        ({"source_version": 1, "name": ""}, 422, "INVALID_NAME"),
        ({"source_version": 1, "name": None}, 422, "INVALID_BODY"),
        ({"source_version": 0}, 404, "WORKFLOW_VERSION_NOT_FOUND"),
        ({"source_version": 2}, 404, "WORKFLOW_VERSION_NOT_FOUND"),
        ({"source_version": -(2**62)}, 404, "WORKFLOW_VERSION_NOT_FOUND"),
    ],
)
async def test_what_cannot_be_forked(api: Any, body: Any, status: int, code: str) -> None:
    made = await create(api)
    error = (await api.send("POST", f"{URL}/{made['id']}/fork", status, json=body)).json
    assert error["code"] == code
    assert (await api.get(URL))["pagination"]["total"] == 1


async def test_changes(api: Any) -> None:
    made = await create(api, name="old", description="before")
    changed = (await api.send("PATCH", f"{URL}/{made['id']}", json={"name": " Cafe\u0301 "})).json
    assert (changed["name"], changed["description"], changed["latest_version"]) == ("Café", "before", 1)
    body = {"description": "", "default_view": "app", "unknown": 1}
    changed = (await api.send("PATCH", f"{URL}/{made['id']}", json=body)).json
    assert [changed[key] for key in ("name", "description", "default_view")] == ["Café", "", "app"]
    assert changed["updated_at"] >= made["updated_at"] and changed["created_at"] == made["created_at"]
    assert (await api.send("PATCH", f"{URL}/{made['id']}", json={})).json == changed
    assert (await api.get(URL, default_view="app"))["data"] == [changed]
    assert (await api.get(URL, default_view="workflow"))["pagination"]["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"name": None},
        {"name": ""},
        {"name": "/etc"},
        {"default_view": "x"},
        {"description": 7},
        "x",
        {"name": "\0"},
    ],
)
async def test_what_cannot_be_changed(api: Any, body: Any) -> None:
    made = await create(api, name="x")
    await api.send("PATCH", f"{URL}/{made['id']}", 422, json=body)
    assert (await api.get(URL))["data"] == [made]


ONE_WORKFLOW = [
    ("GET", "", None),
    ("PATCH", "", {"name": "x"}),
    ("DELETE", "", None),
    ("GET", "/content", None),
    ("POST", "/fork", {"source_version": 1}),
    ("GET", "/versions", None),
    ("POST", "/versions", {"base_version": 1, "workflow_json": {}}),
    ("GET", "/versions/1", None),
    ("GET", "/versions/x", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ONE_WORKFLOW)
async def test_a_workflow_that_is_not_there(api: Any, method: str, path: str, body: Any) -> None:
    deleted = await create(api, name="x")
    await api.send("DELETE", f"{URL}/{deleted['id']}", 204)
    for workflow_id in (NOBODY, "no-uuid", "%00", "publish", deleted["id"]):
        error = (await api.send(method, f"{URL}/{workflow_id}{path}", 404, json=body)).json
        assert error["code"] == "WORKFLOW_NOT_FOUND", workflow_id
    assert (await api.get(URL))["data"] == []


@pytest.mark.parametrize(("method", "path", "body"), ONE_WORKFLOW)
async def test_a_workflow_of_another_user(shared: Any, method: str, path: str, body: Any) -> None:
    """The contract has 403 for some operations only; the others return 404."""
    ann, bob = shared
    made = await create(ann, name="anns")
    code = "WORKFLOW_NOT_FOUND" if method in ("PATCH", "DELETE") else "WORKFLOW_FORBIDDEN"
    error = (await bob.send(method, f"{URL}/{made['id']}{path}", 404 if "NOT" in code else 403, json=body)).json
    assert error["code"] == code
    assert (await bob.get(URL))["pagination"]["total"] == 0
    assert (await ann.get(URL))["data"] == [made]


@pytest.mark.parametrize("number", ["0", "2", "-1", "x", "1.0", "9" * 30, "%00", "٣"])
async def test_a_version_that_is_not_there(api: Any, number: str) -> None:
    made = await create(api)
    error = (await api.send("GET", f"{URL}/{made['id']}/versions/{number}", 404)).json
    assert error["code"] == "WORKFLOW_VERSION_NOT_FOUND"


async def test_lists(api: Any, hand: Any) -> None:
    for name, view in (("beta", "app"), ("Alpha", "workflow"), ("gamma ALPHA", "app")):
        await create(api, name=name, default_view=view)
    beta = (await api.get(URL, name="beta"))["data"][0]
    await hand.execute("UPDATE workflows SET updated_at = 7")
    await api.send("PATCH", f"{URL}/{beta['id']}", json={"name": "Beta"})
    assert await names(api) == ["gamma ALPHA", "Alpha", "Beta"]
    assert await names(api, order="asc") == ["Beta", "Alpha", "gamma ALPHA"]
    assert await names(api, sort="name", order="asc") == ["Alpha", "Beta", "gamma ALPHA"]
    assert await names(api, sort="name") == ["gamma ALPHA", "Beta", "Alpha"]
    assert await names(api, sort="update_time") == ["Beta", "gamma ALPHA", "Alpha"]
    assert await names(api, name="ALPHA", sort="name", order="asc") == ["Alpha", "gamma ALPHA"]
    assert await names(api, name="alpha", default_view="app") == ["gamma ALPHA"]
    assert await names(api, default_view="workflow") == ["Alpha"]
    assert await names(api, name="%") == await names(api, name="_") == []
    page = await api.get(URL, limit="2", offset="1", sort="name", order="asc")
    assert [each["name"] for each in page["data"]] == ["Beta", "gamma ALPHA"]
    assert page["pagination"] == {"offset": 1, "limit": 2, "total": 3, "has_more": False}
    assert (await api.get(URL, limit="1"))["pagination"]["has_more"]
    cursor = (await api.get(URL, limit="1"))["next_cursor"]
    assert len((await api.get(URL, after=cursor))["data"]) == 2  # the last page
    beyond = await api.get(URL, offset=str(2**63 - 1))
    assert (beyond["data"], beyond["pagination"]["total"], beyond["pagination"]["has_more"]) == ([], 3, False)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["create_time", "update_time", "name"])
async def test_pages_by_cursor_while_workflows_are_added_and_deleted(
    api: Any, hand: Any, sort: str, order: str
) -> None:
    """Each workflow that stays is listed once, equal times and names or not; an offset beside a cursor is ignored."""
    made = [await create(api, name=name) for name in ("b", "B", "a", "c", "b")]
    await hand.execute("UPDATE workflows SET created_at = id / 2, updated_at = id / 3")
    query = {"sort": sort, "order": order, "limit": "2"}
    whole = [each["id"] for each in (await api.get(URL, **{**query, "limit": "100"}))["data"]]
    assert sorted(whole) == sorted(each["id"] for each in made)
    page, listed, new = await api.get(URL, **query), [], set()
    gone = page["data"][-1]["id"]
    while True:
        listed += [each["id"] for each in page["data"]]
        pagination = page["pagination"]
        assert pagination["has_more"] is ("next_cursor" in page)
        assert page.get("next_cursor") == pagination.get("next_cursor")
        assert (pagination["offset"], pagination["limit"]) == (0, 2)
        if not pagination["has_more"]:
            break
        if not new:
            await api.send("DELETE", f"{URL}/{gone}", 204)
            new = {(await create(api, name=name))["id"] for name in ("b", "z", "A")}
        page = await api.get(URL, after=page["next_cursor"], offset="3", **query)
    assert [each for each in listed if each not in new] == whole


async def test_a_cursor_of_another_list(api: Any) -> None:
    for name in "ab":
        await create(api, name=name)
    cursor = (await api.get(URL, limit="1"))["next_cursor"]
    for query in ({"after": cursor, "order": "asc"}, {"after": cursor, "sort": "name"}, {"after": "x"}, {"after": ""}):
        error = await api.error(URL, 400, query)
        assert (error["code"], error["details"]["field"]) == ("INVALID_CURSOR", "after"), query


@pytest.mark.parametrize(
    "parameters",
    [
        {"provider": "agent"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"offset": "-1"},
        {"offset": str(2**63)},
        {"sort": "size"},
        {"order": "up"},
        {"default_view": "both"},
        {"name": "a\0b"},
    ],
)
async def test_what_cannot_be_listed(api: Any, parameters: dict[str, str]) -> None:
    error = await api.error(URL, 400, parameters)
    assert (error["code"], error["details"]["field"]) == ("INVALID_QUERY", next(iter(parameters)))


async def uses(api: Any, asset: Any) -> set[tuple[str, str, int]]:
    """Return the versions of workflows that protect an asset from deletion."""
    answer = await api.send("DELETE", f"/api/assets/{asset['id']}", 409)
    assert answer.json["code"] == "ASSET_IN_USE"
    return {(each["kind"], each["id"], each["version"]) for each in answer.json["details"]["used_by"]}


async def test_the_assets_that_a_version_names(library: Any, api: Any) -> None:
    for path in ("input/photo.png", "input/sub/mask.png", "models/loras/style/ink.safetensors", "output/made.png"):
        library.write(path, path.encode())
    await library.scan()
    ids = {name: (await library.asset(name))["id"] for name in ("photo.png", "mask.png", "ink.safetensors", "made.png")}
    digest = (await library.asset("made.png"))["hash"]
    inner = {"nodes": [{"type": "LoadImage", "widgets_values": {"image": "sub/mask.png"}}]}
    cases: list[tuple[Any, set[str]]] = [
        ({}, set()),
        (PAGE, {"photo.png"}),
        (LORA, {"ink.safetensors"}),
        ({**PAGE, "definitions": {"subgraphs": [inner]}}, {"photo.png", "mask.png"}),
        ({"1": {"class_type": "LoadImage", "inputs": {"image": "made.png [output]"}}}, {"made.png"}),
        ({"1": {"class_type": "LoadImage", "inputs": {"image": digest, "x": f"asset:{ids['photo.png']}"}}},
         {"made.png", "photo.png"}),
        ({"1": {"class_type": "LoraLoader", "inputs": {"lora": "style\\ink.safetensors"}}}, {"ink.safetensors"}),
        ({"nodes": [{"widgets_values": ["photo.jpg", "made.png", ["photo.png", 7, None]]}]}, {"photo.png"}),
        ({"nodes": "photo.png", "definitions": 7}, set()),
        ({"nodes": [None, 7, {"widgets_values": 7}], "definitions": {"subgraphs": [None, {"nodes": 7}]}}, set()),
    ]  # fmt: skip
    for workflow, expected in cases:
        body = await content(api, await create(api, workflow_json=workflow))
        assert body["dependency_asset_ids"] == sorted(ids[name] for name in expected), workflow


async def test_a_deleted_workflow_is_brought_back_by_its_owner(api: Any) -> None:
    made = await create(api)
    await save(api, made, 1, {"a": 1})
    await api.send("POST", f"{URL}/{made['id']}/restore", 404)
    await api.send("DELETE", f"{URL}/{made['id']}", 204)
    back = (await api.send("POST", f"{URL}/{made['id']}/restore")).json
    assert (back["id"], back["latest_version"]) == (made["id"], 2)
    assert (await content(api, made))["workflow_json"] == {"a": 1}
    assert [each["id"] for each in (await api.get(URL))["data"]] == [made["id"]]
    await api.send("POST", f"{URL}/{made['id']}/restore", 404)


async def test_an_asset_that_a_version_names_cannot_be_deleted(library: Any, api: Any) -> None:
    library.write("input/photo.png", b"photo")
    await library.scan()
    photo = await library.asset("photo.png")
    made = await create(api)
    first = await content(api, made)
    assert first["dependency_asset_ids"] == [photo["id"]]
    await save(api, made, 1, {})
    assert (await content(api, made))["dependency_asset_ids"] == []
    forked = await content(api, await fork(api, made))
    assert forked["dependency_asset_ids"] == [photo["id"]]
    by_first, by_fork = ("workflow_version", first["id"], 1), ("workflow_version", forked["id"], 1)
    assert await uses(api, photo) == {by_first, by_fork}
    await api.send("DELETE", f"{URL}/{made['id']}", 204)
    assert await uses(api, photo) == {by_fork}
    await restore_workflow(library.services.db, made["id"])
    assert await uses(api, photo) == {by_first, by_fork}
    await api.send("DELETE", f"{URL}/{made['id']}", 204)
    await api.send("DELETE", f"{URL}/{(await api.get(URL))['data'][0]['id']}", 204)
    await api.send("DELETE", f"/api/assets/{photo['id']}", 204)
    again = await content(api, await create(api))
    assert again["dependency_asset_ids"] == []  # what is deleted is no longer named


async def test_a_version_names_no_asset_that_its_owner_cannot_see(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    library.write("input/photo.png", b"photo")
    await library.scan()
    await hand_of(library).belongs("photo.png", "ann", "input")
    ann, bob = api_of(library).as_user("ann"), api_of(library).as_user("bob")
    assert len((await content(ann, await create(ann)))["dependency_asset_ids"]) == 1
    assert (await content(bob, await create(bob)))["dependency_asset_ids"] == []


async def test_a_text_that_a_job_has_too_stays_when_the_job_is_removed(library: Any, api: Any, prompts: Any) -> None:
    """A version, the graph of a job and its page format share one document."""
    page = '{"nodes":[],"id":"x"}'
    made = (await api.send("POST", URL, 201, data=b'{"workflow_json":%s}' % page.encode())).json
    job = prompts.run(extra={"extra_pnginfo": {"workflow": json.loads(page)}})
    assert (await api.get(f"/api/jobs/{job}"))["status"] == "completed"
    count = "SELECT count(*) FROM documents"
    before = (await library.services.db.fetch_one(count))[0]
    await api.send("POST", "/api/history", json={"delete": [job]})
    assert (await library.services.db.fetch_one(count))[0] < before
    assert (await content(api, made))["workflow_json"] == json.loads(page)


async def test_workflows_are_there_after_a_restart(make_library: Any, api_of: Any) -> None:
    library = await make_library()
    made = await create(api_of(library), name="x")
    await save(api_of(library), made, 1, LORA)
    await library.services.stop()
    api = api_of(await make_library())
    assert (await content(api, made))["workflow_json"] == LORA
    assert await names(api) == ["x"]
