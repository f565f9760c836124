"""What somebody does in ComfyUI's page."""

from __future__ import annotations

from typing import Any

NOTICE = "() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()"
SAVE = "() => { window.app.extensionManager.command.execute('Comfy.SaveWorkflow') }"


def save(page: Any, name: str | None = None) -> None:
    """Save what is open, under a name if it is new, and wait until the server has answered.

    The page notices with the next click or key what a script has changed; here it is told.
    """
    page.evaluate(NOTICE)
    with page.expect_response(lambda each: each.request.method == "POST" and "/userdata/" in each.url) as saved:
        page.evaluate(SAVE)
        if name is not None:
            box = page.get_by_role("dialog").get_by_role("textbox")
            box.fill(name)
            box.press("Enter")
    assert saved.value.status == 200
