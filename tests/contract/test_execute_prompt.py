"""executePrompt and getPromptInfo on the standalone host, with the project in it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import json_limits
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost, http
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run
from comfy_assets_node.comfy_assets.plugin import attach
from held_node import Hold
from support.stored_texts import stored_texts

PATHS = pytest.mark.parametrize("path", ["/api/prompt", "/prompt"])
ID = "00000000-0000-4000-8000-0000000000ab"
SECRET = "comfyui-0123456789abcdef"
EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}}
SAVE: dict[str, Any] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}}
GRAPH: dict[str, Any] = {"1": EMPTY, "2": SAVE}
HELD: dict[str, Any] = {
    "1": EMPTY,
    "h": {"class_type": "Hold", "inputs": {"image": ["1", 0]}},
    "2": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["h", 0]}},
}
FAILING = {**HELD, "h": {"class_type": "Fail", "inputs": {"image": ["1", 0]}}}
MAX_BYTES = 20_000
PICTURE = base64.b64decode(  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


class Fail(Node):
    """Raises, telling what came along with the prompt."""

    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        raise LookupError(f"it broke {run.extra_data}")


class ExecutionServer:
    """The standalone host with the project, and an Api over it."""

    def __init__(self, base: Path, host: StandaloneHost, services: Any, api: Any) -> None:
        self.base, self.host, self.services, self.api = base, host, services, api

    async def submit(self, path: str = "/api/prompt", graph: Any = None, **more: Any) -> Any:
        return (await self.api.send("POST", path, json={"prompt": graph or GRAPH, **more})).json

    async def ended(self, job_id: str) -> Any:
        """The job, once it is over."""
        deadline = time.monotonic() + 20
        while (job := await self.api.get(f"/api/jobs/{job_id}"))["status"] in ("pending", "in_progress"):
            await asyncio.sleep(0.01)
            assert time.monotonic() < deadline, job
        return job

    async def state(self, job_id: str, wanted: str) -> None:
        deadline = time.monotonic() + 20
        while (await self.api.get(f"/api/jobs/{job_id}"))["status"] != wanted:
            await asyncio.sleep(0.01)
            assert time.monotonic() < deadline

    async def total(self) -> int:
        return int((await self.api.get("/api/jobs"))["pagination"]["total"])

    def release(self) -> None:
        (self.base / "input" / "release").touch()


MakeServer = Callable[..., Any]


@pytest.fixture
async def make_server(tmp_path: Path, aiohttp_client: Any, api_of: Any) -> AsyncIterator[MakeServer]:
    """Serve over ``tmp_path``; the client's end stops the server."""

    async def make(multi_user: bool = False, with_pack: bool = True, **config: Any) -> ExecutionServer:
        host = StandaloneHost(tmp_path, multi_user=multi_user)
        host.nodes.register("Hold", Hold)
        if with_pack:
            host.nodes.register("Fail", Fail)
        services = attach(host, Config(scan_on_start=False, **config))
        client = await aiohttp_client(host.application())
        await services.ready()
        holder = type("Holder", (), {"client": client})()
        return ExecutionServer(tmp_path, host, services, api_of(holder))

    yield make


@pytest.fixture
async def server(make_server: MakeServer) -> ExecutionServer:
    made: ExecutionServer = await make_server(max_prompt_size=MAX_BYTES)
    return made


@PATHS
async def test_a_prompt_is_answered_as_the_stock_server_does_and_is_a_job_at_once(server: Any, path: str) -> None:
    answer = await server.submit(path)
    assert set(answer) == {"prompt_id", "number", "node_errors"}
    assert (answer["number"], answer["node_errors"]) == (0, {})
    job = await server.ended(answer["prompt_id"])
    assert (job["status"], job["outputs_count"], job["priority"]) == ("completed", 1, 0)
    assert job["create_time"] <= job["execution_start_time"] <= job["execution_end_time"]
    assert job["workflow"]["prompt"] == GRAPH
    assert job["preview_output"]["filename"] == "made_00001_.png"
    assert job["execution_status"]["status_str"] == "success"


