"""Several users of one server: each sees and changes their own jobs, outputs and uploads alone."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfy_assets_node.comfy_assets.assets.index.scanner import ScanScope
from comfy_assets_node.comfy_assets.assets.page_refresh import completed
from comfy_assets_node.comfy_assets.assets.prompts.outputs import OutputFile, OutputFolders, add_located
from comfy_assets_node.comfy_assets.background.interruption import CancelToken, Throttle
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run
from comfy_assets_node.comfy_assets.host.standalone.queue import QueuedPrompt
from comfy_assets_node.comfy_assets.jobs.submission import JobSubmission, submitting
from comfy_assets_node.comfy_assets.plugin import attach
from held_node import Hold

EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}}
QUEUES = pytest.mark.parametrize("queue", ["/queue", "/api/queue"])
HISTORIES = pytest.mark.parametrize("history", ["/history", "/api/history"])


class Show(Node):
    """Shows a file that is there."""

    output_node = True
    file = "old.png"

    def input_types(self) -> InputTypes:
        return {"required": {}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result((), {"images": [{"filename": self.file, "subfolder": "", "type": "output"}]})


class Early(Show):
    """Writes its file and shows it when it is released."""

    file = "early.png"

    def execute(self, run: Run, **inputs: Any) -> Result:
        self.folders.output.mkdir(exist_ok=True)
        (self.folders.output / self.file).write_bytes(b"early")
        Hold(self.folders).execute(run, image=None)
        return super().execute(run)


def graph(prefix: str, *, held: bool = False) -> dict[str, Any]:
    """A graph that saves a picture; the color makes it one that no other graph has made."""
    color = sum(prefix.encode()) + 256 * len(prefix)
    nodes: dict[str, Any] = {
        "1": {**EMPTY, "inputs": {**EMPTY["inputs"], "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
    if held:
        nodes["h"] = {"class_type": "Hold", "inputs": {"image": ["1", 0]}}
        nodes["2"]["inputs"]["images"] = ["h", 0]
    return nodes


class User:
    """Requests of one user."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.name = name
        self.shared = shared
        self.api = shared.api.as_user(name)

    async def submit(self, prefix: str, *, held: bool = False, **more: Any) -> str:
        extra = {"extra_pnginfo": {"workflow": {"id": prefix, "nodes": [], "note": f"note of {prefix}"}}}
        body = {"prompt": graph(prefix, held=held), "client_id": f"page of {self.name}", "extra_data": extra, **more}
        return str((await self.api.send("POST", "/api/prompt", json=body)).json["prompt_id"])

    async def run(self, prefix: str, **more: Any) -> str:
        job_id = await self.submit(prefix, **more)
        await self.state(job_id, "completed")
        return job_id

    async def state(self, job_id: str, wanted: str) -> None:
        deadline = time.monotonic() + 20
        while (state := (await self.api.get(f"/api/jobs/{job_id}"))["status"]) != wanted:
            assert time.monotonic() < deadline and state in ("pending", "in_progress"), state
            await asyncio.sleep(0.01)

    async def states(self) -> dict[str, str]:
        return {job["id"]: job["status"] for job in (await self.api.get("/api/jobs"))["jobs"]}

    async def outputs(self) -> list[str]:
        await self.shared.services.outputs.drain()
        return sorted(await self.api.names(include_tags="output"))


class Shared:
    """The standalone host in multi-user mode with the project in it, and the users Ann and Bob."""

    def __init__(self, base: Path, host: StandaloneHost, services: Any, api: Any) -> None:
        self.base, self.host, self.services, self.api = base, host, services, api
        self.ann: Any = None
        self.bob: Any = None

    async def with_users(self) -> Shared:
        names = []
        for name in ("ann", "bob"):
            answer = await self.api.client.post("/api/users", json={"username": name})
            names.append(await answer.json())
        self.ann, self.bob = (User(self, name) for name in names)
        return self

    def release(self) -> None:
        (self.base / "input" / "release").touch()


Make = Callable[..., Any]


async def scan(shared: Shared) -> None:
    task, _ = shared.services.indexer.start_scan()
    await task.done.wait()
    await shared.services.indexer.finish()


@pytest.fixture
async def make_shared(tmp_path: Path, aiohttp_client: Any, api_of: Any) -> AsyncIterator[Make]:
    """Serve over ``tmp_path``; the client's end stops the server."""

    async def make(*, users: list[str] | None = None, **config: Any) -> Shared:
        host = StandaloneHost(tmp_path, multi_user=True)
        host.nodes.register("Hold", Hold)
        services = attach(host, Config(scan_on_start=False, **config))
        client = await aiohttp_client(host.application())
        await services.ready()
        shared = Shared(tmp_path, host, services, api_of(type("Holder", (), {"client": client})()))
        if users is None:
            return await shared.with_users()
        shared.ann, shared.bob = (User(shared, name) for name in users)  # type: ignore[assignment]
        return shared

    yield make


@pytest.fixture
async def shared(make_shared: Make) -> Shared:
    made: Shared = await make_shared()
    return made


async def fetch(user: User, path: str, **parameters: Any) -> Any:
    """The JSON of an operation that is no part of the document."""
    headers = {"comfy-user": user.name}
    async with user.api.client.get(path, headers=headers, params=parameters) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def post(user: User | None, path: str, body: Any, shared: Shared | None = None) -> int:
    client = (user or shared.ann).api.client  # type: ignore[union-attr]
    headers = {} if user is None else {"comfy-user": user.name}
    async with client.post(path, json=body, headers=headers) as answer:
        return int(answer.status)


@QUEUES
async def test_the_queue_shows_others_places_but_not_their_content(shared: Shared, queue: str) -> None:
    ann, bob = shared.ann, shared.bob
    first = await ann.submit("anns-running", held=True)
    await ann.state(first, "in_progress")
    second = await bob.submit("bobs-waiting")
    third = await ann.submit("anns-waiting", extra_data={"extra_pnginfo": {"workflow": {"id": "w", "nodes": []}}})
    for user, others in ((ann, "bobs"), (bob, "anns")):
        body = await fetch(user, queue)
        assert [item[1] for item in body["queue_running"] + body["queue_pending"]] == [first, second, third]
        text = json.dumps(body)
        assert others not in text and f"page of {others[:3]}" not in text
        mine = {first: ann, second: bob, third: ann}
        for item in body["queue_running"] + body["queue_pending"]:
            assert len(item) == 5
            if mine[item[1]] is user:
                assert item[2]["2"]["class_type"] == "SaveImage" and item[4] == ["2"]
            else:
                # The graph is the third in both forms; the rest has no members but the time.
                assert item[2] == {}
                assert [part for part in item[3:] if part and set(part) != {"create_time"}] == []
    shared.release()


@pytest.mark.parametrize("body", [{"clear": True}, {"delete": "all"}, {"clear": True, "delete": "all"}])
@QUEUES
async def test_nobody_ends_others_jobs(shared: Shared, queue: str, body: dict[str, Any]) -> None:
    ann, bob = shared.ann, shared.bob
    running = await ann.submit("running", held=True)
    await ann.state(running, "in_progress")
    anns, bobs = await ann.submit("anns"), await bob.submit("bobs")
    everything = {key: [running, anns, bobs] if value == "all" else value for key, value in body.items()}
    assert await post(bob, queue, everything) == 200
    assert await bob.states() == {bobs: "cancelled"}
    assert await ann.states() == {running: "in_progress", anns: "pending"}
    assert await post(None, queue, everything, shared) in (200, 401)  # nobody
    assert await ann.states() == {running: "in_progress", anns: "pending"}
    shared.release()
    await ann.state(anns, "completed")


