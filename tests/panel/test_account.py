"""The account in the panel: signing out, sessions, tokens, users, and the code for a phone, in a real browser."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from login_pages import LoginPlace, SignedIn, login_place
from panel_graphs import page_graph
from support.logins import NOTICED_S, PASSWORD

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow

MODULES = "extensions/comfy-assets/panel/login"
ADDRESS = "http://192.168.1.20:8188/?token=comfyui-link-"
# SHA-256 of the matrices of texts by their number of bytes, the fewest and the most of each version. The matrices were
# read by ZXing 3.1, and are those of the Python package qrcode 8 with the same masks.
MATRICES = {
    1: "848f621f7ecfca7e", 14: "2f21934e0b544607", 15: "122d88e95f0f3a17", 26: "20a6e58fd8247804",
    27: "6b6cd430f72b5a46", 42: "a8c59bf70035ee39", 43: "536d36d5cc3bda17", 62: "60a179b2cfc00958",
    63: "411949c735558c42", 84: "ae7c3c716afd13d4", 85: "0d2a5024b0cc0a3a", 106: "2943f6b85449e383",
    107: "7216414e2a62f493", 122: "fe4a2ede08fde50f", 123: "cb173a28f9d39a5a", 152: "9c373ecc2c8918c2",
    153: "567b0b0a8981c165", 180: "d4bf2505068239e9", 181: "7447865913120be5", 213: "21f225333fd7066b",
    214: "64c31cc727294dd6", 251: "24a1d60d4d3349e3", 252: "f3bf5c3c1ed4ba93", 287: "30f72421edf6708d",
    288: "ca44c4ec0992642e", 331: "b9ad5950ba3d18b1", 332: "08584c7939123f18", 362: "ca0b3ced1ac2c114",
    363: "7c110d6a31b2cf04", 412: "0b73af7844855449",
}  # fmt: skip
DRAW = """
async ([module, texts]) => {
    const { qrMatrix } = await import(module)
    const draw = text => {
        try {
            return qrMatrix(text).map(row => row.map(Number).join('')).join('\\n')
        } catch (error) {
            return error.name
        }
    }
    return texts.map(draw)
}
"""


@pytest.fixture(scope="module")
def place(server: Any, browser: Any) -> Iterator[LoginPlace]:
    with login_place(server, browser) as made:
        yield made


@pytest.fixture(scope="module")
def root(place: LoginPlace) -> Iterator[SignedIn]:
    """The administrator's page, shared by the tests."""
    with place.signed_in("Root") as shown:
        yield shown


@pytest.fixture
def account(root: SignedIn) -> Iterator[Any]:
    """The administrator's account, opened anew."""
    yield root.open_account()
    root.page.keyboard.press("Escape")
    root.account.wait_for(state="detached")


def section(account: Any, name: str) -> Any:
    account.get_by_role("tab", name=name).click()
    return account.get_by_role("tabpanel", name=name)


def test_codes_are_those_of_the_standard(root: SignedIn) -> None:
    texts = [(ADDRESS + "aZ9-_" * 100)[:length] for length in MATRICES]
    drawn = root.page.evaluate(DRAW, [f"{root.place.server.url}/{MODULES}/qr_code.mjs", [*texts, "x" * 413]])
    found = {
        len(text): hashlib.sha256(code.encode()).hexdigest()[:16] for text, code in zip(texts, drawn, strict=False)
    }
    assert found == MATRICES
    assert drawn[-1] == "RangeError", "nothing is cut off"


@pytest.mark.parametrize(
    "options",
    [
        {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
        {"color_scheme": "dark", "viewport": {"width": 390, "height": 700}},
        {"color_scheme": "dark", "viewport": {"width": 320, "height": 560}, "locale": "ar"},
    ],
)
def test_everybody_can_use_it(place: LoginPlace, options: dict[str, Any]) -> None:
    with place.signed_in("Root", **options) as shown:
        shown.root.get_by_role("tablist").first.wait_for()
        shown.root.locator(".ca-header-corner button").click()
        tabs = shown.account.get_by_role("tab")
        expect(tabs).to_have_count(4)
        for number in range(4):
            tabs.nth(number).click()
            shown.account.locator(".ca-spinner").first.wait_for(state="detached")
            for details in shown.account.locator("details").all():
                details.evaluate("element => { element.open = true }")
            if number == 0:
                shown.account.locator(".ca-account-buttons button").nth(2).click()
                shown.account.locator(".ca-login-code svg").wait_for()
            found = Axe().run(shown.page, {"include": [[".ca-account"]]}).response["violations"]
            assert found == [], (number, [(each["id"], each["nodes"][0]["html"]) for each in found])
            cut_off = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.className)"
            assert (
                shown.account.locator(".ca-account-panel, .ca-account-row, .ca-account-body").evaluate_all(cut_off)
                == []
            )