@PATHS
async def test_what_came_along_is_kept(server: Any, path: str) -> None:
    workflow = {"id": "11111111-1111-4111-8111-111111111111", "nodes": []}
    answer = await server.submit(
        path,
        prompt_id=ID,
        client_id="page",
        workflow_id="22222222-2222-4222-8222-222222222222",
        workflow_version_id="v7",
        extra_data={
            "extra_pnginfo": {"workflow": workflow},
            "api_key_comfy_org": SECRET,
            "auth_token_comfy_org": SECRET,
        },
    )
    assert answer["prompt_id"] == ID
    job = await server.ended(ID)
    assert (job["workflow_id"], job["workflow_version_id"]) == ("22222222-2222-4222-8222-222222222222", "v7")
    extra = job["workflow"]["extra_data"]
    assert (extra["client_id"], extra["extra_pnginfo"]) == ("page", {"workflow": workflow})
    assert (extra["api_key_comfy_org"], extra["auth_token_comfy_org"]) == ("[REDACTED]", "[REDACTED]")
    assert "comfy-user" not in json.dumps(job)
    page = await server.api.get("/api/jobs", workflow_id="22222222-2222-4222-8222-222222222222")
    assert [each["id"] for each in page["jobs"]] == [ID]


async def test_front_number_and_the_nodes_to_execute(server: Any) -> None:
    held = (await server.submit(graph=HELD))["prompt_id"]
    await server.state(held, "in_progress")
    graph = {**GRAPH, "3": {**SAVE, "inputs": {**SAVE["inputs"], "filename_prefix": "other"}}}
    last = await server.submit(graph=graph, partial_execution_targets=["3"], number=100)
    first = await server.submit(graph=graph, front=True)
    queue = await server.api.get("/api/queue")
    assert [entry[1] for entry in queue["queue_pending"]] == [first["prompt_id"], last["prompt_id"]]
    assert [sorted(entry[4]) for entry in queue["queue_pending"]] == [["2", "3"], ["3"]]
    info = await server.api.get("/api/prompt")
    assert info == {"exec_info": {"queue_remaining": 3}}
    server.release()
    job = await server.ended(last["prompt_id"])
    assert list(job["outputs"]) == ["3"]
    detail = (await server.api.get(f"/api/history_v2/{job['id']}"))[job["id"]]
    assert detail["prompt"]["outputs_to_execute"] == ["3"]


@PATHS
@pytest.mark.parametrize("values", [0, 30_000], ids=["decoded at once", "decoded in steps"])
async def test_a_prompt_is_decoded_once(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, path: str, values: int
) -> None:
    server = await make_server()
    decoded = []

    def count(*args: Any, **options: Any) -> Any:
        decoded.append(args)
        return decode_text(*args, **options)

    decode_text = json_limits.decode_text
    monkeypatch.setattr(json_limits, "decode_text", count)
    monkeypatch.setattr(http, "_parse", lambda raw: pytest.fail("decoded by the host"))
    body = await server.submit(path, extra_data={"x": [0] * values})
    assert len(decoded) == 1
    assert (await server.ended(body["prompt_id"]))["status"] == "completed"


@PATHS
@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
@pytest.mark.parametrize("values", [1, 30_000], ids=["decoded at once", "decoded in steps"])
async def test_numbers_that_are_not_finite_are_refused_and_nothing_is_queued(
    make_server: MakeServer, path: str, number: str, values: int
) -> None:
    server = await make_server()
    numbers = ",".join([number] * values)
    raw = f'{{"prompt": {json.dumps(GRAPH)}, "extra_data": {{"x": [{numbers}]}}}}'
    async with server.api.client.post(path, data=raw.encode()) as response:
        assert (response.status, (await response.json())["error"]["type"]) == (400, "invalid_prompt")
    assert await server.total() == 0


