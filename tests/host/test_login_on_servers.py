"""The login on whole servers: every route there is, the ways in which packs add theirs, and guesses at passwords."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import statistics
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.login.accounts import Accounts
from comfy_assets_node.comfy_assets.login.passwords import PasswordHasher
from comfy_assets_node.comfy_assets.login.store import AuditLog, LoginStore, Scope
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, v2
from support.logins import NOTICED_S, PASSWORD, login_on
from support.servers import START_TIMEOUT_S, HttpServer, comfyui, make_base

pytestmark = pytest.mark.slow

WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip
PAGE = {"Accept": "text/html"}
FIRST_PACK, LAST_PACK = "aaa-first", "zzz-last"
# The ways in which packs add to the server, and a list of all routes.
PACK = """
from aiohttp import web
from server import PromptServer
from pathlib import Path

NODE_CLASS_MAPPINGS = {}
WEB_DIRECTORY = "./web"
app, routes = PromptServer.instance.app, PromptServer.instance.routes
made = Path(__file__).parent / "reached.txt"


async def reach(request):
    made.open("a").write(request.method + " " + request.path + chr(10))
    return web.json_response({"reached": request.path})


async def connect(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    made.open("a").write("websocket" + chr(10))
    return socket


@routes.get("/NAME/routes")
async def every_route(request):
    found = sorted({(each.method, each.resource.canonical) for each in app.router.routes() if each.resource})
    for sub in app._subapps:
        found += [(each.method, each.resource.canonical) for each in sub.router.routes() if each.resource]
    return web.json_response(found)


routes.get("/NAME/get")(reach)
routes.post("/NAME/post")(reach)
routes.view("/NAME/view")(type("View", (web.View,), {"get": lambda self: reach(self.request)}))
app.router.add_get("/NAME/added", reach)
app.router.add_route("*", "/NAME/any", reach)
app.router.add_get("/NAME/{rest:.*}/deep", reach)
app.router.add_get("/NAME/ws", connect)
app.router.add_static("/NAME/static", Path(__file__).parent)
sub = web.Application()
sub.router.add_get("/get", reach)
sub.router.add_post("/post", reach)
sub.router.add_static("/files", Path(__file__).parent)
app.add_subapp("/NAME-sub", sub)


@web.middleware
async def first(request, handler):
    if request.path == "/NAME/by-middleware":
        return await reach(request)
    return await handler(request)


app.middlewares.insert(0, first)
"""


@dataclass
class Walked:
    """A server with the login on, tokens for it, and its routes as (method, path)."""

    server: HttpServer
    accounts: Accounts
    routes: list[tuple[str, str]]

    def token(self, *scopes: Scope) -> dict[str, str]:
        headers = {"X-API-Key": self.accounts.create_token("Root", "t", scopes)[1]}
        time.sleep(NOTICED_S)
        return headers

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
        """The status, and what was sent after it, of a request whose path is not touched."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, b"" if answer.status == 101 else answer.read()
        finally:
            connection.close()

    def files(self) -> dict[str, int]:
        """Return the sizes of all files that a request can change: all but the server's own notes."""
        own = ("user/__comfy_assets", "server.log", "user/comfyui", "__pycache__", "temp/")
        names = {
            path.relative_to(self.server.base).as_posix(): path
            for path in self.server.base.rglob("*")
            if path.is_file()
        }
        return {name: path.stat().st_size for name, path in names.items() if not any(each in name for each in own)}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, start: Any) -> Iterator[Walked]:
    base = tmp_path_factory.mktemp("walk")
    accounts = login_on(make_base(base))
    if start is comfyui:
        for name in (FIRST_PACK, LAST_PACK):
            folder = base / "custom_nodes" / name
            (folder / "web").mkdir(parents=True)
            (folder / "web/script.js").write_text("1")
            (folder / "__init__.py").write_text(textwrap.dedent(PACK.replace("NAME", name)))
    (base / "input/a.txt").write_text("a")
    token = accounts.create_token("Root", "t", ["admin"])[1]
    with start(base) as server:
        server.wait_for("/system_stats", lambda _: True, **{"X-API-Key": token})
        ours = [*ROUTES, *v2.ROUTES]
        own = {(route.method, route.path) for route in ours} | {(each.method, each.path) for each in HOST_OPERATIONS}
        if start is comfyui:
            found = {
                (method, path) for method, path in server.get(f"/{FIRST_PACK}/routes", **{"X-API-Key": token}).json
            }
            assert len(found) > 150
            found |= {("GET", f"/{name}/by-middleware") for name in (FIRST_PACK, LAST_PACK)}
        else:
            router = StandaloneHost(tmp_path_factory.mktemp("like")).application().router
            found = {(each.method, each.resource.canonical) for each in router.routes() if each.resource is not None}
            assert len(found) > 60
        yield Walked(server, accounts, sorted(own | found))


