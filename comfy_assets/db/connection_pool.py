"""The pool of read-only connections: turns, time limits and cancellation of queries.

Queries of a request that only reads end when its client disconnects and when they take too long. Expensive queries
never use all connections, so that cheap ones do not wait for them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from ..errors import QueryTimeoutError
from .sql import Row, Statement
from .store_files import CommitMark, StoreFiles, last_commit, open_guard

T = TypeVar("T")

_LOOK_S = 0.1  # between two checks that a client is still connected
_INTERRUPT_S = 0.05  # between two interrupts of the same query


@dataclass(frozen=True)
class _Reading:
    """The limits for queries of one task. Tasks that it starts inherit the context, but are not limited."""

    task: asyncio.Task[Any] | None
    is_gone: Callable[[], bool]
    seconds: float


_reading: ContextVar[_Reading | None] = ContextVar("comfy_assets_reading", default=None)
_is_heavy: ContextVar[bool] = ContextVar("comfy_assets_heavy", default=False)


@contextmanager
def reading(is_gone: Callable[[], bool], seconds: float) -> Iterator[None]:
    """Limit the queries of the current task in the block: to ``seconds`` each, and until ``is_gone`` returns true."""
    token = _reading.set(_Reading(asyncio.current_task(), is_gone, seconds))
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def heavy(is_so: bool = True) -> Iterator[None]:
    """Mark the queries in the block as expensive."""
    token = _is_heavy.set(is_so)
    try:
        yield
    finally:
        _is_heavy.reset(token)


class _Patience:
    """The time limit of one query."""

    def __init__(self) -> None:
        current = _reading.get()
        self._reading = current if current is not None and current.task is asyncio.current_task() else None
        self._end = asyncio.get_running_loop().time() + (self._reading.seconds if self._reading is not None else 0)

    @property
    def is_limited(self) -> bool:
        """True for a query of a request that only reads."""
        return self._reading is not None

    async def wait(self, future: asyncio.Future[T]) -> T:
        """Return the result of a future, without cancelling it. Raises QueryTimeoutError."""
        if self._reading is None:
            return await asyncio.shield(future)
        while not future.done():
            left = self._end - asyncio.get_running_loop().time()
            if left <= 0:
                raise QueryTimeoutError(
                    f"The query took longer than {self._reading.seconds:g} seconds, which is the most it may."
                )
            if self._reading.is_gone():
                raise QueryTimeoutError("The client has closed the connection.")
            await asyncio.wait({future}, timeout=min(_LOOK_S, left))
        return future.result()


@dataclass(frozen=True)
class _WaitingQuery:
    """A query that waits for a connection."""

    is_heavy: bool
    turn: asyncio.Future[aiosqlite.Connection]


class Readers:
    """The pool. Each connection runs one query at a time."""

    def __init__(self, connections: Sequence[aiosqlite.Connection]) -> None:
        self._idle = deque(connections)
        self._busy: set[aiosqlite.Connection] = set()
        self._is_paused = False
        self._waiting: deque[_WaitingQuery] = deque()
        self._heavy_at_most = max(1, len(connections) - 1)
        self._heavy = 0
        self._stopping: set[asyncio.Task[None]] = set()
        self.requested_at = float("-inf")  # begin of the last query of a request, by the loop's clock

    async def fetch_all(self, sql: str, parameters: Iterable[Any]) -> list[Row]:
        """Return all rows of a query. Raises QueryTimeoutError within ``reading``."""
        patience, is_heavy = _Patience(), _is_heavy.get()
        if patience.is_limited:
            self.requested_at = asyncio.get_running_loop().time()
        connection = await self._take(patience, is_heavy)
        query = asyncio.ensure_future(_run(connection, sql, parameters))
        query.add_done_callback(lambda ended: self._ended(ended, connection, is_heavy))
        try:
            return await patience.wait(query)
        except BaseException:
            if not query.done():
                stopping = asyncio.create_task(_interrupt(connection, query), name="comfy-assets interrupt")
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
            raise

    async def pause(self, patience_s: float) -> None:
        """Take all connections out of use: new queries wait, running ones are interrupted after ``patience_s``."""
        self._is_paused = True
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while self._busy:
            if loop.time() >= end:
                for connection in list(self._busy):
                    await connection.interrupt()
            await asyncio.sleep(_INTERRUPT_S)

    def resume(self, connections: Sequence[aiosqlite.Connection]) -> None:
        """Continue with these connections after ``pause``."""
        self._idle = deque(connections)
        self._is_paused = False
        self._give_turns()

    async def interrupt(self) -> None:
        """Interrupt the queries that run now."""
        for connection in list(self._busy):
            with suppress(ValueError):  # it is closed
                await connection.interrupt()

    async def _take(self, patience: _Patience, is_heavy: bool) -> aiosqlite.Connection:
        waiting = _WaitingQuery(is_heavy, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._give_turns()
        try:
            return await patience.wait(waiting.turn)
        except BaseException:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self._give_back(waiting.turn.result(), is_heavy)
            else:
                self._waiting.remove(waiting)
            raise

    def _give_turns(self) -> None:
        """Assign idle connections to waiting queries, in order of arrival."""
        for waiting in list(self._waiting) if self._idle and not self._is_paused else ():
            if waiting.is_heavy and self._heavy >= self._heavy_at_most:
                continue
            self._waiting.remove(waiting)
            self._heavy += waiting.is_heavy
            connection = self._idle.popleft()
            self._busy.add(connection)
            waiting.turn.set_result(connection)
            if not self._idle:
                return

    def _give_back(self, connection: aiosqlite.Connection, is_heavy: bool) -> None:
        self._heavy -= is_heavy
        self._busy.discard(connection)
        self._idle.append(connection)
        self._give_turns()

    def _ended(self, query: asyncio.Future[list[Row]], connection: aiosqlite.Connection, is_heavy: bool) -> None:
        if not query.cancelled():
            query.exception()  # retrieved, so that asyncio does not warn of an abandoned query's exception
        self._give_back(connection, is_heavy)


async def _run(connection: aiosqlite.Connection, sql: str, parameters: Iterable[Any]) -> list[Row]:
    return cast("list[Row]", await connection.execute_fetchall(sql, parameters))


async def _interrupt(connection: aiosqlite.Connection, query: asyncio.Future[list[Row]]) -> None:
    """Interrupt a query until it ends, because an interrupt before SQLite has begun with it has no effect.

    The connection is not reused before that, so no other query is hit.
    """
    while not query.done():
        await connection.interrupt()
        await asyncio.wait({query}, timeout=_INTERRUPT_S)


READERS = 3  # expensive queries use two of them at most
BUSY_TIMEOUT_S = 10
# Short, because Database.transaction retries: with a long timeout in SQLite, transactions of this process would wait
# one after another, each for the sum of all before it.
_WRITER_TIMEOUT_MS = 50
# Readers rely on the operating system's cache. The writer caches more, so that a bulk import stays in memory.
_WRITER_PRAGMAS = (
    "foreign_keys = ON",
    "wal_autocheckpoint = 8000",  # pages; with the default of 1000 (4 MB), a bulk import would always checkpoint
    "synchronous = NORMAL",  # with a write-ahead log, a power failure loses the last commits, but damages nothing
    "checkpoint_fullfsync = ON",  # nor does it on macOS, where fsync leaves the order of writes to the drive
    "cache_size = -65536",  # KiB if negative
    "temp_store = MEMORY",
    f"busy_timeout = {_WRITER_TIMEOUT_MS}",
)
_READER_PRAGMAS = ("query_only = ON", "cache_size = -16384", "temp_store = MEMORY")


@dataclass
class StoreConnections:
    """The connections to a store, and the identities of its files. ``changes`` counts rows changed by the writer."""

    guard: sqlite3.Connection
    writer: aiosqlite.Connection
    readers: tuple[aiosqlite.Connection, ...]
    files: StoreFiles
    last_commit: CommitMark
    changes: int = 0

    @property
    def all(self) -> tuple[aiosqlite.Connection, ...]:
        """All connections except the guard."""
        return (*self.readers, self.writer)

    async def close(self) -> None:
        """Close all connections, the guard last."""
        for connection in self.all:
            await connection.close()
        self.files.forget()
        await asyncio.to_thread(self.guard.close)


async def open_connections(path: Path) -> StoreConnections:
    """Open the connections to a migrated store. Raises sqlite3.Error."""
    guard = await asyncio.to_thread(open_guard, path)
    connections: list[aiosqlite.Connection] = []
    try:
        for pragmas in (_WRITER_PRAGMAS, *[_READER_PRAGMAS] * READERS):
            connections.append(await _connect(path, pragmas))
        mark = await asyncio.to_thread(last_commit, guard)
    except BaseException:
        for connection in connections:
            await connection.close()
        await asyncio.to_thread(guard.close)
        raise
    return StoreConnections(guard, connections[0], tuple(connections[1:]), StoreFiles(path), mark)


class StoreConnection(sqlite3.Connection):
    """A connection whose scripts are statements with parameters, and do not commit."""

    def executescript(self, statements: Iterable[Statement]) -> sqlite3.Cursor:  # type: ignore[override]
        """Run statements one after another, until one raises."""
        cursor = self.cursor()
        for sql, parameters, is_many in statements:
            if is_many:
                cursor.executemany(sql, parameters)
            else:
                cursor.execute(sql, tuple(parameters))
        return cursor


async def _connect(path: Path, pragmas: Sequence[str]) -> aiosqlite.Connection:
    # Without an isolation level, sqlite3 begins no transactions by itself. Most statements here are constant texts, so
    # that it pays to keep more than the usual 128 prepared.
    connection = await aiosqlite.connect(
        path, isolation_level=None, timeout=BUSY_TIMEOUT_S, cached_statements=256, factory=StoreConnection
    )
    try:
        for pragma in pragmas:
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection
