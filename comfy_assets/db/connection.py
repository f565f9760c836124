"""The store: reads on a pool of connections, one write transaction at a time, orderly shutdown."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import aiosqlite

from .. import store_guard
from ..errors import SearchUnavailableError, StoreBusyError, StoreError, StoreLockedError
from ..fs import shared_files
from . import migrate, store_files
from .caches import ColumnCache, ResultCache
from .connection_pool import BUSY_TIMEOUT_S, Readers, StoreConnections, open_connections
from .sql import Row, Statement
from .sqlite_errors import READ_ONLY, as_busy, may_pass
from .store_files import CommitMark, StoreState, fold_log, open_guard

log = logging.getLogger("comfy_assets.db")

PATIENCE_S = 5.0  # how long a transaction waits for another process to release the store
_POLL_S = 0.05  # between two attempts to begin while another process holds the store
# A transaction lets others go first at its next pause if it has lasted this long: writers of this process, which are
# known to wait, and other processes, of which nothing is known.
_LONG_S = 0.04
_LONGEST_S = 0.5
_WATCH_S = 1.0  # between two checks that the store's files are in place
_READER_PATIENCE_S = 1.0  # how long queries may run on before the connections are opened again


class Database:
    """The open store. Reads run on a pool of connections, writes one transaction at a time.

    ``can_search``: SQLite has what the full-text indexes need. ``search_results`` and ``job_results`` cache what
    searches of assets and jobs found, and ``columns`` values of all assets. ``trouble`` is the reason why the last
    attempt to write failed, or None.
    """

    def __init__(self, path: Path, connections: StoreConnections, *, can_search: bool) -> None:
        self.can_search = can_search
        self.search_results = ResultCache()
        self.job_results = ResultCache()
        self.columns = ColumnCache()
        self.patience_s = PATIENCE_S
        self.trouble: str | None = None
        self._path = path
        self._connections = connections
        self._readers = Readers(connections.readers)
        self._started = connections.last_commit
        # Every commit is marked with this writer's id and a number, by which a restore sees what the file lacks.
        self._latest = CommitMark(uuid.uuid4().hex, 0)
        self._problem: str | None = None
        self._write_lock = asyncio.Lock()
        self._waiting_writers = 0
        self._closed = False
        self._over = threading.Event()  # closed, or the process is about to end
        self._watch = asyncio.create_task(self._watch_files(), name="comfy-assets store files")

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the store at ``path``; create or migrate it if needed.

        Raises StoreLockedError if that may be possible later, and StoreError otherwise.
        """
        store_guard.protect(path.parent)
        try:
            can_search = await asyncio.to_thread(_prepare, path)
            return cls(path, await open_connections(path), can_search=can_search)
        except BaseException as error:
            store_guard.release(path.parent)
            if isinstance(error, (sqlite3.Error, OSError)):
                kind = StoreLockedError if may_pass(error) else StoreError
                raise kind(f"The library store {path.name} cannot be opened: {error}") from error
            raise

    async def require_writable(self) -> None:
        """Raise StoreLockedError if no transaction can begin."""
        try:
            async with self.transaction():
                pass
        except StoreBusyError as error:
            raise StoreLockedError(error.message) from error

    @property
    def problem(self) -> str | None:
        """The reason why the open store cannot be used, or None."""
        return self._problem

    @property
    def requested_at(self) -> float:
        """The time at which a request that only reads last began a query, by the event loop's clock."""
        return self._readers.requested_at

    def require_search(self) -> None:
        """Raise SearchUnavailableError if this SQLite cannot search for words."""
        if not self.can_search:
            raise SearchUnavailableError(
                f"This server's SQLite {sqlite3.sqlite_version} cannot search by words: version 3.34 or newer with"
                " FTS5 is needed.",
                details={"field": "q"},
            )

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Return all rows of a query, on a reader. Raises StoreBusyError, and QueryTimeoutError within ``reading``."""
        self._require_usable()
        with self._sorted_errors(is_reading=True):
            return await self._readers.fetch_all(sql, parameters)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self, patience_s: float | None = None) -> AsyncIterator[Transaction]:
        """Run a write transaction: commit at the end of the block, roll back on an exception or cancellation.

        Raises StoreBusyError if another process holds the store for longer than ``patience_s``, if the store cannot be
        written, and if its files were removed and the change may be lost.
        """
        patience_s = self.patience_s if patience_s is None else patience_s
        await self._begin(patience_s)
        is_held = True

        async def pause() -> aiosqlite.Connection:
            nonlocal is_held
            await self._commit_and_check()
            is_held = False
            self._write_lock.release()  # the lock is fair: writers that wait come first
            await self._begin(patience_s)
            is_held = True
            return self._connections.writer

        try:
            with self._sorted_errors():
                try:
                    yield Transaction(
                        self._connections.writer, pause, lambda: self._waiting_writers > 0, can_search=self.can_search
                    )
                    await self._commit()
                except BaseException:
                    # Shielded: a rollback that is cancelled, too, would leave the writer inside of the transaction.
                    if is_held and not self._closed:  # else SQLite itself rolls back
                        await asyncio.shield(self._connections.writer.rollback())
                    raise
            await self._check_kept()
        except StoreBusyError as error:
            self.trouble = error.message
            raise
        finally:
            if is_held:
                self._write_lock.release()
        self.trouble = None

    async def _commit_and_check(self) -> None:
        await self._commit()
        await self._check_kept()

    async def _check_kept(self) -> None:
        """Raise StoreBusyError if the store's files were removed and the last transaction may be lost."""
        if not self._closed and not await self._keep_in_place():
            raise StoreBusyError("The change may not have been kept; the server's log says why.")

    async def _begin(self, patience_s: float) -> None:
        """Acquire the write lock and begin. Only the time that other processes take counts against ``patience_s``."""
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        while True:
            self._waiting_writers += 1
            try:
                await self._write_lock.acquire()
            finally:
                self._waiting_writers -= 1
            try:
                if not self._closed:
                    await self._keep_in_place()
                with self._sorted_errors():
                    # A deferred transaction would take the lock with its first write, and fail there without a chance
                    # to try again if another process has written since it first read.
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
                    if not self._closed:  # the cancelled BEGIN may still take effect
                        await asyncio.shield(self._connections.writer.rollback())
                finally:
                    self._write_lock.release()
                raise
            await asyncio.sleep(_POLL_S)

    async def _commit(self) -> None:
        """Commit. If the transaction has changed anything, store its number."""
        writer, mark = self._connections.writer, self._latest
        if writer.in_transaction and writer.total_changes != self._connections.changes:
            mark = CommitMark(mark.writer, mark.number + 1)
            await writer.execute("UPDATE last_commit SET writer = ?, number = ?", mark)
        await writer.commit()
        self._connections.changes = writer.total_changes
        self._latest = mark

    async def probe(self, patience_s: float = 0.0) -> None:
        """Write to the store without changing anything. Raises StoreBusyError if that is impossible."""
        async with self.transaction(patience_s) as tx:
            # A table of one row. The update is a write nevertheless, and fails where a disk is full or read-only.
            await tx.execute("UPDATE job_search SET indexed_upto = indexed_upto")

    def _require_usable(self) -> None:
        if self._problem is not None:
            raise StoreBusyError(self._problem)

    async def _keep_in_place(self) -> bool:
        """Restore the store if its files were removed; return whether it has everything that was committed.

        The caller must hold the write lock. Raises StoreBusyError if the store cannot be restored.
        """
        self._require_usable()
        state = self._connections.files.state()
        if state == "in place":
            return True
        # A cancelled request must not leave the store half restored. The lock is held until this has ended.
        work = asyncio.ensure_future(self._bring_back(state))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise

    async def _bring_back(self, state: StoreState) -> bool:
        log.error("The files of the library store are not in place: %s.", state)
        await self._readers.pause(_READER_PATIENCE_S)
        try:
            copy = await self._copy()
            self._problem = "The library store is being opened again."
            await self._connections.close()
            restored = await asyncio.to_thread(
                store_files.restore, self._path, copy, state, self._connections.files, self._started, self._latest
            )
            if restored.problem is not None:
                self._problem = restored.problem
                log.error("The library is unavailable. %s", restored.problem)
                raise StoreBusyError(restored.problem)
            self._connections = await open_connections(self._path)
            self.columns.clear()  # a restored file may lack the changes that they have
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
        path = await asyncio.to_thread(store_files.copy_path, self._path)
        target = await asyncio.to_thread(store_files.open_copy, path)
        try:
            await self._connections.writer.backup(target)
        except BaseException:
            target.close()
            shared_files.remove(path, missing_ok=True)
            raise
        target.close()
        return path

    async def _watch_files(self) -> None:
        """Check once a second that the store's files are in place, as transactions may be rare."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._problem is None and self._connections.files.state() != "in place":
                async with self._write_lock:
                    with suppress(StoreBusyError):  # it was logged
                        await self._keep_in_place()

    @contextmanager
    def _sorted_errors(self, *, is_reading: bool = False) -> Iterator[None]:
        """Map SQLite's errors: StoreBusyError for the store's state, ProgrammingError for a closed connection.

        aiosqlite raises ValueError for the latter. Writing on a reader is a mistake of ours and is not mapped.
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
        """Checkpoint the write-ahead log and close every connection."""
        self._watch.cancel()
        if not self._closed and not self._write_lock.locked() and self._problem is None:
            async with self._write_lock:
                with suppress(StoreBusyError):  # it was logged
                    await self._keep_in_place()
        if not self._closed:
            store_guard.release(self._path.parent)
        self._closed = True
        self._over.set()
        # Readers end first: the log cannot be truncated while one of them reads from it.
        await self._readers.interrupt()
        for reader in self._connections.readers:
            await reader.close()
        if self._connections.files.state() == "in place":
            await asyncio.to_thread(fold_log, self._path)
        await self._connections.close()

    def close_at_exit(self, before: Callable[[], None]) -> None:
        """Close the connections when the main thread ends without ``close`` having been awaited.

        A server stopped with Ctrl-C does not always run its clean-up, and the threads of aiosqlite are not daemons:
        without this the process would never end. ``before`` is called first, to stop other workers.
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
    """The statements of one write transaction; ``can_search`` as in ``Database``."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        pause: Callable[[], Awaitable[aiosqlite.Connection]],
        is_waited_for: Callable[[], bool],
        *,
        can_search: bool,
    ) -> None:
        self.can_search = can_search
        self._connection = connection
        self._pause = pause
        self._is_waited_for = is_waited_for
        self._began = time.monotonic()

    async def pause(self) -> None:
        """Commit, let waiting writers go first, and begin again. For work in batches, each complete in itself.

        Return at once if the transaction is young or nobody waits for it: the pages that batches share are written
        once for each commit. What was read before may have changed afterwards. Raises StoreBusyError.
        """
        if time.monotonic() - self._began < (_LONG_S if self._is_waited_for() else _LONGEST_S):
            return
        self._connection = await self._pause()
        self._began = time.monotonic()

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        """Run one statement; return the number of rows that it changed."""
        # Without ``async with``: closing a cursor that is done is another turn of the connection's thread for nothing.
        return (await self._connection.execute(sql, parameters)).rowcount

    async def execute_many(self, sql: str, rows: Iterable[Iterable[Any]]) -> int:
        """Run one statement for each row of parameters; return the number of changed rows in all."""
        if isinstance(rows, Sized) and not rows:
            return 0  # without a turn of the connection's thread
        return (await self._connection.executemany(sql, rows)).rowcount

    async def execute_all(self, statements: Iterable[Statement]) -> None:
        """Run statements in one turn of the connection's thread. An exception of one leaves out those after it.

        Each turn waits for the interpreter lock, behind threads that walk folders and read files.
        """
        # See ``StoreConnection``: the library that runs the thread passes on what it gets.
        await cast("Any", self._connection).executescript(statements)

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Return all rows of a query, which sees this transaction's own changes."""
        return cast("list[Row]", await self._connection.execute_fetchall(sql, parameters))

    async def fetch_value(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0][0] if rows else None


def _when_main_thread_ends(callback: Callable[[], object]) -> None:
    """Call back before Python waits for the remaining threads.

    Joining the main thread would be too late: Python marks it as ended only after ``concurrent.futures`` has waited for
    its workers, and one of ours may wait for the end of a prompt that nothing executes any more. The hook that
    ``concurrent.futures`` itself uses has no public name.
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
    """Migrate the store; return whether it can be searched."""
    migrate.prepare(path)
    with (
        closing(open_guard(path)),
        closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as conn,
    ):
        return migrate.create_search_tables(conn)