OPEN = {("GET", "/health"), ("HEAD", "/health"), ("GET", "/login"), ("HEAD", "/login"), ("POST", "/api/login")}
OPEN |= {("POST", "/oauth/token"), ("GET", "/.well-known/oauth-authorization-server")}


def filled(path: str) -> str:
    """A path with values for its parameters."""
    return re.sub(r"\{[^}]*\}", "x", path) or "/"


def spellings(path: str) -> list[str]:
    """How else a path can be written."""
    encoded = "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in path)
    return [
        path,
        encoded,
        f"{path}?a=1",
        quote(path, safe="/") + "%00",
        "/." + path,
        "/x/.." + path,
        "/" + path,
        path + "/",
    ]


HEADERS: list[dict[str, str]] = [
    {},
    PAGE,
    WEBSOCKET,
    {"Range": "bytes=0-3"},
    {"Content-Type": "application/json"},
    {"comfy-user": "Root", "X-API-Key": "comfyui-" + "0" * 52},
]


def test_without_credentials_there_is_nothing(walked: Walked) -> None:
    before, count = walked.files(), 0
    for method, route in walked.routes:
        path = filled(route)
        for number, each in enumerate(spellings(path)):
            for headers in HEADERS if number == 0 else HEADERS[:1]:
                asked = "GET" if method == "*" else method
                if (asked, each.partition("?")[0]) in OPEN:
                    continue
                status, body = walked.send(asked, each, headers, b"{}" if asked in ("POST", "PUT", "PATCH") else None)
                count += 1
                assert status in (401, 400), (asked, each, headers, body[:200])
                if status == 400:  # aiohttp refuses what is no request before anybody sees it
                    assert b"SIGN_IN" not in body and len(body) < 2000
                elif body and headers == PAGE and not body.startswith(b"{"):
                    assert b'id="sign-in"' in body
    assert count > 1000
    assert walked.files() == before


RAW = [
    "GET http://127.0.0.1:{port}/queue HTTP/1.1\r\n{host}",
    "GET http://other.example/health/../queue HTTP/1.1\r\n{host}",
    "GET //health/../queue HTTP/1.1\r\n{host}",
    "GET /queue HTTP/1.0\r\n",
    "GET /queue HTTP/1.1\r\n{host}X-API-Key: a\r\nX-API-Key: b\r\n",
    "GET /queue HTTP/1.1\r\n{host}Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAM\r\n",
    "OPTIONS * HTTP/1.1\r\n{host}",
    "OPTIONS /queue HTTP/1.1\r\n{host}Origin: http://127.0.0.1\r\nAccess-Control-Request-Method: GET\r\n",
    "CONNECT 127.0.0.1:80 HTTP/1.1\r\n{host}",
    "TRACE /queue HTTP/1.1\r\n{host}",
    "GET /health%00 HTTP/1.1\r\n{host}",
    "GET /health%0d%0aX:%20y HTTP/1.1\r\n{host}",
    "GET /\\health HTTP/1.1\r\n{host}",
    "GET /qu%C0%AFeue HTTP/1.1\r\n{host}",
    "GET /queue;/health HTTP/1.1\r\n{host}",
    "GET /queue HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 0\r\n",
    "POST /prompt HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n",
    "GET /health HTTP/1.1\r\n{host}Content-Length: 30\r\n\r\nGET /queue HTTP/1.1\r\nHost: x",
]


