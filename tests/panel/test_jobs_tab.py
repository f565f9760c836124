"""The jobs tab: queue and progress, history, errors, running again."""

from __future__ import annotations

from typing import Any

import pytest
from panel_graphs import failing, lasting, saving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs(server: Any) -> dict[str, str]:
    """Jobs that ended before the page was opened."""
    made = {name: server.run(saving(name, colour)) for name, colour in (("first", 0xFF8844), ("second", 0x44AAFF))}
    made["failed"] = server.run(failing())
    return made


@pytest.fixture
def tab(jobs: dict[str, str], panel: Any) -> Any:
    panel.tab("Jobs")
    panel.options().first.wait_for()
    return panel


def row(tab: Any, place: int) -> Any:
    """Return the row at a place of the list: the order of the elements is another one."""
    return tab.root.locator(f'.ca-tab-panel:not([hidden]) .ca-cell:not([hidden])[data-index="{place}"]')


def find(tab: Any, words: str, count: int) -> None:
    """Search for jobs, of which there are so many."""
    tab.root.get_by_label("Search jobs").fill(words)
    tab.page.wait_for_function(
        "count => document.querySelectorAll('.ca-tab-panel:not([hidden]) .ca-cell:not([hidden])').length === count",
        arg=count,
    )


def test_history_filters_and_search(tab: Any) -> None:
    assert tab.options().count() == 3
    for state, count in (("Failed", 1), ("Completed", 2), ("Cancelled", 0), ("Active", 0), ("All", 3)):
        tab.button(state).click()
        tab.page.wait_for_function(
            "count => document.querySelectorAll('.ca-tab-panel:not([hidden]) .ca-cell:not([hidden])').length === count",
            arg=count,
        )
    tab.root.get_by_label("Search jobs").fill("second")
    tab.option("first_00001_.png").wait_for(state="detached")
    tab.option("second_00001_.png").wait_for()


def test_copying_an_error(tab: Any) -> None:
    tab.option("failed").click()
    detail = tab.root.locator(".ca-detail:not([hidden])")
    detail.get_by_text("Failed in LoadImage #1").wait_for()
    assert "Traceback" in detail.locator("pre").get_attribute("aria-label")
    tab.button("Copy error").click()
    tab.says("copied")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert "LoadImage #1" in copied and "File " in copied


def test_running_again_and_its_output(tab: Any, server: Any) -> None:
    tab.option("second_00001_.png").click()
    detail = tab.root.locator(".ca-detail:not([hidden])")
    detail.get_by_text("1 output").wait_for()
    tab.button("Run again").click()
    tab.says("Job queued")
    server.wait_for("/api/jobs?status=completed", lambda body: body["pagination"]["total"] == 3)
    tab.button("Back").click()
    # ComfyUI caches node outputs, so the second run may have the file of the first.
    (newest,) = server.request("/api/jobs?status=completed&limit=1")["jobs"]
    name = newest["preview_output"]["filename"]
    tab.options().nth(3).wait_for()  # the list has refreshed
    tab.option(name).click()
    detail.get_by_role("button", name=name).click()  # from the job to its asset
    tab.root.get_by_role("tab", name="Library", selected=True).wait_for()
    detail.get_by_role("button", name="Show job").click()  # and back; a message offers the same
    tab.root.get_by_role("tab", name="Jobs", selected=True).wait_for()


def test_opening_the_workflow(tab: Any) -> None:
    tab.root.get_by_label("Search jobs").fill("first")
    tab.options().nth(1).wait_for(state="detached")  # so that no row moves under the pointer
    tab.option("first_00001_.png").click()
    tab.button("Open workflow").click()
    tab.canvas_shows("first")


@pytest.mark.parametrize("client", [None, "another-page"])
def test_progress_of_jobs_of_other_clients(tab: Any, server: Any, client: str | None) -> None:
    extra = {"client_id": client} if client else {}
    job = server.request("/api/prompt", {"prompt": lasting(), **extra})["prompt_id"]
    tab.option("ImageScale").wait_for()  # the running node
    first = tab.option("ImageScale").inner_text()
    tab.page.wait_for_function(
        """first => [...document.querySelectorAll('.ca-cell:not([hidden])')].some(
            each => each.innerText.includes('ImageScale') && each.innerText !== first
        )""",
        arg=first,
    )
    server.request(f"/api/jobs/{job}/cancel", {})
    tab.option("ImageScale").wait_for(state="detached")


