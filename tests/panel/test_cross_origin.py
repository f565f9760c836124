"""A page of another origin, in Chromium: it can read, change and receive nothing, at any address of the server.

The server listens on every address of the machine. The page tries all that a page can do without the user: requests
that need no preflight and some that do, forms, pictures, scripts, frames, event streams and websockets.
"""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from panel_graphs import saving
from PIL import Image
from support.servers import COMFYUI

pytestmark = pytest.mark.slow

EVIL = "evil.example"  # the page's name, which resolves to this machine
NAMED = "nas.lan"  # a name that resolves to the server
REBOUND = "rebind.example"  # a page's name, which resolves to the server after the page is loaded
TIMEOUT_MS = 20_000

# Try everything, and return the successes: responses read, elements loaded, messages received.
ATTACK = """
async ({ url, graph, asset }) => {
    const got = []
    const within = (ms, promise) => Promise.race([promise, new Promise(done => setTimeout(done, ms))])
    const read = async (name, path, options) => {
        try {
            const response = await fetch(url + path, options)
            if (response.type !== 'opaque' && response.ok) got.push(`read ${name}: ${await response.text()}`)
        } catch {}
    }
    const form = (path, fields, encoding) => {
        const frame = Object.assign(document.createElement('iframe'), { name: `f${Math.random()}` })
        const element = Object.assign(document.createElement('form'), { method: 'POST', action: url + path })
        Object.assign(element, { target: frame.name, enctype: encoding })
        for (const [name, value] of Object.entries(fields))
            element.append(Object.assign(document.createElement('input'), { name, value }))
        document.body.append(frame, element)
        element.submit()
    }
    const element = (tag, attributes) => new Promise(done => {
        const made = Object.assign(document.createElement(tag), attributes)
        made.onload = () => done(tag !== 'iframe' && got.push(`${tag} ${attributes.src ?? attributes.href}`))
        made.onerror = () => done()
        document.body.append(made)
    })
    const socket = new Promise(done => {
        const made = new WebSocket(url.replace('http', 'ws') + '/ws?clientId=evil')
        made.onopen = () => { got.push('websocket opened'); done() }
        made.onmessage = ({ data }) => got.push(`heard ${data}`)
        made.onerror = () => done()
    })
    const stream = new Promise(done => {
        const made = new EventSource(url + '/api/assets')
        made.onopen = () => { got.push('event stream'); done() }
        made.onerror = () => { made.close(); done() }
    })
    const prompt = JSON.stringify({ prompt: graph, client_id: 'evil' })
    const picture = new FormData()
    picture.append('image', new File(['evil'], 'evil.png'))
    const asJson = { 'Content-Type': 'application/json' }
    const requests = []
    for (const prefix of ['', '/api']) {
        for (const mode of ['no-cors', 'cors']) {
            requests.push(
                read('queue', prefix + '/queue', { mode }),
                read('prompt', prefix + '/prompt', { mode, method: 'POST', body: prompt }),
                read('prompt blob', prefix + '/prompt', { mode, method: 'POST', body: new Blob([prompt]) }),
                read('history', prefix + '/history', { mode, method: 'POST', body: '{"clear": true}' }),
                read('interrupt', prefix + '/interrupt', { mode, method: 'POST' }),
                read('upload', prefix + '/upload/image', { mode, method: 'POST', body: picture }),
                read('user file', prefix + '/userdata/evil.txt', { mode, method: 'POST', body: 'evil' }),
                read('setting', prefix + '/settings/evil', { mode, method: 'POST', body: '1' }),
                read('view', prefix + '/view?filename=held.png&type=input', { mode }),
            )
        }
        requests.push(read('prompt as JSON', prefix + '/prompt', { method: 'POST', body: prompt, headers: asJson }))
        form(prefix + '/prompt', { [prompt.slice(0, -1) + ',"x":"']: '"}' }, 'text/plain')
        form(prefix + '/history', { '{"clear":true,"x":"': '"}' }, 'text/plain')
        form(prefix + '/upload/image', { image: 'evil' }, 'multipart/form-data')
    }
    requests.push(
        read('assets', '/api/assets'), read('jobs', '/api/jobs'), read('page', '/'),
        read('prune', '/api/assets/prune', { method: 'POST', mode: 'no-cors' }),
        read('delete', `/api/assets/${asset}`, { method: 'DELETE' }),
        read('rename', `/api/assets/${asset}`, { method: 'PUT', body: '{"name": "evil.png"}', headers: asJson }),
        read('workflow', '/api/workflows', { method: 'POST', mode: 'no-cors', body: '{"workflow_json": {}}' }),
        element('img', { src: url + '/api/view?filename=held.png&type=input' }),
        element('img', { src: url + '/view?filename=held.png&type=input', referrerPolicy: 'no-referrer' }),
        element('video', { src: url + `/api/assets/${asset}/content` }),
        element('script', { src: url + '/extensions/comfy-assets/comfy_assets.js', type: 'text/javascript' }),
        element('link', { href: url + '/api/userdata/user.css', rel: 'stylesheet' }),
        element('iframe', { src: url + '/' }),
        element('iframe', { src: url + '/api/assets' }),
    )
    await within(6000, Promise.all([...requests, socket, stream]))
    await new Promise(done => setTimeout(done, 500)) // forms, and messages of what they would have started
    return got
}
"""