def test_a_token_is_created_shown_once_and_revoked(account: Any, place: LoginPlace, root: SignedIn) -> None:
    tokens = section(account, "Tokens")
    tokens.get_by_text("There are no tokens.").wait_for()
    tokens.get_by_text("New token…").click()
    tokens.get_by_label("Name").fill("backup of pictures")
    read = tokens.get_by_label("Read", exact=True)
    read.uncheck()
    expect(tokens.get_by_role("button", name="Create token")).to_be_disabled()
    read.check()
    tokens.get_by_label("Expires after").select_option(label="30 days")
    tokens.get_by_label("Name").press("Enter")
    key = tokens.locator(".ca-account-secret code").inner_text()
    assert re.fullmatch(r"comfyui-[0-9a-f]{52}", key)
    expect(tokens.get_by_role("listitem")).to_contain_text("backup of pictures")
    expect(tokens.get_by_role("listitem")).to_contain_text("Never used")
    assert [place.status("/api/assets", key), place.status("/api/assets"), place.status("/api/prompt", key, b"{}")] == [
        200,
        401,
        403,
    ]
    section(account, "Sessions")
    tokens = section(account, "Tokens")
    tokens.get_by_role("listitem").wait_for()
    assert key not in root.page.content(), "it is shown once"
    tokens.get_by_role("button", name="Revoke…").click()
    tokens.get_by_role("button", name="Revoke backup of pictures").click()
    tokens.get_by_text("There are no tokens.").wait_for()
    assert place.status("/api/assets", key) == 401


def test_it_is_copied_by_plain_http(place: LoginPlace) -> None:
    """Under a name of the network, where browsers have no clipboard interface."""
    with place.signed_in("Ada") as shown:
        cookies = [{**each, "domain": "comfy-lan"} for each in shown.context.cookies()]
        shown.context.add_cookies(cookies)
        shown.page.goto(f"{place.server.url}/assets".replace("127.0.0.1", "comfy-lan"))
        assert shown.page.evaluate("navigator.clipboard === undefined")
        tokens = section(shown.open_account(), "Tokens")
        tokens.get_by_text("New token…").click()
        tokens.get_by_label("Name").fill("copied")
        tokens.get_by_role("button", name="Create token").click()
        tokens.get_by_role("button", name="Copy token").click()
        shown.account.get_by_text("Token copied").wait_for()
        field = shown.page.locator("dialog input.ca-input")
        key = tokens.locator(".ca-account-secret code").inner_text()
        tokens.get_by_text("New token…").click()
        field.first.press("Control+v")
        expect(field.first).to_have_value(key)
        tokens.get_by_role("button", name="Revoke…").click()
        tokens.get_by_role("button", name="Revoke copied").click()
        tokens.get_by_text("There are no tokens.").wait_for()


def test_another_session_is_ended(account: Any, place: LoginPlace) -> None:
    with place.signed_in(
        "Root", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    ) as phone:
        assert phone.fetch("/api/assets") == 200
        sessions = section(account, "Sessions")
        expect(sessions.get_by_text("This browser")).to_have_count(1)
        theirs = sessions.get_by_role("listitem").filter(has_text="Firefox on Linux")
        expect(theirs).to_have_count(1)
        theirs.get_by_role("button", name="Sign out: Firefox on Linux").click()
        expect(theirs).to_have_count(0)
        assert phone.fetch("/api/assets") == 401
        phone.question.wait_for()


def test_a_code_signs_a_phone_in(account: Any, place: LoginPlace, browser: Any) -> None:
    account.get_by_role("button", name="Show a code to sign in").click()
    account.get_by_role("img", name="QR code").wait_for()
    address = account.locator(".ca-login-address").inner_text()
    phone = browser.new_context(viewport={"width": 390, "height": 700}, locale="en-GB").new_page()
    phone.goto(address.replace("/?", "/assets?"))
    phone.locator(".ca-cell img.ca-loaded").first.wait_for()
    assert phone.url == f"{place.server.url}/assets"
    phone.context.close()


def test_an_administrator_manages_users(account: Any, place: LoginPlace) -> None:
    users = section(account, "Users")
    expect(users.get_by_role("listitem")).to_have_count(2)
    users.get_by_text("New user…").click()
    users.get_by_label("Name").fill("ada")
    users.get_by_role("button", name="Add user").click()
    expect(users.get_by_role("alert")).to_contain_text("There is a user of this name already.")
    users.get_by_label("Name").fill("Bob")
    users.get_by_label("Role").first.select_option("guest")
    users.get_by_role("button", name="Add user").click()
    account.get_by_text("User Bob added").wait_for()
    users.get_by_role("img", name="QR code").wait_for()  # without a password there is a link
    bob = users.get_by_role("listitem").filter(has_text="Bob")
    expect(bob).to_contain_text("Guest")
    expect(bob).to_contain_text("No password")
    bob.locator("summary").click()
    bob.get_by_label("Role").select_option("member")
    expect(bob.locator("summary")).to_contain_text("Member")
    bob.get_by_label("New password").fill(PASSWORD)
    bob.get_by_role("button", name="Set the password").click()
    expect(bob.locator("summary")).not_to_contain_text("No password")
    assert place.accounts.change_user("Bob").role == "member"
    bob.get_by_role("button", name="Disable").click()
    expect(bob.locator("summary")).to_contain_text("Disabled")
    bob.get_by_role("button", name="Enable").click()
    bob.get_by_role("button", name="Disable").wait_for()
    bob.get_by_role("button", name="Remove…").click()
    bob.get_by_role("button", name="Remove Bob; files and jobs stay").click()
    expect(users.get_by_role("listitem")).to_have_count(2)
    own = users.get_by_role("listitem").filter(has_text="Root")
    own.locator("summary").click()
    assert own.get_by_role("button").count() == 0, "nobody locks themselves out by a slip"


