"""The quotas of users in the panel: what each takes, and how an administrator sets the limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.login.store import UNLIMITED
from login_pages import LoginPlace, login_place

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: Any, small_library: Any, serve: Any, browser: Any) -> Iterator[LoginPlace]:
    """A server for several users with the login on, where Ada has a file of 3 MB in her folder."""
    base = small_library(tmp_path_factory.mktemp("quotas"))
    with serve(base, names=("Ada",)) as server:
        folder = base / "user" / server.users["Ada"]
        folder.mkdir(exist_ok=True)
        (folder / "notes.bin").write_bytes(bytes(3_000_000))
        with login_place(server, browser) as made:
            yield made


def test_an_administrator_sees_and_sets_limits(place: LoginPlace) -> None:
    with place.signed_in() as root:
        users = root.open_account("Users").get_by_role("tabpanel", name="Users")
        ada = users.get_by_role("listitem").filter(has_text="Ada")
        ada.locator("summary").click()
        ada.get_by_text("Waiting jobs: 0, no limit").wait_for()
        expect(ada.get_by_text("Space of files")).to_have_text("Space of files: 3 MB, no limit")
        assert ada.get_by_role("spinbutton").count() == 0
        ada.get_by_role("combobox", name="Limit of waiting jobs").select_option("Own limit")
        ada.get_by_role("button", name="Set the limits").click()
        assert place.accounts.change_user("Ada").max_jobs is None, "there is no number yet"
        ada.get_by_role("spinbutton", name="Limit of waiting jobs").fill("20")
        ada.get_by_role("combobox", name="Limit of space").select_option("Own limit")
        ada.get_by_role("spinbutton", name="Limit of space").fill("2.5")
        ada.get_by_role("button", name="Set the limits").click()
        ada.get_by_text("Waiting jobs: 0 of 20").wait_for()
        expect(ada.get_by_text("Space of files")).to_have_text("Space of files: 3 MB of 2.5 MB")
        expect(ada.get_by_text("Space of files")).to_have_class("ca-failure")
        expect(ada.get_by_role("spinbutton", name="Limit of space")).to_have_value("2.5")
        assert Axe().run(root.page, "dialog.ca-account").violations_count == 0
        stored = place.accounts.change_user("Ada")
        assert (stored.max_jobs, stored.max_bytes) == (20, 2_500_000)
        ada.get_by_role("combobox", name="Limit of waiting jobs").select_option("No limit")
        ada.get_by_role("combobox", name="Limit of space").select_option("Default of the server")
        ada.get_by_role("button", name="Set the limits").click()
        ada.get_by_text("Waiting jobs: 0, no limit").wait_for()
        stored = place.accounts.change_user("Ada")
        assert (stored.max_jobs, stored.max_bytes) == (UNLIMITED, None)
        own = users.get_by_role("listitem").filter(has_text="Root")
        own.locator("summary").click()
        own.get_by_text("Waiting jobs: 0, no limit").wait_for()
        assert own.get_by_role("button").count() == 0


def test_others_cannot_ask_what_a_user_takes(place: LoginPlace) -> None:
    with place.signed_in() as root:
        (user,) = root.page.evaluate(
            "fetch('/api/login/users').then(r => r.json()).then(({ users }) => users.filter(u => u.name === 'Ada'))"
        )
        assert root.fetch(f"/api/login/users/{user['id']}/use") == 200
        assert root.fetch("/api/login/users/nobody/use") == 404
    with place.signed_in("Ada") as ada:
        assert ada.fetch(f"/api/login/users/{user['id']}/use") == 403


def test_a_server_for_one_user_has_no_limits(server: Any, browser: Any) -> None:
    with login_place(server, browser) as alone, alone.signed_in() as root:
        users = root.open_account("Users").get_by_role("tabpanel", name="Users")
        ada = users.get_by_role("listitem").filter(has_text="Ada")
        with root.page.expect_response("**/use"):
            ada.locator("summary").click()
        ada.get_by_role("button", name="Disable").wait_for()
        expect(ada.get_by_role("button", name="Set the limits")).to_be_hidden()
