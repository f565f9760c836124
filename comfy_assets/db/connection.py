"""Connections to the store: one writer behind a lock, a few read-only readers, and their orderly end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiosqlite

from .. import store_guard
from ..errors import SearchUnavailableError, StoreError, StoreUnavailableError
from . import migrate, rescue, search_tables
from .log_guard import fold_log, open_guard
from .memory import Memory
from .rescue import Mark
from .store_files import State, StoreFiles

log = logging.getLogger("comfy_assets.db")

Row = tuple[Any, ...]
READERS = 3
_BUSY_TIMEOUT_S = 10
_WATCH_S = 1.0  # between two looks at whether the store's files are in place
_READER_PATIENCE_S = 1.0  # how long a query may go on when the connections are to be opened again
# Pages are read from the operating system's cache; the writer keeps more so that a bulk import stays in
# memory.
_WRITER_PRAGMAS = (
    "foreign_keys = ON",
    "wal_autocheckpoint = 8000",
    "synchronous = NORMAL",
    "cache_size = -65536",
    "temp_store = MEMORY",
)
_READER_PRAGMAS = ("query_only = ON", "cache_size = -16384", "temp_store = MEMORY")


class Database:
    """The open store. Reads run on a pool of connections, writes one transaction at a time.

    ``can_search`` tells whether SQLite has what the search indexes need; ``memory`` is for what they found,
    ``job_memory`` for what those of jobs did.
    """

    def __init__(self, path: Path, opened: _Opened, *, can_search: bool) -> None:
        self.can_search = can_search
        self.memory = Memory()
        self.job_memory = Memory()
        self._path = path
        self._opened = opened
        self._started = opened.last_commit
        self._latest = Mark(uuid.uuid4().hex, 0)
        self._problem: str | None = None
        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in opened.readers:
            self._idle.put_nowait(reader)
        self._write_lock = asyncio.Lock()
        self._closed = False
        self._over = threading.Event()  # closed, or the process is about to end
        self._watch = asyncio.create_task(self._watch_files(), name="comfy-assets store files")

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the store at ``path``, creating or migrating it. Raises StoreError when that is impossible."""
        store_guard.protect(path.parent)
        try:
            can_search = await asyncio.to_thread(_prepare, path)
            return cls(path, await _open(path), can_search=can_search)
        except BaseException as error:
            store_guard.release(path.parent)
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StoreError(f"The library store {path.name} cannot be opened: {error}") from error
            raise

    @property
    def problem(self) -> str | None:
        """Why the store cannot be used although it was opened; None while it can."""
        return self._problem

    def require_search(self) -> None:
        """Raise SearchUnavailableError unless words can be searched for."""
        if not self.can_search:
            raise SearchUnavailableError(
                f"This server's SQLite {sqlite3.sqlite_version} cannot search by words: version 3.34 or newer with"
                " FTS5 is needed.",
                details={"field": "q"},
            )

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """All rows of a query, on a reader."""
        reader = await self._idle.get()
        try:
            self._require_usable()
            with self._told_when_closed():
                return cast("list[Row]", await reader.execute_fetchall(sql, parameters))
        finally:
            self._idle.put_nowait(reader)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A write transaction: committed when the block ends, rolled back on exception and cancellation.

        Raises StoreUnavailableError when the store's files were taken away and the change may not have been kept.
        """
        async with self._write_lock:
            if not self._closed:
                await self._keep_in_place()
            with self._told_when_closed():
                try:
                    await self._opened.writer.execute("BEGIN IMMEDIATE")
                    yield Transaction(self._opened.writer, can_search=self.can_search)
                    await self._commit()
                except BaseException:
                    if not self._closed:  # else SQLite itself rolls back
                        await asyncio.shield(self._opened.writer.rollback())
                    raise
            if not self._closed and not await self._keep_in_place():
                raise StoreUnavailableError("The change may not have been kept; the server's log says why.")

    async def _commit(self) -> None:
        """Commit, with the number of the transaction if it has changed anything."""
        writer, mark = self._opened.writer, self._latest
        if writer.in_transaction and writer.total_changes != self._opened.changes:
            mark = Mark(mark.writer, mark.number + 1)
            await writer.execute("UPDATE last_commit SET writer = ?, number = ?", mark)
        await writer.commit()
        self._opened.changes = writer.total_changes
        self._latest = mark

    def _require_usable(self) -> None:
        if self._problem is not None:
            raise StoreUnavailableError(self._problem)

    async def _keep_in_place(self) -> bool:
        """Bring the store back if its files were taken away; return whether it has all that was committed.

        Only while holding the write lock. Raises StoreUnavailableError when it cannot be brought back.
        """
        self._require_usable()
        state = self._opened.files.state()
        if state == "in place":
            return True
        # Not to be cancelled half way, and the lock is held until it has ended.
        work = asyncio.ensure_future(self._bring_back(state))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise

    async def _bring_back(self, state: State) -> bool:
        log.error("The files of the library store are not in place: %s.", state)
        readers = [await self._idle_reader() for _ in range(READERS)]
        try:
            copy = await self._copy()
            await self._opened.close()
            self._problem = "The library store is being opened again."
            restored = await asyncio.to_thread(
                rescue.restore, self._path, copy, state, self._opened.files, self._started, self._latest
            )
            if restored.problem is not None:
                self._problem = restored.problem
                log.error("The library is unavailable. %s", restored.problem)
                raise StoreUnavailableError(restored.problem)
            self._opened = await _open(self._path)
            self._started, self._problem = self._opened.last_commit, None
            readers = list(self._opened.readers)
        except (sqlite3.Error, OSError) as error:
            message = f"The library store cannot be brought back: {error}"
            log.exception("The library store cannot be brought back")
            if self._problem is not None:
                self._problem = message
            raise StoreUnavailableError(message) from error
        finally:
            for reader in readers:
                self._idle.put_nowait(reader)
        return restored.is_complete

    async def _idle_reader(self) -> aiosqlite.Connection:
        """A reader that is not in use; queries that take long are ended."""
        while True:
            try:
                return await asyncio.wait_for(self._idle.get(), _READER_PATIENCE_S)
            except asyncio.TimeoutError:
                for reader in self._opened.readers:
                    await reader.interrupt()

    async def _copy(self) -> Path:
        """Copy what the connections show into a new file beside the store."""
        path = await asyncio.to_thread(rescue.copy_path, self._path)
        target = await asyncio.to_thread(rescue.open_copy, path)
        try:
            await self._opened.writer.backup(target)
        except BaseException:
            target.close()
            path.unlink(missing_ok=True)
            raise
        target.close()
        return path

    async def _watch_files(self) -> None:
        """Notice also between transactions that the store's files were taken away."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._problem is None and self._opened.files.state() != "in place":
                async with self._write_lock:
                    with suppress(StoreUnavailableError):  # it was logged
                        await self._keep_in_place()

    @contextmanager
    def _told_when_closed(self) -> Iterator[None]:
        """Raise sqlite3.ProgrammingError where the store was closed under way, which aiosqlite tells as ValueError."""
        try:
            yield
        except ValueError as error:
            if self._closed:
                raise sqlite3.ProgrammingError("The store is closed.") from error
            raise

    async def close(self) -> None:
        """Close every connection, after bringing the write-ahead log into the file."""
        self._watch.cancel()
        if not self._closed and not self._write_lock.locked() and self._problem is None:
            async with self._write_lock:
                with suppress(StoreUnavailableError):  # it was logged
                    await self._keep_in_place()
        if not self._closed:
            store_guard.release(self._path.parent)
        self._closed = True
        self._over.set()
        for reader in self._opened.readers:
            await reader.close()
        if self._opened.files.state() == "in place":
            await asyncio.to_thread(fold_log, self._path)
        await self._opened.close()

    def close_at_exit(self, before: Callable[[], None]) -> None:
        """Close the connections when the main thread ends without ``close`` having been awaited.

        A server stopped with Ctrl-C does not always run its clean-up, and the threads of aiosqlite are not
        daemons: without this the process would never end. ``before`` is called first, to stop other workers.
        """

        def watch() -> None:
            self._over.wait()
            if self._closed:
                return
            before()
            if self._opened.files.state() == "in place":
                fold_log(self._path)
            for connection in self._opened.connections:
                connection.stop()

        threading.Thread(target=watch, name="comfy-assets-exit", daemon=True).start()
        _when_main_thread_ends(self._over.set)


