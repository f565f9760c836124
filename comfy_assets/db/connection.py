"""Connections to the store: one writer behind a lock, a few read-only readers, and their orderly end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from ..errors import StoreError
from . import migrate

Row = tuple[Any, ...]
READERS = 3
_BUSY_TIMEOUT_S = 10
# Pages are read from the operating system's cache; the writer keeps more so that a bulk import stays in memory.
_WRITER_PRAGMAS = ("foreign_keys = ON", "wal_autocheckpoint = 8000", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY")
_READER_PRAGMAS = ("query_only = ON", "cache_size = -16384", "temp_store = MEMORY")


class Database:
    """The open store. Reads run on a pool of connections, writes one transaction at a time."""

    def __init__(self, writer: aiosqlite.Connection, readers: Sequence[aiosqlite.Connection]) -> None:
        self._writer = writer
        self._readers = tuple(readers)
        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._idle.put_nowait(reader)
        self._write_lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the store at ``path``, creating or migrating it. Raises StoreError when that is impossible."""
        try:
            await asyncio.to_thread(migrate.prepare, path)
            writer = await _connect(path, _WRITER_PRAGMAS)
            readers = [await _connect(path, _READER_PRAGMAS) for _ in range(READERS)]
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The library store {path.name} cannot be opened: {error}") from error
        return cls(writer, readers)

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """All rows of a query, on a reader."""
        reader = await self._idle.get()
        try:
            return list(await reader.execute_fetchall(sql, parameters))
        finally:
            self._idle.put_nowait(reader)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A write transaction: committed at the end of the block, rolled back on any exception or cancellation."""
        async with self._write_lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield Transaction(self._writer)
                await self._writer.commit()
            except BaseException:
                await asyncio.shield(self._writer.rollback())
                raise

    async def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the file."""
        for connection in (*self._readers, self._writer):
            await connection.close()

    def close_at_exit(self, before: Callable[[], None]) -> None:
        """Close the connections when the main thread ends without ``close`` having been awaited.

        A server stopped with Ctrl-C does not always run its clean-up, and the threads of aiosqlite are not
        daemons: without this the process would never end. ``before`` is called first, to stop other workers.
        """

        def watch() -> None:
            threading.main_thread().join()
            before()
            for connection in (*self._readers, self._writer):
                connection.stop()

        threading.Thread(target=watch, name="comfy-assets-exit", daemon=True).start()


class Transaction:
    """The statements of one write transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        """Run one statement; answers the number of rows it changed."""
        async with self._connection.execute(sql, parameters) as cursor:
            return cursor.rowcount

    async def execute_many(self, sql: str, rows: Iterable[Iterable[Any]]) -> int:
        """Run one statement for each row of parameters; answers the number of rows changed in all."""
        async with self._connection.executemany(sql, rows) as cursor:
            return cursor.rowcount

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """All rows of a query, seeing this transaction's own changes."""
        return list(await self._connection.execute_fetchall(sql, parameters))

    async def fetch_value(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0][0] if rows else None


async def _connect(path: Path, pragmas: Sequence[str]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(
        path, isolation_level=None, timeout=_BUSY_TIMEOUT_S, cached_statements=256
    )
    for pragma in pragmas:
        await connection.execute(f"PRAGMA {pragma}")
    return connection
