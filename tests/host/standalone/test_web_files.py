"""What browsers are shown: ComfyUI's page where it is installed, else ours, and what packs add to either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost, WebFiles

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    "page/index.html": "<!doctype html>the page",
    "page/assets/index-abc.js": "export {}",
    "page/scripts/app.js": "export {}",
    "page/extensions/core/maskeditor.js": "export {}",
    "a-pack/web/entry.js": "export {}",
    "a-pack/web/part/chunk.mjs": "export {}",
    "a-pack/locales/en/main.json": '{"pack": "hello"}',
    "a-pack/secret.txt": "secret",
}


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Serves, with the page or without; answers a client."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    clients: list[TestClient[Any, Any]] = []

    async def serve(*, with_page: bool) -> TestClient[Any, Any]:
        files = WebFiles(tmp_path / "page" if with_page else None, {"a-pack": tmp_path / "a-pack"})
        host = StandaloneHost(tmp_path / "base", web_files=files)
        client = TestClient(TestServer(host.application()))
        await client.start_server()
        clients.append(client)
        return client

    yield serve
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    ("path", "status", "content_type", "cache"),
    [
        ("/", 200, "text/html", "no-cache"),
        ("/index.html", 200, "text/html", "no-cache"),
        ("/assets/index-abc.js", 200, "text/javascript", "public, max-age=31536000, immutable"),
        ("/scripts/app.js", 200, "text/javascript", "no-cache"),
        ("/extensions/a-pack/entry.js", 200, "text/javascript", "no-cache"),
        ("/extensions/a-pack/part/chunk.mjs", 200, "text/javascript", "no-cache"),
        ("/extensions/a-pack/../secret.txt", 404, None, None),
        ("/extensions/a-pack/%2E%2E/secret.txt", 404, None, None),
        ("/extensions/a-pack/..%2Fsecret.txt", 404, None, None),
        ("/..%2Fa-pack/secret.txt", 404, None, None),
        ("/assets/none.js", 404, None, None),
        ("/assets", 403, None, None),  # no listing
    ],
)
async def test_files(opened: Any, path: str, status: int, content_type: str | None, cache: str | None) -> None:
    client = await opened(with_page=True)
    async with client.get(path) as response:
        assert response.status == status
        assert "secret" not in await response.text()
        if status == 200:
            assert (response.content_type, response.headers["Cache-Control"]) == (content_type, cache)


async def test_what_has_not_changed_is_not_sent_again(opened: Any) -> None:
    client = await opened(with_page=True)
    async with client.get("/extensions/a-pack/entry.js") as response:
        held = {"If-None-Match": response.headers["ETag"]}
    async with client.get("/extensions/a-pack/entry.js", headers=held) as response:
        assert (response.status, await response.read()) == (304, b"")


@pytest.mark.parametrize(
    ("with_page", "scripts"),
    [
        (True, ["/extensions/core/maskeditor.js", "/extensions/a-pack/entry.js"]),
        (False, ["/extensions/a-pack/entry.js"]),
    ],
)
async def test_packs(opened: Any, with_page: bool, scripts: list[str]) -> None:
    client = await opened(with_page=with_page)
    async with client.get("/api/extensions") as response:
        assert await response.json() == scripts
    async with client.get("/api/i18n") as response:
        assert await response.json() == {"en": {"pack": "hello"}}


async def test_without_the_page_there_is_one_of_our_own(opened: Any) -> None:
    client = await opened(with_page=False)
    async with client.get("/") as response:
        text = await response.text()
        assert "comfy-assets, standalone" in text and "panel/standalone.mjs" in text
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    async with client.get("/scripts/app.js") as response:
        assert response.status == 404


def test_the_pack_has_one_entry_that_pages_load() -> None:
    """Each ``*.js`` below ``web`` is loaded by the page; all else is imported by that one."""
    assert [path.relative_to(ROOT).as_posix() for path in (ROOT / "web").rglob("*.js")] == ["web/comfy_assets.js"]
