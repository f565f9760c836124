"""Connections to the store: one writer behind a lock, a few read-only readers, and their orderly end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import aiosqlite

from ..errors import SearchUnavailableError, StoreBusyError, StoreError
from . import migrate, search_tables
from .memory import Memory

Row = tuple[Any, ...]
READERS = 3
_BUSY_TIMEOUT_S = 10
PATIENCE_S = 5.0  # how long a transaction waits for another process to let go of the store
# SQLite itself waits this long, and the transaction then lets others of this process try, so that each of them waits
# for its own time and none for all before it.
_WRITER_TIMEOUT_MS = 50
_POLL_S = 0.05
_READ_ONLY = "readonly database"
_TROUBLES = (
    ("is locked", "another process holds it"),
    ("disk is full", "the disk is full"),
    ("disk I/O error", "the disk cannot be read or written"),
    ("unable to open database file", "its file cannot be opened"),
    (_READ_ONLY, "its file cannot be written"),
    ("disk image is malformed", "its file is damaged"),
    ("file is not a database", "its file is damaged"),
)
_UNFIT = ("malformed JSON", "JSON path error", "too big", "integer overflow")
# Pages are read from the operating system's cache; the writer keeps more so that a bulk import stays in
# memory.
_WRITER_PRAGMAS = (
    "foreign_keys = ON",
    "wal_autocheckpoint = 8000",
    "synchronous = NORMAL",
    "cache_size = -65536",
    "temp_store = MEMORY",
    f"busy_timeout = {_WRITER_TIMEOUT_MS}",
)
_READER_PRAGMAS = ("query_only = ON", "cache_size = -16384", "temp_store = MEMORY")


class Database:
    """The open store. Reads run on a pool of connections, writes one transaction at a time.

    ``can_search`` tells whether SQLite has what the search indexes need; ``memory`` is for what they found,
    ``job_memory`` for what those of jobs did.
    """

    def __init__(
        self, writer: aiosqlite.Connection, readers: Sequence[aiosqlite.Connection], *, can_search: bool
    ) -> None:
        self.can_search = can_search
        self.memory = Memory()
        self.job_memory = Memory()
        self._writer = writer
        self._readers = tuple(readers)
        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._idle.put_nowait(reader)
        self._write_lock = asyncio.Lock()
        self.patience_s = PATIENCE_S
        self.trouble: str | None = None  # why the last attempt to write has failed, until one succeeds
        self._closed = False
        self._over = threading.Event()  # closed, or the process is about to end

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the store at ``path``, creating or migrating it. Raises StoreError when that is impossible."""
        connections: list[aiosqlite.Connection] = []
        try:
            can_search = await asyncio.to_thread(_prepare, path)
            for pragmas in (_WRITER_PRAGMAS, *[_READER_PRAGMAS] * READERS):
                connections.append(await _connect(path, pragmas))
        except BaseException as error:
            for connection in connections:
                await connection.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StoreError(f"The library store {path.name} cannot be opened: {error}") from error
            raise
        return cls(connections[0], connections[1:], can_search=can_search)

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
            with self._told(is_reading=True):
                return cast("list[Row]", await reader.execute_fetchall(sql, parameters))
        finally:
            self._idle.put_nowait(reader)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self, patience_s: float | None = None) -> AsyncIterator[Transaction]:
        """A write transaction: committed when the block ends, rolled back on exception and cancellation.

        Raises StoreBusyError when another process holds the store for longer than ``patience_s``.
        """
        await self._begin(self.patience_s if patience_s is None else patience_s)
        try:
            with self._told():
                try:
                    yield Transaction(self._writer, can_search=self.can_search)
                    await self._writer.commit()
                except BaseException:
                    if not self._closed:  # else SQLite itself rolls back
                        await asyncio.shield(self._writer.rollback())
                    raise
        except StoreBusyError as error:
            self.trouble = error.message
            raise
        finally:
            self._write_lock.release()
        self.trouble = None

    async def _begin(self, patience_s: float) -> None:
        """Begin a transaction and keep the lock. Only the time that another process takes counts."""
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        while True:
            await self._write_lock.acquire()
            try:
                with self._told():
                    await self._writer.execute("BEGIN IMMEDIATE")
                return
            except StoreBusyError as error:
                self._write_lock.release()
                deadline = loop.time() + patience_s if deadline is None else deadline
                if not error.is_passing or loop.time() >= deadline:
                    self.trouble = error.message
                    raise
            except BaseException:
                try:
                    if not self._closed:
                        await asyncio.shield(self._writer.rollback())  # it may begin yet
                finally:
                    self._write_lock.release()
                raise
            await asyncio.sleep(_POLL_S)

    async def probe(self) -> None:
        """Write to the store without changing anything. Raises StoreBusyError when that cannot be done now."""
        async with self.transaction(0.0) as tx:
            await tx.execute("UPDATE job_search SET indexed_upto = indexed_upto")

    @contextmanager
    def _told(self, *, is_reading: bool = False) -> Iterator[None]:
        """Raise StoreBusyError for what is the store's state; sqlite3.ProgrammingError where it was closed under way.

        aiosqlite tells the latter as ValueError. A reader that is made to write is a mistake of ours.
        """
        try:
            yield
        except sqlite3.Error as error:
            if isinstance(error, StoreBusyError) or (is_reading and _READ_ONLY in str(error)):
                raise
            if (busy := _as_busy(error)) is None:
                raise
            raise busy from error
        except ValueError as error:
            if self._closed:
                raise sqlite3.ProgrammingError("The store is closed.") from error
            raise

    async def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the file."""
        self._closed = True
        self._over.set()
        for connection in (*self._readers, self._writer):
            await connection.close()

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
            for connection in (*self._readers, self._writer):
                connection.stop()

        threading.Thread(target=watch, name="comfy-assets-exit", daemon=True).start()
        _when_main_thread_ends(self._over.set)


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
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_S)) as conn:
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


def _as_busy(error: sqlite3.Error) -> StoreBusyError | None:
    """The error as one of the store's state; None where a statement is to blame. On Python 3.10 only its text tells."""
    said = str(error)
    for words, reason in _TROUBLES:
        if words in said:
            busy = StoreBusyError(f"The library store cannot be used now: {reason}.")
            busy.is_passing = words == "is locked"
            return busy
    return None


def is_unfit(error: Exception) -> bool:
    """Whether values are to blame for an error of writing them, and not the state of the store or of the process."""
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _UNFIT)
    if isinstance(error, sqlite3.ProgrammingError):
        return "closed" not in str(error)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError))
    return isinstance(error, RecursionError) or not isinstance(error, (RuntimeError, OSError))