def test_others_see_no_users(place: LoginPlace) -> None:
    with place.signed_in("Ada") as ada:
        ada.open_account()
        assert ada.account.get_by_role("tab").all_inner_texts() == ["Account", "Sessions", "Tokens"]
        section(ada.account, "Tokens").get_by_text("New token…").click()
        assert ada.account.get_by_label("Administer the server").count() == 0


def test_by_keyboard_alone(root: SignedIn) -> None:
    button = root.root.get_by_role("button", name="Account", exact=True)
    button.press("Enter")
    root.account.get_by_role("tab", name="Account").wait_for()
    root.account.get_by_role("tab", name="Account").press("ArrowLeft")
    expect(root.account.get_by_role("tab", name="Users")).to_be_focused()
    root.account.get_by_role("tabpanel", name="Users").wait_for()
    root.page.keyboard.press("Home")
    expect(root.account.get_by_role("tab", name="Account")).to_be_focused()
    root.page.keyboard.press("Escape")
    root.account.wait_for(state="detached")
    expect(button).to_be_focused()


def test_the_password_is_changed(place: LoginPlace) -> None:
    with place.signed_in("Ada") as ada:
        own = section(ada.open_account(), "Account")
        own.get_by_text("Change the password").click()
        own.get_by_label("Current password").fill("not the right one")
        own.get_by_label("New password").fill("another password")
        own.get_by_role("button", name="Set the password").click()
        expect(own.get_by_role("alert")).to_have_text("The password is wrong.")
        own.get_by_label("Current password").fill(PASSWORD)
        own.get_by_label("New password").fill(PASSWORD)
        own.get_by_role("button", name="Set the password").click()
        ada.account.get_by_text("The password has been changed.").wait_for()


def test_signing_out_everywhere(place: LoginPlace) -> None:
    with place.signed_in("Ada") as here, place.signed_in("Ada") as elsewhere:
        own = section(here.open_account(), "Account")
        own.get_by_text("Signed in as Ada").wait_for()
        own.get_by_role("button", name="Sign out everywhere…").click()
        own.get_by_role("button", name="End all sessions, this one too").click()
        here.page.locator("#sign-in").wait_for()
        assert here.page.url == f"{place.server.url}/assets", "signing in leads back here"
        elsewhere.question.wait_for()


def test_a_share_is_opened_to_those_who_know_its_id(place: LoginPlace, root: SignedIn) -> None:
    root.page.evaluate(
        """workflow_json => fetch('/api/workflows', {
            method: 'POST', headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ name: 'To be shared', workflow_json }),
        })""",
        page_graph("shared"),
    )
    root.root.get_by_role("tab", name="Workflows").click()
    root.root.locator(".ca-cell", has_text="To be shared").click()
    choice = root.root.get_by_label("Programs that know the link may read it without signing in")
    for is_open, button, status in ((True, "Publish", 200), (False, "Publish again", 401)):
        choice.set_checked(is_open)
        with root.page.expect_response(re.compile("/publish$")):
            root.root.get_by_role("button", name=button, exact=True).click()
        share = root.root.locator(".ca-share-link code").inner_text().rpartition("=")[2]
        assert place.status(f"/api/workflows/published/{share}") == status
        expect(choice).to_be_checked(checked=is_open)
    root.root.get_by_role("tab", name="Library").click()


def test_who_is_signed_in_by_a_proxy_signs_out_there(root: SignedIn) -> None:
    login = {"user": "Root", "role": "member", "scopes": ["read"], "kind": "proxy", "has_password": False}
    root.page.route("**/api/login", lambda route: route.fulfill(json=login))
    try:
        own = root.open_account()
        own.get_by_text("A proxy signs you in. Sign out there.").wait_for()
        assert own.get_by_role("button", name="Sign out").count() == 0
        root.page.keyboard.press("Escape")
    finally:
        root.page.unroute("**/api/login")


def test_while_the_login_is_off_the_command_is_named(place: LoginPlace, root: SignedIn) -> None:
    place.accounts.set_enabled(False)
    time.sleep(NOTICED_S)
    try:
        root.root.get_by_role("button", name="Account", exact=True).click()
        expect(root.account.locator("pre")).to_contain_text("comfy-assets login enable")
        root.page.keyboard.press("Escape")
        root.page.reload()
        root.root.get_by_role("tab", name="Library").wait_for()
        root.page.wait_for_load_state("networkidle")
        assert root.root.get_by_role("button", name="Account", exact=True).count() == 0
    finally:
        place.accounts.set_enabled(True)
        time.sleep(NOTICED_S)
        root.page.reload()