@QUEUES
async def test_clearing_many_beside_anothers_holds_nobody_up(shared: Shared, queue: str) -> None:
    ann, bob = shared.ann, shared.bob
    running = await ann.submit("running", held=True)
    await ann.state(running, "in_progress")
    mine: dict[str, list[str]] = {ann.name: [], bob.name: []}
    for number in range(1000):
        for user in (ann, bob):
            with submitting(JobSubmission(user.name)):
                prompt_id = str(uuid.uuid4())
                prompt = QueuedPrompt(number + 1, prompt_id, graph("x"), {}, ("2",))
                shared.host.execution.put(prompt)
                mine[user.name].append(prompt_id)
    worst, done = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal worst
        while not done.is_set():
            began = time.process_time()  # other programs do not count
            await asyncio.sleep(0.001)
            worst = max(worst, time.process_time() - began)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    began = time.process_time()
    assert await post(bob, queue, {"clear": True}) == 200
    took = time.process_time() - began
    done.set()
    await watching
    left = [prompt.prompt_id for prompt in shared.host.execution.listing().pending]
    assert left == mine[ann.name]
    assert took < 2 and worst < 1  # in the time that one by one takes, each would go through the whole queue
    assert await post(ann, queue, {"clear": True}) == 200
    shared.release()


@pytest.mark.parametrize("path", ["/interrupt", "/api/interrupt"])
async def test_nobody_interrupts_others_jobs(shared: Shared, path: str) -> None:
    ann, bob = shared.ann, shared.bob
    running = await ann.submit("running", held=True)
    await ann.state(running, "in_progress")
    for body in ({}, {"prompt_id": running}):
        assert await post(bob, path, body) == 200
    await asyncio.sleep(0.05)
    assert await ann.states() == {running: "in_progress"}
    assert await post(ann, path, {}) == 200
    await ann.state(running, "cancelled")


async def test_interrupt_of_the_host_stops_what_runs_and_not_what_waits(shared: Shared) -> None:
    ann, bob = shared.ann, shared.bob
    running = await ann.submit("running", held=True)
    await ann.state(running, "in_progress")
    waiting = await bob.submit("waiting")
    assert await post(bob, "/interrupt", {}) == 200
    assert await bob.states() == {waiting: "pending"}
    shared.release()


@HISTORIES
async def test_history_is_the_users_own(shared: Shared, history: str) -> None:
    ann, bob = shared.ann, shared.bob
    anns = [await ann.run(f"ann{number}") for number in range(3)]
    bobs = [await bob.run(f"bob{number}") for number in range(2)]
    assert list(await fetch(ann, history)) == anns  # oldest first, as the host has it
    assert list(await fetch(ann, history, max_items=2)) == anns[1:]
    assert list(await fetch(ann, history, max_items=1, offset=1)) == anns[1:2]
    assert list(await fetch(ann, history, max_items=2, offset=-1)) == anns[1:]
    assert list(await fetch(ann, history, max_items=2**63, offset=2**63)) == []
    assert list(await fetch(bob, history)) == bobs
    entry = (await fetch(ann, f"{history}/{anns[0]}"))[anns[0]]
    assert entry["status"]["completed"] is True and entry["outputs"]["2"]["images"][0]["filename"].startswith("ann0")
    number, prompt_id, nodes, extra, targets = entry["prompt"]
    assert (number, prompt_id, nodes, targets) == (0, anns[0], graph("ann0"), ["2"])
    assert extra["extra_pnginfo"]["workflow"]["note"] == "note of ann0"
    for path in (f"{history}/{anns[0]}", f"{history}/nothing"):
        assert await fetch(bob, path) == {}
    async with ann.api.client.get(history) as answer:  # no user: what is nobody's
        assert (answer.status, await answer.json()) == (200, {})


@HISTORIES
async def test_nobody_removes_others_history(shared: Shared, history: str) -> None:
    ann, bob = shared.ann, shared.bob
    anns, bobs = await ann.run("ann"), await bob.run("bob")
    for body in ({"delete": [anns]}, {"clear": True}):
        assert await post(bob, history, body) == 200
        assert list(await fetch(ann, history)) == [anns]
        assert await ann.states() == {anns: "completed"}
    assert await bob.states() == {} and await fetch(bob, f"{history}/{bobs}") == {}
    assert await post(ann, history, {"delete": [anns, bobs]}) == 200
    assert await ann.states() == {}


