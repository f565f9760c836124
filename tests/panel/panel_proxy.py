"""A reverse proxy that serves a server under a path, like a proxy in front of several servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp import web

# Headers of the connection itself, which a proxy must not forward.
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "upgrade"}


class Proxy:
    """Forwards requests and websockets below ``prefix`` ("/some/path"). Records all others and responds 404."""

    def __init__(self, target: str, prefix: str) -> None:
        self._target = target
        self._prefix = prefix
        self.astray: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path_qs
        if not path.startswith(self._prefix + "/"):
            self.astray.append(path)
            return web.Response(status=404)
        url = self._target + path[len(self._prefix) :]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, url)
        return await self._request(request, url)

    async def _request(self, request: web.Request, url: str) -> web.StreamResponse:
        body = request.content if request.can_read_body else None
        passed = {"headers": _headers(request.headers), "data": body, "allow_redirects": False}
        async with request.app[_SESSION].request(request.method, _raw(url), **passed) as answer:
            response = web.StreamResponse(status=answer.status, headers=_headers(answer.headers))
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            await response.write_eof()
            return response

    async def _websocket(self, request: web.Request, url: str) -> web.WebSocketResponse:
        page = web.WebSocketResponse()
        await page.prepare(request)
        origin = {"Origin": request.headers["Origin"], "Host": request.headers["Host"]}
        async with request.app[_SESSION].ws_connect(_raw(url), headers=origin, max_msg_size=0) as server:
            both = [asyncio.ensure_future(_pass_on(*ways)) for ways in ((page, server), (server, page))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for each in both:
                each.cancel()
        await page.close()
        return page


_SESSION = web.AppKey("session", aiohttp.ClientSession)


def _raw(url: str) -> Any:
    """Return the URL with its quoting unchanged."""
    from yarl import URL

    return URL(url, encoded=True)


def _headers(headers: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION]


async def _pass_on(source: Any, target: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


@contextmanager
def proxied(target: str, prefix: str) -> Iterator[tuple[str, Proxy]]:
    """Run the proxy on a thread of its own; yield the address of the page under the path, and the proxy."""
    proxy = Proxy(target, prefix)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app[_SESSION] = aiohttp.ClientSession(auto_decompress=False)
        app.router.add_route("*", "/{any:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    async def stop(runner: web.AppRunner) -> None:
        await runner.app[_SESSION].close()
        await runner.cleanup()

    try:
        runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield f"http://127.0.0.1:{port}{prefix}/", proxy
        finally:
            asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
