"""The server cannot be reached for a while, or restarts: tasks are followed on, and what failed is loaded again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tcp_cutter import TcpCutter

pytestmark = pytest.mark.slow

TASKS = "**/api/tasks/*"
UNREACHABLE = "Cannot reach the server"
INTERRUPTED = "The server stopped before the task ended."


def lost(route: Any) -> None:
    route.abort("connectionrefused")


def fulfil(body: Any) -> Callable[[Any], None]:
    return lambda route: route.fulfill(json=body)


def as_if_running(route: Any) -> None:
    """Let the server carry out a batch, and say that it is still running."""
    answer = route.fetch()
    route.fulfill(
        json={"batch_id": answer.json()["batch_id"], "task_id": answer.json()["task_id"], "status": "running"}
    )


@pytest.fixture
def selected(panel: Any) -> Any:
    """The panel with two selected assets."""
    panel.root.get_by_label("Search the library").fill("lighthouse")
    panel.count_is(3)
    for number in (0, 1):
        panel.options().nth(number).click(modifiers=["Control"])
    panel.page.route("**/api/assets/batch", as_if_running)
    return panel


def ratings(panel: Any) -> list[Any]:
    found = panel.server.request("/api/assets?name_contains=lighthouse")["assets"]
    return [asset.get("user_metadata", {}).get("rating") for asset in found]


def rate(panel: Any) -> None:
    panel.button("Rate").click()
    panel.page.get_by_role("menuitem", name="4 stars").click()


def test_a_zip_file_is_followed_while_the_server_cannot_be_reached(panel: Any, tmp_path: Path) -> None:
    downloads: list[Any] = []
    panel.page.on("download", lambda download: downloads.append(download))
    panel.root.get_by_label("Search the library").fill("dragon")
    panel.count_is(3)
    panel.page.route(TASKS, lost)
    panel.button("Actions for all listed assets").click()
    panel.page.get_by_role("menuitem", name="Download all as ZIP").click()
    row = panel.root.locator(".ca-upload")
    row.get_by_text(UNREACHABLE).wait_for()
    with panel.page.expect_download() as download:
        panel.page.unroute(TASKS)
    download.value.save_as(tmp_path / "dragons.zip")
    with zipfile.ZipFile(tmp_path / "dragons.zip") as archive:
        assert len(archive.namelist()) == 3
    row.get_by_text("done").wait_for()
    row.wait_for(state="detached")
    assert len(downloads) == 1  # ComfyUI's page downloads what an event announces


def test_a_zip_file_that_is_cancelled_too_late_is_not_downloaded(panel: Any) -> None:
    downloads: list[Any] = []
    panel.page.on("download", lambda download: downloads.append(download))
    panel.root.get_by_label("Search the library").fill("dragon")
    panel.count_is(3)

    def ending(route: Any) -> None:
        """Say that the task runs, and that it cannot be cancelled any more."""
        if route.request.method == "DELETE":
            route.fulfill(status=409, json={"code": "TASK_NOT_CANCELLABLE", "message": "It has ended."})
        else:
            route.fulfill(json={"status": "running", "result": {"progress": 0.5}})

    panel.page.route(TASKS, ending)
    panel.button("Actions for all listed assets").click()
    panel.page.get_by_role("menuitem", name="Download all as ZIP").click()
    row = panel.root.locator(".ca-upload")
    row.get_by_text("50 %").wait_for()
    with panel.page.expect_response(lambda response: response.request.method == "DELETE"):
        row.get_by_role("button").click()
    panel.page.unroute(TASKS)
    row.wait_for(state="detached")
    assert panel.root.locator(".ca-notifications > *").count() == 0
    assert downloads == []


def test_a_batch_can_be_undone_after_the_server_could_not_be_reached(selected: Any) -> None:
    selected.page.route(TASKS, lost)
    rate(selected)
    selected.root.locator(".ca-progress", has_text=UNREACHABLE).wait_for()
    selected.page.unroute(TASKS)
    selected.says("2 assets rated")
    assert sorted(ratings(selected), key=str) == [4, 4, None]
    selected.button("Undo").click()
    selected.says("Undone")
    assert ratings(selected) == [None] * 3


def test_what_an_interrupted_batch_has_changed_can_be_undone(selected: Any) -> None:
    selected.page.route(TASKS, fulfil({"status": "failed", "error_message": INTERRUPTED}))
    rate(selected)
    selected.says(INTERRUPTED)
    selected.page.unroute(TASKS)
    assert sorted(ratings(selected), key=str) == [4, 4, None]
    selected.button("Undo").click()
    selected.says("Undone")
    assert ratings(selected) == [None] * 3


def test_cancelling_can_be_tried_again(selected: Any) -> None:
    selected.page.route(TASKS, lost)
    rate(selected)
    cancel = selected.root.locator(".ca-progress").get_by_role("button", name="Cancel")
    cancel.click()
    selected.says("Could not cancel.")
    cancel.and_(selected.page.locator(":enabled")).wait_for()
    selected.page.unroute(TASKS)
    selected.says("2 assets rated")
    selected.button("Undo").click()
    selected.says("Undone")


def test_everything_is_loaded_again_when_the_connection_is_back(
    browser: Any, serve: Any, small_library: Any, open_alone: Any, tmp_path: Path
) -> None:
    """Lists, thumbnails, the picture and the details in the viewer, and the state of the library, without a click."""
    with (
        serve(small_library(tmp_path)) as server,
        TcpCutter(server.port) as network,
        open_alone(browser, server, url=f"{network.url}/") as panel,
    ):
        panel.count_is(28)
        panel.options().first.locator("img.ca-loaded").wait_for()
        panel.options().first.dblclick()
        viewer = panel.page.get_by_role("dialog")
        viewer.locator(".ca-picture img").wait_for()
        network.is_down = True
        network.cut()
        viewer.press("End")  # broken.png: the one before it was not loaded ahead
        viewer.press("ArrowLeft")
        viewer.press("ArrowLeft")
        viewer.get_by_role("alert").get_by_text(UNREACHABLE).wait_for()
        status = panel.root.locator(".ca-status-text")
        status.get_by_text(UNREACHABLE).wait_for(state="attached")
        server.request(f"/api/assets/{server.asset('ink_style')['id']}", method="DELETE")
        network.is_down = False
        viewer.get_by_role("alert").wait_for(state="detached")
        panel.count_is(27)  # the message of the deletion was lost
        status.get_by_text("up to date").wait_for(state="attached")


def test_pictures_that_could_not_be_loaded_are_shown_when_the_connection_is_back(
    browser: Any, server: Any, open_alone: Any
) -> None:
    with TcpCutter(server.port) as network, open_alone(browser, server, url=f"{network.url}/") as panel:
        panel.lists_everything()
        panel.options().first.locator("img.ca-loaded").wait_for()
        panel.page.route("**/api/view?*", lost)
        panel.root.get_by_label("Kind").select_option("output")
        panel.root.get_by_label("Sort").select_option("oldest")
        panel.options().locator(".ca-no-thumbnail").first.wait_for()
        panel.options().first.dblclick()
        viewer = panel.page.get_by_role("dialog")
        viewer.locator(".ca-viewer-message").wait_for()
        panel.page.unroute("**/api/view?*")
        network.cut()  # the page connects again
        viewer.locator(".ca-picture img").wait_for()
        panel.options().locator("img.ca-loaded").first.wait_for(state="attached")
        panel.options().locator(".ca-no-thumbnail").first.wait_for(state="detached")
