"""The gate of the login over HTTP: who is let in, where to, and that nothing stands before it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from comfy_assets_node.comfy_assets.login import keys
from comfy_assets_node.comfy_assets.login.store import AUDIT_FILE_NAME, FILE_NAME, Scope
from gated import PASSWORD, Gated, Make

PAGE = {"Accept": "text/html,*/*;q=0.8"}
FOREIGN = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


PATHS = [
    "/",
    "/view",
    "/api/view",
    "/queue",
    "/internal/logs",
    "/pack/list",
    "/script.js",
    "/index.html",
    "/nothing/here",
    "/ws",
    "/api/assets",
    "/api/jobs",
    "/api/openapi.json",
    "/assets",
    "/api/features",
    "/manager/reboot",
    "/api/login/password",
    "/login/",
    "/LOGIN",
    "/%6cogin",
    "//login",
    "/./login",
    "/login%2f",
    "/login;x",
    "/api/login/",
    "/api/%6cogin",
    "/health/",
    "/%68ealth",
    "//health",
    "/health/../queue",
    "/health%2f..%2fqueue",
    "/login/../queue",
    "/api/login/../queue",
    "/manifest.json/../script.js",
    "/%6danifest.json",
    "/assets/manifest-P9przInP.json%2f..%2f..%2fscript.js",
    "/manifest.jsonx",
    "/manifest-.json",
    "/x/manifest.json",
    "/?x=/health",
    "/queue?/login",
    "/queue#/login",
    "/que%75e",
    "/api/workflows/published/x",
    "/api/assets/exports/x?token=abc",
    "/?token=comfyui-link-",
    "/?token=comfyui-link-x",
    "/queue?token=comfyui-link-x&token=y",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"]
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {},
    PAGE,
    {"Range": "bytes=0-0"},
    UPGRADE,
    {"Cookie": "comfy_assets_session_=x; comfy_assets_session=1"},
    {"X-API-Key": "comfyui-" + "0" * 52, "Authorization": "Basic cm9vdDpyb290", "comfy-user": "Root"},
    {
        "X-Forwarded-User": "Root",
        "X-Original-URL": "/health",
        "X-HTTP-Method-Override": "GET",
        "X-Forwarded-For": "127.0.0.1",
    },
    {"Expect": "100-continue"},
]


@pytest.mark.parametrize("method", METHODS)
async def test_without_credentials_nothing_is_reached(gated: Gated, method: str) -> None:
    for path in PATHS:
        for headers in HEADERS:
            response = await gated.send(method, path, headers=headers)
            assert response.status in (401, 404, 405), (method, path, headers)
            if response.status != 401:  # aiohttp's own for what no middleware sees
                assert (await response.text()).startswith(("404", "405"))
            assert "no-store" in response.headers["Cache-Control"]
    assert gated.reached == []


OPEN = [
    *((method, path) for method in ("GET", "HEAD") for path in ("/health", "/login")),
    ("GET", "/manifest.json"),
    ("GET", "/assets/manifest-P9przInP.json"),
]


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_the_exceptions_are_few(gated: Gated, method: str, path: str) -> None:
    assert (await gated.send(method, path)).status == 200
    assert (await gated.send("POST", path)).status == 401
    assert [each for each in gated.reached if each != "middleware"] == []


async def test_while_the_login_is_off_nothing_changes(make_gated: Make) -> None:
    gated = await make_gated(enabled=False)
    for path in ("/", "/view", "/queue", "/api/assets", "/internal/logs", "/script.js", "/pack/list"):
        assert (await gated.send("GET", path)).status == 200, path
    assert (await gated.send("POST", "/pack/do")).status == 200
    for path in ("/login", "/api/login"):
        assert (await gated.send("GET", path)).status == 404
    assert (await gated.send("POST", "/api/login", json={"name": "Root", "password": PASSWORD})).status in (404, 405)
    assert (await gated.send("GET", "/?token=comfyui-link-x")).status == 200


async def test_a_command_turns_it_on_and_off_while_the_server_runs(make_gated: Make) -> None:
    gated = await make_gated(enabled=False)
    assert (await gated.send("GET", "/queue")).status == 200
    socket = await gated.client.ws_connect("/ws")
    gated.command().accounts().set_enabled(True)
    await gated.noticed()
    assert (await gated.send("GET", "/queue")).status == 401
    ended = (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
    assert (await asyncio.wait_for(socket.receive(), 10)).type in ended, "of a time when nobody had to sign in"
    gated.command().accounts().set_enabled(False)
    await gated.noticed()
    assert (await gated.send("GET", "/queue")).status == 200


async def sign_in(gated: Gated, name: str = "Ada", password: str = PASSWORD, **headers: str) -> aiohttp.ClientResponse:
    return await gated.send("POST", "/api/login", json={"name": name, "password": password}, headers=headers)


async def test_a_browser_signs_in_and_out(gated: Gated) -> None:
    response = await sign_in(gated)
    assert response.status == 200 and await response.json() == {"user": "Ada"}
    cookies = response.headers.getall("Set-Cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; ")) and "Secure" not in cookie
    session = {"Cookie": cookies[0].partition(";")[0]}
    for path in ("/", "/queue", "/script.js", "/api/assets", "/pack/list"):
        assert (await gated.send("GET", path, headers=session)).status == 200, path
    who = await (await gated.send("GET", "/api/login", headers=session)).json()
    assert who == {
        "user": "Ada",
        "role": "member",
        "scopes": ["read", "run", "write"],
        "kind": "session",
        "has_password": True,
    }
    assert (await gated.send("DELETE", "/api/login", headers={**session, **FOREIGN})).status == 403
    response = await gated.send("DELETE", "/api/login", headers=session)
    assert response.status == 204 and "Max-Age=0" in response.headers["Set-Cookie"]
    assert (await gated.send("GET", "/queue", headers=session)).status == 401


@pytest.mark.parametrize("value", [b"\xff\xfe", b"caf\xe9", "ﬁle".encode()])
async def test_headers_of_any_bytes(make_gated: Make, value: bytes) -> None:
    """aiohttp cannot copy a request with headers that are no UTF-8, and a server for several users gets a copy."""
    gated = await make_gated(users=frozenset({"Ada"}))
    token = gated.token("write", "run")["X-API-Key"].encode()
    await gated.noticed()
    reader, writer = await asyncio.open_connection("127.0.0.1", gated.client.port)
    head = b"Host: 127.0.0.1\r\nX-API-Key: %b\r\nX-Any: %b\r\nConnection: close" % (token, value)
    writer.write(b"GET /pack/list HTTP/1.1\r\n%b\r\n\r\n" % head)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"user": "Ada"' in answer


async def test_cookies_are_secure_behind_https(gated: Gated) -> None:
    response = await sign_in(gated, **{"X-Forwarded-Proto": "https"})
    assert all("Secure" in cookie for cookie in response.headers.getall("Set-Cookie"))


@pytest.mark.parametrize(
    "headers", [FOREIGN, {"Origin": "null"}, {"Content-Type": "text/plain"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_other_pages_cannot_sign_anybody_in(gated: Gated, headers: dict[str, str]) -> None:
    body = json.dumps({"name": "Ada", "password": PASSWORD})
    response = await gated.send(
        "POST", "/api/login", data=body, headers={"Content-Type": "application/json", **headers}
    )
    assert response.status in (403, 415) and "Set-Cookie" not in response.headers


BODIES: list[tuple[Any, int]] = [
    ({"name": "Ada", "password": "wrong"}, 401),
    ({"name": "nobody", "password": PASSWORD}, 401),
    ({"name": "Ada"}, 400),
    ({"name": ["Ada"], "password": {}}, 400),
    ({"name": "x" * 1001, "password": "x"}, 400),
    ({"name": "Ada", "password": "x" * 1025}, 400),
    ([], 400),
    ({"name": "A\x00da\ud800", "password": "\ud800"}, 400),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
async def test_bodies_that_sign_nobody_in(gated: Gated, body: Any, status: int) -> None:
    response = await gated.send(
        "POST", "/api/login", data=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert response.status == status and "Set-Cookie" not in response.headers
    text = await response.text()
    assert "wrong" in text or "WWW-Authenticate" not in response.headers
    assert PASSWORD not in text


async def test_after_wrong_passwords_the_right_one_has_to_wait(gated: Gated) -> None:
    for _ in range(5):
        assert (await sign_in(gated, password="wrong")).status == 401
    response = await sign_in(gated)
    assert response.status == 429 and (await response.json())["details"]["retry_after"] >= 1


NEEDED: list[tuple[str, str, set[Scope]]] = [
    ("GET", "/", {"read"}),
    ("GET", "/queue", {"read"}),
    ("GET", "/api/assets", {"read"}),
    ("GET", "/script.js", {"read"}),
    ("GET", "/internal/files/input", {"read"}),
    ("GET", "/internal/logs", {"admin"}),
    ("GET", "/pack/list", {"write", "run"}),
    ("GET", "/manager/reboot", {"admin"}),
    ("GET", "/v2/manager/x", {"admin"}),
    ("POST", "/pack/do", {"write", "run"}),
    ("POST", "/prompt", {"run"}),
    ("POST", "/free", {"run"}),
    ("POST", "/upload/image", {"write"}),
    ("POST", "/api/users", {"admin"}),
    ("POST", "/api/interrupt", {"run"}),
    ("POST", "/api/workflows", {"write"}),
    ("DELETE", "/api/assets/x", {"write"}),
    ("POST", "/%70rompt", {"run"}),
    ("DELETE", "/api/%61ssets/x", {"write"}),
    ("PUT", "/nothing", {"write", "run"}),
    ("OPTIONS", "/queue", {"write", "run"}),
    ("PUT", "/script.js", {"write", "run"}),
    ("GET", "/nothing/here", {"write", "run"}),
    ("GET", "/../base", {"write", "run"}),
]


@pytest.mark.parametrize(("method", "path", "needed"), NEEDED)
async def test_a_request_needs_scopes(gated: Gated, method: str, path: str, needed: set[Scope]) -> None:
    every: list[tuple[Scope, ...]] = [("read",), ("write",), ("run",), ("write", "run"), ("admin",)]
    for scopes in every:
        has = {"read", "write", "run", "admin"} if scopes == ("admin",) else {"read", *scopes}
        gated.reached.clear()
        response = await gated.send(method, path, headers=gated.token(*scopes, user="Root"))
        assert (response.status == 403) != (needed <= has), (scopes, response.status)
        if response.status == 403:
            body = await response.json()
            assert body["code"] == "NOT_PERMITTED" and set(body["details"]["scopes"]) == needed
            assert gated.reached == []


@pytest.mark.parametrize(
    ("user", "refused"), [("Root", set()), ("Ada", {"admin"}), ("Guest", {"admin", "write", "run"})]
)
async def test_a_session_may_do_what_the_role_permits(make_gated: Make, user: str, refused: set[Scope]) -> None:
    gated = await make_gated(users=frozenset({"default"}))
    session = await gated.cookie(user)
    for method, path, needed in NEEDED:
        response = await gated.send(method, path, headers=session)
        assert (response.status == 403) == bool(needed & refused), (method, path)


async def test_tokens_come_in_headers_and_for_websockets_in_the_address(gated: Gated) -> None:
    token = gated.token("read")["X-API-Key"]
    for headers in ({"X-API-Key": token}, {"Authorization": f"Bearer {token}"}, {"Authorization": f"bearer  {token}"}):
        assert (await gated.send("GET", "/queue", headers=headers)).status == 200
    for headers in (
        {"X-API-Key": token.upper()},
        {"X-API-Key": f"Bearer {token}"},
        {"Authorization": token},
        {"Cookie": token},
    ):
        assert (await gated.send("GET", "/queue", headers=headers)).status == 401
    assert (await gated.send("GET", f"/queue?token={token}")).status == 401
    async with gated.client.ws_connect(f"/ws?token={token}&clientId=x") as socket:
        await socket.send_str("hello")
        assert (await socket.receive_str()) == "hello"


async def test_a_foreign_key_beside_a_cookie_does_no_harm(gated: Gated) -> None:
    session = await gated.cookie()
    for headers in ({"X-API-Key": "comfyui-abc"}, {"Authorization": "Bearer ey.firebase"}, {"Authorization": "Bearer"}):
        assert (await gated.send("GET", "/queue", headers={**session, **headers})).status == 200


async def test_what_is_revoked_by_a_command_ends(gated: Gated) -> None:
    session, token = await gated.cookie(), gated.token("read")
    sockets = [await gated.client.ws_connect("/ws", headers=each) for each in (session, token)]
    other = await gated.client.ws_connect("/ws", headers=await gated.cookie("Root"))
    gated.command().accounts().set_disabled("Ada", True)
    await gated.noticed()
    for headers in (session, token):
        for method, path in (("GET", "/queue"), ("POST", "/prompt"), ("GET", "/script.js"), ("GET", "/api/login")):
            assert (await gated.send(method, path, headers=headers)).status == 401
    for socket in sockets:
        assert (await asyncio.wait_for(socket.receive(), 10)).type in (
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.ERROR,
        )
    await other.send_str("still here")
    assert (await other.receive_str()) == "still here"
    await other.close()


ANYWHERE: list[tuple[str, str]] = [
    ("/", "./"),
    ("/queue?a=1&b=%2F", "./queue?a=1&b=%2F"),
    ("/a/b:c/", "./"),
    ("//evil.example/x", "./x"),
    ("/a//evil.example", "./evil.example"),
    ("/%5c%5cevil.example", "./%5C%5Cevil.example"),
    ("/x:y", "./x:y"),
]


@pytest.mark.parametrize(("path", "location"), ANYWHERE)
async def test_a_link_is_exchanged_for_a_cookie(gated: Gated, path: str, location: str) -> None:
    link = gated.login.accounts().new_link("Ada")
    joined = f"{path}{'&' if '?' in path else '?'}token={link}"
    for headers in ({"Sec-Purpose": "prefetch"}, {"Purpose": "prefetch;prerender"}):
        assert (await gated.send("GET", joined, headers=headers)).status == 401
    assert (await gated.send("HEAD", joined)).status == 401
    response = await gated.send("GET", joined)
    assert (response.status, response.headers["Location"].lower()) == (303, location.lower())
    assert response.headers["Referrer-Policy"] == "no-referrer" and link not in str(response.headers)
    session = {"Cookie": response.headers.getall("Set-Cookie")[0].partition(";")[0]}
    assert (await gated.send("GET", "/queue", headers=session)).status == 200
    again = await gated.send("GET", joined, headers=PAGE)
    assert again.status == 401 and "already" in await again.text() and "Set-Cookie" not in again.headers
    assert (await gated.send("GET", joined, headers=session)).status == 303, "the same browser goes on"
    assert gated.reached.count("GET /queue") == 1


async def test_a_user_without_a_password_is_led_to_where_one_is_set(gated: Gated) -> None:
    gated.login.accounts().add_user("New", "admin")
    link = gated.login.accounts().new_link("New")
    response = await gated.send("GET", f"/a/b?token={link}")
    assert response.headers["Location"] == "../login"
    session = {"Cookie": response.headers.getall("Set-Cookie")[0].partition(";")[0]}
    page = await (await gated.send("GET", "/login", headers={**session, **PAGE})).text()
    assert "New" in page and re.search(r'id="old" hidden', page)
    body = {"new_password": "a new password"}
    assert (await gated.send("PUT", "/api/login/password", json=body, headers={**session, **FOREIGN})).status == 403
    assert (
        await gated.send("PUT", "/api/login/password", json={"new_password": "short"}, headers=session)
    ).status == 400
    response = await gated.send("PUT", "/api/login/password", json=body, headers=session)
    assert response.status == 200 and await response.json() == {"ended_sessions": 0}
    assert (await sign_in(gated, "New", "a new password")).status == 200
    assert (await gated.send("PUT", "/api/login/password", json=body, headers=session)).status == 401, (
        "the old one is missing"
    )


async def test_a_token_changes_no_password_and_no_session(gated: Gated) -> None:
    token = gated.token("admin", user="Root")
    body = {"new_password": "a new password", "old_password": PASSWORD}
    assert (await gated.send("PUT", "/api/login/password", json=body, headers=token)).status == 401
    assert (await gated.send("DELETE", "/api/login", headers=token)).status == 401
    who = await (await gated.send("GET", "/api/login", headers=token)).json()
    assert who["kind"] == "token" and who["role"] == "admin"


@pytest.mark.parametrize(("path", "root"), [("/", "./"), ("/assets", "./"), ("/a/b/c", "../../"), ("/login", "./")])
async def test_the_page_stands_where_it_was_asked_for(gated: Gated, path: str, root: str) -> None:
    response = await gated.send("GET", path, headers={**PAGE, "Accept-Language": "de"})
    text = await response.text()
    assert response.status == (200 if path == "/login" else 401)
    assert f'data-root="{root}"' in text and "Anmelden" in text and "Location" not in response.headers
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'sha256-" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/api/assets", "/internal/logs", "/queue"])
async def test_programs_get_json(gated: Gated, path: str) -> None:
    headers = PAGE if path != "/queue" else {"Accept": "text/html", "Sec-Fetch-Mode": "cors"}
    response = await gated.send("GET", path, headers=headers)
    assert response.status == 401 and (await response.json())["code"] == "SIGN_IN_REQUIRED"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [FOREIGN, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}])
async def test_cookies_are_checked_where_the_other_checks_are_off(make_gated: Make, headers: dict[str, str]) -> None:
    gated = await make_gated(check_origin=False)
    session = await gated.cookie()
    for method, path in (("POST", "/prompt"), ("GET", "/ws"), ("GET", "/queue")):
        assert (await gated.send(method, path, headers={**session, **headers})).status == 403
    assert (await gated.send("POST", "/pack/do", headers=session)).status == 200
    assert (await gated.send("POST", "/pack/do", headers={**gated.token("run", "write"), **headers})).status == 200


LED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def test_links_of_other_pages_lead_to_pages_alone(gated: Gated) -> None:
    session = await gated.cookie("Root")
    for headers in (LED, {**LED, "Sec-Fetch-Site": "same-site"}, {"Referer": "http://evil.example/x"}):
        assert (await gated.send("GET", "/", headers={**session, **headers})).status == 200
        for path in ("/manager/reboot", "/pack/list"):
            response = await gated.send("GET", path, headers={**session, **headers})
            assert response.status == 403 and (await response.json())["code"] == "ORIGIN_NOT_ALLOWED"
    own = {"Referer": str(gated.client.make_url("/"))}
    for headers in ({}, own, {**LED, "Sec-Fetch-Site": "none"}):
        assert (await gated.send("GET", "/pack/list", headers={**session, **headers})).status == 200


async def test_the_user_is_that_of_the_session(make_gated: Make) -> None:
    gated = await make_gated(users=frozenset({"default", "Root"}))
    for headers in (await gated.cookie(), gated.token("write", "run")):
        for named in ({}, {"comfy-user": "Root"}, {"Comfy-User": "default"}, {"comfy-user": "nobody"}):
            assert (await (await gated.send("GET", "/pack/list", headers={**headers, **named})).json())["user"] == "Ada"
            assert (await (await gated.send("GET", "/api/user", headers={**headers, **named})).json())["id"] == "Ada"
    assert "Ada" in gated.library.host.user_ids(), "the host knows them now"


async def test_users_do_not_learn_of_each_other(make_gated: Make) -> None:
    gated = await make_gated(users=frozenset({"default", "Root"}))
    for headers, names in (
        (gated.token("read"), {"Ada"}),
        (await gated.cookie("Guest"), {"Guest"}),
        (await gated.cookie("Root"), {"Root", "Ada", "Guest", "default"}),
    ):
        told = await (await gated.send("GET", "/users", headers=headers)).json()
        assert set(told["users"]) == names and told["storage"] == "server"


async def test_a_stream_and_a_large_body_pass(make_gated: Make) -> None:
    gated = await make_gated(users=frozenset({"default"}))
    headers = gated.token("write")
    form = aiohttp.FormData()
    form.add_field("image", b"\x89PNG" * 1000, filename="a.png")
    assert (await gated.send("POST", "/upload/image", data=form, headers=headers)).status in (200, 400)
    body = {"name": "w", "workflow_json": {"nodes": []}}
    assert (await gated.send("POST", "/api/workflows", json=body, headers=headers)).status == 201


async def test_the_login_works_without_the_store(make_gated: Make) -> None:
    gated = await make_gated()
    await gated.library.services.stop()
    response = await sign_in(gated)
    assert response.status == 200
    session = {"Cookie": response.headers.getall("Set-Cookie")[0].partition(";")[0]}
    assert (await gated.send("GET", "/queue", headers=session)).status == 200
    assert (await gated.send("GET", "/queue")).status == 401
    assert (await gated.send("GET", "/health")).status == 503


async def test_a_damaged_file_closes_the_server(gated: Gated, caplog: pytest.LogCaptureFixture) -> None:
    session = await gated.cookie("Root")
    assert (await gated.send("GET", "/queue", headers=session)).status == 200
    content = (gated.folder / FILE_NAME).read_bytes()
    for damage in (lambda path: path.write_bytes(b"{"), lambda path: path.unlink()):
        damage(gated.folder / FILE_NAME)
        await gated.noticed()
        for method, path in (("GET", "/queue"), ("GET", "/"), ("POST", "/api/login"), ("GET", "/login")):
            response = await gated.send(method, path, headers=session)
            assert response.status == 503 and (await response.json())["code"] == "LOGIN_UNAVAILABLE"
        assert "Nobody is let in" in caplog.text
        (gated.folder / FILE_NAME).write_bytes(content)
        await gated.noticed()
        assert (await gated.send("GET", "/queue", headers=session)).status == 200


@web.middleware
async def of_a_pack(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A middleware that lets everybody in."""
    return web.Response(text="open")


async def test_a_middleware_that_was_put_before_the_gate_comes_after_it(make_gated: Make) -> None:
    gated = await make_gated(start=False)
    gated.app.middlewares.insert(0, of_a_pack)
    gated.client = await gated.make_client(gated.app)
    assert (await gated.send("GET", "/queue")).status == 401
    response = await gated.send("GET", "/queue", headers=gated.token("read"))
    assert await response.text() == "open"


async def test_one_that_comes_too_late_closes_the_server(make_gated: Make, caplog: pytest.LogCaptureFixture) -> None:
    gated = await make_gated(start=False)

    @web.middleware
    async def passing(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    async def late(app: web.Application) -> None:
        app.middlewares.insert(0, passing)

    gated.app.on_startup.append(late)
    gated.client = await gated.make_client(gated.app)
    for path in ("/queue", "/", "/login"):
        assert (await gated.send("GET", path, headers=gated.token("read"))).status == 503
    assert "before the login" in caplog.text
    gated.command().accounts().set_enabled(False)
    await gated.noticed()
    assert (await gated.send("GET", "/queue")).status == 200, "without the login it does no harm"


async def test_no_secret_is_logged(gated: Gated, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    caplog.set_level("ERROR", "aiohttp.access")  # which is off on both hosts
    link = gated.login.accounts().new_link("Ada")
    token = gated.token("read")
    response = await sign_in(gated)
    await sign_in(gated, password="a wrong one")
    await gated.send("GET", f"/?token={link}")
    await gated.send("GET", "/queue", headers=token)
    await gated.send("POST", "/prompt", headers=token)
    session = response.headers.getall("Set-Cookie")[0].partition(";")[0].partition("=")[2]
    for secret in (PASSWORD, "a wrong one", link, token["X-API-Key"], session, keys.secret_digest(session)):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET /ws?token={{}}&x={'x' * 9000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /?token={}\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /?token={} x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX API Key: {}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: session={{}}; x={'x' * 9000}\r\n\r\n",
    ],
    ids=["long query", "query", "request line", "header", "name of a header", "long cookie"],
)
async def test_no_secret_of_a_malformed_request_is_logged(
    gated: Gated, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    token = gated.token("read")["X-API-Key"]
    reader, writer = await asyncio.open_connection(gated.client.host, gated.client.port)
    writer.write(request_text.replace("{}", token).encode("latin-1"))
    status = await reader.readline()
    writer.close()
    assert b" 400 " in status and "Error handling request" in caplog.text
    assert token not in caplog.text and "x" * 20 not in caplog.text


async def test_the_sessions_of_the_signed_in_user(gated: Gated) -> None:
    here, elsewhere, other = await gated.cookie(), await gated.cookie(), await gated.cookie("Root")
    listed = await (await gated.send("GET", "/api/login/sessions", headers=here)).json()
    assert [each["is_current"] for each in listed["sessions"]].count(True) == 1 and len(listed["sessions"]) == 2
    assert "comfy_assets" not in json.dumps(listed) and here["Cookie"].partition("=")[2] not in json.dumps(listed)
    (theirs,) = (await (await gated.send("GET", "/api/login/sessions", headers=other)).json())["sessions"]
    for unknown in (theirs["id"], "x"):
        response = await gated.send("DELETE", f"/api/login/sessions/{unknown}", headers=here)
        assert response.status == 404 and (await response.json())["code"] == "LOGIN_RECORD_NOT_FOUND"
    (not_here,) = [each["id"] for each in listed["sessions"] if not each["is_current"]]
    assert (await gated.send("DELETE", f"/api/login/sessions/{not_here}", headers=here)).status == 204
    assert (await gated.send("GET", "/queue", headers=elsewhere)).status == 401
    again = await gated.cookie()
    assert (await gated.send("DELETE", "/api/login/sessions", headers=here)).status == 204
    assert [(await gated.send("GET", "/queue", headers=each)).status for each in (here, again, other)] == [
        401,
        401,
        200,
    ]


async def test_the_tokens_of_the_signed_in_user(gated: Gated) -> None:
    here, other = await gated.cookie(), await gated.cookie("Root")
    body = {"name": "backup", "scopes": ["read", "read"], "expires_in_days": 1}
    response = await gated.send("POST", "/api/login/tokens", json=body, headers=here)
    assert response.status == 201 and response.headers["Cache-Control"] == "no-store"
    made = await response.json()
    assert (made["record"]["name"], made["record"]["scopes"]) == ("backup", ["read"])
    token = {"X-API-Key": made["token"]}
    assert (await gated.send("GET", "/queue", headers=token)).status == 200
    listed = await (await gated.send("GET", "/api/login/tokens", headers=here)).json()
    assert [each["id"] for each in listed["tokens"]] == [made["record"]["id"]] and listed["tokens"][0]["expires_at"]
    assert made["token"][20:] not in json.dumps(listed)
    assert (await (await gated.send("GET", "/api/login/tokens", headers=other)).json()) == {"tokens": []}
    path = f"/api/login/tokens/{made['record']['id']}"
    assert (await gated.send("DELETE", path, headers=other)).status == 404, "of another user, even an administrator"
    assert (await gated.send("DELETE", path, headers=here)).status == 204
    assert (await gated.send("GET", "/queue", headers=token)).status == 401


BAD_TOKENS: list[Any] = [
    {"name": "x", "scopes": []}, {"name": "", "scopes": ["read"]}, {"name": "x", "scopes": ["admin"]}, {"name": "x"},
    {"name": "x", "scopes": ["all"]}, {"name": "x", "scopes": ["read"], "expires_in_days": 0}, [],
    {"name": "x" * 101, "scopes": ["read"]}, {"name": "x", "scopes": ["read"], "expires_in_days": 10**9},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_TOKENS)
async def test_tokens_that_are_not_made(gated: Gated, body: Any) -> None:
    response = await gated.send("POST", "/api/login/tokens", json=body, headers=await gated.cookie())
    assert response.status == 400
    assert gated.login.state.file.tokens == ()


async def test_a_link_for_the_phone(gated: Gated) -> None:
    response = await gated.send("POST", "/api/login/links", headers=await gated.cookie("Guest"))
    assert response.status == 201
    link = (await response.json())["path"]
    assert (await gated.send("GET", link)).status == 303
    assert (await gated.send("GET", link)).status == 401


OWN = [
    ("GET", "/api/login/sessions"), ("DELETE", "/api/login/sessions"), ("DELETE", "/api/login/sessions/x"),
    ("GET", "/api/login/tokens"), ("POST", "/api/login/tokens"), ("DELETE", "/api/login/tokens/x"),
    ("POST", "/api/login/links"),
    ("GET", "/api/login/users"), ("POST", "/api/login/users"), ("PATCH", "/api/login/users/x"),
    ("DELETE", "/api/login/users/x"), ("POST", "/api/login/users/x/links"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OWN)
async def test_no_token_makes_another_way_in(gated: Gated, method: str, path: str) -> None:
    body = {"name": "x", "scopes": ["read"]} if method == "POST" else None
    for headers in (gated.token("admin", user="Root"), {}):
        assert (await gated.send(method, path, json=body, headers=headers)).status == 401
    session = await gated.cookie("Root")
    if method != "GET":
        assert (await gated.send(method, path, json=body, headers={**session, **FOREIGN})).status == 403


async def users_of(gated: Gated, headers: dict[str, str]) -> dict[str, Any]:
    """Return the users by name, as an administrator sees them."""
    listed = await (await gated.send("GET", "/api/login/users", headers=headers)).json()
    return {user["name"]: user for user in listed["users"]}


async def test_an_administrator_manages_users(gated: Gated) -> None:
    root = await gated.cookie("Root")
    before = await users_of(gated, root)
    assert list(before) == sorted(before, key=str.casefold)
    assert [name for name, user in before.items() if user["is_current"]] == ["Root"]
    body = {"name": " Bob ", "role": "guest", "password": PASSWORD}
    made = await (await gated.send("POST", "/api/login/users", json=body, headers=root)).json()
    assert (made["name"], made["role"], made["has_password"], made["last_used_at"]) == ("Bob", "guest", True, None)
    bob, path = await gated.cookie("Bob"), f"/api/login/users/{made['id']}"
    assert (await gated.send("POST", "/pack/do", headers=bob)).status == 403
    changed = await gated.send("PATCH", path, json={"role": "member"}, headers=root)
    assert (await changed.json())["role"] == "member" and (await changed.json())["last_used_at"]
    assert (await gated.send("POST", "/pack/do", headers=bob)).status == 200
    for body in ({"password": "another password"}, {"is_disabled": True}):
        assert (await gated.send("PATCH", path, json=body, headers=root)).status == 200
        assert (await gated.send("GET", "/queue", headers=bob)).status == 401, body
        assert (await sign_in(gated, "Bob")).status == 401
    assert (await gated.send("POST", f"{path}/links", headers=root)).status == 409, "a link would let nobody in"
    assert (await gated.send("PATCH", path, json={"is_disabled": False}, headers=root)).status == 200
    link = (await (await gated.send("POST", f"{path}/links", headers=root)).json())["path"]
    assert (await gated.send("GET", link)).status == 303
    assert (await gated.send("DELETE", path, headers=root)).status == 204
    assert (await users_of(gated, root)).keys() == before.keys()
    for method in ("PATCH", "DELETE"):
        assert (await gated.send(method, path, json={}, headers=root)).status == 404
    written = [json.loads(line)["event"] for line in (gated.folder / AUDIT_FILE_NAME).read_text().splitlines()]
    assert {"user_added", "role_changed", "user_disabled", "user_enabled", "user_removed"} <= set(written)


BAD_CHANGES: list[tuple[Any, int]] = [
    ({"role": "king"}, 400),
    ({"password": "short"}, 400),
    ({"password": "long enough for anybody"}, 400),  # one's own needs the present one
    ({"role": "member"}, 409),  # the last administrator
    ({"is_disabled": True}, 409),
    ({"is_disabled": "yes"}, 400),
    ({"role": "admin", "max_jobs": -1}, 400),
    ({"max_jobs": 1.5}, 400),
    ({"max_bytes": "much"}, 400),
    ({"max_bytes": (1 << 52) + 1}, 400),
    ({"max_bytes": None}, 400),
    ([], 400),
]


@pytest.mark.parametrize(("body", "status"), BAD_CHANGES)
async def test_changes_of_users_that_are_refused(gated: Gated, body: Any, status: int) -> None:
    root = await gated.cookie("Root")
    before = gated.login.state.file.users
    path = f"/api/login/users/{(await users_of(gated, root))['Root']['id']}"
    assert (await gated.send("PATCH", path, json=body, headers=root)).status == status
    assert gated.login.state.file.users == before


BAD_USERS: list[tuple[Any, int]] = [
    ({"name": "ada"}, 409), ({"name": ""}, 400), ({"name": "x" * 101}, 400), ({}, 400),
    ({"name": "x", "role": ""}, 400),
    ({"name": "x", "password": ""}, 400), ({"name": "__x"}, 400),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD_USERS)
async def test_users_that_are_not_added(gated: Gated, body: Any, status: int) -> None:
    before = gated.login.state.file.users
    root = await gated.cookie("Root")
    assert (await gated.send("POST", "/api/login/users", json=body, headers=root)).status == status
    assert gated.login.state.file.users == before


async def test_nobody_else_manages_users(gated: Gated) -> None:
    ada = (await users_of(gated, await gated.cookie("Root")))["Ada"]
    before = gated.login.state.file.users
    for name in ("Ada", "Guest"):
        session = await gated.cookie(name)
        for method, path in OWN:
            if path.startswith("/api/login/users"):
                path = path.replace("/x", f"/{ada['id']}")
                body = {"name": "x"} if method == "POST" else {"role": "admin"}
                assert (await gated.send(method, path, json=body, headers=session)).status == 403, (name, path)
    assert gated.login.state.file.users == before
