"""ComfyUI's page behind the login, in a real browser: running, restarts, other users, other origins, ended sessions.

``COMFYUI_PATH`` names a real ComfyUI to look at, and ``COMFYUI_FRONTEND`` another version of the page.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from login_pages import LoginPlace, SignedIn, login_place
from panel_graphs import saving
from support.logins import NOTICED_S, PASSWORD, login_on

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow

OTHER_ORIGIN = "http://evil.example"
# Run a graph as the page does, and return the types of the messages that come until it has ended.
RUN = """
graph => new Promise((resolve, reject) => {
    const heard = new Set()
    for (const type of ['execution_start', 'executing', 'executed', 'execution_success'])
        app.api.addEventListener(type, () => {
            heard.add(type)
            if (type === 'execution_success') resolve([...heard])
        })
    const body = JSON.stringify({ prompt: graph, client_id: app.api.clientId })
    app.api.fetchApi('/prompt', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } })
        .then(response => response.ok || reject(response.status))
    setTimeout(() => reject('too late: ' + [...heard]), 60000)
})
"""
# What a page of another origin gets from the server, with the cookies of the user.
ATTACK = """
async url => {
    const got = []
    const read = async (path, options) => {
        for (const mode of ['cors', 'no-cors']) {
            try {
                const response = await fetch(url + path, { credentials: 'include', mode, ...options })
                if (response.type !== 'opaque') got.push(path)
            } catch {}
        }
    }
    const prompt = { method: 'POST', body: '{"prompt": {}}' }
    await Promise.all([
        read('/api/login'), read('/api/assets'), read('/api/login/tokens', { method: 'POST', body: '{}' }),
        read('/prompt', prompt), read('/api/login', { method: 'DELETE' }), read('/interrupt', { method: 'POST' }),
        read('/api/login/sessions', { method: 'DELETE' }), read('/free', { method: 'POST', body: '{}' }),
        new Promise(done => {
            const picture = new Image()
            picture.onload = () => done(got.push('picture'))
            picture.onerror = done
            picture.src = url + '/view?filename=seen_00001_.png'
        }),
        new Promise(done => {
            const socket = new WebSocket(url.replace('http', 'ws') + '/ws')
            socket.onopen = () => done(got.push('websocket'))
            socket.onerror = done
        }),
    ])
    const form = Object.assign(document.createElement('form'), { method: 'POST', action: url + '/interrupt' })
    const frame = Object.assign(document.createElement('iframe'), { name: 'frame' })
    form.target = 'frame'
    document.body.append(frame, form)
    form.submit()
    return got
}
"""


@pytest.fixture(scope="module")
def place(server: Any, browser: Any) -> Iterator[LoginPlace]:
    server.run(saving("seen"))
    with login_place(server, browser) as made:
        yield made


@pytest.fixture
def ada(place: LoginPlace) -> Iterator[SignedIn]:
    """Ada in ComfyUI's page."""
    with place.signed_in("Ada", "/") as shown:
        shown.graph_is_loaded()
        shown.is_watched()
        yield shown


def answer(shown: SignedIn, password: str = PASSWORD) -> None:
    """Sign in in the dialog."""
    shown.question.get_by_label("Password").fill(password)
    shown.page.keyboard.press("Enter")


def test_running_with_pictures_and_live_progress(ada: SignedIn) -> None:
    heard = ada.page.evaluate(RUN, saving("adas"))
    assert {"execution_start", "executing", "executed", "execution_success"} <= set(heard)
    picture = """src => new Promise(done => {
        Object.assign(new Image(), { src, onload: () => done(true), onerror: () => done(false) })
    })"""
    assert ada.page.evaluate(picture, "/api/view?filename=adas_00001_.png&type=output")
    assert not ada.question.is_visible()


