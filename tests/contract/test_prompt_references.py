"""Prompts with references to assets: the prompt that the host gets, and the errors for unresolved references."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.prompts.references import ReferenceResolver
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

NOBODYS_ID = "00000000-0000-7000-8000-000000000000"
PATHS = ["/api/prompt", "/prompt"]


def by_hash(content: bytes) -> str:
    """Return the reference to this content."""
    return f"blake3:{blake3(content).hexdigest()}"


def graph(**references: str) -> dict[str, Any]:
    """A graph of one output node with these inputs."""
    return {"1": {"class_type": "Loader", "inputs": references}}


@dataclass
class Host:
    """A library, and a server that returns the graph that it would validate."""

    library: Any
    client: Any
    received: list[Any]

    async def submit(
        self, prompt: Any, status: int = 200, path: str = PATHS[0], user: str | None = None, **more: Any
    ) -> Any:
        """Return the response to a prompt."""
        headers = {"comfy-user": user} if user else {}
        async with self.client.post(path, json={"prompt": prompt, **more}, headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def value(self, reference: str, **options: Any) -> Any:
        """Return the value that a loader's input gets for a reference."""
        return (await self.submit(graph(file=reference), **options))["1"]["inputs"]["file"]

    async def fault(self, reference: str, **options: Any) -> str:
        """Return the type of the error for a reference; nothing reaches the host."""
        received = len(self.received)
        body = await self.submit(graph(file=reference), 400, **options)
        assert len(self.received) == received
        return str(body["node_errors"]["1"]["errors"][0]["type"])


@pytest.fixture
def host_of(aiohttp_client: Any) -> Callable[[Any], Any]:
    """A server around a library."""

    async def host_of(library: Any) -> Host:
        received: list[Any] = []

        async def take(request: web.Request) -> web.Response:
            body = library.host.hooks.rewrite(await request.json())
            received.append(body)
            return web.json_response(body["prompt"])

        app = web.Application(middlewares=[library.host.plugin.middleware], client_max_size=1 << 20)
        for path in PATHS:
            app.router.add_post(path, take)
        return Host(library, await aiohttp_client(app), received)

    return host_of


@pytest.fixture
async def host(library: Any, host_of: Any) -> Any:
    """A server around an empty library."""
    return await host_of(library)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("named_by", ["hash", "id"])
@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("models/loras/ink.safetensors", "ink.safetensors"),
        ("models/loras/style/deep/ink.safetensors", os.path.join("style", "deep", "ink.safetensors")),
        ("input/photo.png", "photo.png"),
        ("input/sub/ä b.png", "sub/ä b.png"),
        ("output/made_00001_.png", "made_00001_.png [output]"),
        ("output/sub/made_00001_.png", "sub/made_00001_.png [output]"),
    ],
)
async def test_an_asset_gives_way_to_the_value_of_its_file(
    host: Any, path: str, named_by: str, file: str, value: str
) -> None:
    host.library.write(file, b"the content")
    await host.library.scan()
    asset = await host.library.asset(Path(file).name)
    reference = asset["hash"] if named_by == "hash" else f"asset:{asset['id']}"
    assert await host.value(reference, path=path) == value
    assert await host.value({"__value__": [reference, "x"]}, path=path) == {"__value__": [value, "x"]}


async def test_a_temporary_file_that_a_user_has_put_there(host: Any) -> None:
    form = FormData({"tags": '["temp"]'})
    form.add_field("file", b"text", filename="note.txt")
    async with host.library.client.post("/api/assets", data=form) as response:
        assert response.status == 201, await response.text()
        asset = await response.json()
    value = await host.value(f"asset:{asset['id']}")
    assert value.endswith(" [temp]")
    assert (host.library.base / "temp" / value.removesuffix(" [temp]")).read_bytes() == b"text"


async def test_only_the_inputs_of_nodes_change(host: Any) -> None:
    host.library.write("input/a.png", b"a")
    await host.library.scan()
    reference = by_hash(b"a")
    prompt: dict[str, Any] = {
        "1": {"class_type": "Loader", "inputs": {"file": reference, "text": f"see {reference}", "seed": 2**53}},
        "2": {"class_type": "Saver", "inputs": {"image": ["1", 0], "odd": [reference, 0]}, "_meta": {"x": reference}},
    }
    more = {"client_id": reference, "extra_data": {"extra_pnginfo": {"workflow": {"values": [reference]}}}}
    await host.submit(prompt, **more)
    prompt["1"]["inputs"]["file"] = "a.png"
    assert host.received == [{"prompt": prompt, **more}]