async def test_history_survives_a_restart(make_shared: Make) -> None:
    shared = await make_shared()
    done = await shared.ann.run("ann")
    users = [shared.ann.name, shared.bob.name]
    await shared.api.client.close()
    again = await make_shared(users=users)
    assert list(await fetch(again.ann, f"/history/{done}")) == [done]
    assert list(await fetch(again.bob, "/history")) == []


async def test_prompts_of_nobody_are_everybodys(shared: Shared) -> None:
    body = {"prompt": graph("nobodys")}
    async with shared.api.client.post("/prompt", json=body) as answer:
        job_id = (await answer.json())["prompt_id"]
    for user in (shared.ann, shared.bob):
        await user.state(job_id, "completed")
        assert list(await fetch(user, f"/history/{job_id}")) == [job_id]
        assert await user.outputs() == ["nobodys_00001_.png"]


async def listen(shared: Shared, user: User, client_id: str) -> aiohttp.ClientWebSocketResponse:
    return await shared.api.client.ws_connect(f"/ws?clientId={client_id}", headers={"comfy-user": user.name})


async def heard(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """The messages until a moment passes without one."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            message = await socket.receive(timeout=0.4)
        except asyncio.TimeoutError:
            return found
        found.append(json.loads(message.data))


@pytest.mark.parametrize("session", ["page of ann", None])
@pytest.mark.parametrize("end", ["completed", "cancelled"])
async def test_others_hear_nothing_of_a_job_but_the_length_of_the_queue(
    shared: Shared, session: str | None, end: str
) -> None:
    ann, bob = shared.ann, shared.bob
    listener = await listen(shared, bob, "page of bob")
    own = await listen(shared, ann, "page of ann")
    job_id = await ann.submit("anns", held=True, client_id=session)
    await ann.state(job_id, "in_progress")
    if end == "completed":
        shared.release()
    else:
        await ann.api.send("POST", f"/api/jobs/{job_id}/cancel")
    await ann.state(job_id, end)
    await shared.services.outputs.drain()
    messages = await heard(listener)
    changes = {"assets.changed", "assets.seed.completed"}
    assert {message["type"] for message in messages} <= {"status", "feature_flags", *changes}
    for message in messages:
        if message["type"] in changes:
            assert set(message["data"]) <= {"created", "changed", "deleted", *completed("full", source="")}
    assert job_id not in json.dumps(messages) and "anns" not in json.dumps(messages)
    if session is not None:
        assert job_id in json.dumps(await heard(own))


async def test_outputs_are_their_owners(shared: Shared) -> None:
    ann, bob = shared.ann, shared.bob
    job_id = await ann.run("anns")
    assert await ann.outputs() == ["anns_00001_.png"] and await bob.outputs() == []
    (asset,) = (await ann.api.get("/api/assets", include_tags="output"))["assets"]
    assert asset["tags"] == ["output"]
    assert (await ann.api.get(f"/api/jobs/{job_id}/assets"))["total"] == 1
    assert (await ann.api.get(f"/api/assets/{asset['id']}"))["job_id"] == job_id
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        await bob.api.send(method, f"/api/assets/{asset['id']}{path}", 404)
    await bob.api.send("PUT", f"/api/assets/{asset['id']}", 404, json={"name": "mine.png"})
    await bob.api.send("HEAD", f"/api/assets/hash/{asset['hash']}", 404)
    assert (await bob.api.get("/api/assets", job_ids=job_id))["total"] == 0
    assert (await bob.api.get("/api/tags"))["total"] == 0
    # Files of jobs are found by scans as well.
    await scan(shared)
    assert await bob.outputs() == [] and await ann.outputs() == ["anns_00001_.png"]


async def test_results_that_the_server_reuses_for_another_user(shared: Shared) -> None:
    """The second user's job shows the first one's file: the library of each has it, and each their own record."""
    ann, bob = shared.ann, shared.bob
    first, second = await ann.run("same"), await bob.run("same")
    assert await ann.outputs() == await bob.outputs() == ["same_00001_.png"]
    (anns,), (bobs,) = [
        (await user.api.get(f"/api/jobs/{job_id}/assets"))["assets"] for user, job_id in ((ann, first), (bob, second))
    ]
    assert anns["id"] != bobs["id"] and anns["hash"] == bobs["hash"] and bobs["job_id"] == second
    content = (await bob.api.send("GET", f"/api/assets/{bobs['id']}/content")).body
    assert content == (shared.base / "output" / "same_00001_.png").read_bytes()
    await bob.api.send("GET", f"/api/assets/{anns['id']}", 404)
    await bob.api.send("POST", f"/api/assets/{bobs['id']}/tags", json={"tags": ["bobs"]})
    await bob.run("same")
    assert await bob.outputs() == ["same_00001_.png"]  # it is not added again
    assert (await ann.api.get(f"/api/assets/{anns['id']}"))["tags"] == ["output"]
    await bob.api.send("DELETE", f"/api/assets/{bobs['id']}", 204)
    assert await ann.outputs() == ["same_00001_.png"] and await bob.outputs() == []


async def test_an_output_is_not_listed_before_its_job_has_ended(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a scan nor the watcher may list a file whose owner is not known yet; older files do not wait."""
    monkeypatch.setattr(Throttle, "wait", lambda *_: None)  # scans get their turn while prompts are executed, too
    ann, bob = shared.ann, shared.bob
    shared.host.nodes.register("Early", Early)
    old, written = (shared.base / "output" / name for name in ("old.png", "early.png"))
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    body = {"prompt": {"1": {"class_type": "Early", "inputs": {}}}}
    job_id = (await ann.api.send("POST", "/api/prompt", json=body)).json["prompt_id"]
    await ann.state(job_id, "in_progress")
    while not written.exists():
        await asyncio.sleep(0.01)
    await scan(shared)
    assert await bob.api.names() == await ann.api.names() == ["old.png"]
    progress = await shared.services.indexer.scanner.scan_scope(
        ScanScope({str(old.parent)}), lambda *_: True, CancelToken()
    )
    assert progress.deferred == [str(written)]  # the watcher looks again
    assert await bob.api.names() == ["old.png"]
    shared.release()
    await ann.state(job_id, "completed")
    assert await ann.outputs() == ["early.png", "old.png"] and await bob.outputs() == ["old.png"]
    old.write_bytes(b"somebody has edited it")
    await scan(shared)
    assert (await bob.api.get("/api/assets?name_contains=old"))["assets"][0]["size"] == old.stat().st_size


async def test_an_output_that_a_scan_has_found_first(shared: Shared) -> None:
    """A server that does not know of the job has listed its file."""
    ann, bob = shared.ann, shared.bob
    shared.host.nodes.register("Early", Early)
    body = {"prompt": {"1": {"class_type": "Early", "inputs": {}}}}
    job_id = (await ann.api.send("POST", "/api/prompt", json=body)).json["prompt_id"]
    await ann.state(job_id, "in_progress")
    while not (shared.base / "output" / "early.png").exists():
        await asyncio.sleep(0.01)
    located = OutputFolders(shared.host.folders()).locate(OutputFile("output", "", "early.png"))
    assert located is not None
    async with shared.services.db.transaction() as tx:  # as a scan does that begins just before the job ends
        await add_located(tx, [located])
    assert await bob.api.names() == ["early.png"]  # another server's scan cannot know whose it is
    shared.release()
    await ann.state(job_id, "completed")
    assert await ann.outputs() == ["early.png"] and await bob.outputs() == []


async def test_shared_outputs(make_shared: Make) -> None:
    shared = await make_shared(shared_outputs=True)
    await shared.ann.run("anns")
    assert await shared.bob.outputs() == await shared.ann.outputs() == ["anns_00001_.png"]


async def test_outputs_of_former_runs_become_their_owners(make_shared: Make) -> None:
    shared = await make_shared(shared_outputs=True)
    await shared.ann.run("anns")
    await shared.bob.run("bobs")
    async with shared.api.client.post("/prompt", json={"prompt": graph("nobodys")}) as answer:
        await shared.ann.state((await answer.json())["prompt_id"], "completed")
    assert len(await shared.bob.outputs()) == 3
    (shared.base / "output" / "found.png").write_bytes(b"by a scan")
    users = [shared.ann.name, shared.bob.name]
    await shared.api.client.close()
    again = await make_shared(users=users)
    await scan(again)
    deadline = time.monotonic() + 10
    while len(await again.bob.outputs()) != 3:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await again.bob.outputs() == ["bobs_00001_.png", "found.png", "nobodys_00001_.png"]
    assert await again.ann.outputs() == ["anns_00001_.png", "found.png", "nobodys_00001_.png"]


async def test_a_file_that_was_there_before_is_not_a_jobs(shared: Shared) -> None:
    """A job that only shows a file does not take it from everybody."""
    ann, bob = shared.ann, shared.bob
    old = shared.base / "output" / "old.png"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"everybody's")
    past = time.time() - 3600
    os.utime(old, (past, past))
    await scan(shared)

    shared.host.nodes.register("Show", Show)
    body = {"prompt": {"1": {"class_type": "Show", "inputs": {}}}}
    job_id = (await bob.api.send("POST", "/api/prompt", json=body)).json["prompt_id"]
    await bob.state(job_id, "completed")
    assert await ann.outputs() == await bob.outputs() == ["old.png"]