@PATHS
@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[]", None),
        (b"null", None),
        (b"5", None),
        (b"[" * 19_000, None),
        (b'{"prompt": []}', "prompt"),
        (b'{"prompt": "x"}', "prompt"),
        (b'{"prompt": 5}', "prompt"),
        (b'{"prompt": {"1": []}}', "prompt.1"),
        (b'{"prompt": {"1": null}}', "prompt.1"),
        (b'{"prompt": {}, "extra_data": []}', "extra_data"),
        (b'{"prompt": {}, "extra_data": "x"}', "extra_data"),
        (b'{"prompt": {}, "prompt_id": 5}', "prompt_id"),
        (b'{"prompt": {}, "number": []}', "number"),
        (b'{"prompt": {}, "number": {}}', "number"),
        (b'{"prompt": {}, "workflow_id": 5}', "workflow_id"),
        (b'{"prompt": {}, "workflow_version_id": []}', "workflow_version_id"),
        (b'{"prompt": {}, "partial_execution_targets": "2"}', "partial_execution_targets"),
        (b'{"prompt": {}, "partial_execution_targets": [[]]}', "partial_execution_targets[0]"),
        (b'{"prompt": $GRAPH, "partial_execution_targets": [2, null]}', ""),
        (b'{"prompt": {"1": {"x": NaN}}, "workflow_id": 5}', "workflow_id"),
        (b'{"prompt": {}}', ""),
        (b'{"prompt": {"1": {"inputs": {}}}}', ""),
        (b'{"prompt": {"1": {"class_type": "Unknown", "inputs": {}}}}', ""),
        (b"{}", ""),
        (b'{"prompt": null}', "prompt"),
        (b'{"prompt": {}, "extra_data": null}', "extra_data"),
        (b'{"prompt": {}, "client_id": []}', "client_id"),
        (b'{"prompt": $GRAPH, "client_id": {"a": 1}}', "client_id"),
        (b'{"prompt": $GRAPH, "number": null}', "number"),
        (b'{"prompt": $GRAPH, "number": NaN}', "number"),
        (b'{"prompt": $GRAPH, "number": "nan"}', "number"),
        (b'{"prompt": {"1": {"class_type": ["x"], "inputs": {}}}}', "prompt.1.class_type"),
        (b'{"prompt": {"1": {"class_type": {}, "inputs": {}}}}', "prompt.1.class_type"),
        (b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": null}}}', "prompt.1.inputs"),
        (b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": [1]}}}', "prompt.1.inputs"),
        (b'{"prompt": {"1": {"class_type": "\\ud83d", "inputs": "x"}}}', "prompt.1.inputs"),
        (b'"\\ud83d"', None),
        (b'{"prompt": "\\ud83d"}', "prompt"),
        (b'{"prompt": {"1": "\\ud83d"}}', "prompt.1"),
        (b'{"prompt": {"1": {"class_type": "x", "inputs": "\\ud83d"}}}', "prompt.1.inputs"),
        (b'{"prompt": $GRAPH, "client_id": "\\ud83d", "extra_data": "\\udc00\\ud83d"}', "extra_data"),
        (b'{"prompt": $GRAPH, "partial_execution_targets": "\xed\xa0\x80"}', "partial_execution_targets"),
        (b'{"prompt": $GRAPH, "number": "\\ud83d"}', "number"),
        (b'{"prompt": {"2": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}}}', ""),
        (b'{"prompt": $GRAPH, "prompt_id": "no-uuid"}', ""),
        (b'{"prompt": $GRAPH, "number": "first"}', "number"),
    ],
)
async def test_malformed_prompts_are_refused_and_nothing_is_queued(
    server: Any, path: str, body: bytes, field: str | None
) -> None:
    raw = body.replace(b"$GRAPH", json.dumps(GRAPH).encode())
    async with server.api.client.post(path, data=raw) as response:
        answer = await response.json()
        assert response.status == 400, answer
    assert set(answer) == {"error", "node_errors"}
    assert {"type", "message", "details", "extra_info"} <= set(answer["error"])
    assert answer["error"]["message"]
    if field:
        assert answer["error"]["extra_info"] == {"field": field}
    assert await server.total() == 0
    assert (await server.api.get("/api/prompt"))["exec_info"]["queue_remaining"] == 0
    assert server.host.execution.history() == {}


def nested(levels: int, *, kind: str = "[]") -> bytes:
    """A JSON text that is so many levels deep, with brackets in a text of it that count for nothing."""
    opening, closing = kind[0].encode(), kind[-1].encode()
    opening += b'"\\"[":' if kind == "{}" else b""
    return opening * levels + b'"]\\\\"' + closing * levels


@PATHS
@pytest.mark.parametrize("place", ["graph", "extra_data"])
@pytest.mark.parametrize("kind", ["[]", "{}"])
async def test_a_prompt_that_is_nested_too_deeply(server: Any, path: str, place: str, kind: str) -> None:
    """Servers copy a prompt recursively before they execute it."""
    in_graph = b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1,'
    in_graph += b' "color": 0, "more": %s}}, "2": ' + json.dumps(SAVE).encode() + b"}}"
    body, levels = (in_graph, 4) if place == "graph" else (b'{"prompt": $GRAPH, "extra_data": {"x": %s}}', 2)
    body = body.replace(b"$GRAPH", json.dumps(GRAPH).encode())
    async with server.api.client.post(path, data=body.replace(b"%s", nested(100 - levels, kind=kind))) as response:
        accepted = await response.json()
        assert response.status == 200, accepted
    for depth in (101, 700):
        async with server.api.client.post(
            path, data=body.replace(b"%s", nested(depth - levels, kind=kind))
        ) as response:
            answer = await response.json()
            assert response.status == 400, answer
        assert answer["error"]["extra_info"] == {"max_depth": 100}
    assert await server.total() == 1
    assert (await server.ended(accepted["prompt_id"]))["status"] == "completed"


