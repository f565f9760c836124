"""The first screen of ComfyUI's page on the standalone host: templates that work, and a default workflow that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.servers import COMFYUI

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(COMFYUI), reason="ComfyUI has templates of its own")]
TYPES = "app.graph._nodes.map(node => node.type)"
# Types of nodes that the page does not know are drawn in red.
UNKNOWN = "app.graph._nodes.filter(node => !(node.type in LiteGraph.registered_node_types)).length"


@pytest.fixture
def visit(browser: Any, tmp_path: Any, serve: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page like a browser that has never been here, of a user who is new or not."""
    with serve(tmp_path) as server:

        @contextmanager
        def open_page(*, is_new: bool) -> Iterator[Any]:
            server.request("/api/settings/Comfy.TutorialCompleted", not is_new)
            context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
            context.set_default_timeout(40_000)
            try:
                page = context.new_page()
                page.goto(server.url, wait_until="domcontentloaded")
                yield page
            finally:
                context.close()

        open_page.server = server  # type: ignore[attr-defined]
        yield open_page


def test_new_and_returning_users(visit: Any) -> None:
    with visit(is_new=True) as page:
        page.get_by_text("Inverted pair").first.click()
        page.wait_for_function(f"{TYPES}.join() === 'EmptyImage,ImageInvert,ImageBatch,PreviewImage'")
        assert page.evaluate(UNKNOWN) == 0
    with visit(is_new=False) as page:
        page.wait_for_function(f"window.app?.graph && {TYPES}.join() === 'EmptyImage,SaveImage'")
        assert page.evaluate(UNKNOWN) == 0
        page.evaluate("app.queuePrompt(0, 1)")
        server = visit.server
        server.wait_for("/api/jobs?status=completed", lambda found: found["pagination"]["total"] == 1)
