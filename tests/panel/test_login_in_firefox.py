"""The login in Firefox: signing in, running, an ended session over an unsaved graph, and signing out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from login_pages import login_place
from panel_graphs import saving
from support.firefox import FIREFOX, firefox_page
from support.logins import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox")]

# Type into the form of the page to sign in, or of the dialog, and send it.
SIGN_IN = """
(form => {
    if (!form) return false
    if (form.elements.name) form.elements.name.value = 'ada'
    form.querySelector('[type=password]').value = %s
    form.requestSubmit()
    return true
})(document.querySelector('%s'))
"""
RUN = """
new Promise((resolve, reject) => {
    const heard = new Set()
    for (const type of ['executing', 'executed', 'execution_success'])
        app.api.addEventListener(type, () => {
            heard.add(type)
            if (type === 'execution_success') resolve([...heard])
        })
    const body = JSON.stringify({ prompt: %s, client_id: app.api.clientId })
    app.api.fetchApi('/prompt', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } })
    setTimeout(() => reject(new Error([...heard])), 40000)
})
"""
CONNECTED = "app.api.socket?.readyState === WebSocket.OPEN"
READY = "globalThis.app?.extensionManager?.getSidebarTabs?.().some(each => each.id === 'comfy-assets')"
WATCHED = "Boolean(document.querySelector('link[href*=\"login/login.css\"]')?.sheet)"
TITLES = "(app.graph.nodes ?? app.graph._nodes).map(node => node.title)"


def sign_in(form: str, password: str = PASSWORD) -> str:
    return SIGN_IN % (json.dumps(password), form)


async def test_the_login_in_firefox(server: Any, tmp_path: Path) -> None:
    with login_place(server, None) as place:
        async with firefox_page(tmp_path / "profile") as page:
            await page.goto(server.url)
            await page.wait_for(sign_in("#sign-in", "a wrong password"))
            await page.wait_for("document.getElementById('message').textContent.includes('wrong')")
            await page.evaluate(sign_in("#sign-in"))
            await page.wait_for(READY)
            await page.wait_for(WATCHED)
            heard = await page.evaluate(RUN % json.dumps(saving("fox")))
            assert set(heard) == {"executing", "executed", "execution_success"}
            picture = "new Promise(done => Object.assign(new Image(), { src: '/api/view?filename=fox_00001_.png',"
            assert await page.evaluate(f"{picture} onload: () => done(true), onerror: () => done(false) }}))")
            await page.evaluate(
                "(node => { node.title = 'not saved'; app.graph.add(node) })(LiteGraph.createNode('Note'))"
            )
            place.end_sessions()
            await page.wait_for("document.querySelector('dialog.ca-session')?.open")
            await page.evaluate(sign_in("dialog.ca-session form"))
            await page.wait_for("document.querySelector('dialog.ca-session') === null")
            assert "not saved" in await page.evaluate(TITLES)
            await page.wait_for(CONNECTED)
            assert "executed" in await page.evaluate(RUN % json.dumps(saving("again")))
            status = "fetch('/api/login/sessions', { method: 'DELETE' }).then(response => response.status)"
            assert await page.evaluate(status) == 204
            time.sleep(0.3)
            assert await page.evaluate("fetch('/api/queue').then(response => response.status)") == 401
            await page.goto(server.url)
            await page.wait_for("document.getElementById('sign-in') !== null")