@PATHS
async def test_a_prompt_that_is_too_large(server: Any, path: str) -> None:
    raw = json.dumps({"prompt": GRAPH, "extra_data": {"x": ""}}).encode()
    padded = raw.replace(b'"x": ""', b'"x": "' + b"y" * (MAX_BYTES - len(raw)) + b'"')
    assert len(padded) == MAX_BYTES
    async with server.api.client.post(path, data=padded) as response:
        assert response.status == 200
    async with server.api.client.post(path, data=padded + b" ") as response:
        assert response.status == 413
        answer = await response.json()
    assert answer["error"]["type"] == "prompt_too_large"
    assert answer["error"]["extra_info"] == {"max_bytes": MAX_BYTES}
    assert answer["node_errors"] == {}
    assert await server.total() == 1


@PATHS
@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": $GRAPH, "extra_data": {"x": "\\ud83d"}}',
        b'{"prompt": $GRAPH, "client_id": "\\ud83d"}',
        b'{"prompt": $GRAPH, "workflow_id": "\\ud83d"}',
        b'{"prompt": $GRAPH, "extra_data": {"x": 123456789012345678901234567890}}',
    ],
)
async def test_texts_that_are_no_unicode(server: Any, path: str, body: bytes) -> None:
    raw = body.replace(b"$GRAPH", json.dumps(GRAPH).encode())
    async with server.api.client.post(path, data=raw) as response:
        assert response.status == 200, await response.text()
        prompt_id = (await response.json())["prompt_id"]
    assert (await server.ended(prompt_id))["status"] == "completed"


async def test_a_failing_prompt(server: Any) -> None:
    answer = await server.submit(graph=FAILING, extra_data={"api_key_comfy_org": SECRET})
    job = await server.ended(answer["prompt_id"])
    error = job["execution_error"]
    assert job["status"] == "failed"
    assert (error["node_id"], error["node_type"], error["exception_type"]) == ("h", "Fail", "LookupError")
    assert error["exception_message"].startswith("it broke")
    assert any("execute" in line for line in error["traceback"])
    assert list(error["current_inputs"]) == ["image"]
    assert error["current_outputs"] == {}
    status = await server.api.get(f"/api/job/{job['id']}/status")
    assert (status["status"], status["error_message"]) == ("error", error["exception_message"])
    assert [text for text in stored_texts(server.host.data_directory()) if SECRET in text] == []


@pytest.mark.parametrize("way", ["ours", "stock", "interrupt", "stock interrupt", "batch", "queue"])
async def test_a_running_prompt_is_cancelled(server: Any, way: str) -> None:
    job_id = (await server.submit(graph=HELD))["prompt_id"]
    behind = (await server.submit(graph=GRAPH))["prompt_id"]
    await server.state(job_id, "in_progress")
    path, body = {
        "ours": (f"/api/jobs/{job_id}/cancel", None),
        "batch": ("/api/jobs/cancel", {"job_ids": [job_id]}),
        "queue": ("/api/queue", {"delete": [job_id]}),
        "interrupt": ("/api/interrupt", None),
        "stock interrupt": ("/interrupt", None),
        "stock": ("/interrupt", {"prompt_id": job_id}),
    }[way]
    await server.api.send("POST", path, json=body) if body else await server.api.send("POST", path)
    job = await server.ended(job_id)
    assert job["status"] == "cancelled" and "execution_error" not in job
    assert (await server.ended(behind))["status"] == "completed"


@pytest.mark.parametrize("way", ["ours", "stock delete", "stock clear", "batch", "queue", "clear"])
async def test_a_waiting_prompt_is_cancelled_and_stays(server: Any, way: str) -> None:
    held = (await server.submit(graph=HELD))["prompt_id"]
    await server.state(held, "in_progress")
    job_id = (await server.submit())["prompt_id"]
    path, body = {
        "ours": (f"/api/jobs/{job_id}/cancel", None),
        "batch": ("/api/jobs/cancel", {"job_ids": [job_id]}),
        "queue": ("/api/queue", {"delete": [job_id]}),
        "clear": ("/api/queue", {"clear": True}),
        "stock delete": ("/queue", {"delete": [job_id]}),
        "stock clear": ("/queue", {"clear": True}),
    }[way]
    await server.api.send("POST", path, json=body) if body else await server.api.send("POST", path)
    job = await server.api.get(f"/api/jobs/{job_id}")
    assert (job["status"], job["outputs"], job["outputs_count"]) == ("cancelled", {}, 0)
    assert (await server.api.get("/api/queue"))["queue_pending"] == []
    server.release()
    assert (await server.ended(held))["status"] == "completed"