MALFORMED = ["blake3:12ab", f"blake3:{'g' * 64}", "asset:none", f"asset:{NOBODYS_ID}.png", f" asset:{NOBODYS_ID}"]


async def test_what_is_no_reference_is_an_ordinary_string(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReferenceResolver, "resolve", None)
    for text in [*MALFORMED, "a text about blake3: and asset: things"]:
        assert await host.value(text) == text


@pytest.mark.parametrize(
    "raw",
    [b"", b"not JSON", b'{"prompt": ', b'"asset:"', b"[1]", b'{"prompt": "blake3:"}', b"\xff\xfe", b"asset:\xff"],
)
async def test_what_is_no_prompt_does_not_reach_the_host(host: Any, raw: bytes) -> None:
    seen: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.Response(status=299)

    app = web.Application(middlewares=[host.library.host.plugin.middleware])
    app.router.add_post("/prompt", take)
    async with TestClient(TestServer(app)) as client, client.post("/prompt", data=raw) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_body"
    assert seen == []


async def test_a_body_that_the_host_finds_too_large_is_its_business(host: Any) -> None:
    text = f'{{"prompt": {{}}, "x": "asset:{"x" * (1 << 20)}"}}'
    async with host.client.post("/prompt", data=text) as response:
        assert response.status == 413
    assert host.received == []


async def test_every_bad_reference_is_told_and_nothing_is_queued(host: Any) -> None:
    host.library.write("input/away.png", b"away")
    host.library.write("models/notes.txt", b"no loader reads it")
    host.library.write("input/there.png", b"there")
    await host.library.scan()
    (host.library.base / "input/away.png").unlink()
    host.library.host.output_nodes = {"Saver"}
    unknown, away, astray = f"asset:{NOBODYS_ID}", by_hash(b"away"), by_hash(b"no loader reads it")
    prompt: dict[str, Any] = {
        "1": {"class_type": "Loader", "inputs": {"a": unknown, "b": away, "good": by_hash(b"there")}},
        "2": {"class_type": "Other", "inputs": {"c": {"__value__": [astray]}, "image": ["1", 0]}},
        "3": {"class_type": "Saver", "inputs": {"image": ["2", 0]}},
        "4": {"class_type": "Saver", "inputs": {"image": ["1", 0]}},
    }
    body = await host.submit(prompt, 400)

    def told(kind: str, message: str, name: str, text: str) -> dict[str, Any]:
        info = {"input_name": name, "received_value": text}
        return {"type": kind, "message": message, "details": f"{name}: {text}", "extra_info": info}

    errors = [
        told("asset_not_found", "There is no such asset", "a", unknown),
        told("asset_content_missing", "The asset's file is not there", "b", away),
        told("asset_not_loadable", "The asset's file is in no folder that a node loads it from", "c", astray),
    ]
    assert body == {
        "error": {
            "type": "prompt_outputs_failed_validation",
            "message": "The prompt names assets that cannot be used",
            "details": "\n".join(f"{error['message']}: {error['details']}" for error in errors),
            "extra_info": {},
        },
        "node_errors": {
            "1": {"errors": errors[:2], "dependent_outputs": ["3", "4"], "class_type": "Loader"},
            "2": {"errors": errors[2:], "dependent_outputs": ["3"], "class_type": "Other"},
        },
    }
    assert host.received == []


async def test_the_file_must_be_what_was_read(host: Any) -> None:
    path = host.library.write("input/a.png", b"first")
    await host.library.scan()
    asset = await host.library.asset("a.png")
    path.write_bytes(b"other content")
    assert await host.fault(by_hash(b"first")) == "asset_content_missing"
    # An id means the asset, whatever it holds now.
    assert await host.value(f"asset:{asset['id']}") == "a.png"
    path.unlink()
    path.mkdir()
    assert await host.fault(f"asset:{asset['id']}") == "asset_content_missing"


async def test_a_file_that_is_not_hashed_yet_goes_by_its_id(host: Any) -> None:
    host.library.services.indexer._hash_files = False
    host.library.write("input/a.png", b"a")
    await host.library.scan()
    asset = await host.library.asset("a.png")
    assert await host.value(f"asset:{asset['id']}") == "a.png"
    assert await host.fault(by_hash(b"a")) == "asset_not_found"


