"""ComfyUI's own asset feature beside the pack: the ids that it gives to files lead to the assets here."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import picture
from support.requests import multipart

COMFYUI = os.environ.get("COMFYUI_PATH")
HAS_FEATURE = COMFYUI is not None and (Path(COMFYUI) / "comfy_execution" / "asset_enrichment.py").exists()

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
    pytest.mark.skipif(not HAS_FEATURE, reason="this ComfyUI gives no ids to files"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comfyui")


@pytest.fixture(scope="module")
def ids(base: Path, start_comfyui: Any) -> Iterator[Any]:
    """A server with the feature on; the ids of two outputs and of an upload, as pages get them."""
    with start_comfyui(base, "--enable-assets") as server:
        server.wait_until_up()
        body, headers = multipart([("image", ("sent.png", picture(7)))])
        upload = server.send("POST", "/upload/image", body, headers).json
        graph = {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 5}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
        }
        job_id = server.post("/prompt", {"prompt": graph}).json["prompt_id"]
        history = server.wait_for(f"/history/{job_id}", lambda history: job_id in history)
        images = history[job_id]["outputs"]["2"]["images"]
        yield server, upload["asset"]["id"], {image["filename"]: image["id"] for image in images}, job_id


def test_they_lead_to_our_assets(ids: Any) -> None:
    server, uploaded, outputs, job_id = ids
    for name, given in {"sent.png": uploaded, **outputs}.items():
        asset = server.wait_for(f"/api/assets/{given}", bool)
        assert asset["name"] == name and asset["id"] != given
        folder = "input" if name == "sent.png" else "output"
        assert server.get(f"/api/assets/{given}/content").body == (server.base / folder / name).read_bytes()
        listed = server.get(f"/api/assets?name_contains={name}").json["assets"]
        assert [each["id"] for each in listed] == [asset["id"]]
    shown = server.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] == "completed")
    assert {image["id"] for image in shown["outputs"]["2"]["images"]} == set(outputs.values())


def test_a_selection_is_exported_by_them(ids: Any) -> None:
    server, uploaded, outputs, _ = ids
    body = {"asset_ids": [uploaded, *outputs.values()], "naming_strategy": "preserve"}
    task_id = server.post("/api/assets/export", body).json["task_id"]
    task = server.wait_for(f"/api/tasks/{task_id}", lambda job: job["status"] == "completed")
    place = server.get(f"/api/assets/exports/{task['result']['export_name']}").json
    with zipfile.ZipFile(io.BytesIO(server.get(place["url"]).body)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert set(found) == {"sent.png", *outputs}
    assert all(found[name] == (server.base / "output" / name).read_bytes() for name in outputs)


def test_they_stay_when_the_feature_is_off(ids: Any, base: Path, start_comfyui: Any) -> None:
    """This runs last: it ends the server that the others use."""
    server, uploaded, outputs, _ = ids
    for given in (uploaded, *outputs.values()):
        server.get(f"/api/assets/{given}")
    server.interrupt()
    with start_comfyui(base) as again:
        again.wait_until_up()
        for name, given in {"sent.png": uploaded, **outputs}.items():
            answer = again.wait_for(f"/api/assets/{given}", bool)
            assert answer["name"] == name