def test_the_session_ends_and_the_graph_is_kept(place: LoginPlace, ada: SignedIn) -> None:
    """By the lost connection alone: the user does nothing meanwhile."""
    ada.add_node("not saved anywhere")
    marks = ada.page.evaluate("globalThis.markOfThisPage = Math.random()")
    place.end_sessions()
    ada.question.wait_for()
    expect(ada.question.get_by_label("Password")).to_be_focused()
    assert Axe().run(ada.page, {"include": [[".ca-session"]]}).response["violations"] == []
    answer(ada, "a wrong password")
    expect(ada.question.get_by_role("alert")).to_have_text("The password is wrong.")
    answer(ada)
    ada.question.wait_for(state="detached")
    assert ada.page.evaluate("globalThis.markOfThisPage") == marks, "nothing was loaded again"
    assert "not saved anywhere" in ada.titles()
    # The page connects again a moment later. Messages of a prompt that runs before reach nobody.
    ada.page.wait_for_function("app.api.socket?.readyState === WebSocket.OPEN")
    heard = ada.page.evaluate(RUN, saving("again"))
    assert "executed" in heard, "the page is connected again"


REQUESTS: dict[str, str] = {
    "of the page": "app.api.fetchApi('/queue').then(response => response.status)",
    "of a pack": "fetch('/object_info').then(response => response.status)",
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_any_refused_request_tells_of_it(place: LoginPlace, ada: SignedIn, kind: str) -> None:
    ada.page.evaluate("app.api.socket.close = () => {}")
    place.end_sessions()
    assert ada.page.evaluate(REQUESTS[kind]) == 401
    ada.question.wait_for()


def test_a_sign_in_in_another_tab_is_noticed(place: LoginPlace, ada: SignedIn) -> None:
    ada.add_node("kept")
    place.end_sessions()
    ada.question.wait_for()
    other = ada.context.new_page()
    other.goto(f"{place.server.url}/login")
    other.locator("[name=name]").fill("ada")
    other.locator("[name=password]").fill(PASSWORD)
    other.keyboard.press("Enter")
    other.locator("#sign-in").wait_for(state="detached")
    ada.question.wait_for(state="detached")
    assert "kept" in ada.titles()


def test_another_user_does_not_go_on_with_the_page(place: LoginPlace, ada: SignedIn) -> None:
    """Neither in a page that is open, nor by what the page keeps in the browser. Who returns finds it all again."""
    ada.add_node("of Ada alone")
    ada.page.wait_for_function("Object.entries({...localStorage}).some(([, value]) => value.includes('of Ada alone'))")
    other = ada.context.new_page()
    other.on("pageerror", lambda error: ada.errors.append(f"{error.message}\n{error.stack}"))
    place.sign_in(other, "Root", "/")
    expect(ada.question).to_contain_text("Root has signed in with this browser.")
    roots = SignedIn(place, ada.context, other)
    roots.graph_is_loaded()
    assert "of Ada alone" not in roots.titles()
    ada.question.get_by_role("button", name="Reload the page").click()
    ada.question.wait_for(state="detached")
    ada.graph_is_loaded()
    ada.page.wait_for_load_state("networkidle")
    assert "of Ada alone" not in ada.titles()
    roots.page.close()
    place.sign_in(ada.page, "Ada", "/")
    ada.graph_is_loaded()
    ada.page.wait_for_function("(app.graph.nodes ?? app.graph._nodes).some(node => node.title === 'of Ada alone')")


def test_it_can_be_put_off(place: LoginPlace, ada: SignedIn) -> None:
    place.end_sessions()
    ada.question.wait_for()
    ada.page.keyboard.press("Escape")
    ada.question.wait_for(state="detached")
    assert ada.fetch("/api/queue") == 401
    assert not ada.question.is_visible()


def test_the_panel_goes_on_after_it(place: LoginPlace) -> None:
    with place.signed_in("Ada") as ada:
        ada.root.locator(".ca-cell img.ca-loaded").first.wait_for()
        ada.is_watched()
        place.end_sessions()
        ada.question.wait_for()
        answer(ada)
        ada.question.wait_for(state="detached")
        ada.root.get_by_label("Search the library").fill("seen")
        ada.root.locator(".ca-total", has_text="1 asset").wait_for()
        ada.root.get_by_role("button", name="Account", exact=True).wait_for()


def test_a_page_of_another_origin_can_do_nothing(place: LoginPlace, ada: SignedIn) -> None:
    evil = ada.context.new_page()
    evil.route(f"{OTHER_ORIGIN}/**", lambda route: route.fulfill(body="<body>", content_type="text/html"))
    evil.goto(f"{OTHER_ORIGIN}/")
    assert evil.evaluate(ATTACK, place.server.url) == []
    evil.close()
    assert ada.fetch("/api/login") == 200, "the session goes on"


def test_the_account_is_in_the_settings_of_the_page(ada: SignedIn) -> None:
    ada.page.evaluate("app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    ada.page.get_by_role("dialog").get_by_text("Comfy Assets", exact=True).first.click()
    ada.page.get_by_role("button", name="Open the account…").click()
    ada.account.get_by_text("Signed in as Ada").wait_for()
    ada.account.get_by_role("button", name="Sign out", exact=True).click()
    ada.page.locator("#sign-in").wait_for()


def test_a_session_lasts_over_a_restart(
    tmp_path: Path, browser: Any, small_library: Callable[[Path], Path], serve: Callable[..., Any]
) -> None:
    base = small_library(tmp_path / "library")
    with serve(base) as first:
        accounts = login_on(base)
        time.sleep(NOTICED_S)
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        LoginPlace(first, browser, accounts).sign_in(page, "Ada")
        page.locator(".ca-cell img.ca-loaded").first.wait_for()
    accounts.set_enabled(False)  # for the fixture, which looks at the server without a token
    shutil.rmtree(base / "custom_nodes" / "comfy-assets", ignore_errors=True)  # and puts the pack there, on ComfyUI
    with serve(base) as second:
        accounts.set_enabled(True)
        time.sleep(NOTICED_S)
        page.goto(f"{second.url}/assets")
        page.locator(".ca-cell img.ca-loaded").first.wait_for()
        accounts.set_enabled(False)
    context.close()


@pytest.fixture(scope="module")
def apart(
    tmp_path_factory: pytest.TempPathFactory,
    browser: Any,
    small_library: Callable[[Path], Path],
    serve: Callable[..., Any],
) -> Iterator[LoginPlace]:
    """A server that keeps users apart."""
    base = small_library(tmp_path_factory.mktemp("apart"))
    with serve(base, names=("Ada", "Bob")) as server, login_place(server, browser) as made:
        made.accounts.add_user("Bob", "member", made.accounts.change_user("Ada").password)
        yield made


def test_a_second_user_sees_nothing_of_the_first(apart: LoginPlace) -> None:
    with apart.signed_in("Ada", "/assets") as ada, apart.signed_in("Bob", "/assets") as bob:
        for shown in (ada, bob):
            shown.root.get_by_role("tab", name="Jobs").click()
            shown.root.get_by_text("No jobs yet").wait_for()
        made = ada.page.evaluate(
            """prompt => fetch('/api/prompt', { method: 'POST', body: JSON.stringify({ prompt }),
                headers: { 'Content-Type': 'application/json' } }).then(response => response.json())""",
            saving("hers"),
        )
        ada.root.locator(".ca-cell", has_text="hers_00001_.png").wait_for()
        assert bob.fetch(f"/api/jobs/{made['prompt_id']}") in (403, 404)
        bob.root.get_by_role("tab", name="Library").click()
        bob.root.get_by_label("Search the library").fill("hers_")
        bob.root.get_by_text("No matching assets").wait_for()
        bob.root.get_by_role("tab", name="Jobs").click()
        bob.root.get_by_text("No jobs yet").wait_for()


def test_the_page_does_not_ask_who_one_is(apart: LoginPlace) -> None:
    """With several users, ComfyUI's page asks for one of them, unless it knows."""
    context = apart.browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    shown = SignedIn(apart, context, context.new_page())
    shown.page.goto(apart.server.url)
    shown.page.locator("[name=name]").fill("bob")
    shown.page.locator("[name=password]").fill(PASSWORD)
    shown.page.keyboard.press("Enter")
    shown.graph_is_loaded()
    assert shown.page.evaluate("localStorage['Comfy.userName']") == "Bob"
    context.close()