def test_no_polling_for_jobs_of_this_page(tab: Any, server: Any) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url) if "/progress" in request.url else None)
    own = tab.page.evaluate("app.api?.clientId ?? sessionStorage.getItem('clientId')")
    job = server.request("/api/prompt", {"prompt": lasting(), "client_id": own})["prompt_id"]
    tab.option("ImageScale").wait_for()
    begun = len(asked)  # the panel may have polled before the first message
    server.wait_for(f"/api/jobs/{job}/progress", lambda body: len(body["nodes"]) > 6)
    tab.page.title()  # lets pending events arrive
    assert len(asked) == begun
    server.request(f"/api/jobs/{job}/cancel", {})
    tab.option("in progress").wait_for(state="detached")


def test_no_polling_while_the_tab_is_hidden(tab: Any, server: Any) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url) if "/progress" in request.url else None)
    tab.tab("Library")
    job = server.request("/api/prompt", {"prompt": lasting(), "client_id": "another-page"})["prompt_id"]
    server.wait_for(f"/api/jobs/{job}/progress", lambda body: len(body["nodes"]) > 6)
    tab.page.title()  # lets pending events arrive
    assert asked == []
    tab.tab("Jobs")
    tab.option("ImageScale").wait_for()
    assert asked != []
    server.request(f"/api/jobs/{job}/cancel", {})
    tab.option("in progress").wait_for(state="detached")


def test_progress_and_cancelling_all(tab: Any, server: Any) -> None:
    client = tab.page.evaluate("app.api?.clientId ?? sessionStorage.getItem('clientId')")
    for _ in range(2):
        server.request("/api/prompt", {"prompt": lasting(), "client_id": client})
    tab.option("in progress").wait_for()
    tab.option("ImageScale").wait_for()  # the running node
    tab.option("pending").wait_for()
    tab.button("Cancel all").click()
    tab.says("2 jobs cancelled")
    server.wait_for("/api/jobs?status=in_progress,pending", lambda body: body["jobs"] == [])
    tab.option("in progress").wait_for(state="detached")
    tab.button("Cancel all").wait_for(state="hidden")


def test_rows_name_the_workflow_and_act(tab: Any, server: Any) -> None:
    saved = server.request("/api/workflows", {"name": "Lasting study", "workflow_json": {"nodes": []}})
    client = tab.page.evaluate("app.api?.clientId ?? sessionStorage.getItem('clientId')")
    for _ in range(2):
        body = {"prompt": lasting(), "client_id": client, "workflow_id": saved["id"]}
        server.request("/api/prompt", body)
    tab.option("in progress").wait_for()
    first, second = row(tab, 0), row(tab, 1)
    tab.option("pending").wait_for()
    assert "in progress" in first.inner_text() and "pending" in second.inner_text()  # and ended ones below
    assert "Lasting study" in first.inner_text() and "Lasting study" in second.inner_text()
    second.hover()
    second.locator("[data-action=cancel]").click()
    tab.option("pending").wait_for(state="detached")
    first.hover()
    first.locator("[data-action=cancel]").click()
    tab.option("in progress").wait_for(state="detached")
    tab.option("Lasting study").click()
    tab.button("Lasting study").click()  # the link to the workflow
    tab.root.get_by_role("tab", name="Workflows", selected=True).wait_for()
    tab.root.get_by_role("heading", name="Lasting study").wait_for()


def test_back_from_an_output_and_a_deleted_one(tab: Any, server: Any) -> None:
    server.run(saving("gone", 0x223344))
    find(tab, "gone", 1)
    tab.option("gone_00001_.png").click()
    detail = tab.root.locator(".ca-detail:not([hidden])")
    output = detail.get_by_role("button", name="gone_00001_.png")
    output.click()
    tab.root.get_by_role("tab", name="Library", selected=True).wait_for()
    tab.button("Back").click()
    tab.root.get_by_role("tab", name="Jobs", selected=True).wait_for()
    output.wait_for()
    tab.button("Back").click()
    server.request(f"/api/assets/{server.asset('gone_00001_.png')['id']}", method="DELETE")
    find(tab, "first", 1)
    find(tab, "gone", 1)
    tab.option("1 deleted").click()
    detail.get_by_text("1 output was deleted from the library.").wait_for()


def test_running_again_in_the_row_and_clearing(tab: Any, server: Any) -> None:
    before = server.request("/api/jobs?status=completed&limit=1")["pagination"]["total"]
    find(tab, "first", 1)
    tab.option("first_00001_.png").hover()
    tab.option("first_00001_.png").locator("[data-action=rerun]").click()
    tab.says("Job queued")
    server.wait_for("/api/jobs?status=completed", lambda body: body["pagination"]["total"] == before + 1)
    ended = server.request("/api/jobs?status=completed,failed,cancelled&limit=1")["pagination"]["total"]
    tab.button("Clear finished").click()
    tab.button(f"Remove the records of {ended} jobs?").click()
    tab.says("Finished jobs cleared. Their files are kept.")
    tab.root.get_by_text("No matching jobs").wait_for()
    assert server.asset("first_00001_.png")