def form(name: str, content: bytes, **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("image", content, filename=name, content_type="image/png")
    for field, value in fields.items():
        made.add_field(field, value)
    return made


async def upload(user: User, path: str, name: str, content: bytes, **fields: str) -> tuple[int, Any]:
    headers = {"comfy-user": user.name}
    async with user.api.client.post(path, data=form(name, content, **fields), headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("path", ["/upload/image", "/api/upload/image"])
async def test_uploads_to_the_host_are_their_senders(shared: Shared, path: str) -> None:
    ann, bob = shared.ann, shared.bob
    status, told = await upload(ann, path, "anns.png", b"anns picture")
    assert (status, told["name"]) == (200, "anns.png")
    assert await ann.api.names(include_tags="input") == ["anns.png"]
    assert await bob.api.names(include_tags="input") == []
    file = shared.base / "input" / "anns.png"
    for fields in ({"overwrite": "true"}, {"overwrite": "1", "type": "input"}):
        status, told = await upload(bob, path, "anns.png", b"bobs picture", **fields)
        assert (status, told["code"]) == (409, "OTHER_USERS_FILE")
        assert file.read_bytes() == b"anns picture"
    status, told = await upload(bob, path, "anns.png", b"bobs picture")
    assert (status, told["name"]) == (200, "anns (1).png")
    assert await bob.api.names(include_tags="input") == ["anns (1).png"]
    status, _ = await upload(ann, path, "anns.png", b"anns other picture", overwrite="true")
    assert status == 200 and file.read_bytes() == b"anns other picture"
    assert await ann.api.names(include_tags="input") == ["anns.png"]
    # What is everybody's stays so, whoever writes it anew.
    (shared.base / "input" / "all.png").write_bytes(b"everybody's")
    await scan(shared)
    assert (await upload(ann, path, "all.png", b"by ann", overwrite="true"))[0] == 200
    assert "all.png" in await bob.api.names(include_tags="input")


async def test_names_of_others_files_are_not_listed(shared: Shared) -> None:
    ann, bob = shared.ann, shared.bob
    await upload(ann, "/api/upload/image", "anns.png", b"anns")
    (shared.base / "input" / "all.png").write_bytes(b"everybody's")
    await ann.run("made")
    await ann.outputs()
    assert sorted(await fetch(ann, "/internal/files/input")) == ["all.png [input]", "anns.png [input]"]
    assert await fetch(bob, "/internal/files/input") == ["all.png [input]"]
    assert await fetch(ann, "/internal/files/output") == ["made_00001_.png [output]"]
    assert await fetch(bob, "/internal/files/output") == []


async def test_a_job_that_writes_over_another_users_file_takes_nothing_of_theirs(shared: Shared) -> None:
    ann, bob = shared.ann, shared.bob
    await ann.run("same")
    assert await ann.outputs() == ["same_00001_.png"]
    (mine,) = (await ann.api.get("/api/assets", include_tags="output"))["assets"]
    (shared.base / "output" / "same_00001_.png").unlink()  # the name is free again
    await bob.run("same", prompt={**graph("same"), "1": {**EMPTY, "inputs": {**EMPTY["inputs"], "color": 99}}})
    assert await bob.outputs() == ["same_00001_.png"]
    kept = await ann.api.get(f"/api/assets/{mine['id']}")
    assert (kept["hash"], "missing" in kept["tags"]) == (mine["hash"], True)
    (bobs,) = (await bob.api.get("/api/assets", include_tags="output"))["assets"]
    assert bobs["id"] != mine["id"] and bobs["hash"] != mine["hash"]


# The test that holds each row of the table in docs/security.md.
SECURITY = Path(__file__).resolve().parents[2] / "docs" / "security.md"
ROWS = {
    "files found by a scan, their tags and metadata": "test_owners.py::test_what_a_scan_finds_is_for_all",
    "batches of changes, and undoing them": "test_batches.py::test_users_are_kept_apart",
    "collections and saved searches": "test_ids_of_others.py::test_nobody_reaches_anothers_things",
    "outputs of jobs, their tags and metadata": "test_users_apart.py::test_outputs_are_their_owners",
    "uploads, references, and their tags": "test_ids_of_others.py::test_nobody_reaches_anothers_things",
    "workflows, jobs, history": "test_ids_of_others.py::test_nobody_reaches_anothers_things",
    "the queue": "test_users_apart.py::test_the_queue_shows_others_places_but_not_their_content",
    "interrupting, clearing the queue, clearing the history": "test_users_apart.py::test_nobody_ends_others_jobs",
    "progress, previews and messages of a job": (
        "test_users_apart.py::test_others_hear_nothing_of_a_job_but_the_length_of_the_queue"
    ),
    "tasks": "test_ids_of_others.py::test_nobody_reaches_anothers_things",
    "exported archives": "test_exports.py::test_what_users_see_of_each_others_exports",
    "jobs of requests without a user, and their outputs": "test_users_apart.py::test_prompts_of_nobody_are_everybodys",
    "files by name (`/api/view`), and names in the menus of nodes": (
        "test_users_apart.py::test_files_by_their_name_are_everybodys"
    ),
    "downloads and keys for them": "test_secrets.py::test_every_user_has_their_own",
    "shares": "test_ids_of_others.py::test_nobody_reaches_anothers_things",
}


def test_every_row_of_the_table_of_users_is_tested() -> None:
    section = SECURITY.read_text(encoding="utf-8").split("## Users\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    assert rows[2:] == list(ROWS)
    for row, test in ROWS.items():
        file, name = test.split("::")
        source = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert f"async def {name}(" in source, row


async def test_files_by_their_name_are_everybodys(shared: Shared) -> None:
    """What the page cannot do without: pictures come without a header. The docs say so."""
    await upload(shared.ann, "/api/upload/image", "anns.png", b"anns")
    async with shared.api.client.get("/api/view?filename=anns.png&type=input") as answer:
        assert (answer.status, await answer.read()) == (200, b"anns")
    nodes = await fetch(shared.bob, "/api/object_info/LoadImage")
    assert "anns.png" in nodes["LoadImage"]["input"]["required"]["image"][0]


async def test_a_reference_to_what_is_anothers_is_no_way_to_it(shared: Shared) -> None:
    """Neither a prompt nor a workflow of Bob's reaches what is Ann's by its id or its hash."""
    ann, bob = shared.ann, shared.bob
    await upload(ann, "/api/upload/image", "anns.png", b"anns")
    await scan(shared)
    (asset,) = (await ann.api.get("/api/assets", include_tags="input"))["assets"]
    for text in (f"asset:{asset['id']}", asset["hash"]):
        nodes = {**graph("x"), "1": {"class_type": "LoadImage", "inputs": {"image": text}}}
        async with bob.api.client.post("/prompt", json={"prompt": nodes}, headers={"comfy-user": bob.name}) as answer:
            told = await answer.json()
        assert told["node_errors"]["1"]["errors"][0]["type"] == "asset_not_found"
    assert await bob.states() == {}
