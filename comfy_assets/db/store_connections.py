"""The connections to the store's file, opened and closed together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from . import recovery
from .log_guard import open_guard
from .recovery import Mark
from .store_files import StoreFiles

READERS = 3
BUSY_TIMEOUT_S = 10
# A writer waits no longer for another process: Database.transaction repeats the attempt, so that each transaction of
# this process waits for its own time and none for all before it.
_WRITER_TIMEOUT_MS = 50
# Pages are read from the operating system's cache; the writer keeps more so that a bulk import stays in memory.
_WRITER_PRAGMAS = (
    "foreign_keys = ON",
    "wal_autocheckpoint = 8000",
    "synchronous = NORMAL",
    "cache_size = -65536",
    "temp_store = MEMORY",
    f"busy_timeout = {_WRITER_TIMEOUT_MS}",
)
_READER_PRAGMAS = ("query_only = ON", "cache_size = -16384", "temp_store = MEMORY")


@dataclass
class StoreConnections:
    """The connections to a store, and its files as they were opened. ``changes`` counts rows the writer changed."""

    guard: sqlite3.Connection
    writer: aiosqlite.Connection
    readers: tuple[aiosqlite.Connection, ...]
    files: StoreFiles
    last_commit: Mark
    changes: int = 0

    @property
    def all(self) -> tuple[aiosqlite.Connection, ...]:
        """All but the guard."""
        return (*self.readers, self.writer)

    async def close(self) -> None:
        """Close all of them, the guard last."""
        for connection in self.all:
            await connection.close()
        self.files.forget()
        await asyncio.to_thread(self.guard.close)


async def open_connections(path: Path) -> StoreConnections:
    """Open the connections to a store that is up to date. Raise sqlite3.Error."""
    guard = await asyncio.to_thread(open_guard, path)
    connections: list[aiosqlite.Connection] = []
    try:
        for pragmas in (_WRITER_PRAGMAS, *[_READER_PRAGMAS] * READERS):
            connections.append(await _connect(path, pragmas))
        mark = await asyncio.to_thread(recovery.last_commit, guard)
    except BaseException:
        for connection in connections:
            await connection.close()
        await asyncio.to_thread(guard.close)
        raise
    return StoreConnections(guard, connections[0], tuple(connections[1:]), StoreFiles(path), mark)


async def _connect(path: Path, pragmas: Sequence[str]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, cached_statements=256)
    try:
        for pragma in pragmas:
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection
