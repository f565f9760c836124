"""The store: reads on a pool of connections, one write transaction at a time, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import aiosqlite

from .. import store_guard
from ..errors import SearchUnavailableError, StoreBusyError, StoreError
from . import migrate, recovery
from .connection_pool import BUSY_TIMEOUT_S, Readers, Row, StoreConnections, open_connections
from .recovery import Mark
from .result_cache import ResultCache
from .sqlite_errors import READ_ONLY, as_busy
from .store_files import State, fold_log, open_guard

log = logging.getLogger("comfy_assets.db")

PATIENCE_S = 5.0  # how long a transaction waits for another process to let go of the store
_POLL_S = 0.05
_WATCH_S = 1.0  # between two looks at whether the store's files are in place
_READER_PATIENCE_S = 1.0  # how long a query may go on when the connections are to be opened again


class Database:
    """The open store. Reads run on a pool of connections, writes one transaction at a time.

    ``can_search`` tells whether SQLite has what the search indexes need; ``memory`` is for what they found,
    ``job_memory`` for what those of jobs did. ``trouble`` says why the last attempt to write has failed, until one
    succeeds.
    """

    def __init__(self, path: Path, connections: StoreConnections, *, can_search: bool) -> None:
        self.can_search = can_search
        self.search_results = ResultCache()
        self.job_results = ResultCache()
        self.patience_s = PATIENCE_S
        self.trouble: str | None = None
        self._path = path
        self._connections = connections
        self._readers = Readers(connections.readers)
        self._started = connections.last_commit
        self._latest = Mark(uuid.uuid4().hex, 0)
        self._problem: str | None = None
        self._write_lock = asyncio.Lock()
        self._closed = False
        self._over = threading.Event()  # closed, or the process is about to end
        self._watch = asyncio.create_task(self._watch_files(), name="comfy-assets store files")

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the store at ``path``, creating or migrating it. Raise StoreError when that is impossible."""
        store_guard.protect(path.parent)
        try:
            can_search = await asyncio.to_thread(_prepare, path)
            return cls(path, await open_connections(path), can_search=can_search)
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
        """Return all rows of a query, on a reader. Raise StoreBusyError, and QueryTimeoutError as ``readers.reading``
        has it."""
        self._require_usable()
        with self._sorted_errors(is_reading=True):
            return await self._readers.fetch_all(sql, parameters)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self, patience_s: float | None = None) -> AsyncIterator[Transaction]:
        """A write transaction: committed when the block ends, rolled back on exception and cancellation.

        Raises StoreBusyError when another process holds the store for longer than ``patience_s``, when the store
        cannot be written, and when its files were taken away and the change may not have been kept.
        """
        await self._begin(self.patience_s if patience_s is None else patience_s)
        try:
            with self._sorted_errors():
                try:
                    yield Transaction(self._connections.writer, can_search=self.can_search)
                    await self._commit()
                except BaseException:
                    if not self._closed:  # else SQLite itself rolls back
                        await asyncio.shield(self._connections.writer.rollback())
                    raise
            if not self._closed and not await self._keep_in_place():
                raise StoreBusyError("The change may not have been kept; the server's log says why.")
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
                if not self._closed:
                    await self._keep_in_place()
                with self._sorted_errors():
                    await self._connections.writer.execute("BEGIN IMMEDIATE")
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
                        await asyncio.shield(self._connections.writer.rollback())  # it may begin yet
                finally:
                    self._write_lock.release()
                raise
            await asyncio.sleep(_POLL_S)

    async def _commit(self) -> None:
        """Commit, with the number of the transaction if it has changed anything."""
        writer, mark = self._connections.writer, self._latest
        if writer.in_transaction and writer.total_changes != self._connections.changes:
            mark = Mark(mark.writer, mark.number + 1)
            await writer.execute("UPDATE last_commit SET writer = ?, number = ?", mark)
        await writer.commit()
        self._connections.changes = writer.total_changes
        self._latest = mark

    async def probe(self, patience_s: float = 0.0) -> None:
        """Write to the store without changing anything. Raise StoreBusyError when that cannot be done."""
        async with self.transaction(patience_s) as tx:
            await tx.execute("UPDATE job_search SET indexed_upto = indexed_upto")

    def _require_usable(self) -> None:
        if self._problem is not None:
            raise StoreBusyError(self._problem)

    async def _keep_in_place(self) -> bool:
        """Bring the store back if its files were taken away; return whether it has all that was committed.

        Only while holding the write lock. Raises StoreBusyError when it cannot be brought back.
        """
        self._require_usable()
        state = self._connections.files.state()
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
        await self._readers.pause(_READER_PATIENCE_S)
        try:
            copy = await self._copy()
            self._problem = "The library store is being opened again."
            await self._connections.close()
            restored = await asyncio.to_thread(
                recovery.restore, self._path, copy, state, self._connections.files, self._started, self._latest
            )
            if restored.problem is not None:
                self._problem = restored.problem
                log.error("The library is unavailable. %s", restored.problem)
                raise StoreBusyError(restored.problem)
            self._connections = await open_connections(self._path)
            self._started, self._problem = self._connections.last_commit, None
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, StoreBusyError):
                raise
            message = f"The library store cannot be brought back: {error}"
            log.exception("The library store cannot be brought back")
            if self._problem is not None:
                self._problem = message
            raise StoreBusyError(message) from error
        finally:
            self._readers.resume(self._connections.readers)
        return restored.is_complete

    async def _copy(self) -> Path:
        """Copy what the connections show into a new file beside the store."""
        path = await asyncio.to_thread(recovery.copy_path, self._path)
        target = await asyncio.to_thread(recovery.open_copy, path)
        try:
            await self._connections.writer.backup(target)
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
            if self._problem is None and self._connections.files.state() != "in place":
                async with self._write_lock:
                    with suppress(StoreBusyError):  # it was logged
                        await self._keep_in_place()

    @contextmanager
    def _sorted_errors(self, *, is_reading: bool = False) -> Iterator[None]:
        """Raise StoreBusyError for what is the store's state; sqlite3.ProgrammingError where it was closed under way.

        aiosqlite tells the latter as ValueError. A reader that is made to write is a mistake of ours.
        """
        try:
            yield
        except sqlite3.Error as error:
            if isinstance(error, StoreBusyError) or (is_reading and READ_ONLY in str(error)):
                raise
            if (busy := as_busy(error)) is None:
                raise
            raise busy from error
        except ValueError as error:
            if self._closed:
                raise sqlite3.ProgrammingError("The store is closed.") from error
            self._require_usable()
            raise

    async def close(self) -> None:
        """Close every connection, after bringing the write-ahead log into the file."""
        self._watch.cancel()
        if not self._closed and not self._write_lock.locked() and self._problem is None:
            async with self._write_lock:
                with suppress(StoreBusyError):  # it was logged
                    await self._keep_in_place()
        if not self._closed:
            store_guard.release(self._path.parent)
        self._closed = True
        self._over.set()
        await self._readers.interrupt()
        for reader in self._connections.readers:
            await reader.close()
        if self._connections.files.state() == "in place":
            await asyncio.to_thread(fold_log, self._path)
        await self._connections.close()

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
            if self._connections.files.state() == "in place":
                fold_log(self._path)
            for connection in self._connections.all:
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
    """Bring the store up to date; return whether it can be searched."""
    migrate.prepare(path)
    with (
        closing(open_guard(path)),
        closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as conn,
    ):
        return migrate.create_search_tables(conn)