COPIES = [
    "output/a.png",
    "models/checkpoints/sub/a.safetensors",
    "models/loras/a.safetensors",
    "input/a.png",
]


@pytest.mark.parametrize(
    ("copies", "offered", "value"),
    [
        (COPIES, None, "a.png"),
        (COPIES, ["b.png"], "a.png"),
        (COPIES, ["a.safetensors", "b.safetensors"], "a.safetensors"),
        (COPIES, [1, None, os.path.join("sub", "a.safetensors")], os.path.join("sub", "a.safetensors")),
        (COPIES, ["a.png", "a.safetensors"], "a.png"),
        (COPIES, ["a.png [output]"], "a.png [output]"),
        (COPIES[:3], None, os.path.join("sub", "a.safetensors")),
        (COPIES[:3], ["a.safetensors"], "a.safetensors"),
        (COPIES[:1], ["a.safetensors"], "a.png [output]"),
    ],
)
async def test_of_several_files_one_is_chosen_that_the_input_offers(
    host: Any, copies: list[str], offered: list[Any] | None, value: str
) -> None:
    for name in copies:
        host.library.write(name, b"same")
    await host.library.scan()
    if offered is not None:
        host.library.host.current_choices = {("Loader", "file"): offered}
    assert await host.value(by_hash(b"same")) == value


@pytest.mark.parametrize("own", COPIES)
async def test_an_assets_own_file_goes_before_its_copies(host: Any, own: str) -> None:
    for name in COPIES:
        host.library.write(name, b"same")
    await host.library.scan()
    (asset,) = [a for a in await host.library.assets() if a["file_path"] == own]
    expected = {
        "output/a.png": "a.png [output]",
        "input/a.png": "a.png",
        "models/loras/a.safetensors": "a.safetensors",
    }.get(own, os.path.join("sub", "a.safetensors"))
    assert await host.value(f"asset:{asset['id']}") == expected
    (host.library.base / own).unlink()
    remaining = "a.png" if own != "input/a.png" else os.path.join("sub", "a.safetensors")
    assert await host.value(f"asset:{asset['id']}") == remaining


async def test_the_same_reference_in_two_inputs_of_different_loaders(host: Any) -> None:
    for name in COPIES:
        host.library.write(name, b"same")
    await host.library.scan()
    host.library.host.current_choices = {("Loader", "lora"): ["a.safetensors"]}
    reference = by_hash(b"same")
    answer = await host.submit(graph(image=reference, lora=reference))
    assert answer["1"]["inputs"] == {"image": "a.png", "lora": "a.safetensors"}


async def test_a_folder_of_several_categories_has_a_value_for_each(host: Any) -> None:
    loras = host.library.base / "models" / "loras"
    kept = host.library.host.current_folders
    nested = LibraryFolder("models", loras / "style", "styles", frozenset({".txt"}))
    host.library.host.current_folders = HostFolders((nested, *kept.folders), kept.excluded, kept.temp)
    host.library.write("models/loras/style/ink.safetensors", b"ink")
    await host.library.scan()
    inside = os.path.join("style", "ink.safetensors")
    # The loras' loaders list it; those of the other category do not take its suffix.
    assert await host.value(by_hash(b"ink")) == inside
    host.library.host.current_choices = {("Loader", "file"): ["ink.safetensors"]}
    assert await host.value(by_hash(b"ink")) == "ink.safetensors"


async def test_a_model_hidden_by_another_of_its_name_is_not_mistaken_for_it(host: Any) -> None:
    extra = host.library.base / "extra"
    kept = host.library.host.current_folders
    more = LibraryFolder("models", extra, "loras", frozenset({".safetensors"}))
    host.library.host.current_folders = HostFolders((*kept.folders, more), kept.excluded, kept.temp)
    host.library.write("models/loras/a.safetensors", b"first")
    host.library.write("extra/a.safetensors", b"second")
    await host.library.scan()
    assert await host.value(by_hash(b"first")) == "a.safetensors"
    assert await host.fault(by_hash(b"second")) == "asset_not_loadable"
    (host.library.base / "models/loras/a.safetensors").unlink()
    assert await host.value(by_hash(b"second")) == "a.safetensors"


async def test_a_file_that_has_left_the_library_is_away(host: Any) -> None:
    host.library.write("output/a.png", b"a")
    await host.library.scan()
    kept = host.library.host.current_folders
    left = tuple(folder for folder in kept.folders if folder.kind != "output")
    host.library.host.current_folders = HostFolders(left, kept.excluded, kept.temp)
    assert await host.fault(by_hash(b"a")) == "asset_content_missing"


async def test_a_reference_stands_for_the_file_that_holds_its_content(host: Any) -> None:
    host.library.write("output/a.png", b"a")
    await host.library.scan()
    body = {"hash": by_hash(b"a"), "tags": ["input"], "name": "mine.png"}
    async with host.library.client.post("/api/assets/from-hash", json=body) as response:
        assert response.status in (200, 201), await response.text()
        reference = f"asset:{(await response.json())['id']}"
    assert await host.value(reference) == "a.png [output]"
    host.library.write("input/b.png", b"a")
    await host.library.scan()
    assert await host.value(reference) == "b.png"
    for name in ("output/a.png", "input/b.png"):
        (host.library.base / name).unlink()
    assert await host.fault(reference) == "asset_content_missing"


async def test_a_deleted_asset_is_unknown(host: Any) -> None:
    host.library.write("input/a.png", b"a")
    await host.library.scan()
    asset = await host.library.asset("a.png")
    async with host.library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == 204
    assert await host.fault(f"asset:{asset['id']}") == "asset_not_found"
    assert await host.fault(by_hash(b"a")) == "asset_not_found"


async def test_another_users_asset_is_unknown(make_library: Any, host_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"alice", "bob"}))
    host = await host_of(library)
    library.write("input/hers.png", b"hers")
    library.write("input/shared.png", b"shared")
    await library.scan()
    rows = await library.services.db.fetch_all("SELECT name, uuid FROM assets")
    ids = {name: f"asset:{uuid}" for name, uuid in rows}
    await hand_of(library).belongs("hers.png", "alice", "input")
    for reference in (ids["hers.png"], by_hash(b"hers")):
        assert await host.value(reference, user="alice") == "hers.png"
        assert await host.fault(reference, user="bob") == "asset_not_found"
    for user in ("alice", "bob"):
        assert await host.value(by_hash(b"shared"), user=user) == "shared.png"
    # Of equal contents, the file of an asset that the user may know of goes first.
    library.write("input/a copy of hers.png", b"shared")
    await library.scan()
    await hand_of(library).belongs("a copy of hers.png", "alice", "input")
    library.host.current_choices = {("Loader", "file"): []}
    assert await host.value(by_hash(b"shared"), user="bob") == "shared.png"


async def test_a_user_whom_the_host_does_not_know(make_library: Any, host_of: Any) -> None:
    host = await host_of(await make_library(users=frozenset({"alice"})))
    body = await host.submit(graph(file=by_hash(b"a")), 401, user="nobody")
    assert body["error"]["type"] == "unauthorized"
    assert body["node_errors"] == {}
    assert await host.value("plain.png", user="nobody") == "plain.png"


async def test_a_refusal_may_quote_half_a_character(host: Any) -> None:
    loader = {"class_type": "Loader \ud83d", "inputs": {"file": by_hash(b"nobody has it")}}
    body = await host.submit({"\ud800": loader}, 400)
    assert [each["class_type"] for each in body["node_errors"].values()] == ["Loader ?"]


async def test_a_failure_of_ours_is_answered_in_the_hosts_shape(
    host: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(ReferenceResolver, "resolve", fail)
    body = await host.submit(graph(file=by_hash(b"a")), 500)
    assert set(body) == {"error", "node_errors"}
    assert set(body["error"]) == {"type", "message", "details", "extra_info"}
    assert "secret" not in json.dumps(body)
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    assert await host.value("plain.png") == "plain.png"


async def test_prompts_at_the_same_time_do_not_mix(host: Any) -> None:
    for number in range(30):
        host.library.write(f"input/{number}.png", b"%d" % number)
    await host.library.scan()
    values = await asyncio.gather(*(host.value(by_hash(b"%d" % number)) for number in range(30)))
    assert values == [f"{number}.png" for number in range(30)]


async def test_a_store_that_cannot_be_opened(tmp_path: Path, make_library: Any, host_of: Any) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/__comfy_assets").write_text("a file where the folder should be")
    host = await host_of(await make_library())
    assert await host.value("plain.png") == "plain.png"
    body = await host.submit(graph(file=by_hash(b"a")), 500)
    assert body["error"]["type"] == "store_unavailable"
