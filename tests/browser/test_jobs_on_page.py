"""ComfyUI's own page shows jobs from before a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Whether the page shows a line of text that the expression matches as a whole.
SAYS = """
expression => {
    const wanted = new RegExp(`^(${expression})$`)
    return document.body.innerText.split("\\n").some(line => wanted.test(line.trim()))
}
"""


def quick(name: str) -> dict[str, Any]:
    """A graph that takes no time."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": name}},
    }


def slow(name: str) -> dict[str, Any]:
    """A graph that takes longer than this test looks at the page."""
    graph = quick(name)
    scaling = {"upscale_method": "lanczos", "height": 2000, "crop": "disabled"}
    for number in range(100):
        source = str(number + 9) if number else "1"
        inputs = {"image": [source, 0], "width": 2000 + number % 2, **scaling}
        graph[str(number + 10)] = {"class_type": "ImageScale", "inputs": inputs}
    graph["2"]["inputs"]["images"] = ["109", 0]
    return graph


def show_jobs(page: Any) -> None:
    """Open the page's list of jobs."""
    # The sidebar's tab of older pages; the button of newer ones, which may show a summary first.
    page.locator('button[aria-label^="Queue"], button:has-text("active")').first.click()
    view_all = page.locator('button:has-text("View all jobs")')
    page.wait_for_timeout(1000)
    if view_all.count():
        view_all.first.click()


def test_jobs_from_before_a_restart(start: Any, open_page: Any, tmp_path: Path) -> None:
    with start("without", with_project=False) as server, open_page(server) as (page, before):
        show_jobs(page)
    with start("with") as server:
        for name in ("first", "second", "third"):
            server.request("/prompt", {"prompt": quick(name)})
        for name in ("cut_short", "back_1", "back_2"):
            server.request("/prompt", {"prompt": slow(name)})
        server.wait_for("/api/jobs?status=completed", lambda page: page["pagination"]["total"] == 3)
        server.wait_for("/api/jobs?status=in_progress", lambda page: page["pagination"]["total"] == 1)
    with start("with") as server:
        server.wait_for("/api/jobs?status=in_progress", lambda page: page["pagination"]["total"] == 1)
        with open_page(server) as (page, troubles):
            show_jobs(page)
            for name in ("first", "second", "third"):
                page.wait_for_function("name => document.body.innerHTML.includes(name)", arg=f"{name}_00001_.png")
            for line in ("Failed", "Running", "Pending|Job queued", "2|2 active"):
                page.wait_for_function(SAYS, arg=line)
            page.screenshot(path=str(tmp_path / "page.png"))
    assert troubles.errors <= before.errors
    assert troubles.refused <= before.refused
