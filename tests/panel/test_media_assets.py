"""ComfyUI's own Media Assets panel over the library: a selection is downloaded as one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import picture

pytestmark = pytest.mark.slow
ASKS_FOR_ARCHIVES = (1, 53)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, serve: Any, browser: Any) -> Iterator[Any]:
    """The page with its Media Assets panel open, over three outputs and an input."""
    base = tmp_path_factory.mktemp("media")
    for folder in ("output/sub", "input"):
        (base / folder).mkdir(parents=True)
    for number, name in enumerate(("output/first.png", "output/sub/second.png", "output/third.png", "input/in.png")):
        (base / name).write_bytes(picture(50 * number, (64, 64)))
    with serve(base) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(30_000)
        shown = context.new_page()
        shown.server, shown.errors = server, []
        shown.on("pageerror", lambda error: shown.errors.append(str(error)))
        shown.goto(server.url, wait_until="domcontentloaded")
        shown.wait_for_function(
            "() => window.app?.extensionManager?.getSidebarTabs?.().some(each => each.id === 'assets')"
        )
        version = str(shown.evaluate("window.__COMFYUI_FRONTEND_VERSION__"))
        if tuple(map(int, version.split("."))) < ASKS_FOR_ARCHIVES:
            context.close()
            pytest.skip(f"the page {version} shows its own history, and downloads one file after the other")
        shown.evaluate("app.extensionManager.sidebarTab.toggleSidebarTab('assets')")
        yield shown
        context.close()


def card(page: Any, name: str) -> Any:
    """The card of an asset."""
    asset = page.server.asset(name)
    return page.locator(f"[data-asset-id='{asset['id']}']")


def test_a_selection_is_downloaded_as_one_archive(page: Any) -> None:
    names = ("first.png", "second.png")
    for name in names:
        card(page, name).click(modifiers=["ControlOrMeta"])
    with page.expect_download() as started:
        page.locator("[data-testid=assets-download-selected]").click()
    name = started.value.suggested_filename
    assert name.startswith("comfy-export-") and name.endswith(".zip")
    content = Path(started.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {Path(each).name: archive.read(each) for each in archive.namelist()}
    base = page.server.base
    assert found == {
        "first.png": (base / "output/first.png").read_bytes(),
        "second.png": (base / "output/sub/second.png").read_bytes(),
    }
    assert page.errors == []
