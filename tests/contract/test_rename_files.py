"""Renaming of files with their assets: what is renamed, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import files as file_rows
from support.files import picture, safetensors
from support.windows import renames_in_case


@pytest.fixture
async def shelf(library: Any) -> Any:
    """A picture, and two models, one of them with sidecars."""
    library.write("output/sub/made.png", picture(1))
    library.write("models/loras/ink.safetensors", safetensors(1))
    library.write("models/loras/ink.preview.png", picture(2))
    library.write("models/loras/INK.txt", b"ink, drawing")
    library.write("models/loras/other.safetensors", safetensors(2))
    await library.scan()
    return library


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def rename(api: Any, asset: Any, name: str, status: int = 200) -> Any:
    body = {"name": name, "rename_file": True}
    return (await api.send("PUT", f"/api/assets/{asset['id']}", status, json=body)).json


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("my best.png", "my best.png"),
        ("my best", "my best.png"),
        pytest.param("MADE.PNG", "MADE.PNG", marks=renames_in_case),
        ("version 1.2", "version 1.2.png"),
        ("made.png", "made.png"),
        ("Größe 🎉.png", "Größe 🎉.png"),
    ],
)
async def test_a_file_gets_the_name(shelf: Any, api: Any, name: str, file: str) -> None:
    made = await shelf.asset("made.png")
    changed = await rename(api, made, name)
    assert (changed["id"], changed["name"], changed["file_path"]) == (made["id"], file, f"output/sub/{file}")
    assert names(shelf.base / "output/sub") == [file]
    await shelf.scan()
    (found,) = [asset for asset in await shelf.assets() if asset["file_path"].startswith("output")]
    assert found == {**changed, "updated_at": found["updated_at"]}


async def test_sidecars_move_along(shelf: Any, api: Any) -> None:
    model = await shelf.asset("ink.safetensors")
    changed = await rename(api, model, "pen")
    assert names(shelf.base / "models/loras") == [
        "other.safetensors", "pen.preview.png", "pen.safetensors", "pen.txt",
    ]  # fmt: skip
    assert changed["preview_id"] == model["preview_id"]
    await shelf.scan()
    assert sorted(await api.names()) == ["made.png", "other.safetensors", "pen.safetensors"]
    assert (await shelf.asset("pen.safetensors"))["preview_id"] == model["preview_id"]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("con.png", 400, "INVALID_NAME"),
        ("a:b.png", 400, "INVALID_NAME"),
        ("what?.png", 400, "INVALID_NAME"),
        ("a/b.png", 400, "INVALID_NAME"),
        ("..", 400, "INVALID_NAME"),
        (".hidden.png", 400, "INVALID_NAME"),
        ("x" * 300, 400, "INVALID_NAME"),
        ("there.png", 409, "FILE_NAME_TAKEN"),
        ("THERE.png", 409, "FILE_NAME_TAKEN"),
        ("unknown.png", 409, "FILE_NAME_TAKEN"),
    ],
)
async def test_names_that_are_refused(shelf: Any, api: Any, name: str, status: int, code: str) -> None:
    shelf.write("output/sub/there.png", picture(7))
    await shelf.scan()
    shelf.write("output/sub/unknown.png", picture(8))  # no scan has listed it yet
    made, before = await shelf.asset("made.png"), names(shelf.base / "output/sub")
    error = await rename(api, made, name, status)
    assert error["code"] == code
    assert names(shelf.base / "output/sub") == before
    assert (shelf.base / "output/sub/there.png").read_bytes() == picture(7)
    assert await shelf.asset("made.png") == made


@pytest.mark.parametrize(
    "body",
    [
        {"rename_file": True},
        {"rename_file": True, "name": "x.png", "user_metadata": {}},
        {"rename_file": "yes", "name": "x.png"},
    ],
)
async def test_requests_that_are_refused(shelf: Any, api: Any, body: Any) -> None:
    made = await shelf.asset("made.png")
    error = (await api.send("PUT", f"/api/assets/{made['id']}", 400, json=body)).json
    assert (error["code"], error["details"]["field"]) == ("INVALID_BODY", "rename_file")
    assert names(shelf.base / "output/sub") == ["made.png"]


async def test_what_refers_to_the_name_keeps_it(shelf: Any, api: Any, prompts: Any) -> None:
    graph = {"nodes": [{"type": "LoraLoader", "widgets_values": ["ink.safetensors", 1, 1]}]}
    workflow = (await api.send("POST", "/api/workflows", 201, json={"name": "Ink", "workflow_json": graph})).json
    model, other = await shelf.asset("ink.safetensors"), await shelf.asset("other.safetensors")
    error = await rename(api, model, "pen", 409)
    assert (error["code"], error["details"]["used_by"][0]["name"]) == ("ASSET_IN_USE", "Ink")
    await api.send("DELETE", f"/api/workflows/{workflow['id']}", 204)
    await rename(api, model, "pen")
    node = {"class_type": "LoraLoader", "inputs": {"lora_name": "other.safetensors"}}
    prompts.submit(graph={"1": node, "2": {"class_type": "SaveImage", "inputs": {}}})
    error = await rename(api, other, "else", 409)
    assert [use["kind"] for use in error["details"]["used_by"]] == ["job"]


async def test_an_asset_without_a_file(shelf: Any, api: Any) -> None:
    made = await shelf.asset("made.png")
    (shelf.base / "output/sub/made.png").unlink()
    await shelf.scan()
    assert (await rename(api, made, "x.png", 404))["code"] == "ASSET_CONTENT_MISSING"


@pytest.mark.parametrize("fails", ["store", "file"])
async def test_a_failure_changes_nothing(shelf: Any, api: Any, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = await shelf.asset("ink.safetensors"), names(shelf.base / "models/loras")

    async def fail(*_: Any) -> None:
        raise RuntimeError("the store has failed")

    if fails == "store":
        monkeypatch.setattr(file_rows, "rename", fail)
    else:  # one that no scan has seen is in the way of a sidecar
        shelf.write("models/loras/pen.preview.png", b"in the way")
        before.append("pen.preview.png")
    await rename(api, model, "pen", 500 if fails == "store" else 409)
    assert names(shelf.base / "models/loras") == sorted(before)
    assert await shelf.asset("ink.safetensors") == model