@pytest.mark.parametrize("request_text", RAW, ids=lambda text: text.partition("\r")[0])
def test_requests_of_odd_forms_reach_nothing(walked: Walked, request_text: str) -> None:
    filled_text = request_text.format(port=walked.server.port, host="Host: 127.0.0.1\r\n")
    with socket.create_connection(("127.0.0.1", walked.server.port), timeout=60) as connection:
        connection.sendall(filled_text.encode() + b"Connection: close\r\n\r\n")
        connection.settimeout(3)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while more := connection.recv(65536):
                answer += more
    statuses = re.findall(rb"HTTP/1\.[01] (\d+)", answer)
    open_ones = {b"200"} if request_text.startswith("GET /health HTTP") else set()
    assert set(statuses) <= {b"100", b"400", b"401", b"403", b"404", b"405"} | open_ones, answer[:300]
    assert b"queue_running" not in answer and b"prompt_id" not in answer


def test_a_read_token_changes_nothing(walked: Walked) -> None:
    before, token = walked.files(), walked.token("read")
    reached = {"GET": 0, "other": 0}
    for method, route in walked.routes:
        for asked in ("POST", "DELETE", "PUT", "PATCH") if method == "*" else (method,):
            if route.startswith(("/api/login", "/login", "/oauth/")):
                continue
            status, body = walked.send(
                asked, filled(route), token, b"{}" if asked in ("POST", "PUT", "PATCH") else None
            )
            if asked in ("GET", "HEAD"):
                reached["GET"] += status != 403
            else:
                reached["other"] += 1
                assert status == 403 and b"NOT_PERMITTED" in body, (asked, route, status, body[:200])
    assert reached["GET"] > 40 and reached["other"] > 40
    for name in (FIRST_PACK, LAST_PACK):
        assert not (walked.server.base / "custom_nodes" / name / "reached.txt").exists()
    assert walked.files() == before


def test_a_revoked_token_reaches_nothing(walked: Walked) -> None:
    record, text = walked.accounts.create_token("Root", "t", ["admin"])
    time.sleep(NOTICED_S)
    headers = {"X-API-Key": text}
    assert walked.send("GET", "/queue", headers)[0] == 200
    walked.accounts.revoke_token(record.id)
    time.sleep(NOTICED_S)
    for method, route in walked.routes:
        asked = "GET" if method == "*" else method
        if (asked, route) not in OPEN:
            assert walked.send(asked, filled(route), headers, None)[0] == 401, (asked, route)


def test_the_administrator_reaches_what_there_is(walked: Walked) -> None:
    token = walked.token("admin")
    statuses = {
        walked.send("GET", path, token)[0] for path in ("/", "/queue", "/api/assets", "/internal/logs", "/api/users")
    }
    assert statuses == {200}
    assert walked.send("GET", "/ws?clientId=x", {**WEBSOCKET, **token})[0] == 101


