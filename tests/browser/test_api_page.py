"""The page of the API in a real browser: it shows every operation, finds some, and sends requests.

Needs the package playwright and a Chromium; the standalone host serves the page.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, openapi

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
OPERATIONS = sum(len(item) for item in openapi.document(ROUTES, HOST_OPERATIONS)["paths"].values())

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A standalone host on a thread with a loop of its own: the browser's client has this one."""
    loop, up, found = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        host = StandaloneHost(tmp_path)
        services = attach(host)
        runner = web.AppRunner(host.application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found.append(runner.addresses[0][1])
        stop = asyncio.Event()
        found.append(lambda: loop.call_soon_threadsafe(stop.set))
        up.set()
        await stop.wait()
        await runner.cleanup()
        await services.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(30)
    yield f"http://127.0.0.1:{found[0]}"
    found[1]()
    thread.join(30)
    assert not thread.is_alive()
    loop.close()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            opened: Any = browser.new_page()
            opened.problems = []
            opened.elsewhere = []
            opened.on("pageerror", lambda error: opened.problems.append(str(error)))
            opened.on("console", lambda said: opened.problems.append(said.text) if said.type == "error" else None)
            opened.on(
                "request", lambda sent: None if sent.url.startswith(address) else opened.elsewhere.append(sent.url)
            )
            opened.goto(f"{address}/api/docs")
            opened.wait_for_selector("details.operation")
            yield opened
        finally:
            browser.close()


def test_it_shows_finds_and_sends(page: Any, tmp_path: Path) -> None:
    assert page.locator("#list details.operation").count() == OPERATIONS
    page.fill("#filter", "tags histogram")
    visible = page.locator("#list details.operation:visible")
    assert visible.evaluate_all("found => found.map(each => each.id)") == ["operation-getAssetTagHistogram"]
    page.fill("#filter", "")
    page.goto(page.url.split("#")[0] + "#operation-listTags")
    tags = page.locator("#operation-listTags")
    assert "Maximum number of entries on a page." in tags.inner_text()
    tags.locator('input[name="limit"]').fill("7")
    tags.locator("button").click()
    tags.locator("[role=status]", has_text="200").wait_for()
    shown = tags.locator("[role=status]").inner_text()
    assert "/api/tags?limit=7" in shown and '"has_more": false' in shown
    page.goto(page.url.split("#")[0] + "#operation-createWorkflow")
    flow = page.locator("#operation-createWorkflow")
    flow.locator("button").click()
    flow.locator("[role=status]", has_text="201").wait_for()
    for name in page.locator("#list details").evaluate_all("found => found.map(each => (each.open = true) && each.id)"):
        assert page.locator(f"#{name} form").count() == 1, name
    page.locator("#schemas details").evaluate_all("found => found.forEach(each => { each.open = true })")
    page.screenshot(path=str(tmp_path / "page.png"), full_page=False)
    assert page.problems == [] and page.elsewhere == []


def test_it_leads_to_the_other_api_and_back(page: Any, address: str) -> None:
    page.wait_for_selector("#other:not([hidden])")
    page.click("#other-link")
    page.wait_for_selector("#operation-postAssets")
    assert page.text_content("#title") == "Comfy API v2"
    assert page.get_attribute("#source", "href") == "/api/v2/openapi.json"
    page.click("#operation-getAsset summary")
    page.fill("#operation-getAsset [name=id]", "nothing")
    page.click("#operation-getAsset button[type=submit]")
    page.wait_for_selector("#operation-getAsset pre:has-text('not_found')")
    page.wait_for_selector("#other:not([hidden])")
    page.click("#other-link")
    page.wait_for_selector("#operation-listAssets")
    page.problems[:] = [text for text in page.problems if "404" not in text]  # of the request above
