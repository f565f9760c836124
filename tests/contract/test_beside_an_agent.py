"""An application beside the project that serves ``/api/workflows`` as well: each receives the requests for its own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from aiohttp import web
from support.agent import AGENT_ID, StubAgent, agent_answer

URL = "/api/workflows"
OURS = {"provider": "comfy-assets"}
HOSTED = {"X-API-Key": "comfyui-0123456789"}
GRAPH = {"nodes": [], "links": [], "version": 0.4}


@pytest.fixture
async def beside(make_library: Any, aiohttp_client: Any) -> Any:
    library = await make_library()
    library.agent = StubAgent()
    app = web.Application(middlewares=[library.host.plugin.middleware])
    library.agent.register(app)
    library.client = await aiohttp_client(app)
    return library


async def ask(library: Any, method: str, path: str, status: int = 200, **options: Any) -> Any:
    async with library.client.request(method, path, **options) as response:
        assert response.status == status, (method, path, response.status, await response.text())
        return await response.json() if response.content_type == "application/json" else await response.text()


def is_agents(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("agent") is True


async def saved(library: Any, name: str = "ours") -> Any:
    return await ask(library, "POST", URL, 201, params=OURS, json={"name": name, "workflow_json": GRAPH})


async def test_lists_and_new_workflows(beside: Any) -> None:
    """They are the agent's, but for those who name this project and for hosted clients."""
    body = {"name": "mine", "workflow_json": GRAPH}
    assert is_agents(await ask(beside, "GET", f"{URL}?limit=100&after=abc"))
    assert is_agents(await ask(beside, "GET", URL, headers={"Comfy-User": "default"}))
    created = await ask(beside, "POST", URL, json=body)
    assert is_agents(created) and created["body"] == body
    assert len(beside.agent.requests) == 3
    ours = await saved(beside)
    hosted = await ask(beside, "POST", URL, 201, json=body, headers=HOSTED)
    marks: list[dict[str, Any]] = [{"params": OURS}, {"headers": HOSTED}, {"headers": {"Authorization": "Bearer abc"}}]
    for options in marks:
        listed = await ask(beside, "GET", URL, **options)
        assert {each["id"] for each in listed["data"]} == {ours["id"], hosted["id"]}
    assert len(beside.agent.requests) == 3


async def test_ids_of_ours_are_ours(beside: Any) -> None:
    made = await saved(beside)
    path = f"{URL}/{made['id']}"
    change = {"base_version": 1, "workflow_json": {**GRAPH, "version": 1}}
    assert (await ask(beside, "GET", path))["name"] == "ours"
    assert (await ask(beside, "PATCH", path, json={"name": "new"}))["name"] == "new"
    assert (await ask(beside, "POST", f"{path}/versions", 201, json=change))["version"] == 2
    assert (await ask(beside, "GET", f"{path}/versions/2"))["version"] == 2
    assert (await ask(beside, "GET", f"{path}/versions/9", 404))["code"] == "WORKFLOW_VERSION_NOT_FOUND"
    assert (await ask(beside, "GET", f"{path}/content"))["version"] == 2
    await ask(beside, "POST", f"{path}/fork", 201, json={"source_version": 1})
    await ask(beside, "PATCH", path, 422, json={"name": ""})
    await ask(beside, "DELETE", path, 204)
    await ask(beside, "POST", f"{path}/restore")
    assert beside.agent.requests == []


@pytest.mark.parametrize("workflow_id", [AGENT_ID, AGENT_ID.replace("/", "%2F"), "plain.json"])
async def test_ids_of_the_agent_are_its(beside: Any, workflow_id: str) -> None:
    """Relative paths, whatever the body is: what this project could not read may be right for the agent."""
    path = f"{URL}/{workflow_id}"
    sent = [
        ("GET", path, b""),
        ("HEAD", path, b""),
        ("PATCH", path, b'{"name": 7}'),
        ("DELETE", path, b""),
        ("PUT", path, b"no JSON"),
        ("GET", f"{path}/content", b""),
        ("GET", f"{path}/versions", b""),
        ("POST", f"{path}/versions", b"[1]"),
        ("POST", f"{path}/fork", b"{"),
        ("POST", f"{path}/restore", b""),
        ("GET", f"{path}/doc", b""),
    ]
    for method, url, data in sent:
        async with beside.client.request(method, url, data=data) as response:
            assert response.status == 200, (method, url)
            if method != "HEAD":
                assert (await response.json()) == agent_answer(method, data.decode())
    assert [each[0] for each in beside.agent.requests] == [method for method, _, _ in sent]


async def test_an_unknown_uuid_is_offered_to_the_agent_with_its_body(beside: Any) -> None:
    beside.agent.known = str(uuid.uuid4())
    path, unknown = f"{URL}/{beside.agent.known}", f"{URL}/{uuid.uuid4()}"
    for method, url, body in [
        ("GET", path, None),
        ("PATCH", path, {"name": 7}),
        ("POST", f"{path}/versions", {"anything": 1}),
        ("POST", f"{path}/fork", [1]),
        ("DELETE", path, None),
    ]:
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer = await ask(beside, method, url, **options)
        assert is_agents(answer) and answer["body"] == ("" if body is None else body)
        missing = await ask(beside, method, url.replace(path, unknown), 404, **options)
        assert missing["code"] == "WORKFLOW_NOT_FOUND"


async def test_shares(beside: Any) -> None:
    made = await saved(beside)
    file = (await ask(beside, "GET", f"{URL}/{made['id']}"))["path"].replace("/", "%2F")
    share = await ask(beside, "POST", f"/api/userdata/{file}/publish", json={"asset_ids": []})
    shown = await ask(beside, "GET", f"{URL}/published/{share['share_id']}")
    assert shown["share_id"] == share["share_id"] and beside.agent.requests == []
    assert is_agents(await ask(beside, "GET", f"{URL}/published/plain.json"))


async def test_other_paths_of_the_agent(beside: Any) -> None:
    for path in ("/api/agent/threads", "/api/agent"):
        assert is_agents(await ask(beside, "GET", path))


async def test_an_agent_that_is_not_ready(beside: Any) -> None:
    """Its own error is shown for its own, and ours for what only we can know."""
    beside.agent.is_ready = False
    made = await saved(beside)
    assert await ask(beside, "GET", URL, 503) == "the local agent is not ready"
    assert await ask(beside, "GET", f"{URL}/plain.json", 503) == "the local agent is not ready"
    assert (await ask(beside, "GET", f"{URL}/{uuid.uuid4()}", 404))["code"] == "WORKFLOW_NOT_FOUND"
    assert (await ask(beside, "GET", f"{URL}/{made['id']}"))["id"] == made["id"]
    listed = await ask(beside, "GET", URL, params=OURS)
    assert [each["id"] for each in listed["data"]] == [made["id"]]
