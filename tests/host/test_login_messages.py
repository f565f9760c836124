"""Websocket messages of whole servers with the login on: those of a prompt reach the connections of its user alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.logins import login_on
from support.servers import HttpServer, comfyui, make_base

pytestmark = pytest.mark.slow

WAIT_S = 60.0
SILENCE_S = 1.0
SECRET = "what-only-ada-may-see"
# Nodes of packs send previews by way of the server, and messages of their own to everybody.
PACK = """
import comfy.utils
from PIL import Image
from server import PromptServer

class Tell:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    OUTPUT_NODE = True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "text": ("STRING", {})}}
    def run(self, image, text):
        comfy.utils.ProgressBar(4).update_absolute(1, 4, ("JPEG", Image.new("RGB", (8, 8)), 8))
        PromptServer.instance.send_sync("pack.private", {"text": text})
        return {"ui": {"text": [text]}, "result": (image,)}

NODE_CLASS_MAPPINGS = {"Tell": Tell}
"""


class Page:
    """An open websocket, and what it has received."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.texts: list[str] = []
        self.pictures = 0

    async def listen(self, until: str = "") -> None:
        """Receive until a message has a text, or until there is silence."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                message = await self.socket.receive(timeout=WAIT_S if until else SILENCE_S)
            except asyncio.TimeoutError:
                break
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type == aiohttp.WSMsgType.BINARY:
                self.pictures += 1
                continue
            self.texts.append(message.data)
            if until and until in message.data:
                return
        assert not until, (until, self.texts)

    @property
    def types(self) -> set[str]:
        return {json.loads(text)["type"] for text in self.texts}

    @property
    def sid(self) -> str:
        return next(each["data"]["sid"] for each in map(json.loads, self.texts) if "sid" in each["data"])


def graph(number: int, *, tells: bool) -> dict[str, Any]:
    nodes: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": number}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": SECRET}},
    }
    if tells:
        nodes["3"] = {"class_type": "Tell", "inputs": {"image": ["1", 0], "text": f"{SECRET} {number}"}}
    return nodes


@pytest.fixture(scope="module", params=[(), ("--multi-user",)], ids=["one user", "several users"])
def served(
    request: Any, tmp_path_factory: pytest.TempPathFactory, start: Any
) -> Iterator[tuple[HttpServer, Any, bool]]:
    base: Path = tmp_path_factory.mktemp("messages")
    accounts = login_on(make_base(base))
    tokens = {name: accounts.create_token(name, "t", ["write", "run"])[1] for name in ("Root", "Ada")}
    if start is comfyui:
        (base / "custom_nodes").mkdir(exist_ok=True)
        (base / "custom_nodes" / "tell.py").write_text(PACK)
    with start(base, *request.param) as server:
        server.wait_for("/system_stats", lambda _: True, **{"X-API-Key": tokens["Root"]})
        yield server, tokens, start is comfyui


HARMLESS = {"status", "feature_flags", "assets.changed"}  # and those of scans, all of which carry numbers


async def test_nobody_hears_anothers_prompt(served: tuple[HttpServer, Any, bool]) -> None:
    server, tokens, tells = served
    ada, root = ({"X-API-Key": tokens[name]} for name in ("Ada", "Root"))
    async with aiohttp.ClientSession() as session:

        async def connect(client_id: str, headers: dict[str, str]) -> Page:
            page = Page(await session.ws_connect(f"{server.url}/ws?clientId={client_id}", headers=headers))
            await page.listen('"sid"')
            return page

        async def submit(number: int, **more: Any) -> str:
            body = {"prompt": graph(number, tells=tells), **more}
            async with session.post(f"{server.url}/prompt", json=body, headers=ada) as answer:
                assert answer.status == 200, await answer.text()
                return str((await answer.json())["prompt_id"])

        own = await connect("page-of-ada", ada)
        others = [
            await connect("page-of-ada", root),
            await connect(own.sid, root),
            await connect("page-of-root", root),
            Page(await session.ws_connect(f"{server.url}/ws?clientId=page-of-ada&token={tokens['Root']}")),
        ]
        jobs = [
            await submit(1, client_id="page-of-ada"),  # as programs do
            await submit(2, client_id=own.sid),  # as pages do, which take the id that the server has sent
            await submit(3, extra_data={"client_id": "page-of-ada"}),
            await submit(4, client_id=others[0].sid),  # a mistake of Ada's is no way to tell Root anything
        ]
        for job_id in jobs[:3]:
            await own.listen(f'"executing", "data": {{"node": null, "prompt_id": "{job_id}"')
        silent = await submit(5)  # without a client, servers tell everybody
        deadline = time.monotonic() + WAIT_S
        while True:
            async with session.get(f"{server.url}/api/jobs/{silent}", headers=ada) as answer:
                if (await answer.json())["status"] == "completed":
                    break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await own.listen()
        for page in others:
            await page.listen()
            heard_types = {each for each in page.types if not each.startswith("assets.seed.")}
            assert heard_types <= HARMLESS and page.pictures == 0, page.texts
            assert not [text for text in page.texts if SECRET in text or any(each in text for each in (*jobs, silent))]
        heard = " ".join(own.texts)
        assert all(job_id in heard for job_id in jobs[:3]) and jobs[3] in heard
        assert {"execution_start", "executing", "executed", "progress_state", "execution_success"} <= own.types
        if tells:
            assert own.pictures > 0 and "pack.private" in own.types


async def test_a_page_that_comes_back_hears_its_prompts(served: tuple[HttpServer, Any, bool]) -> None:
    """The id that the server has sent stays the same, also for another user who uses the browser afterwards."""
    server, tokens, _ = served
    async with aiohttp.ClientSession() as session:
        sids = []
        client_id = "tab"
        for name in ("Ada", "Ada", "Root", "Ada"):
            url = f"{server.url}/ws?clientId={client_id}"
            async with session.ws_connect(url, headers={"X-API-Key": tokens[name]}) as socket:
                page = Page(socket)
                await page.listen('"sid"')
                client_id = page.sid
                sids.append(client_id)
        assert sids[0] == sids[1] == sids[3] != sids[2] and len(sids[2]) == len(sids[0])
        first, second = [
            await session.ws_connect(f"{server.url}/ws", headers={"X-API-Key": tokens["Ada"]}) for _ in range(2)
        ]
        pages = [Page(first), Page(second)]
        for page in pages:
            await page.listen('"sid"')
        assert pages[0].sid != pages[1].sid, "without an id the server chooses one"
