"""What every host must do, run over each that needs no ComfyUI; ``test_comfyui.py`` asks the same of a real one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from aiohttp.typedefs import Handler, Middleware
from comfy_assets_node.comfy_assets.host.base import (
    Host,
    HostFolders,
    LibraryFolder,
    UnknownUserError,
)
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from support.queue_ids import QueueIds, queue_ids

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 2, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}

MakeHost = Callable[[Path, bool], Host]


def memory(base: Path, multi_user: bool) -> Host:
    """The host for tests."""
    folders = HostFolders(
        (
            LibraryFolder("models", base / "models"),
            LibraryFolder("models", base / "models" / "loras", "loras", frozenset({".safetensors"})),
            LibraryFolder("input", base / "input"),
            LibraryFolder("output", base / "output"),
        ),
        (base / "user",),
    )
    host = MemoryHost(base / "user" / "__comfy_assets", folders, frozenset({"alice_1"}) if multi_user else None)
    host.output_nodes = {"SaveImage"}
    host.current_choices = {("LoadImage", "image"): ["photo.png"], ("ImageScale", "crop"): ["disabled", "center"]}
    return host


def standalone(base: Path, multi_user: bool) -> Host:
    """The embedded host."""
    if multi_user:
        (base / "user").mkdir(parents=True)
        (base / "user" / "users.json").write_text(json.dumps({"alice_1": "alice"}))
    return StandaloneHost(base, multi_user=multi_user)


HOSTS = pytest.mark.parametrize("make", [memory, standalone])


@HOSTS
def test_folders_name_the_three_roots_and_categories(make: MakeHost, tmp_path: Path) -> None:
    folders = make(tmp_path, False).folders()
    assert {f.kind for f in folders.folders} == {"models", "input", "output"}
    assert LibraryFolder("models", tmp_path / "models") in folders.folders
    (loras,) = [f for f in folders.folders if f.category == "loras"]
    assert ".safetensors" in loras.extensions


@HOSTS
def test_the_store_is_never_part_of_the_library(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    assert any(host.data_directory().is_relative_to(path) for path in host.folders().excluded)
    assert host.data_directory().name.startswith("__")


@HOSTS
@pytest.mark.parametrize(
    ("multi_user", "header", "user"),
    [
        (False, None, "default"),
        (False, "alice_1", "default"),
        (True, "alice_1", "alice_1"),
        (True, "nobody", None),
        (True, "__system", None),
        (True, None, None),
    ],
)
def test_users(make: MakeHost, tmp_path: Path, multi_user: bool, header: str | None, user: str | None) -> None:
    host = make(tmp_path, multi_user)
    assert host.is_multi_user() is multi_user
    request = make_mocked_request("GET", "/api/assets", headers={"comfy-user": header} if header else {})
    if user is None:
        with pytest.raises(UnknownUserError):
            host.user_of(request)
    else:
        assert host.user_of(request) == user


@HOSTS
def test_an_idle_queue_is_empty(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    assert queue_ids(host.execution) == QueueIds()
    assert not host.is_executing()


@HOSTS
def test_events_may_be_sent_from_any_thread(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    sender = threading.Thread(target=host.emit, args=("assets.seed.progress", {"scanned": 1}))
    sender.start()
    sender.join(5)
    assert not sender.is_alive()


@asynccontextmanager
async def serving(host: Host, *middlewares: Middleware) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the host's server; of the in-memory host's there is only what its hooks make of a prompt."""
    if isinstance(host, StandaloneHost):
        app = host.application()
    else:
        assert isinstance(host, MemoryHost)
        app = web.Application()
        app.router.add_post("/prompt", partial(_take, host))
    app.middlewares.extend(middlewares)
    async with TestClient(TestServer(app)) as client:
        yield client


async def _take(host: MemoryHost, request: web.Request) -> web.Response:
    body = host.hooks.rewrite(await request.json())
    outputs = {"2": {"images": [{"filename": "made_00001_.png", "subfolder": "", "type": "output"}]}}
    worker = threading.Thread(target=host.hooks.notify, args=(FinishedPrompt(body["prompt_id"], outputs),))
    worker.start()
    return web.json_response({"prompt_id": body["prompt_id"]})


@HOSTS
async def test_finished_prompts_are_told_of_on_another_thread(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    told: list[tuple[FinishedPrompt, int]] = []
    done = threading.Event()

    def fail(_: FinishedPrompt) -> None:
        raise RuntimeError("a listener's own fault")

    def listen(prompt: FinishedPrompt) -> None:
        told.append((prompt, threading.get_ident()))
        done.set()

    host.on_finished(fail)
    host.on_finished(listen)
    prompt_id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
    async with serving(host) as client:
        for _ in range(2):  # the failure of a listener does not end the worker
            done.clear()
            async with client.post("/prompt", json={"prompt": GRAPH, "prompt_id": prompt_id}) as response:
                assert response.status == 200, await response.text()
            assert await asyncio.to_thread(done.wait, 10)
    for prompt, thread in told:
        assert prompt.prompt_id == prompt_id
        assert [image["type"] for image in prompt.outputs["2"]["images"]] == ["output"]
        assert thread != threading.get_ident()
    assert len(told) == 2


@HOSTS
async def test_submitted_bodies_are_rewritten_in_the_context_of_their_request(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    user: ContextVar[str] = ContextVar("user", default="")
    contexts: list[str] = []
    finished: list[str] = []
    done = threading.Event()

    @web.middleware
    async def of_ann(request: web.Request, handler: Handler) -> web.StreamResponse:
        user.set("ann")
        return await handler(request)

    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("a rewrite's own fault")

    def rename(body: dict[str, Any]) -> dict[str, Any]:
        contexts.append(user.get())
        return {**body, "prompt_id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}

    def listen(prompt: FinishedPrompt) -> None:
        finished.append(prompt.prompt_id)
        done.set()

    host.on_prompt(fail)
    host.on_prompt(rename)
    host.on_finished(listen)
    async with serving(host, of_ann) as client:
        async with client.post("/prompt", json={"prompt": GRAPH}) as response:
            assert (await response.json())["prompt_id"] == "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
        assert await asyncio.to_thread(done.wait, 10)
    assert finished == ["0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"]
    assert contexts == ["ann"]


@HOSTS
@pytest.mark.parametrize(
    ("class_type", "input_name", "choices"),
    [
        ("LoadImage", "image", ["photo.png"]),
        ("ImageScale", "crop", ["disabled", "center"]),
        ("ImageScale", "width", None),
        ("ImageScale", "nothing", None),
        ("Nothing", "image", None),
        ("", "", None),
    ],
)
def test_what_an_input_offers(
    make: MakeHost, tmp_path: Path, class_type: str, input_name: str, choices: list[str] | None
) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "photo.png").write_bytes(b"")
    offered = make(tmp_path, False).choices(class_type, input_name)
    assert (None if offered is None else list(offered)) == choices


@HOSTS
def test_which_nodes_are_executed_for_their_own_sake(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    assert [host.is_output_node(each) for each in ("SaveImage", "LoadImage", "Nothing", "")] == [
        True,
        False,
        False,
        False,
    ]
