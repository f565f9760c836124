"""ComfyUI's own page saves a workflow, and opens what was published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from page_deeds import save

FILE = f"/api/userdata/{quote('workflows/portrait.json', safe='')}"
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "shared"}},
}
IS_OPEN = "() => window.app.extensionManager.workflow.activeWorkflow && window.app.graph._nodes.length > 0"
RENAME = "title => { window.app.graph._nodes[0].title = title }"
VERSION = "() => window.__COMFYUI_FRONTEND_VERSION__.split('.').slice(0, 2).map(Number)"
KNOWS_SHARES = [1, 42]
HAS = "title => window.app.graph && window.app.graph._nodes.some(node => node.title === title)"


def test_a_share_opens_as_it_was_published(start: Any, open_page: Any, tmp_path: Path) -> None:
    with start("with") as server:
        server.request("/prompt", {"prompt": PICTURE})
        server.wait_for("/api/assets?include_tags=output", lambda page: page["total"] == 1)
        asset = server.request("/api/assets?include_tags=output")["assets"][0]
        with open_page(server) as (page, troubles):
            if page.evaluate(VERSION) < KNOWS_SHARES:
                pytest.skip("the page is older than links to shares")
            page.wait_for_function(IS_OPEN)
            page.evaluate(RENAME, "As published")
            save(page, "portrait")
            (saved,) = server.request("/api/workflows?name=portrait")["data"]
            shared = server.request(f"{FILE}/publish", {"asset_ids": [asset["id"]]})
            assert shared["workflow_id"] == saved["id"]
            page.evaluate(RENAME, "Changed since")
            save(page)
            content = server.request(f"/api/workflows/{saved['id']}/content")
            assert content["version"] == 2
            assert "Changed since" in [node.get("title") for node in content["workflow_json"]["nodes"]]
            assert not troubles.errors
        with open_page(server, f"/?share={shared['share_id']}") as (page, troubles):
            dialog = page.get_by_role("dialog")
            dialog.get_by_text("portrait").first.wait_for()
            page.screenshot(path=str(tmp_path / "dialog.png"))
            dialog.get_by_role("button", name="Open workflow").click()
            page.wait_for_function(HAS, arg="As published")
            page.screenshot(path=str(tmp_path / "page.png"))
            assert not troubles.errors
