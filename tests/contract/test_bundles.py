"""Bundles over the API: exported, downloaded, imported by another library; refused ones change nothing."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.workflows.bundles import service
from support.files import picture, safetensors

ZIP = {"Content-Type": "application/zip"}
GRAPH = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["sub/red.png", "image"]},
        {"id": 2, "type": "LoraLoader", "widgets_values": ["style/fine.safetensors", 1.0]},
    ]
}


async def ended(api: Any, task_id: str) -> Any:
    """The task once it has ended."""
    for _ in range(600):
        task = await api.get(f"/api/tasks/{task_id}")
        if task["status"] not in ("created", "running"):
            return task
        await asyncio.sleep(0.02)
    raise AssertionError("the task does not end")


async def export(api: Any, workflow_id: str, **body: Any) -> tuple[Any, bytes]:
    """The result of an export, and the bundle."""
    started = (await api.send("POST", f"/api/workflows/{workflow_id}/export", 202, json=body)).json
    task = await ended(api, started["task_id"])
    assert task["status"] == "completed", task
    place = await api.get(f"/api/assets/exports/{task['result']['export_name']}")
    return task["result"], (await api.send("GET", place["url"])).body


async def import_(api: Any, bundle: bytes) -> Any:
    started = (await api.send("POST", "/api/workflows/import", 202, data=bundle, headers=ZIP)).json
    return await ended(api, started["task_id"])


@pytest.fixture
async def workflow(library: Any, api: Any) -> str:
    library.write("input/sub/red.png", picture(1))
    library.write("models/loras/style/fine.safetensors", safetensors(1))
    await library.scan()
    body = {"name": "My portrait: 1", "workflow_json": GRAPH}
    return str((await api.send("POST", "/api/workflows", 201, json=body)).json["id"])


async def test_a_bundle_goes_to_another_library(
    workflow: str, api: Any, make_library: Any, api_of: Any, tmp_path: Path
) -> None:
    result, bundle = await export(api, workflow)
    assert (result["assets"], result["included"], result["problems"]) == (2, 1, [])
    assert result["export_name"].startswith("My-portrait-1-") and result["export_name"].endswith(".zip")
    names = zipfile.ZipFile(io.BytesIO(bundle)).namelist()
    assert {"manifest.json", "workflow.json"} < set(names) and len(names) == 3
    other = await make_library(base=tmp_path / "other")
    other.write("models/loras/mine.safetensors", safetensors(1))
    await other.scan()
    there = api_of(other)
    task = await import_(there, bundle)
    made = task["result"]
    assert (task["status"], made["is_new"], made["have"], made["added"], made["missing"]) == (
        "completed",
        True,
        1,
        1,
        0,
    )
    assert made["workflow_name"] == "My portrait: 1"
    assert (other.base / "input/sub/red.png").is_file()
    # The bundle has told the hash of the model, which the library has under another name.
    needs = (await there.get(f"/api/workflows/{made['workflow_id']}/requirements"))["requirements"]
    states = {each["name"]: each["status"] for each in needs}
    assert states == {"style/fine.safetensors": "elsewhere", "sub/red.png": "present"}
    [match] = needs[0]["matches"]
    assert (match["match"], match["value"]) == ("hash", "mine.safetensors")
    again = (await import_(there, bundle))["result"]
    assert (again["is_new"], again["workflow_id"]) == (False, made["workflow_id"])
    leftovers = list((other.host.data_directory() / "exports").iterdir())
    assert leftovers == []


async def test_models_and_older_versions(workflow: str, api: Any) -> None:
    result, _ = await export(api, workflow, models=True, version=1)
    assert (result["assets"], result["included"]) == (2, 2)
    url = f"/api/workflows/{workflow}/export"
    assert (await api.send("POST", url, 404, json={"version": 2})).json["code"] == "WORKFLOW_VERSION_NOT_FOUND"
    for body in ({"version": 0}, {"version": "1"}, {"models": 1}):
        await api.send("POST", url, 422, json=body)


async def test_files_that_are_gone_are_reported(workflow: str, api: Any, library: Any) -> None:
    (library.base / "input/sub/red.png").unlink()
    result, bundle = await export(api, workflow)
    assert len(result["problems"]) == 1 and "red.png" in result["problems"][0]
    assert len(zipfile.ZipFile(io.BytesIO(bundle)).namelist()) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", ZIP, 400, "INVALID_BODY"),
        (b"PK", {"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"x" * 3000, ZIP, 413, "FILE_TOO_LARGE"),
    ],
)
async def test_bodies_that_are_refused(
    make_library: Any, api_of: Any, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    library = await make_library(Config(max_upload_size=2000, scan_on_start=False))
    api = api_of(library)
    error = await api.send("POST", "/api/workflows/import", status, data=io.BytesIO(body), headers=headers)
    assert error.json["code"] == code
    folder = library.host.data_directory() / "exports"
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("change", ["no archive", "cut", "changed"])
async def test_a_bad_bundle_changes_nothing(
    change: str, workflow: str, api: Any, make_library: Any, api_of: Any, tmp_path: Path
) -> None:
    _, bundle = await export(api, workflow)
    at = bundle.index(b"IDAT")
    bad = {"no archive": b"no archive" * 50, "cut": bundle[:-30], "changed": bundle[:at] + b"XXXX" + bundle[at + 4 :]}
    other = await make_library(base=tmp_path / "other")
    there = api_of(other)
    task = await import_(there, bad[change])
    assert task["status"] == "failed" and task["error_message"].startswith("The bundle cannot be used: ")
    assert (await there.get("/api/workflows"))["data"] == [] and await other.assets() == []
    assert list((other.host.data_directory() / "exports").iterdir()) == []


async def test_users_and_their_limits(
    make_library: Any, api_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    made = (await ann.send("POST", "/api/workflows", 201, json={"name": "a", "workflow_json": GRAPH})).json["id"]
    assert (await bob.send("POST", f"/api/workflows/{made}/export", 403, json={})).json["code"] == "WORKFLOW_FORBIDDEN"
    result, bundle = await export(ann, made)
    await bob.send("GET", f"/api/assets/exports/{result['export_name']}", 404)
    assert (await import_(bob, bundle))["result"]["is_new"] is True
    assert [each["created_by"] for each in (await bob.get("/api/workflows"))["data"]] == ["bob"]
    monkeypatch.setattr(service, "_AT_ONCE", 0)  # tasks wait for ever
    monkeypatch.setattr(service, "_MOST_OF_ONE", 2)
    url = f"/api/workflows/{made}/export"
    waiting = [(await ann.send("POST", url, 202, json={})).json["task_id"] for _ in range(2)]
    assert (await ann.send("POST", url, 429, json={})).json["code"] == "TOO_MANY_EXPORTS"
    for task_id in waiting:
        await ann.send("DELETE", f"/api/tasks/{task_id}", None)
        assert (await ended(ann, task_id))["status"] == "cancelled"
