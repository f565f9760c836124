"""Clients that send half of a request, or nothing, or too slowly; and more of them than there is room for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.host.standalone.connections import ConnectionLimits

pytestmark = pytest.mark.slow

HALF = b"GET /system_stats HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Ha"
WHOLE = b"GET /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
BODY = b"POST /userdata/a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000\r\n\r\n"
PATIENCE_S = 20  # of the tests; the server has less
LIMITS = ConnectionLimits(connections=8, header=0.6, idle=1.5, body=0.8, body_bytes=100)

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def serving(base: Path, limits: ConnectionLimits) -> AsyncIterator[int]:
    host = StandaloneHost(base, connection_limits=limits)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(host.serve("127.0.0.1", 0, on_ready=ready.set_result))
    try:
        yield int((await asyncio.wait_for(ready, PATIENCE_S)).rpartition(":")[2])
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with serving(tmp_path, LIMITS) as found:
        yield found


@pytest.fixture
async def connect(port: int) -> AsyncIterator[Connect]:
    writers: list[asyncio.StreamWriter] = []

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    yield opened
    for writer in writers:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that the server sends until it closes the connection."""
    return await asyncio.wait_for(reader.read(), PATIENCE_S)


async def test_half_a_header_is_answered_with_408(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(HALF)
    assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_header_that_trickles_is_no_better(connect: Connect) -> None:
    reader, writer = await connect()

    async def trickle() -> None:
        writer.write(HALF)
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    try:
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
    finally:
        trickling.cancel()


async def test_connections_without_a_request_are_closed(connect: Connect) -> None:
    reader, _ = await connect()
    assert await rest(reader) == b""
    reader, writer = await connect()
    writer.write(WHOLE)
    answer = await rest(reader)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"408" not in answer


async def test_half_a_body_is_answered_with_408(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(BODY + b"x" * 10)
    assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_slow_body_that_goes_on_is_taken(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(BODY)
    begun = time.monotonic()
    for _ in range(20):
        writer.write(b"x" * 200)
        await asyncio.sleep(0.1)
    assert time.monotonic() - begun > 2 * LIMITS.body
    assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 200 ")


async def test_web_sockets_stay_open(port: int) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket:
        assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "status"
        await asyncio.sleep(2 * LIMITS.idle)
        await socket.ping()
        assert not socket.closed
        with pytest.raises(asyncio.TimeoutError):
            await socket.receive(timeout=0.2)


async def test_others_are_served_while_there_are_too_many_halves(connect: Connect, port: int, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(10 * LIMITS.connections):
        _, writer = await connect()
        writer.write(HALF)
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.get(f"http://127.0.0.1:{port}/prompt") as response:
                assert response.status == 200
    assert len(caplog.records) < 5


async def test_where_all_connections_are_busy_another_is_refused(connect: Connect) -> None:
    for _ in range(LIMITS.connections):
        _, writer = await connect()
        writer.write(BODY)
    await asyncio.sleep(0.2)
    reader, writer = await connect()
    writer.write(WHOLE)
    assert (await rest(reader)).startswith(b"HTTP/1.1 503 ")
