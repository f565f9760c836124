"""Downloads over HTTP, from a server that stalls, cuts, lies, redirects and refuses: whole files or none, each once."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import os
import shutil
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import downloads
from comfy_assets_node.comfy_assets.db.downloads import DownloadRow
from comfy_assets_node.comfy_assets.downloads import run, transfer
from comfy_assets_node.comfy_assets.downloads import service as download_service
from comfy_assets_node.comfy_assets.downloads.service import DownloadService
from comfy_assets_node.comfy_assets.downloads.sources import ProviderUrls, Sources
from comfy_assets_node.comfy_assets.downloads.transfer import TransferLimits
from comfy_assets_node.comfy_assets.host import remote_client
from comfy_assets_node.comfy_assets.host.remote_client import RemoteClient, RemoteLimits
from comfy_assets_node.comfy_assets.ignored_files import ExcludePatterns
from support.files import picture, safetensors
from support.source_server import COMMIT, MODEL_ID, VERSION_ID, Fault, SourceServer, same_bytes

pytestmark = pytest.mark.slow
SIZE = 700_000
KEY = "hf_secretsecretsecret"
LORA = ["models", "loras"]


def model(size: int = SIZE, seed: int = 1) -> bytes:
    """A model of about this size, whose bytes differ everywhere."""
    head = safetensors(elements=size // 2)
    return head[:-size] + same_bytes(size, seed)


MODEL = model()


@dataclass
class Shop:
    """A library that downloads from a server."""

    library: Any
    api: Any
    source: SourceServer

    async def start(self, link: str, status: int = 202, **body: Any) -> Any:
        body = {"source_url": link, "tags": LORA, **body}
        return (await self.api.send("POST", "/api/assets/download", status, json=body)).json

    async def ended(self, task_id: str, user: str | None = None) -> Any:
        """The task, once it has ended."""
        api = self.api if user is None else self.api.as_user(user)
        for _ in range(1000):
            task = await api.get(f"/api/tasks/{task_id}")
            if task["status"] not in ("created", "running"):
                return task
            await asyncio.sleep(0.02)
        raise AssertionError(task)

    async def download(self, link: str, **body: Any) -> Any:
        return await self.ended((await self.start(link, **body))["task_id"])

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(what or condition)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(each.data) for each in self.library.host.events if each.type == "asset_download"]

    def files(self) -> dict[str, bytes]:
        """The files below models and input, partial ones too."""
        found = [*(self.library.base / "models").rglob("*"), *(self.library.base / "input").rglob("*")]
        return {path.name: path.read_bytes() for path in found if path.is_file()}

    async def rows(self) -> int:
        [(count,)] = await self.library.services.db.fetch_all("SELECT count(*) FROM downloads")
        return int(count)

    async def nothing_is_left(self) -> None:
        """No file, in place or partial, no asset and no row."""
        assert self.files() == {}
        assert (await self.api.get("/api/assets"))["total"] == 0
        assert await self.rows() == 0


@pytest.fixture(autouse=True)
def hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages come at once."""
    monkeypatch.setattr(run, "HOLD_S", 0)


@pytest.fixture
async def source() -> AsyncIterator[SourceServer]:
    server = SourceServer()
    await server.start()
    yield server
    await server.close()


def config(source: SourceServer) -> Config:
    return Config(
        scan_on_start=False, download_private=True, huggingface_url=source.url, civitai_url=source.civitai_url
    )


def hasten(library: Any, source: SourceServer, **options: Any) -> RemoteClient:
    """Let the library's downloads lose their patience at once."""
    services = library.services
    client = RemoteClient(
        **{"allow_private": True, "allow_http": True, **options},
        limits=RemoteLimits(connect_s=2, idle_s=0.3, response_s=2, redirects=4, response_bytes=100_000),
    )
    services.downloads = DownloadService(
        services.db,
        library.host,
        services.uploads,
        services.tasks,
        client,
        Sources(client, ProviderUrls(source.url, source.civitai_url)),
        services.secrets,
        limits=TransferLimits(pauses=(0.01, 0.01, 0.01), flush_s=0.05),
    )
    return client


@pytest.fixture
async def open_shop(
    make_library: Any, api_of: Any, source: SourceServer
) -> AsyncIterator[Callable[..., Awaitable[Shop]]]:
    clients = []

    async def make(
        users: frozenset[str] | None = None, *, hasty: bool = True, settings: Config | None = None, **options: Any
    ) -> Shop:
        library = await make_library(settings or config(source), users)
        if hasty:
            clients.append(hasten(library, source, **options))
        return Shop(library, api_of(library), source)

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def shop(open_shop: Any) -> Shop:
    shop: Shop = await open_shop()
    return shop


