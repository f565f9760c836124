"""The panel by plain http from another host: no secure context, so no clipboard interface and no random UUIDs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from panel_graphs import failing, page_graph

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lan(
    tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any, browser: Any, open_by_name: Any
) -> Iterator[Any]:
    """The panel's own page under a name that is not localhost."""
    with serve(small_library(tmp_path_factory.mktemp("lan")), "--own-page") as server:
        server.run(failing())
        server.request("/api/workflows", {"name": "Shared", "workflow_json": page_graph("for others")})
        with open_by_name(browser, server) as panel:
            assert not panel.page.evaluate("isSecureContext")
            yield panel


def pasted(panel: Any) -> str:
    """Return what the clipboard holds, pasted into a field of the page."""
    panel.page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    field = panel.page.locator("#paste")
    field.press("Control+v")
    text = str(field.input_value())
    field.evaluate("field => field.remove()")
    return text


def test_copying_a_hash(lan: Any) -> None:
    lan.option("lighthouse_in_a_storm").click()
    name = lan.root.locator(".ca-detail h3").inner_text()
    lan.button("Copy hash").click()
    lan.says("Hash copied")
    assert pasted(lan) == lan.server.asset(name)["hash"]
    lan.button("Back").click()


def test_copying_an_error(lan: Any) -> None:
    lan.tab("Jobs")
    lan.option("failed").click()
    lan.button("Copy error").click()
    lan.says("Error copied")
    assert "LoadImage #1" in pasted(lan)


def test_copying_a_link_and_being_refused(lan: Any) -> None:
    lan.open_workflow("Shared")
    lan.button("Publish").click()
    lan.button("Copy link").click()
    lan.says("Link copied")
    assert pasted(lan) == lan.root.locator(".ca-share-link code").inner_text()
    lan.page.evaluate("document.execCommand = () => false")
    lan.button("Copy link").click()
    lan.says("Could not copy.")
    lan.page.evaluate("delete document.execCommand")