def _lan_address() -> str:
    """Return the address of this machine on its network, if it has one. Finding it sends no packet."""
    for other in ("198.51.100.1", "10.255.255.254"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    return "127.0.0.2"


LAN = _lan_address()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def evil_page() -> Iterator[str]:
    """The address of a page of another origin on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{EVIL}:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Any, small_library: Any) -> Iterator[Any]:
    base = small_library(tmp_path_factory.mktemp("library"))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "PNG")
    (base / "input/held.png").write_bytes(buffer.getvalue())
    (base / "user/default").mkdir(parents=True)
    (base / "user/default/user.css").write_text("body { --evil: 1 }")
    with serve(base, *(["--listen"] if COMFYUI else ["--without-login", "--host"]), "0.0.0.0,::") as running:
        running.run(saving("mine"))
        yield running


@pytest.fixture(scope="module")
def browser(chromium_path: str | None) -> Iterator[Any]:
    """A browser in which the names resolve to this machine."""
    from playwright.sync_api import sync_playwright

    names = ",".join(f"MAP {name} 127.0.0.1" for name in (EVIL, NAMED, REBOUND))
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={names}"]
        # Without Chromium's protection of local networks, which other browsers lack.
        options += ["--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"]
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


def state(server: Any) -> dict[str, Any]:
    """Return all state that the attack would change."""
    settings = server.request("/api/settings")
    return {
        "jobs": [job["id"] for job in server.request("/api/jobs")["jobs"]],
        "assets": sorted(asset["name"] for asset in server.request("/api/assets?limit=500")["assets"]),
        "workflows": server.request("/api/workflows")["pagination"]["total"],
        "settings": sorted(settings),
        "input": sorted(path.name for path in (server.base / "input").iterdir()),
        "output": sorted(path.name for path in (server.base / "output").rglob("*")),
        "user": sorted(path.name for path in (server.base / "user/default").iterdir()),
        "history": sorted(server.request("/history")),
    }


def attack(page: Any, server: Any, host: str) -> list[str]:
    """Return what the page in the browser could get from the server at this host."""
    asset = server.asset("held.png")["id"]
    port = urlsplit(server.url).port
    return page.evaluate(ATTACK, {"url": f"http://{host}:{port}", "graph": saving("evil"), "asset": asset})


HOSTS = ["127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", LAN, NAMED]


@pytest.mark.parametrize("host", HOSTS)
def test_other_origins_read_and_change_nothing(page: Any, evil_page: str, server: Any, host: str) -> None:
    before = state(server)
    page.goto(evil_page)
    assert attack(page, server, host) == []
    for frame in page.frames[1:]:
        assert "ComfyUI" not in frame.content() and '"assets"' not in frame.content(), frame.url
    assert state(server) == before


def test_dns_rebinding_reads_nothing(page: Any, server: Any) -> None:
    """Page and server have the same name and port: to the browser the requests are of one origin."""
    before = state(server)
    port = urlsplit(server.url).port
    address = f"http://{REBOUND}:{port}/loaded-before"
    page.route(address, lambda route: route.fulfill(content_type="text/html", body="<!doctype html><body>"))
    page.goto(address)
    assert page.evaluate("location.origin") == f"http://{REBOUND}:{port}"
    assert attack(page, server, REBOUND) == []
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": f"127.0.0.1:{port}", "X-Forwarded-For": "127.0.0.1"}
    for path in ("/api/assets", "/", "/queue"):
        status = page.evaluate("async ([path, headers]) => (await fetch(path, { headers })).status", [path, forged])
        assert status == 403, path
    assert state(server) == before
    answer = page.goto(f"http://{REBOUND}:{port}/")
    assert answer.status == 403 and "COMFY_ASSETS_ALLOWED_HOSTS" in answer.text()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", LAN])
def test_own_page_at_every_address(browser: Any, server: Any, open_panel: Any, host: str) -> None:
    port = urlsplit(server.url).port
    with open_panel(browser, server, url=f"http://{host}:{port}/") as panel:
        expected = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        assert urlsplit(panel.page.url).netloc == f"{expected}:{port}"
        panel.options().locator("img.ca-loaded").first.wait_for()
        panel.root.locator(".ca-network-warning", has_text="no login").wait_for()
        panel.tab("Jobs")
        client = panel.page.evaluate("app.api?.clientId ?? sessionStorage.getItem('clientId')")
        server.request("/api/prompt", {"prompt": saving(f"own_{HOSTS.index(host)}"), "client_id": client})
        panel.option(f"own_{HOSTS.index(host)}").wait_for()  # reported over the websocket
        panel.page.locator(".ca-network-warning button").click()
        panel.root.locator(".ca-network-warning").wait_for(state="hidden")


def test_standalone_page_at_a_network_address(page: Any, tmp_path: Any, serve: Any, small_library: Any) -> None:
    """Browsers withhold features such as ``crypto.randomUUID`` from pages at such an address."""
    with serve(small_library(tmp_path), "--own-page", "--without-login", "--host", "0.0.0.0") as server:
        page.goto(f"http://{LAN}:{urlsplit(server.url).port}/")
        page.locator(".ca-cell img.ca-loaded").first.wait_for()
        page.locator(".ca-network-warning", has_text="no login").wait_for()


def test_the_attack_succeeds_in_the_same_origin(page: Any, evil_page: str, server: Any) -> None:
    """The same page in the server's own origin succeeds, so it is the server that refuses above."""
    address = f"{server.url}/loaded-from-here"
    page.route(address, lambda route: route.fulfill(content_type="text/html", body="<!doctype html><body>"))
    page.goto(address)
    kinds = {each.split(":")[0].split(" http")[0].split(" {")[0] for each in attack(page, server, "127.0.0.1")}
    assert {"read assets", "read queue", "img", "script", "websocket opened", "heard"} <= kinds, kinds