def sign_in(port: int, source: str, name: str, password: str, cookie: str = "") -> tuple[int, list[str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    try:
        headers = {"Content-Type": "application/json", **({"Cookie": cookie} if cookie else {})}
        connection.request("POST", "/api/login", json.dumps({"name": name, "password": password}), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get_all("Set-Cookie") or []
    finally:
        connection.close()


GUESSES = 2500  # of each client
CLIENTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="only 127.0.0.1 is loopback there")
def test_ten_thousand_guesses(tmp_path: Path, start: Any) -> None:
    """None succeeds, and those who know their password get in soon meanwhile, on a server that goes on answering."""
    accounts = login_on(make_base(tmp_path))
    token = accounts.create_token("Root", "t", ["read"])[1]
    with start(tmp_path) as server:
        server.wait_for("/system_stats", lambda _: True, **{"X-API-Key": token})
        status, cookies = sign_in(server.port, "127.0.0.8", "Ada", PASSWORD)
        assert status == 200
        device = next(each.partition(";")[0] for each in cookies if "device" in each)
        statuses: list[int] = []

        def guess(source: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0))
            for number in range(GUESSES):
                body = json.dumps({"name": "Ada", "password": f"guess {number}"})
                connection.request("POST", "/api/login", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            connection.close()

        guessing = [threading.Thread(target=guess, args=(source,)) for source in CLIENTS]
        for each in guessing:
            each.start()
        took: dict[str, list[float]] = {"a bare hash": [], "known browser": [], "other user": [], "request": []}
        hasher = PasswordHasher()
        encoded = hasher.hash_now(PASSWORD)
        while any(each.is_alive() for each in guessing):
            for kind, source, name, cookie in (
                ("known browser", "127.0.0.2", "Ada", device),
                ("other user", "127.0.0.9", "Root", ""),
            ):
                begun = time.monotonic()
                assert sign_in(server.port, source, name, PASSWORD, cookie)[0] == 200
                took[kind].append(time.monotonic() - begun)
            begun = time.monotonic()
            assert hasher.verify_now(encoded, PASSWORD)
            took["a bare hash"].append(time.monotonic() - begun)
            begun = time.monotonic()
            assert server.get("/queue", **{"X-API-Key": token}).status == 200
            took["request"].append(time.monotonic() - begun)
        for each in guessing:
            each.join()
        hasher.close()
        usual = {kind: statistics.median(times) for kind, times in took.items()}
        print({kind: f"{usual[kind] * 1000:.0f} ms, at most {max(took[kind]) * 1000:.0f}" for kind in usual})
        assert len(statuses) == GUESSES * len(CLIENTS) and set(statuses) == {401, 429}
        assert statuses.count(401) < 50
        # Beside the hash alone, as other programs may keep the processors busy.
        assert max(usual.values()) - usual["a bare hash"] < 1
        assert max(took["request"]) < 1, "the server goes on answering"


def test_users_have_their_own_things(tmp_path: Path, start: Any) -> None:
    """The user is that of the token, whatever a header says; the server gets to know them when they come."""
    accounts = login_on(make_base(tmp_path))
    keys = {name: accounts.create_token(name, "t", ["write", "run"])[1] for name in ("Root", "Ada")}
    with start(tmp_path, "--multi-user") as server:
        server.wait_for("/system_stats", lambda _: True, **{"X-API-Key": keys["Root"]})
        for name, key in keys.items():
            other = (
                json.loads((tmp_path / "user/users.json").read_text())
                if (tmp_path / "user/users.json").exists()
                else {}
            )
            for named in ({}, *({"comfy-user": each} for each in other), {"comfy-user": "nobody"}):
                headers = {"X-API-Key": key, "Content-Type": "application/json", **named}
                assert server.send("POST", f"/userdata/own%2F{name}.json?overwrite=true", b"{}", headers).status == 200
                assert server.get("/api/userdata?dir=own", **headers).json == [f"{name}.json"], name
                assert server.get("/api/user", **headers).json["id"].startswith(f"{name}_")
        workflow = json.dumps({"name": "adas", "workflow_json": {"nodes": []}}).encode()
        headers = {"X-API-Key": keys["Ada"], "Content-Type": "application/json"}
        assert server.send("POST", "/api/workflows", workflow, headers).status == 201
        assert len(server.get("/api/workflows", **{"X-API-Key": keys["Ada"]}).json["data"]) == 1
        assert server.get("/api/workflows", **{"X-API-Key": keys["Root"]}).json["data"] == []
    assert sorted(json.loads((tmp_path / "user/users.json").read_text()).values()) == ["Ada", "Root"]


def test_the_first_administrator_gets_a_link(tmp_path: Path, start: Any) -> None:
    folder = make_base(tmp_path) / "user/__comfy_assets"
    Accounts(LoginStore(folder), AuditLog(folder)).set_enabled(True)
    with start(tmp_path) as server:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (found := re.search(r"(http://[^\s/]+)/\?token=(comfyui-link-[\w-]+)", server.log)) is None:
            assert time.monotonic() < deadline, server.log[-2000:]
            time.sleep(0.1)
        assert found[1] == server.url
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"/?token={found[2]}")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (303, "./login")
        cookie = (answer.headers.get_all("Set-Cookie") or [""])[0].partition(";")[0]
        answer.read()
        connection.close()
        assert server.get("/queue", Cookie=cookie).status == 200
        headers = {"Cookie": cookie, "Content-Type": "application/json"}
        body = json.dumps({"new_password": PASSWORD}).encode()
        assert server.send("PUT", "/api/login/password", body, headers).status == 200
        assert server.get(f"/?token={found[2]}").status == 401
    with start(tmp_path) as again:
        again.wait_for("/queue", lambda _: True, Cookie=cookie)
        assert again.log.count("/?token=") == 1, "the administrator has a password now"
