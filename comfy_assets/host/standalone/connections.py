"""The sockets of the server, and limits for connections: their number, and the time for sending a request.

aiohttp has no timeout for the rest of a header. Connections that make progress, and web sockets, are never closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger("comfy_assets.standalone")

_MAX_CONNECTIONS = 512
_MIN_CONNECTIONS = 32
_SWEEP_S = 0.5  # one timer for all connections, not one for each chunk of data
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"


# Why a port cannot be used, by the number of the error; Windows has numbers of its own for the first three.
_REASONS = {
    errno.EADDRINUSE: "another program uses it. Choose another port with --port.",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "permission denied; ports below 1024 are for the system",
    10048: "another program uses it. Choose another port with --port.",
    10049: "this machine has no such address",
    10013: "permission denied, or another program uses it. Choose another port with --port.",
}


async def listen(host: str, port: int) -> list[socket.socket]:
    """Bind sockets to every address of the host names, which are separated by commas. Raise OSError with the names.

    After the first address, those that this machine does not have are skipped, such as ::1 without IPv6.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in await _addresses(host, port):
            # Port 0 means a free port: the one chosen for the first address is used for the others too.
            wanted = (address, sockets[0].getsockname()[1] if sockets else port)
            try:
                sockets.append(socket.create_server(wanted, family=family))
            except OSError as error:
                if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
    except OSError as error:
        for each in sockets:
            each.close()
        why = _REASONS.get(error.errno or 0) or error.strerror or error
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {why}") from error
    return sockets


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses of the host names. IPv4 comes first, as the first address appears in the URL."""
    loop = asyncio.get_running_loop()
    found = []
    for name in host.split(","):
        found += await loop.getaddrinfo(name.strip(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique = dict.fromkeys((entry[0], str(entry[4][0])) for entry in found)
    return sorted(unique, key=lambda each: each[0] != socket.AF_INET)


def url_of(listening: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _default_limit() -> int:
    """Return half of the process's limit of open files, within bounds: the library needs the other half."""
    sysconf: Callable[[str], int] | None = getattr(os, "sysconf", None)  # Windows has no such limit
    limit = 2 * _MAX_CONNECTIONS
    if sysconf is not None:
        with suppress(ValueError, OSError):
            limit = sysconf("SC_OPEN_MAX")
    return max(_MIN_CONNECTIONS, min(_MAX_CONNECTIONS, limit // 2 if limit > 0 else _MAX_CONNECTIONS))


@dataclass(frozen=True)
class ConnectionLimits:
    """The largest number of connections, and time limits in seconds.

    ``header`` is for a request's header, from its first byte on; ``idle`` for a connection without a request;
    ``body`` for the next ``body_bytes`` of a body that the server waits for.
    """

    connections: int = field(default_factory=_default_limit)
    header: float = 20.0
    idle: float = 75.0
    body: float = 30.0
    body_bytes: int = 1024


class Connections:
    """The open connections of a server."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self._limits = limits or ConnectionLimits()
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def add_to(self, app: web.Application) -> None:
        """Observe the beginning and end of the application's requests."""

        @web.middleware
        async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._of(request)
            if connection is None:
                return await handler(request)
            connection.begin(request)
            try:
                return await handler(request)
            finally:
                connection.end()

        async def answering(request: web.Request, _: web.StreamResponse) -> None:
            if (connection := self._of(request)) is not None:
                connection.has_response = True

        # Outermost: a request lasts from its header to the end of every other middleware.
        app.middlewares.insert(0, watched)
        app.on_response_prepare.append(answering)

    def _of(self, request: web.Request) -> _Connection | None:
        return None if request.transport is None else self._open.get(request.transport)

    def protocol(self, make: Callable[[], asyncio.BaseProtocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory that wraps the protocols of ``make``, for new connections."""
        return lambda: _Connection(self, cast("Callable[[], asyncio.Protocol]", make))

    def admit(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Admit a new connection; if there are too many, close the one that has been idle longest."""
        if len(self._open) >= self._limits.connections:
            # A connection without a request is kept alive by the client: it will open another.
            waiting = [each for each in self._open.values() if each.request is None]
            if not waiting:
                log.warning("All %d connections are in use; another one was refused.", self._limits.connections)
                return False
            min(waiting, key=lambda each: each.since).cut()
        self._open[transport] = connection
        if self._sweeping is None:
            self._sweep()
        return True

    def forget(self, transport: asyncio.BaseTransport) -> None:
        """Remove a closed connection."""
        self._open.pop(transport, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._open.values()):
            if connection.is_overdue(loop.time(), self._limits):
                connection.time_out()
        self._sweeping = loop.call_later(_SWEEP_S, self._sweep) if self._open else None


class _Connection(asyncio.Protocol):
    """Forwards everything to aiohttp's protocol, and records the time and amount of received data."""

    def __init__(self, connections: Connections, make: Callable[[], asyncio.Protocol]) -> None:
        self._all = connections
        self._make = make
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._received = 0
        self._counted = 0
        self._has_begun = False
        self.since = 0.0
        self.request: web.Request | None = None
        self.has_response = False

    def begin(self, request: web.Request) -> None:
        """Record that the header of a request is complete."""
        self.request, self.has_response, self._has_begun = request, False, False
        self._count()

    def end(self) -> None:
        """Record that the request has been handled."""
        self.request = None
        self._count()

    def _count(self) -> None:
        self.since, self._counted = asyncio.get_running_loop().time(), self._received

    def is_overdue(self, now: float, limits: ConnectionLimits) -> bool:
        """Return whether the client has exceeded the time limit of its current step."""
        if self.request is None:
            return now - self.since >= (limits.header if self._has_begun else limits.idle)
        is_expected = not self.request.content.is_eof() and self._transport is not None and self._transport.is_reading()
        if not is_expected or self._received - self._counted >= limits.body_bytes:
            self._count()
            return False
        return now - self.since >= limits.body

    def time_out(self) -> None:
        """Close the connection, with a 408 if a request has no response yet."""
        if self._transport is None:
            return
        self._all.forget(self._transport)
        if self._has_begun if self.request is None else not self.has_response:
            self._transport.write(_TIMED_OUT)
        self._transport.close()

    def cut(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._all.forget(self._transport)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._count()
        if not self._all.admit(self, self._transport):
            self._transport.write(_FULL)
            self._transport.close()
            return
        self._inner = self._make()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        self._received += len(data)
        if self.request is None and not self._has_begun:
            self._has_begun = True
            self._count()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._all.forget(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()
