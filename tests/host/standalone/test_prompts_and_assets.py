"""The project in the standalone host: prompts that name assets run, and what prompts write becomes assets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from PIL import Image

GREY: dict[str, Any] = {
    "class_type": "EmptyImage",
    "inputs": {"width": 4, "height": 2, "batch_size": 2, "color": 0x808080},
}


def load_and_save(reference: str, prefix: str = "out") -> dict[str, Any]:
    """A graph that inverts a picture."""
    return {
        "load": {"class_type": "LoadImage", "inputs": {"image": reference}},
        "invert": {"class_type": "ImageInvert", "inputs": {"image": ["load", 0]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["invert", 0], "filename_prefix": prefix}},
    }


@pytest.fixture
async def services(host: StandaloneHost) -> AsyncIterator[Any]:
    """The project in the host, which closes it when it stops."""
    yield attach(host, Config(scan_on_start=False))


@pytest.fixture
async def running(host: StandaloneHost, services: Any, server: Any) -> Any:
    """The server with the project, open; ``services.told`` are the prompts that it has heard of."""
    await services.ready()
    services.told = set()
    host.on_finished(lambda prompt: services.told.add(prompt.prompt_id))
    return server


async def scanned(services: Any) -> None:
    """Bring the library up to date."""
    task, _ = services.indexer.start_scan()
    await task.done.wait()
    await services.indexer.finish()


async def taken(server: Any, services: Any, prompt_id: str) -> dict[str, Any]:
    """The history entry of a prompt, once what it wrote is recorded."""
    entry: dict[str, Any] = await server.finished(prompt_id)
    deadline = time.monotonic() + 10
    while prompt_id not in services.told:  # the worker tells of it when it is in the history already
        await asyncio.sleep(0.005)
        assert time.monotonic() < deadline
    await services.outputs.drain()
    return entry


async def made(server: Any, services: Any, graph: Any, node_id: str = "save") -> list[Path]:
    """Run a prompt and wait until what it wrote is recorded; the files."""
    entry = await taken(server, services, await server.submit(graph))
    assert entry["status"]["completed"], entry["status"]
    return list(server.saved(entry, node_id))


def pixel(path: Path) -> tuple[int, ...]:
    """The colour of the first pixel."""
    with Image.open(path) as image:
        return tuple(np.asarray(image.convert("RGB"))[0, 0])


async def test_an_input_named_by_its_hash_or_id_is_loaded(services: Any, running: Any) -> None:
    running.input("in.png", [[[0, 10, 255]]])
    await scanned(services)
    (asset,) = (await running.json("/api/assets"))["assets"]
    for number, reference in enumerate((asset["hash"], f"asset:{asset['id']}")):
        (path,) = await made(running, services, load_and_save(reference, f"out{number}"))
        assert pixel(path) == (255, 245, 0)
        with Image.open(path) as image:
            assert '"image": "in.png"' in image.info["prompt"]


async def test_outputs_are_assets_at_once_and_can_be_named_at_once(services: Any, running: Any) -> None:
    graph = {
        "grey": GREY,
        "save": {"class_type": "SaveImage", "inputs": {"images": ["grey", 0], "filename_prefix": "a/b"}},
    }
    prompt_id = await running.submit(graph)
    entry = await taken(running, services, prompt_id)
    assets = (await running.json("/api/assets"))["assets"]
    paths = running.saved(entry, "save")
    assert sorted(asset["name"] for asset in assets) == sorted(path.name for path in paths)
    for asset in assets:
        assert asset["hash"] == "blake3:" + blake3((running.base / asset["file_path"]).read_bytes()).hexdigest()
    jobs = await services.db.fetch_all("SELECT DISTINCT job_id FROM assets")
    assert jobs == [(prompt_id,)]
    (path,) = await made(running, services, load_and_save(f"asset:{assets[0]['id']}"))
    assert pixel(path) == (126, 126, 126)
    with Image.open(path) as image:
        assert f'"image": "a/{assets[0]["name"]} [output]"' in image.info["prompt"]


async def test_previews_are_no_assets(services: Any, running: Any) -> None:
    graph = {"grey": GREY, "show": {"class_type": "PreviewImage", "inputs": {"images": ["grey", 0]}}}
    await made(running, services, graph, "show")
    assert (await running.json("/api/assets"))["assets"] == []


async def test_what_a_failing_prompt_had_written_is_taken_in(services: Any, running: Any) -> None:
    graph = {
        "grey": GREY,
        "save": {"class_type": "SaveImage", "inputs": {"images": ["grey", 0], "filename_prefix": "kept"}},
        "fail": {"class_type": "Fail", "inputs": {"image": ["save", 0]}},
        "end": {"class_type": "PreviewImage", "inputs": {"images": ["fail", 0]}},
    }
    entry = await taken(running, services, await running.submit(graph))
    assert not entry["status"]["completed"]
    assert len((await running.json("/api/assets"))["assets"]) == 2


async def test_pages_are_told_of_new_assets(services: Any, running: Any) -> None:
    page = await running.page()
    graph = {
        "grey": GREY,
        "save": {"class_type": "SaveImage", "inputs": {"images": ["grey", 0], "filename_prefix": "a"}},
    }
    await running.submit(graph)
    while (message := await page.receive_json(timeout=10))["type"] != "assets.changed":
        pass
    assert message["data"] == {"created": 2}


async def test_an_unknown_asset_is_refused_and_nothing_is_queued(services: Any, running: Any) -> None:
    reference = "blake3:" + "0" * 64
    status, body = await running.post("/prompt", {"prompt": load_and_save(reference)})
    assert status == 400
    (error,) = body["node_errors"]["load"]["errors"]
    assert error["extra_info"] == {"input_name": "image", "received_value": reference}
    assert body["node_errors"]["load"]["dependent_outputs"] == ["save"]
    assert await running.json("/history") == {}
    assert (await running.json("/queue"))["queue_pending"] == []
