"""Start and end of the services: opening the store, recovery, and background work."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack

from . import store_guard
from .assets.exports import EXPORT
from .assets.media import decoders
from .background.tasks import Task
from .composition import Composition
from .config import Config
from .db import tasks as task_rows
from .db.connection import Database
from .db.connection_pool import reading
from .downloads.service import DOWNLOAD
from .errors import StoreError, StoreLockedError, StoreUnavailableError
from .fs.atomic import LEFTOVER_AGE_S, remove_leftovers
from .host.base import Host
from .ignored_files import ExcludePatterns
from .jobs import recovery
from .jobs.journal import Journal
from .jobs.recorder import JobRecorder
from .jobs.service import fill_history
from .models import JobRecord
from .workflows.service import purge_workflows

log = logging.getLogger("comfy_assets")

STORE_NAME = "library.db"
_JOURNAL = "queue"
_TRY_AGAIN_S = 5.0  # while another process blocks the store
_RESUMED = (EXPORT, DOWNLOAD)  # tasks that the next start continues


class Services(Composition):
    """All services that requests use. They start in the background; ``ready`` waits for that."""

    def __init__(self, host: Host, config: Config) -> None:
        store_guard.protect(host.data_directory())
        host.exclude(ExcludePatterns(config.exclude))
        super().__init__(host, config)
        self._opened = asyncio.Event()
        self._problem: str | None = None
        self._opening_again: asyncio.Task[None] | None = None
        self._is_indexing_wanted = False
        self._ends = AsyncExitStack()
        self._journal: Journal | None = None
        self._journal_problem: str | None = None

    def watch_queue(self) -> None:
        """Record every prompt from now on, even while the store is not open yet."""
        try:
            self._journal = Journal(self.host.data_directory() / _JOURNAL)
        except OSError as error:  # the store is likely to fail as well, so this is only logged once that has opened
            self._journal_problem = str(error)
        self._set_recorder(JobRecorder(self._journal))
        self.host.execution.watch(self._recorder)
        # After the recorder: whoever is woken reads what that has been told.
        self.host.execution.watch(self.live_events)
        self.host.execution.watch_progress(self.live_events)

    @property
    def problem(self) -> str | None:
        """The reason why the store could not be opened or can no longer be used, or None."""
        db: Database | None = self._available.get("db")
        return self._problem or (db.problem if db is not None else None)

    def claimed(self, prompt_id: str, owner: str) -> AbstractAsyncContextManager[None]:
        """Reserve an id for a prompt that is submitted within the block. See ``PromptIds.claimed``."""
        return self.prompt_ids.claimed(prompt_id, owner, self._available.get("db"))

    async def check_store(self) -> None:
        """Raise StoreUnavailableError unless the store can be read and the last write succeeded."""
        await self.ready()
        await self.db.fetch_one("SELECT 1")
        if self._recorder.trouble is not None:
            raise self._recorder.trouble
        if self.db.trouble is not None:
            await self.db.probe()

    async def ready(self) -> None:
        """Wait until the store is open. Raises StoreUnavailableError if it could not be opened."""
        await self.started()
        _ = self.db

    async def is_open_share(self, share_id: str) -> bool:
        """Return whether a share is open to those who have not signed in; False while the store is not available."""
        try:
            await self.ready()
            return await self.shares.is_open(share_id)
        except (StoreError, sqlite3.Error, StoreUnavailableError) as error:
            log.warning("A share could not be looked up: %s", error)
            return False

    def reading(self, is_gone: Callable[[], bool]) -> AbstractContextManager[None]:
        """Stop the queries of the current task when the client has disconnected, or after the configured time."""
        return reading(is_gone, self.config.query_timeout)

    async def outputs_recorded(self) -> None:
        """Wait until the files of prompts that have just ended are assets, but only for a moment."""
        await self._recorder.files_of_ended()

    async def started(self) -> None:
        """Wait until the attempt to open the store that is under way has ended."""
        await self._opened.wait()

    async def start(self, *, recover: bool = True) -> None:
        """Open the store. A failure is logged, and every request that needs the store fails with it.

        A store that another program holds is opened later. ``recover`` repairs the state that a killed server left.
        Commands must not do so, and do not wait either: a server may be running.
        """
        try:
            await asyncio.to_thread(decoders.load)
            db = await self._open_store(is_written=recover)
            await self._use_store(db, recover=recover)
        except StoreLockedError as error:
            self._problem = str(error)
            if recover:
                log.error("The library is unavailable until its store can be opened. %s", error)
                self._opening_again = asyncio.create_task(self._open_later(), name="comfy-assets store")
            else:
                await self._give_up(error)
        except (StoreError, sqlite3.Error) as error:
            await self._give_up(error)
        finally:
            self._opened.set()

    async def _open_store(self, *, is_written: bool) -> Database:
        """Open the store's file. Raises StoreLockedError, StoreError."""
        db = await Database.open(self.host.data_directory() / STORE_NAME)
        try:
            if is_written:
                await db.require_writable()
        except BaseException:
            await db.close()
            raise
        return db

    async def _use_store(self, db: Database, *, recover: bool) -> None:
        self._compose(db, self._take_over)
        self._register_ends(db)
        if recover:
            await self._recover()

    async def _open_later(self) -> None:
        """Try to open the store until it is free. Meanwhile the recorder keeps what happens in the queue."""
        while True:
            await asyncio.sleep(_TRY_AGAIN_S)
            try:
                db = await self._open_store(is_written=True)
                self._opened.clear()  # requests wait for the recovery, as at the start
                await self._use_store(db, recover=True)
            except StoreLockedError as error:
                self._problem = str(error)
                continue
            except (StoreError, sqlite3.Error) as error:
                self._opening_again = None  # the end of all services must not wait for this task
                await self._give_up(error)
                return
            finally:
                self._opened.set()
            self._problem = None
            log.warning("The library is available: its store could be opened.")
            if self._is_indexing_wanted:
                await self.start_indexing()
            return

    async def _give_up(self, error: Exception) -> None:
        """Go on without a store, until the server is started again."""
        self._problem = str(error)
        log.error("The library is unavailable. %s", error)
        self._recorder.give_up()
        await self.stop()

    def _register_ends(self, db: Database) -> None:
        """Register what ``stop`` calls, in reverse order."""
        # Tasks and recorders end before the services that they use, and the database last.
        self._ends.push_async_callback(db.close)
        self._ends.push_async_callback(self._client.close)
        self._ends.push_async_callback(self.thumbnails.close)
        self._ends.push_async_callback(self.assets.close)
        self._ends.callback(self.indexer.close)
        for working in (
            self._recorder,
            self.outputs,
            self.jobs,
            self.tasks,
            self.rereader,
            self.search,
            self.job_links,
            self.idle_thumbnails,
            self.expiry,
        ):
            self._ends.push_async_callback(working.close)
        self._ends.push_async_callback(self.workflow_sync.close)
        self._ends.push_async_callback(self.exports.close)
        self._ends.push_async_callback(self.page_refresh.close)
        db.close_at_exit(before=self._stop_workers)

    def _stop_workers(self) -> None:
        """Cancel the work of all threads. Safe from any thread."""
        self.tasks.cancel_all()
        self.indexer.cancel_reading()
        self.thumbnails.cancel()
        self.outputs.cancel()

    async def _recover(self) -> None:
        """Repair the state that ended servers left. Waiting jobs return to the queue last: they start at once."""
        await task_rows.fail_interrupted(self.db, self._recorder.running_seats(), _RESUMED)
        await purge_workflows(self.db)
        await self.collections.purge()
        await self.trash.recover()
        await self.uploads.remove_leftovers(keep=await self.downloads.partial_names())
        # Of the files of the login and of the keys for downloads.
        private = [self.host.data_directory()]
        await asyncio.to_thread(remove_leftovers, private, time.time() - LEFTOVER_AGE_S)
        if self._journal_problem is not None:
            log.warning("Jobs are not safe from a crash, their journal cannot be opened: %s", self._journal_problem)
        waiting = await recovery.recover(self.db, self._journal, restore=self.config.restore_queue)
        await fill_history(self.db, self.host.execution)
        self._recorder.open(self.db, self.outputs)
        await self._recorder.flush()
        for prompt in await recovery.unlinked(self.db):
            self.outputs.record(prompt)
        self.outputs.start()
        await self._put_back(waiting)
        self.jobs.start()  # only now: its monitor ends jobs that are not in the queue
        await self.exports.open(self._recorder.running_seats())
        await self.downloads.resume(self._recorder.running_seats())

    async def _put_back(self, waiting: Sequence[JobRecord]) -> None:
        self._recorder.restored(waiting)
        await recovery.put_back(waiting, self.host.execution, self._recorder.finished, self.live_events.restored)

    async def _take_over(self, seats: set[int]) -> None:
        """Adopt the jobs and tasks of other servers that have ended."""
        await task_rows.fail_tasks_of(self.db, seats, _RESUMED)
        await self.exports.resume({*self._recorder.running_seats(), self._recorder.seat})
        waiting = await recovery.recover(self.db, self._journal, restore=self.config.restore_queue, seats=seats)
        await self._put_back(waiting)
        await self.downloads.resume({*self._recorder.running_seats(), self._recorder.seat})

    async def start_indexing(self) -> None:
        """Start the full-text index, the first scan and the watcher, as configured, once the store is open.

        Do nothing if it could not be opened.
        """
        self._is_indexing_wanted = True
        if not (self._available and self._opened.is_set()):
            return
        await self.page_refresh.start()
        self.search.start()
        self.workflow_sync.start(follow=self.config.follow)
        self.job_links.start()
        self.expiry.start()
        if self.config.scan_on_start:
            self._keep_trying(lambda: self.indexer.start_scan()[0])
            if self.config.follow:
                self._keep_trying(self.follower.start)
        if self.config.hash_files:
            self.rereader.start()  # only now: a scan that starts goes first
        if self.config.idle_thumbnails and self.config.thumbnail_cache_size:
            self.idle_thumbnails.start()

    def _keep_trying(self, start: Callable[[], Task]) -> None:
        """Start a task, and restart it while it fails because the store is not usable."""
        trying = asyncio.create_task(_try_again(start(), start), name="comfy-assets tasks of the start")
        self._ends.callback(trying.cancel)

    async def close(self) -> None:
        """Stop everything, at the end of the server."""
        await self.stop()
        await asyncio.to_thread(self.login.close)

    async def stop(self) -> None:
        """Stop background work, write pending events, and close the store."""
        if self._opening_again is not None:
            self._opening_again.cancel()
            await asyncio.wait([self._opening_again])
        self.live_events.close()
        await self._ends.aclose()
        await self.control.close()
        await self._recorder.close()
        self._available.clear()
        if self._problem is None:  # else the server continues without a store, whose files stay protected
            store_guard.release(self.host.data_directory())


async def _try_again(task: Task, start: Callable[[], Task]) -> None:
    while True:
        await task.done.wait()
        if not isinstance(task.failure, StoreUnavailableError):
            return
        await asyncio.sleep(_TRY_AGAIN_S)
        task = start()