class TestMetadata:
    async def test_of_a_file_in_a_repository(self, shop: Shop) -> None:
        shop.source.add("split/loras/ink.safetensors", MODEL)
        found = await shop.api.get("/api/assets/remote-metadata", url=shop.source.page("split/loras/ink.safetensors"))
        assert found == {
            "content_length": len(MODEL),
            "final_url": f"{shop.source.url}/owner/repository/resolve/{COMMIT}/split/loras/ink.safetensors",
            "content_type": "application/safetensors",
            "filename": "ink.safetensors",
            "name": "ink.safetensors",
            "tags": LORA,
            "validation": {"is_valid": True, "errors": [], "warnings": []},
        }
        assert shop.source.gets() == []
        await shop.nothing_is_left()

    @pytest.mark.parametrize(
        "path",
        [
            f"/models/{MODEL_ID}/ink?modelVersionId={VERSION_ID}",
            f"/models/{MODEL_ID}",
            f"/api/download/models/{VERSION_ID}?type=Model&format=SafeTensor&size=pruned&fp=fp16",
            f"/api/download/models/{VERSION_ID}?fileId=1&token={KEY}",
        ],
    )
    async def test_of_a_version_of_a_model(self, shop: Shop, path: str) -> None:
        shop.source.add("ink.safetensors", MODEL)
        shop.source.add("pictures/width=450/x.png", picture(7))
        pictures = [
            {"url": f"{shop.source.storage_url}/unsafe.png", "type": "image", "nsfwLevel": 16},
            {"url": f"{shop.source.storage_url}/film.mp4", "type": "video", "nsfwLevel": 1},
            {"url": f"{shop.source.storage_url}/pictures/original=true/x.png", "type": "image", "nsfwLevel": 1},
        ]
        shop.source.version("ink.safetensors", images=pictures)
        found = await shop.api.get("/api/assets/remote-metadata", url=shop.source.civitai_url + path)
        assert abs(found["content_length"] - len(MODEL)) < 20
        assert (found["filename"], found["name"], found["tags"]) == ("ink.safetensors", "Ink", LORA)
        assert found["validation"]["is_valid"]
        assert found["preview_image"].startswith("data:image/png;base64,")

    async def test_of_any_file(self, shop: Shop) -> None:
        shop.source.add(
            "x", b"GIF89a" + bytes(90), headers={"Content-Disposition": 'attachment; filename="../a b.gif"'}
        )
        found = await shop.api.get("/api/assets/remote-metadata", url=shop.source.plain("x") + "?token=secret")
        assert (found["filename"], found["content_length"], found["tags"]) == ("a b.gif", 96, [])
        assert found["final_url"] == shop.source.plain("x")

    @pytest.mark.parametrize(
        ("member", "result", "valid"),
        [
            ("pickleScanResult", "Danger", False),
            ("virusScanResult", "Danger", False),
            ("virusScanResult", "Pending", True),
        ],
    )
    async def test_of_a_file_that_failed_a_scan(self, shop: Shop, member: str, result: str, valid: bool) -> None:
        shop.source.add("ink.safetensors", MODEL)
        link = shop.source.version("ink.safetensors", file={member: result})
        validation = (await shop.api.get("/api/assets/remote-metadata", url=link))["validation"]
        assert (validation["is_valid"], len(validation["errors"]), len(validation["warnings"])) == (
            valid, int(not valid), int(valid),
        )  # fmt: skip
        if not valid:
            assert (await shop.start(link, 422))["code"] == validation["errors"][0]["code"]
            await shop.nothing_is_left()

    async def test_of_a_file_that_no_loader_reads(self, shop: Shop) -> None:
        shop.source.add("setup.exe", b"MZ")
        found = await shop.api.get("/api/assets/remote-metadata", url=shop.source.plain("setup.exe"))
        assert found["validation"]["errors"][0]["code"] == "FORMAT_NOT_ALLOWED"
        assert (await shop.start(shop.source.plain("setup.exe"), 415))["code"] == "UNSUPPORTED_MEDIA_TYPE"

    async def test_answers_are_bounded(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        link = shop.source.version("ink.safetensors", description="x" * 200_000)
        assert (await shop.api.get("/api/assets/remote-metadata", 422, url=link))["code"] == "METADATA_FETCH_FAILED"
        shop.source.version("ink.safetensors", files="none")
        assert (await shop.api.get("/api/assets/remote-metadata", 422, url=link))["code"] == "RESOURCE_NOT_FOUND"
        shop.source.version("ink.safetensors", file={"name": 7})
        assert (await shop.api.get("/api/assets/remote-metadata", 422, url=link))["code"] == "METADATA_FETCH_FAILED"

    @pytest.mark.parametrize("url", ["", "x", "ftp://a.example/x", "https://u:p@a.example/x", "https://xn--/x"])
    async def test_what_is_no_link(self, shop: Shop, url: str) -> None:
        for answer in (await shop.api.get("/api/assets/remote-metadata", 400, url=url), await shop.start(url, 400)):
            assert answer["code"] == "INVALID_URL_FORMAT"
            assert answer["details"]["field"] in ("url", "source_url")


class TestDownload:
    async def test_of_a_file_in_a_repository(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        link = shop.source.page("ink.safetensors")
        task = await shop.download(link, user_metadata={"source_url": link, "mine": 1}, tags=[*LORA, "new"])
        asset = await shop.library.asset("ink.safetensors")
        assert task["status"] == "completed"
        assert task["result"] == {
            "success": True,
            "asset_id": asset["id"],
            "filename": "ink.safetensors",
            "hash": f"blake3:{blake3(MODEL).hexdigest()}",
            "content_type": "application/safetensors",
            "bytes_downloaded": len(MODEL),
            "bytes_total": len(MODEL),
            "created_new": True,
        }
        assert asset["hash"] == task["result"]["hash"] and asset["size"] == len(MODEL)
        assert {"models", "loras", "new"} <= set(asset["tags"])
        assert asset["user_metadata"] == {
            "mine": 1,
            "source_url": link,
            "repo_url": f"{shop.source.url}/owner/repository",
        }
        assert shop.files() == {"ink.safetensors": MODEL}
        assert (shop.library.base / "models/loras/ink.safetensors").is_file()
        assert await shop.rows() == 0
        # From the commit that the facts were of, and without the key's header at the storage.
        assert shop.source.gets("provider")[-1].path == f"/owner/repository/resolve/{COMMIT}/ink.safetensors"

    async def test_of_a_version_of_a_model(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        link = shop.source.version("ink.safetensors")
        assert (await shop.download(link))["status"] == "completed"
        metadata = (await shop.library.asset("ink.safetensors"))["user_metadata"]
        assert metadata["base_model"] == ["SDXL 1.0"]
        assert metadata["trained_words"] == ["ink wash", "paper"]
        assert metadata["source_arn"] == f"civitai:model:{MODEL_ID}:version:{VERSION_ID}"

    async def test_of_any_file(self, shop: Shop) -> None:
        shop.source.add("pictures/sea.png", picture(3))
        task = await shop.download(shop.source.plain("pictures/sea.png") + "?key=secret", tags=["input", "sea"])
        asset = await shop.library.asset("sea.png")
        assert asset["tags"] == ["input", "sea"] and asset["mime_type"] == "image/png"
        assert "secret" not in str(task) + str(asset) + str(shop.events)

    async def test_messages(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        task = await shop.download(shop.source.page("ink.safetensors"))
        assert [each["status"] for each in shop.events][:2] == ["created", "running"]
        assert all(each["task_id"] == task["id"] and 0 <= each["progress"] <= 1 for each in shop.events)
        assert shop.events[-1] == {
            "task_id": task["id"],
            "asset_name": "ink.safetensors",
            "bytes_total": len(MODEL),
            "bytes_downloaded": len(MODEL),
            "progress": 1.0,
            "status": "completed",
            "asset_id": task["result"]["asset_id"],
        }

    async def test_messages_follow_the_response(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page that gets one before the response does not know of which category the download is."""
        monkeypatch.setattr(run, "HOLD_S", 1)
        shop.source.add("ink.safetensors", MODEL)
        task_id = (await shop.start(shop.source.page("ink.safetensors")))["task_id"]
        started_at = time.monotonic()
        await shop.until(lambda: shop.events)
        assert time.monotonic() - started_at > 0.5
        await shop.until(lambda: shop.events[-1]["status"] == "completed")
        statuses = [each["status"] for each in shop.events if each["task_id"] == task_id]
        assert statuses[:2] == ["created", "running"] and statuses.count("completed") == 1

    async def test_nothing_is_overwritten(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        shop.library.write("models/loras/ink.safetensors", b"another")
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": b"another", "ink (1).safetensors": MODEL}

    async def test_the_json_form_of_an_upload(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        preview = (await shop.api.send("POST", "/api/assets", 201, data=form(picture(1)))).json
        body = {
            "url": shop.source.page("ink.safetensors"),
            "name": "mine.safetensors",
            "tags": LORA,
            "user_metadata": {"a": 1},
            "preview_id": preview["id"],
        }
        made = (await shop.api.send("POST", "/api/assets", 201, json=body)).json
        assert (made["name"], made["created_new"], made["preview_id"]) == ("mine.safetensors", True, preview["id"])
        again = (await shop.api.send("POST", "/api/assets", 200, json=body)).json
        assert (again["id"], again["created_new"]) == (made["id"], False)
        assert len(shop.source.gets()) == 1
        shop.source.add("bad.safetensors", MODEL, sha256="0" * 64)
        bad = {**body, "url": shop.source.page("bad.safetensors")}
        assert (await shop.api.send("POST", "/api/assets", 400, json=bad)).json["code"] == "HASH_MISMATCH"

    async def test_a_preview_that_is_deleted_meanwhile(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(stall=100_000)])
        preview = (await shop.api.send("POST", "/api/assets", 201, data=form(picture(1)))).json["id"]
        task = (await shop.start(shop.source.page("ink.safetensors"), preview_id=preview))["task_id"]
        await shop.api.send("DELETE", f"/api/assets/{preview}", 204)
        assert (await shop.ended(task))["status"] == "completed"
        assert "preview_id" not in await shop.library.asset("ink.safetensors")

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"tags": ["models"]}, 400, "INVALID_TAGS"),
            ({"tags": ["input", "output"]}, 400, "INVALID_TAGS"),
            ({"tags": ["x"] * 1001}, 400, "INVALID_BODY"),
            ({"tags": "loras"}, 400, "INVALID_BODY"),
            ({"preview_id": "x"}, 400, "INVALID_PREVIEW_ID"),
            ({"preview_id": str(uuid.UUID(int=5))}, 400, "INVALID_PREVIEW_ID"),
            ({"user_metadata": {"a": "x" * 70_000}}, 400, "INVALID_BODY"),
            ({"user_metadata": []}, 400, "INVALID_BODY"),
            ({"source_url": 5}, 400, "INVALID_BODY"),
            ({"source_url": "https://a.example/" + "x" * 5000}, 400, "INVALID_URL_FORMAT"),
            ({"source_url": "https://huggingface.co/o/r/blob/main/" + "x" * 5000}, 400, "INVALID_URL_FORMAT"),
        ],
    )
    async def test_what_is_refused(self, shop: Shop, change: Any, status: int, code: str) -> None:
        shop.source.add("ink.safetensors", MODEL)
        assert (await shop.start(shop.source.page("ink.safetensors"), status, **change))["code"] == code
        await shop.nothing_is_left()

    async def test_a_name_that_the_settings_leave_out(self, shop: Shop) -> None:
        """Before it is transferred."""
        shop.source.add("ink.safetensors", MODEL)
        shop.library.host.exclude(ExcludePatterns(["models/loras/ink.*"]))
        assert (await shop.start(shop.source.page("ink.safetensors"), 400))["code"] == "INVALID_NAME"
        await shop.nothing_is_left()

    async def test_a_file_of_another_type_than_its_name(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", same_bytes(5000))
        task = await shop.download(shop.source.page("ink.safetensors"))
        assert (task["status"], task["result"]["code"]) == ("failed", "UNSUPPORTED_MEDIA_TYPE")
        await shop.nothing_is_left()

    async def test_they_can_be_turned_off(self, make_library: Any, api_of: Any) -> None:
        api = api_of(await make_library(Config(scan_on_start=False, downloads=False)))
        body = {"source_url": "https://a.example/x.png"}
        for answer in (
            await api.send("POST", "/api/assets/download", 403, json=body),
            await api.send("POST", "/api/assets", 403, json={"url": body["source_url"]}),
            await api.send("GET", "/api/assets/remote-metadata?url=https://a.example/x.png", 403),
        ):
            assert answer.json["code"] == "DOWNLOADS_DISABLED"


def form(content: bytes) -> Any:
    from aiohttp import FormData

    data = FormData()
    data.add_field("file", content, filename="preview.png")
    return data


def ranges(source: SourceServer) -> list[tuple[str | None, str | None]]:
    return [(each.range, each.if_range) for each in source.gets()]


class TestFaults:
    """The whole file arrives in the end, and what has arrived is not asked for again unless it must be."""

    async def test_a_cut_connection_is_continued(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(cut=200_000), Fault(cut=300_000)])
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": MODEL}
        first, second, third = ranges(shop.source)
        assert first == (None, None) and second[1] == third[1] == '"one"'
        starts = [int(str(each[0])[6:-1]) for each in (second, third)]
        assert 0 < starts[0] <= 200_000 < starts[0] + 300_000 >= starts[1] > starts[0]

    async def test_a_stalled_connection_is_continued(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(stall=200_000)])
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": MODEL}
        assert len(ranges(shop.source)) == 2 and ranges(shop.source)[1][0] is not None

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_a_passing_refusal_is_waited_for(self, shop: Shop, status: int) -> None:
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(cut=200_000), Fault(status=status)])
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": MODEL}

    @pytest.mark.parametrize("etag", ['"one"', None, 'W/"weak"'])
    async def test_a_server_without_ranges_sends_it_whole(self, shop: Shop, etag: str | None) -> None:
        shop.source.add(
            "x.png", picture(5, (300, 300)) + bytes(SIZE), etag=etag, ranges=False, faults=[Fault(cut=90_000)]
        )
        assert (await shop.download(shop.source.plain("x.png"), tags=["input"]))["status"] == "completed"
        assert shop.files()["x.png"] == shop.source.files["x.png"].content

    @pytest.mark.parametrize("etag", [None, 'W/"weak"'])
    async def test_parts_that_may_be_of_other_versions_are_not_joined(self, shop: Shop, etag: str | None) -> None:
        shop.source.add("x.png", picture(5) + bytes(SIZE), etag=etag, faults=[Fault(cut=90_000)])
        assert (await shop.download(shop.source.plain("x.png"), tags=["input"]))["status"] == "completed"
        assert [each.range for each in shop.source.gets()] == ["bytes=0-0", None, None]

    async def test_a_file_that_changes_meanwhile_is_of_one_version(self, shop: Shop) -> None:
        old, new = picture(5) + same_bytes(SIZE, 1), picture(5) + same_bytes(SIZE, 2)
        file = shop.source.add("x.png", old, faults=[Fault(stall=300_000)])
        task = (await shop.start(shop.source.plain("x.png"), tags=["input"]))["task_id"]
        await shop.until(lambda: not file.faults)
        file.content, file.etag = new, '"two"'
        assert (await shop.ended(task))["status"] == "completed"
        assert shop.files() == {"x.png": new}

    async def test_a_first_part_with_other_bytes_is_noticed_by_the_hash(self, shop: Shop) -> None:
        file = shop.source.add("ink.safetensors", model(seed=2), etag=None, faults=[Fault(cut=300_000)])
        file.sha256 = hashlib.sha256(MODEL).hexdigest()
        task = (await shop.start(shop.source.page("ink.safetensors")))["task_id"]
        await shop.until(lambda: not file.faults)
        file.content = MODEL
        assert (await shop.ended(task))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": MODEL}

    @pytest.mark.parametrize(
        ("faults", "more", "code"),
        [
            (Fault(cut=100_000), {}, "NETWORK_ERROR"),
            (Fault(stall=0), {}, "NETWORK_TIMEOUT"),
            (Fault(headers={"Content-Length": str(SIZE * 2)}), {}, "HTTP_ERROR"),
            (Fault(headers={"Content-Length": "5"}), {}, "NETWORK_ERROR"),
            (Fault(headers={"Content-Length": ""}, extra=5), {}, "HTTP_ERROR"),
            (None, {"sha256": "0" * 64}, "HASH_MISMATCH"),
            (None, {"size": SIZE // 2}, "HTTP_ERROR"),
            (Fault(headers={"Content-Encoding": "gzip"}), {}, "HTTP_ERROR"),
            (Fault(headers={"Content-Type": "text/html; charset=utf-8"}), {}, "UNAUTHORIZED_SOURCE"),
            (Fault(status=404), {}, "RESOURCE_NOT_FOUND"),
            (Fault(status=403), {}, "ACCESS_FORBIDDEN"),
            (Fault(status=418), {}, "HTTP_ERROR"),
            (Fault(status=500), {}, "SOURCE_SERVER_ERROR"),
            (Fault(status=429), {}, "RATE_LIMITED"),
            (Fault(redirect="/ink.safetensors"), {}, "HTTP_ERROR"),
            (Fault(redirect="file:///etc/passwd"), {}, "INVALID_URL_FORMAT"),
            (Fault(redirect="https://xn--/x"), {}, "INVALID_URL_FORMAT"),
        ],
    )
    async def test_what_cannot_be_had(self, shop: Shop, faults: Fault | None, more: Any, code: str) -> None:
        shop.source.add("ink.safetensors", MODEL, always=faults, **more)
        task = await shop.download(shop.source.page("ink.safetensors"))
        assert (task["status"], task["result"]["success"], task["result"]["code"]) == ("failed", False, code)
        assert task["error_message"] == task["result"]["error"] == shop.events[-1]["error"]
        assert shop.events[-1]["status"] == "failed"
        assert (await shop.api.get("/api/assets"))["total"] == 0
        assert not [name for name in shop.files() if not name.endswith(".part")]
        is_passing = code in ("NETWORK_ERROR", "NETWORK_TIMEOUT", "SOURCE_SERVER_ERROR", "RATE_LIMITED")
        if not is_passing:
            await shop.nothing_is_left()
        # Another request continues where the failed one ended.
        shop.source.files["ink.safetensors"] = type(shop.source.files["ink.safetensors"])(MODEL)
        before = len(shop.source.gets())
        shop.library.services.downloads._known.clear()
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        assert shop.files() == {"ink.safetensors": MODEL}
        if faults == Fault(cut=100_000):
            assert ranges(shop.source)[before][0] is not None
        assert await shop.rows() == 0

    async def test_a_redirect_to_the_own_machine(
        self, open_shop: Any, source: SourceServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server counts as public, other addresses of the machine do not."""
        really = remote_client.is_public
        monkeypatch.setattr(remote_client, "is_public", lambda a: a == "127.0.0.1" or really(a))
        shop = await open_shop(allow_private=False)
        port = source.url.rpartition(":")[2]
        targets = [f"http://127.0.0.2:{port}/x", f"http://[::1]:{port}/x", "http://169.254.169.254/latest/meta-data"]
        for number, target in enumerate(targets):
            name = f"{number}.safetensors"
            source.add(name, MODEL, always=Fault(redirect=target))
            task = await shop.download(source.page(name))
            assert task["result"]["code"] == "ADDRESS_NOT_ALLOWED"
            answer = await shop.api.get("/api/assets/remote-metadata", 403, url=source.plain(name))
            assert answer["code"] == "ADDRESS_NOT_ALLOWED"
        await shop.nothing_is_left()

    async def test_addresses_of_the_own_network_are_refused(self, make_library: Any, api_of: Any) -> None:
        api = api_of(await make_library())
        for host in ("127.0.0.1", "localhost", "[::1]", "192.168.1.1", "169.254.169.254", "2130706433"):
            answer = await api.get("/api/assets/remote-metadata", 403, url=f"https://{host}/x.safetensors")
            assert (answer["code"], answer["details"]["setting"]) == (
                "ADDRESS_NOT_ALLOWED", "COMFY_ASSETS_DOWNLOAD_PRIVATE",
            )  # fmt: skip
        answer = await api.get("/api/assets/remote-metadata", 400, url="http://a.example/x.safetensors")
        assert answer["details"]["setting"] == "COMFY_ASSETS_DOWNLOAD_PRIVATE"

    async def test_a_full_disk(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        shop.source.add("ink.safetensors", MODEL)
        monkeypatch.setattr(download_service, "free_bytes", lambda folder: 1 << 20)
        assert (await shop.start(shop.source.page("ink.safetensors"), 507))["code"] == "NOT_ENOUGH_SPACE"
        await shop.nothing_is_left()
        monkeypatch.undo()
        monkeypatch.setattr(transfer, "free_bytes", lambda folder: 1 << 20)
        task = await shop.download(shop.source.page("ink.safetensors"))
        assert task["result"]["code"] == "NOT_ENOUGH_SPACE"
        await shop.nothing_is_left()


class TestKeys:
    async def test_a_file_that_wants_one(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        shop.source.add("ink.safetensors", MODEL, key=KEY)
        link = shop.source.page("ink.safetensors")
        refused = await shop.start(link, 422)
        assert (refused["code"], refused["details"]["provider"]) == ("UNAUTHORIZED_SOURCE", "huggingface")
        secret = {"name": "HF", "provider": "huggingface", "secret_value": "wrong"}
        made = (await shop.api.send("POST", "/api/secrets", 201, json=secret)).json
        assert (await shop.start(link, 422))["code"] == "USER_TOKEN_INVALID"
        await shop.api.send("PATCH", f"/api/secrets/{made['id']}", json={"secret_value": "denied"})
        assert (await shop.start(link, 422))["code"] == "USER_TOKEN_ACCESS_DENIED"
        await shop.nothing_is_left()
        await shop.api.send("PUT", f"/api/secrets/{made['id']}", json={"secret_value": KEY})
        task = await shop.download(link)
        assert task["status"] == "completed"
        at_provider = [each.authorization for each in shop.source.seen if each.place == "provider"]
        assert at_provider[-1] == f"Bearer {KEY}"
        assert {each.authorization for each in shop.source.gets("storage")} == {None}
        assert "last_used_at" in (await shop.api.get(f"/api/secrets/{made['id']}"))
        kept = [path for path in shop.library.base.rglob("*") if path.is_file() and path.name != "secrets.json"]
        assert not [path for path in kept if KEY.encode() in path.read_bytes()]
        assert KEY not in caplog.text + str(task) + str(shop.library.host.events)

    async def test_it_is_sent_to_its_provider_alone(self, shop: Shop) -> None:
        for provider in ("huggingface", "civitai"):
            body = {"name": provider, "provider": provider, "secret_value": f"key of {provider}".replace(" ", "-")}
            await shop.api.send("POST", "/api/secrets", 201, json=body)
        shop.source.add("ink.safetensors", MODEL)
        shop.source.add("sea.png", picture(3))
        await shop.download(shop.source.plain("sea.png"), tags=["input"])
        assert {each.authorization for each in shop.source.seen} == {None}
        await shop.download(shop.source.page("ink.safetensors"))
        assert {each.authorization for each in shop.source.seen} == {None, "Bearer key-of-huggingface"}
        shop.source.seen.clear()
        shop.source.add("b.safetensors", model(seed=3))
        await shop.download(shop.source.version("b.safetensors"))
        assert {each.authorization for each in shop.source.seen} == {None, "Bearer key-of-civitai"}

    async def test_a_redirect_back_does_not_bring_it_back(self, shop: Shop) -> None:
        await shop.api.send(
            "POST", "/api/secrets", 201, json={"name": "HF", "provider": "huggingface", "secret_value": KEY}
        )
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(redirect=f"{shop.source.url}/files/ink.safetensors")])
        assert (await shop.download(shop.source.page("ink.safetensors")))["status"] == "completed"
        last = shop.source.gets("provider")[-1]
        assert (last.path, last.authorization) == ("/files/ink.safetensors", None)


class TestOnce:
    async def test_a_second_request_joins_the_first(self, shop: Shop) -> None:
        file = shop.source.add("ink.safetensors", MODEL, faults=[Fault(stall=100_000)])
        link = shop.source.page("ink.safetensors")
        first, second = await asyncio.gather(shop.start(link), shop.start(link))
        assert first == second
        await shop.until(lambda: not file.faults)
        assert await shop.start(link) == first
        assert (await shop.ended(first["task_id"]))["status"] == "completed"
        again = await shop.start(link, 200)
        assert (again["name"], again["created_new"]) == ("ink.safetensors", False)
        assert len(shop.source.gets()) == 2  # the second continued the stalled one
        assert shop.files() == {"ink.safetensors": MODEL}

    async def test_one_at_a_time_from_a_host(self, shop: Shop) -> None:
        tasks = []
        for number in range(3):
            shop.source.add(f"{number}.safetensors", model(seed=number + 1), faults=[Fault(stall=100_000)])
            tasks.append((await shop.start(shop.source.page(f"{number}.safetensors")))["task_id"])
        assert {(await shop.ended(each))["status"] for each in tasks} == {"completed"}
        assert shop.source.most_at_once == 1  # an answer that stalls ends when its client gives up
        assert len(shop.files()) == 3

    async def test_too_many(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download_service, "MAX_ACTIVE", 1)
        shop.source.add("a.safetensors", MODEL, faults=[Fault(stall=100_000)])
        shop.source.add("b.safetensors", model(seed=2))
        first = await shop.start(shop.source.page("a.safetensors"))
        assert (await shop.start(shop.source.page("b.safetensors"), 429))["code"] == "TOO_MANY_DOWNLOADS"
        assert (await shop.ended(first["task_id"]))["status"] == "completed"
        assert (await shop.download(shop.source.page("b.safetensors")))["status"] == "completed"

    async def test_what_the_library_has_is_not_asked_for(self, shop: Shop) -> None:
        shop.source.add("ink.safetensors", MODEL)
        shop.library.write("models/loras/mine.safetensors", MODEL)
        await shop.library.scan()
        link = shop.source.version("ink.safetensors", file={"hashes": {"BLAKE3": blake3(MODEL).hexdigest().upper()}})
        assert (await shop.start(link, 200))["name"] == "mine.safetensors"
        assert shop.source.gets() == []


class TestDestination:
    async def test_it_is_chosen_when_the_turn_comes(self, shop: Shop) -> None:
        """A folder that is not configured any more is not made again."""
        file = shop.source.add("first.safetensors", model(seed=2), faults=[Fault(stall=100_000)])
        shop.source.add("ink.safetensors", MODEL)
        first = (await shop.start(shop.source.page("first.safetensors")))["task_id"]
        second = (await shop.start(shop.source.page("ink.safetensors")))["task_id"]
        await shop.until(lambda: not file.faults)
        host, models = shop.library.host, shop.library.base / "models"
        host.current_folders = msgspec.structs.replace(
            host.current_folders,
            folders=tuple(
                msgspec.structs.replace(each, path=models / "other") if each.category == "loras" else each
                for each in host.current_folders.folders
            ),
        )
        await shop.api.send("DELETE", f"/api/tasks/{first}", 204)
        assert (await shop.ended(second))["status"] == "completed"
        assert (models / "other/ink.safetensors").read_bytes() == MODEL
        assert not list((models / "loras").iterdir())


class TestCancel:
    @pytest.mark.parametrize("waits", [False, True])
    async def test_nothing_is_left(self, shop: Shop, waits: bool) -> None:
        shop.source.add("other.safetensors", model(seed=2), faults=[Fault(stall=100_000)])
        shop.source.add("ink.safetensors", MODEL, faults=[Fault(stall=300_000)])
        other = (await shop.start(shop.source.page("other.safetensors")))["task_id"] if waits else None
        task_id = (await shop.start(shop.source.page("ink.safetensors")))["task_id"]
        if not waits:
            await shop.until(lambda: [name for name in shop.files() if name.endswith(".part")])
        await shop.api.send("DELETE", f"/api/tasks/{task_id}", 204)
        assert (await shop.ended(task_id))["status"] == "cancelled"
        await shop.until(lambda: shop.events[-1]["status"] != "running")
        assert [each for each in shop.events if each["task_id"] == task_id][-1]["status"] == "cancelled"
        if other is not None:
            assert (await shop.ended(other))["status"] == "completed"
            assert set(shop.files()) == {"other.safetensors"}
        else:
            await shop.nothing_is_left()
        assert await shop.rows() == 0


class TestRestart:
    @pytest.mark.parametrize("place", ["page", "plain"])
    async def test_a_download_goes_on(self, open_shop: Any, source: SourceServer, place: str) -> None:
        content = picture(5) + same_bytes(SIZE) if place == "plain" else MODEL
        name = "sea.png" if place == "plain" else "ink.safetensors"
        source.add(name, content, faults=[Fault(stall=300_000)])
        link = getattr(source, place)(name)
        shop = await open_shop(hasty=False)
        task_id = (await shop.start(link, tags=["input"] if place == "plain" else LORA))["task_id"]
        await shop.until(lambda: not source.files[name].faults)
        await asyncio.sleep(0.3)  # for the bytes to arrive
        await shop.library.services.stop()
        assert [name.endswith(".part") for name in shop.files()] == [True]
        shop = await open_shop(hasty=False)
        task = await shop.ended(task_id)
        assert (task["status"], task["id"]) == ("completed", task_id)
        assert "error_message" not in task
        assert shop.files() == {name: content}
        last = source.gets()[-1]
        assert last.range is not None and last.range != "bytes=0-" and last.if_range == '"one"'
        assert (await shop.api.get("/api/assets"))["total"] == 1

    async def test_a_server_that_ended_between_the_last_two_steps(self, open_shop: Any, source: SourceServer) -> None:
        """The file was in place and the asset stored, but the download was not yet removed."""
        source.add("ink.safetensors", MODEL)
        shop = await open_shop(hasty=False)
        kept: list[DownloadRow] = []
        service = shop.library.services.downloads
        spawn = service._spawn

        async def noted(row: DownloadRow) -> None:
            kept.append(row)
            await spawn(row)

        service._spawn = noted
        task_id = (await shop.download(source.page("ink.safetensors")))["id"]
        row = msgspec.structs.replace(kept[0], instance=77, verified=blake3(MODEL).digest())
        assert await downloads.claim(shop.library.services.db, row, 100) == row
        await shop.library.services.stop()
        shop = await open_shop(hasty=False)
        assert (await shop.ended(task_id))["status"] == "completed"
        assert len(source.gets()) == 1
        assert shop.files() == {"ink.safetensors": MODEL}
        assert await shop.rows() == 0

    async def test_partial_files_wait_a_week(self, open_shop: Any, source: SourceServer, hand_of: Any) -> None:
        faults = [Fault(cut=200_000), *[Fault(status=500)] * 3]
        source.add("ink.safetensors", MODEL, faults=faults)
        shop = await open_shop()
        assert (await shop.download(source.page("ink.safetensors")))["status"] == "failed"
        (partial,) = (shop.library.base / "models/loras").glob(".*")
        os.utime(partial, (0, 0))
        for age_days, count in ((6, 1), (8, 0)):
            changed = int((time.time() - age_days * 86_400) * 1000)
            await hand_of(shop.library).execute("UPDATE downloads SET updated_at = ?", changed)
            await shop.library.services.stop()
            shop = await open_shop()
            assert (await shop.rows(), len(shop.files())) == (count, count)

    async def test_downloads_that_are_turned_off_wait(self, open_shop: Any, source: SourceServer) -> None:
        source.add("ink.safetensors", MODEL, faults=[Fault(stall=300_000)])
        shop = await open_shop(hasty=False)
        task_id = (await shop.start(source.page("ink.safetensors")))["task_id"]
        await shop.until(lambda: not source.files["ink.safetensors"].faults)
        await asyncio.sleep(0.3)
        await shop.library.services.stop()
        shop = await open_shop(hasty=False, settings=dataclasses.replace(config(source), downloads=False))
        task = await shop.ended(task_id)
        assert (task["status"], task["error_message"]) == ("failed", "The server stopped before the task was finished.")
        await shop.library.services.stop()
        shop = await open_shop(hasty=False)
        before = len(source.gets())
        assert (await shop.download(source.page("ink.safetensors")))["status"] == "completed"
        assert source.gets()[before].range is not None
        assert shop.files() == {"ink.safetensors": MODEL}


class TestUsers:
    USERS = frozenset({"ann", "bob"})

    async def test_they_are_kept_apart(self, open_shop: Any, source: SourceServer) -> None:
        shop = await open_shop(self.USERS)
        ann, bob = shop.api.as_user("ann"), shop.api.as_user("bob")
        source.add("ink.safetensors", MODEL, key=KEY)
        link = source.page("ink.safetensors")
        secret = {"name": "HF", "provider": "huggingface", "secret_value": KEY}
        made = (await ann.send("POST", "/api/secrets", 201, json=secret)).json
        body = {"source_url": link, "tags": LORA}
        started = (await ann.send("POST", "/api/assets/download", 202, json=body)).json
        refused = (await bob.send("POST", "/api/assets/download", 422, json=body)).json
        assert refused["code"] == "UNAUTHORIZED_SOURCE"
        assert (await bob.get("/api/assets/remote-metadata", 422, url=link))["code"] == "UNAUTHORIZED_SOURCE"
        await shop.ended(started["task_id"], "ann")
        assert (await bob.get(f"/api/tasks/{started['task_id']}", 404))["code"] == "TASK_NOT_FOUND"
        assert (await ann.get("/api/assets"))["total"] == 1
        assert (await bob.get("/api/assets"))["total"] == 0
        assert shop.events == []  # pages of all users would get them
        for method in ("GET", "DELETE"):
            await bob.send(method, f"/api/secrets/{made['id']}", 404)
        assert (await bob.get("/api/secrets")) == {"data": []}


class TestTls:
    async def test_a_certificate_that_nobody_vouches_for(self, open_shop: Any, tmp_path: Path) -> None:
        context = self_signed(tmp_path)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        shop = await open_shop()
        url = f"https://127.0.0.1:{port}/ink.safetensors"
        answer = await shop.api.get("/api/assets/remote-metadata", 422, url=url)
        assert answer["code"] == "CONNECTION_REFUSED" and "certificate" in answer["message"]
        server.close()


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own; skips the test where openssl is not installed."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-days", "2"]
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