async def test_history_that_the_stock_page_removes_is_removed(server: Any) -> None:
    ids = [(await server.submit())["prompt_id"] for _ in range(3)]
    await server.ended(ids[-1])
    await server.api.send("POST", "/history", json={"delete": [ids[0]]})
    await server.api.send("GET", f"/api/jobs/{ids[0]}", 404)
    assert await server.total() == 2
    await server.api.send("POST", "/api/history", json={"delete": [ids[1]]})
    assert list(server.host.execution.history()) == [ids[2]]
    await server.api.send("POST", "/history", json={"clear": True})
    assert await server.total() == 0
    # The second and third time the node's output was that of the first.
    assert [path.name for path in (server.base / "output").iterdir()] == ["made_00001_.png"]


async def test_pages_hear_of_history_that_is_removed(server: Any) -> None:
    job_id = (await server.submit())["prompt_id"]
    await server.ended(job_id)
    socket = await server.api.client.ws_connect("/ws?clientId=page")
    assert (await socket.receive_json(timeout=10))["type"] == "status"
    await server.api.send("POST", "/api/history", json={"delete": [job_id]})
    assert (await socket.receive_json(timeout=10))["type"] == "status"
    await socket.close()


async def test_users_own_what_they_submit(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "users.json").write_text(json.dumps({"ann_1": "ann", "ben_1": "ben"}))
    server = await make_server(multi_user=True)
    ann, ben = server.api.as_user("ann_1"), server.api.as_user("ben_1")
    anns = (await ann.send("POST", "/prompt", json={"prompt": GRAPH})).json["prompt_id"]
    nobodys = (await server.api.send("POST", "/prompt", json={"prompt": GRAPH})).json["prompt_id"]
    assert [job["id"] for job in (await ann.get("/api/jobs"))["jobs"]] == [nobodys, anns]
    assert [job["id"] for job in (await ben.get("/api/jobs"))["jobs"]] == [nobodys]
    await ben.get(f"/api/jobs/{anns}", 403)
    await ben.send("POST", f"/api/jobs/{anns}/cancel", 404)


async def test_what_waited_when_the_server_stopped_waits_again(make_server: MakeServer) -> None:
    server = await make_server()
    held = (await server.submit(graph=HELD))["prompt_id"]
    await server.state(held, "in_progress")
    waiting = [(await server.submit(prompt_id=None, client_id="page"))["prompt_id"] for _ in range(3)]
    await server.api.client.close()
    server.release()
    again = await make_server()
    later = (await again.submit())["prompt_id"]
    jobs = [await again.ended(job_id) for job_id in [*waiting, later]]
    assert [job["status"] for job in jobs] == ["completed"] * 4
    starts = [job["execution_start_time"] for job in jobs]
    assert starts == sorted(starts)
    numbers = [job["priority"] for job in jobs]
    assert numbers == sorted(set(numbers))
    assert (await again.api.get(f"/api/jobs/{held}"))["status"] in ("cancelled", "failed")


async def test_what_cannot_be_executed_after_a_restart_fails_and_the_rest_goes_on(make_server: MakeServer) -> None:
    server = await make_server()
    (server.base / "input" / "there.png").write_bytes(PICTURE)
    loading = {"1": {"class_type": "LoadImage", "inputs": {"image": "there.png"}}, "2": SAVE}
    partly = {**loading, "3": EMPTY, "4": {**SAVE, "inputs": {"images": ["3", 0], "filename_prefix": "other"}}}
    held = (await server.submit(graph=HELD))["prompt_id"]
    await server.state(held, "in_progress")
    failing, loaded, in_part, last = [
        (await server.submit(graph=graph))["prompt_id"] for graph in (FAILING, loading, partly, GRAPH)
    ]
    await server.api.client.close()
    (server.base / "input" / "there.png").unlink()
    again = await make_server(with_pack=False)
    jobs = {job_id: await again.ended(job_id) for job_id in (failing, loaded, in_part, last)}
    assert [job["status"] for job in jobs.values()] == ["failed", "failed", "completed", "completed"]
    missing, refused = jobs[failing]["execution_error"], jobs[loaded]["execution_error"]
    assert {name: missing[name] for name in ("node_id", "node_type", "exception_type")} == {
        "node_id": "h",
        "node_type": "Fail",
        "exception_type": "MissingNodeType",
    }
    assert "Node h (Fail)" in missing["exception_message"]
    assert (refused["node_id"], refused["node_type"], refused["exception_type"]) == ("1", "LoadImage", "InvalidPrompt")
    assert "there.png" in refused["exception_message"]
    assert list(jobs[in_part]["outputs"]) == ["4"]
    assert (await again.api.get("/api/prompt"))["exec_info"]["queue_remaining"] == 0