@dataclass
class _Opened:
    """The connections to a store, and its files as they were opened. ``changes`` counts rows the writer changed."""

    guard: sqlite3.Connection
    writer: aiosqlite.Connection
    readers: tuple[aiosqlite.Connection, ...]
    files: StoreFiles
    last_commit: Mark
    changes: int = 0

    @property
    def connections(self) -> tuple[aiosqlite.Connection, ...]:
        """All but the guard."""
        return (*self.readers, self.writer)

    async def close(self) -> None:
        """Close all of them, the guard last."""
        for connection in self.connections:
            await connection.close()
        self.files.forget()
        await asyncio.to_thread(self.guard.close)


async def _open(path: Path) -> _Opened:
    """Open the connections to a store that is up to date. Raises sqlite3.Error."""
    guard = await asyncio.to_thread(open_guard, path)
    connections: list[aiosqlite.Connection] = []
    try:
        for pragmas in (_WRITER_PRAGMAS, *[_READER_PRAGMAS] * READERS):
            connections.append(await _connect(path, pragmas))
        mark = await asyncio.to_thread(rescue.last_commit, guard)
    except BaseException:
        for connection in connections:
            await connection.close()
        await asyncio.to_thread(guard.close)
        raise
    return _Opened(guard, connections[0], tuple(connections[1:]), StoreFiles(path), mark)


class Transaction:
    """The statements of one write transaction; ``can_search`` is the store's."""

    def __init__(self, connection: aiosqlite.Connection, *, can_search: bool) -> None:
        self.can_search = can_search
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
        return cast("list[Row]", await self._connection.execute_fetchall(sql, parameters))

    async def fetch_value(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0][0] if rows else None


def _when_main_thread_ends(callback: Callable[[], object]) -> None:
    """Have the callback called before Python waits for the threads that are left.

    Joining the main thread would be too late: Python marks it as ended only after ``concurrent.futures`` has
    waited for its workers, and one of ours may be held back until a prompt ends that nobody executes any
    more. The hook that ``concurrent.futures`` itself uses has no public name.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(callback)
        return

    def join() -> None:
        threading.main_thread().join()
        callback()

    threading.Thread(target=join, name="comfy-assets-main-thread", daemon=True).start()


def _prepare(path: Path) -> bool:
    """Bring the store up to date; answers whether it can be searched."""
    migrate.prepare(path)
    with (
        closing(open_guard(path)),
        closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_S)) as conn,
    ):
        return search_tables.make(conn)


async def _connect(path: Path, pragmas: Sequence[str]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_S, cached_statements=256)
    try:
        for pragma in pragmas:
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection
