"""The wizard of ComfyUI's page that imports models from links, over the standalone host and a server of files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.files import picture, safetensors
from support.servers import JsonServer, make_base, standalone_command
from support.source_server import MODEL_ID, VERSION_ID, Fault, SourceServer, same_bytes, source_in_thread

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000  # the page begins with hundreds of files, on a machine that may be busy
SIZE = 3_000_000
# The library's dialog has its button only if the server's flags have arrived before it opens.
READY = """window.app?.extensionManager?.command && window.app.graph
    && window.app.api.getServerFeature("model_upload_button_enabled")"""
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.ShowMissingNodesWarning": False}


@dataclass
class Wizard:
    """The page with its model library, and both servers."""

    page: Any
    server: JsonServer
    source: SourceServer
    base: Path

    def open_library(self) -> None:
        """Open the model library of the page."""
        self.page.evaluate("app.extensionManager.command.execute('Comfy.BrowseModelAssets')")
        self.page.locator("[data-attr=upload-model-button]").wait_for()

    def reload(self) -> None:
        """Load the page again."""
        self.page.reload()
        self.page.wait_for_function(READY)

    def begin(self, link: str) -> None:
        """Enter a link and wait for the facts about the file."""
        self.page.locator("[data-attr=upload-model-button]").click()
        self.page.locator("[data-attr=upload-model-step1-url-input]").fill(link)
        self.page.locator("[data-attr=upload-model-step1-continue-button]").click()

    @property
    def toast(self) -> Any:
        """The page's list of downloads."""
        return self.page.get_by_test_id("toast-panel")

    def confirm(self) -> None:
        """Import what the wizard proposes."""
        self.page.locator("[data-attr=upload-model-step2-confirm-button]").click()

    def finish(self) -> None:
        self.page.get_by_text("Model successfully imported.").wait_for()
        self.page.locator("[data-attr=upload-model-step3-finish-button]").click()

    def loras(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.base / "models/loras").iterdir()}


def model(seed: int) -> bytes:
    return safetensors(elements=SIZE // 2)[:-SIZE] + same_bytes(SIZE, seed)


@pytest.fixture(scope="module")
def source() -> Iterator[SourceServer]:
    with source_in_thread() as server:
        yield server


@pytest.fixture(scope="module")
def wizard(tmp_path_factory: pytest.TempPathFactory, source: SourceServer, browser: Any) -> Iterator[Wizard]:
    base = make_base(tmp_path_factory.mktemp("wizard"))
    environment = {
        "COMFY_ASSETS_DOWNLOAD_PRIVATE": "1",
        "COMFY_ASSETS_HUGGINGFACE_URL": source.url,
        "COMFY_ASSETS_CIVITAI_URL": source.civitai_url,
    }
    server = JsonServer(base, standalone_command(), environment)
    try:
        server.wait_until_up("/api/assets", lambda _: True)
        for name, value in SETTINGS.items():
            server.request(f"/api/settings/{name}", value)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(server.url)
        page.wait_for_function(READY)
        yield Wizard(page, server, source, base)
        page.close()
    finally:
        server.kill()


@pytest.fixture
def library(wizard: Wizard) -> Iterator[Wizard]:
    """The model library of the page, opened anew."""
    wizard.open_library()
    yield wizard
    wizard.reload()


def test_a_file_of_a_repository(library: Wizard) -> None:
    library.source.add("loras/ink.safetensors", model(1))
    library.begin("https://huggingface.co/owner/repository/blob/main/loras/ink.safetensors")
    library.page.get_by_text("ink.safetensors").wait_for()
    library.confirm()
    library.finish()
    library.toast.get_by_text("All downloads completed").wait_for()
    library.page.locator("h3", has_text="ink.safetensors").first.wait_for()
    assert library.loras()["ink.safetensors"] == model(1)


def test_a_version_of_a_model_with_its_picture(library: Wizard) -> None:
    library.source.add("paper.safetensors", model(2))
    library.source.add("paper.png", picture(9, (64, 64)))
    images = [{"url": f"{library.source.storage_url}/paper.png", "type": "image", "nsfwLevel": 1}]
    library.source.version("paper.safetensors", images=images)
    library.begin(f"https://civitai.com/models/{MODEL_ID}/ink?modelVersionId={VERSION_ID}")
    library.page.locator("img[src^='data:image/png']").wait_for()
    library.confirm()
    library.finish()
    (asset,) = library.server.request("/api/assets?name_contains=paper.safetensors")["assets"]
    assert asset["user_metadata"]["base_model"] == ["SDXL 1.0"]
    assert asset["preview_id"] != asset["id"] and asset["preview_url"]


def test_a_link_without_a_file(library: Wizard) -> None:
    library.begin("https://huggingface.co/owner/repository/blob/main/none.safetensors")
    library.page.get_by_text("The file was not found. Please check the URL and try again.").wait_for()


def test_a_download_that_is_cancelled(library: Wizard) -> None:
    library.source.add("loras/long.safetensors", model(3), faults=[Fault(stall=1_000_000)])
    library.begin("https://huggingface.co/owner/repository/blob/main/loras/long.safetensors")
    library.confirm()
    library.toast.get_by_text("Importing Models").wait_for()
    for label in ("Expand", "Cancel Download"):
        library.toast.locator(f"[aria-label='{label}']").dispatch_event("click")  # below the wizard's dialog
    library.toast.get_by_text("Cancelled").first.wait_for()
    latest = "/api/tasks?task_name=asset_download&limit=1"
    library.server.wait_for(latest, lambda answer: answer["tasks"][0]["status"] == "cancelled")
    assert not [name for name in library.loras() if name.endswith(".part") or name == "long.safetensors"]
