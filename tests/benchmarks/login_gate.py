"""Measure the overhead of the login gate per request, with and without it in turn. The goal is 0.2 ms.

python tests/benchmarks/login_gate.py
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1])]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.host.access import AccessRules  # noqa: E402
from comfy_assets_node.comfy_assets.host.guard import protect  # noqa: E402
from comfy_assets_node.comfy_assets.host.login_gate import LoginGate  # noqa: E402
from comfy_assets_node.comfy_assets.host.login_requests import Client, session_cookie  # noqa: E402
from comfy_assets_node.comfy_assets.login.service import LoginService  # noqa: E402
from comfy_assets_node.routes import permissions  # noqa: E402
from comfy_assets_node.routes.login import make_page  # noqa: E402

GOAL_MS = 0.2
# What Chrome sends with a request of a page.
HEADERS = {
    "Accept": "*/*",
    "Accept-Language": "en-US,en;q=0.9,de;q=0.8",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}


class Users:
    """A host that knows everybody by their name."""

    async def id_of(self, name: str) -> str:
        return name

    def has_id(self, user: str) -> bool:
        return True


def make_app(login: LoginService | None, *, multi_user: bool) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/queue", answer)
    rules = AccessRules()
    gate = None
    if login is not None:
        gate = LoginGate(login, rules, permissions(), make_page, Users() if multi_user else None)
    protect(app, rules, gate)
    if gate is not None:
        gate.keep_first(app)
    return app


async def measure(rounds: int, requests: int) -> dict[str, float]:
    """Return the median time of a request in ms, by the kind of server and credential."""
    with tempfile.TemporaryDirectory() as name:
        login = LoginService(Path(name))
        off = LoginService(Path(name) / "off")
        accounts = login.accounts()
        for number in range(50):
            accounts.add_user(f"user {number}", "member")
            for _ in range(10):
                accounts.create_token(f"user {number}", "t", ["read"])
        token = accounts.create_token("user 7", "t", ["read"])[1]
        accounts.set_enabled(True)
        signed = await login.use_link(accounts.new_link("user 8"), Client("127.0.0.1"))
        cookie = {"Cookie": f"{session_cookie(login)}={signed.session}"}
        kinds: dict[str, tuple[web.Application, dict[str, str]]] = {
            "without the gate": (make_app(None, multi_user=False), {}),
            "login off": (make_app(off, multi_user=False), {}),
            "cookie": (make_app(login, multi_user=False), cookie),
            "token": (make_app(login, multi_user=False), {"X-API-Key": token}),
            "cookie, several users": (make_app(login, multi_user=True), cookie),
        }
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        servers = {kind: TestServer(app) for kind, (app, _) in kinds.items()}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            for server in servers.values():
                await server.start_server()
            for number in range(rounds + 1):
                for kind, (_, headers) in kinds.items():
                    url = servers[kind].make_url("/queue")
                    begun = time.perf_counter()
                    for _ in range(requests):
                        async with session.get(url, headers={**HEADERS, **headers}) as response:
                            await response.read()
                            assert response.status == 200
                    if number:  # the first round warms up
                        times[kind].append((time.perf_counter() - begun) / requests * 1000)
        for server in servers.values():
            await server.close()
        login.close()
        off.close()
    return {kind: statistics.median(each) for kind, each in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="paired rounds (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=200, help="requests of a round (default: %(default)s)")
    options = parser.parse_args()
    medians = asyncio.run(measure(options.rounds, options.requests))
    bare = medians["without the gate"]
    for kind, median in medians.items():
        print(f"{kind:24} {median:.3f} ms   {median - bare:+.3f} ms")
    return int(max(medians.values()) - bare > GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())
