"""Users whom a reverse proxy names: from listed addresses alone, and no more than they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.access import TrustedProxies, parse_network
from comfy_assets_node.comfy_assets.login.store import AUDIT_FILE_NAME
from gated import Gated, Make

pytestmark = pytest.mark.slow

HERE = ("127.0.0.1",)
ELSEWHERE = ("192.0.2.0/24", "2001:db8::1")
HEADER = "X-Forwarded-User"
FOREIGN = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


def named(name: str) -> dict[str, str]:
    return {HEADER: name}


async def who(gated: Gated, headers: Any) -> Any:
    response = await gated.send("GET", "/api/login", headers=headers)
    assert response.status == 200, await response.text()
    return await response.json()


@pytest.mark.parametrize("name", ["Ada", "ada", " ADA "])
async def test_a_trusted_proxy_signs_users_in(make_gated: Make, name: str) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    told = await who(gated, named(name))
    assert (told["user"], told["role"], told["kind"]) == ("Ada", "member", "proxy")
    assert (await gated.send("POST", "/pack/do", headers=named(name))).status == 200
    assert (await gated.send("GET", "/internal/logs", headers=named(name))).status == 403
    assert (await gated.send("GET", "/queue")).status == 401, "a request without the header"
    assert (await gated.send("GET", "/queue", headers=named(""))).status == 401


@pytest.mark.parametrize("proxies", [(), ELSEWHERE])
async def test_the_header_from_elsewhere_is_ignored_and_removed(make_gated: Make, proxies: tuple[str, ...]) -> None:
    gated = await make_gated(trusted_proxies=proxies)
    assert (await gated.send("GET", "/queue", headers=named("Root"))).status == 401
    told = await (await gated.send("GET", "/queue", headers={**gated.token("read"), **named("Root")})).json()
    assert told["named"] == [], "other packs may believe it"
    assert (await who(gated, {**await gated.cookie(), **named("Root")}))["user"] == "Ada"
    forwarded = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    assert (await gated.send("GET", "/queue", headers={**named("Root"), **forwarded})).status == 401


async def test_a_user_whom_the_server_does_not_know(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    gated.login.accounts().set_disabled("Guest", True)
    for name in ("Nobody", "Guest", "__x", "a" * 5000, "x\ty"):
        response = await gated.send("GET", "/queue", headers=named(name))
        assert response.status == 403 and (await response.json())["code"] == "NOT_PERMITTED", name
    assert len(gated.login.state.users) == 3


@pytest.mark.parametrize("role", ["guest", "member"])
async def test_new_users_get_a_role(make_gated: Make, role: str) -> None:
    gated = await make_gated(trusted_proxies=HERE, proxy_new_users=role)
    assert (await who(gated, named("Grace H.")))["role"] == role
    assert (await who(gated, named("grace h.")))["user"] == "Grace H."
    assert (await who(gated, named("Root")))["role"] == "admin"
    gated.login.accounts().set_disabled("Grace H.", True)
    assert (await gated.send("GET", "/queue", headers=named("Grace H."))).status == 403
    for name in ("__x", "a" * 101, "x\ty"):
        assert (await gated.send("GET", "/queue", headers=named(name))).status == 403
    assert len(gated.login.state.users) == 4


async def test_a_header_that_comes_twice_is_refused(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    response = await gated.send("GET", "/queue", headers=[(HEADER, "Ada"), (HEADER, "Root")])
    assert response.status == 403 and gated.reached == []


async def test_a_token_goes_before_the_header_and_that_before_a_cookie(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    told = await who(gated, {**gated.token("read"), **named("Root")})
    assert (told["user"], told["scopes"]) == ("Ada", ["read"])
    assert (await who(gated, {**await gated.cookie("Root"), **named("Ada")}))["user"] == "Ada"


@pytest.mark.parametrize("check_origin", [True, False])
async def test_pages_of_other_origins_cannot_use_what_the_proxy_adds(make_gated: Make, check_origin: bool) -> None:
    gated = await make_gated(trusted_proxies=HERE, check_origin=check_origin)
    for method, path in (("POST", "/prompt"), ("POST", "/pack/do"), ("GET", "/ws")):
        assert (await gated.send(method, path, headers={**named("Ada"), **FOREIGN})).status == 403
    assert gated.reached == []


async def test_users_of_a_proxy_make_tokens_and_sign_out_there(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    response = await gated.send("DELETE", "/api/login", headers=named("Ada"))
    assert response.status == 409 and "sign out there" in (await response.json())["message"]
    body = {"name": "krita", "scopes": ["run", "write"]}
    made = await (await gated.send("POST", "/api/login/tokens", json=body, headers=named("Ada"))).json()
    assert (await gated.send("POST", "/pack/do", headers={"X-API-Key": made["token"]})).status == 200
    listed = await (await gated.send("GET", "/api/login/sessions", headers=named("Ada"))).json()
    assert listed == {"sessions": []}


async def test_a_websocket_of_a_user_of_a_proxy_ends_with_the_user(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    socket = await gated.client.ws_connect("/ws", headers=named("Ada"))
    await socket.send_str("hello")
    assert await socket.receive_str() == "hello"
    gated.command().accounts().set_disabled("Ada", True)
    assert (await socket.receive(10)).type.name in ("CLOSED", "CLOSE", "ERROR")


async def test_the_audit_log_says_who_came_by_a_proxy(make_gated: Make) -> None:
    gated = await make_gated(trusted_proxies=HERE)
    headers = {**named("Ada"), "X-Forwarded-For": "203.0.113.7, 198.51.100.4"}
    for _ in range(3):
        await gated.send("GET", "/queue", headers=headers)
    gated.login.refresh_now()
    lines = [json.loads(line) for line in (gated.folder / AUDIT_FILE_NAME).read_text().splitlines()]
    (line,) = [each for each in lines if each.get("way") == "proxy"]
    assert (line["event"], line["user"], line["address"]) == ("signed_in", "Ada", "198.51.100.4")


PROXIES = TrustedProxies(tuple(map(parse_network, ("10.0.0.0/8", "2001:db8::/32"))))
ADDRESSES = [
    ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
    ("127.0.0.1", [], "127.0.0.1"),
    ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("::ffff:127.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
    ("10.1.2.3", ["1.1.1.1", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
    ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
    ("2001:db8::7", ["198.51.100.1, 2001:db8::8"], "198.51.100.1"),
    ("10.1.2.3", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ("10.1.2.3", ["nonsense"], "nonsense"),
    ("", ["198.51.100.1"], ""),
]


@pytest.mark.parametrize(("remote", "forwarded", "wanted"), ADDRESSES)
def test_the_address_of_a_client(remote: str, forwarded: list[str], wanted: str) -> None:
    assert PROXIES.client_address(remote, forwarded) == wanted


SETTINGS = [
    ("COMFY_ASSETS_TRUSTED_PROXIES", "proxy.example"),
    ("COMFY_ASSETS_TRUSTED_PROXIES", "10.0.0.0/99"),
    ("COMFY_ASSETS_TRUSTED_PROXIES", "*"),
    ("COMFY_ASSETS_PROXY_USER_HEADER", "X User"),
    ("COMFY_ASSETS_PROXY_USER_HEADER", "cookie"),
    ("COMFY_ASSETS_PROXY_USER_HEADER", "X-Üser"),
    ("COMFY_ASSETS_PROXY_NEW_USERS", "admin"),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_malformed_settings(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Config.from_environment({name: value})


def test_settings() -> None:
    config = Config.from_environment(
        {
            "COMFY_ASSETS_TRUSTED_PROXIES": "127.0.0.1, 172.16.0.0/12 ::1",
            "COMFY_ASSETS_PROXY_USER_HEADER": "Remote-User",
            "COMFY_ASSETS_PROXY_NEW_USERS": "Guest",
        }
    )
    assert config.trusted_proxies == ("127.0.0.1", "172.16.0.0/12", "::1")
    assert (config.proxy_user_header, config.proxy_new_users) == ("Remote-User", "guest")
    assert Config.from_environment({"COMFY_ASSETS_PROXY_NEW_USERS": "none"}).proxy_new_users is None
