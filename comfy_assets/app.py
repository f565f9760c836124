"""The composition root: put the services together over a host and a store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from typing import Any, TypeVar

from .assets.editing import Editing
from .assets.follow import Follower
from .assets.gate import WorkGate
from .assets.indexer import Indexer
from .assets.intake import OutputIntake
from .assets.portability import Portability
from .assets.previews import Previews
from .assets.referring import References
from .assets.search_index import SearchIndex
from .assets.service import AssetService
from .assets.thumbnail_cache import ThumbnailCache
from .assets.trash_bin import TrashBin
from .assets.uploads import Uploads
from .config import Config
from .db import tasks as task_rows
from .db.connection import Database
from .errors import StoreError, StoreUnavailableError
from .feedback import FeedbackFile
from .host.base import Host
from .jobs import recovery
from .jobs.journal import Journal
from .jobs.recorder import JobRecorder
from .jobs.service import JobService
from .task_list import TaskList
from .tasks.runner import TaskRunner
from .workflows import trash as workflow_trash
from .workflows.file_watch import FileWatch
from .workflows.files import WorkflowFiles
from .workflows.job_links import JobLinks
from .workflows.service import WorkflowService
from .workflows.shares import Shares

log = logging.getLogger("comfy_assets")

T = TypeVar("T")

STORE_NAME = "library.db"
_THUMBNAILS = "thumbnails"
_JOURNAL = "queue"
_KEPT_TASKS = 100


class Services:
    """Everything requests are answered with. Opens in the background; ``ready`` waits for that."""

    def __init__(self, host: Host, config: Config) -> None:
        self.host = host
        self.config = config
        self._opened = asyncio.Event()
        self._problem: str | None = None
        self._db: Database | None = None
        self._tasks: TaskRunner | None = None
        self._task_list: TaskList | None = None
        self._feedback = FeedbackFile(host.data_directory())
        self._search: SearchIndex | None = None
        self._assets: AssetService | None = None
        self._indexer: Indexer | None = None
        self._follower: Follower | None = None
        self._uploads: Uploads | None = None
        self._references: References | None = None
        self._editing: Editing | None = None
        self._trash: TrashBin | None = None
        self._portability: Portability | None = None
        self._outputs: OutputIntake | None = None
        self._previews: Previews | None = None
        self._jobs: JobService | None = None
        self._workflows: WorkflowService | None = None
        self._shares: Shares | None = None
        self._workflow_files: WorkflowFiles | None = None
        self._workflow_watch: FileWatch | None = None
        self._job_links: JobLinks | None = None
        self._journal: Journal | None = None
        self._journal_problem: str | None = None
        self._recorder = JobRecorder(None)

    def watch_queue(self) -> None:
        """Take note of every prompt from now on, also while the store is not open yet."""
        try:
            self._journal = Journal(self.host.data_directory() / _JOURNAL)
        except OSError as error:  # most likely there will be no store either: that is told when it is opened
            self._journal_problem = str(error)
        self._recorder = JobRecorder(self._journal)
        self.host.execution.watch(self._recorder)

    @property
    def assets(self) -> AssetService:
        """Questions about assets."""
        return self._need(self._assets)

    @property
    def search(self) -> SearchIndex:
        """The search indexes' upkeep."""
        return self._need(self._search)

    @property
    def indexer(self) -> Indexer:
        """The index's upkeep."""
        return self._need(self._indexer)

    @property
    def uploads(self) -> Uploads:
        """New assets of files that clients send."""
        return self._need(self._uploads)

    @property
    def references(self) -> References:
        """New assets of content that is there."""
        return self._need(self._references)

    @property
    def editing(self) -> Editing:
        """Changes to assets."""
        return self._need(self._editing)

    @property
    def trash(self) -> TrashBin:
        """What was deleted."""
        return self._need(self._trash)

    @property
    def previews(self) -> Previews:
        """Thumbnails."""
        return self._need(self._previews)

    @property
    def portability(self) -> Portability:
        """What assets named in prompts stand for."""
        return self._need(self._portability)

    @property
    def outputs(self) -> OutputIntake:
        """What executed prompts have written, on its way into the library."""
        return self._need(self._outputs)

    @property
    def jobs(self) -> JobService:
        """Prompts, and what became of them."""
        return self._need(self._jobs)

    @property
    def workflow_files(self) -> WorkflowFiles:
        """The files that workflows are."""
        return self._need(self._workflow_files)

    @property
    def job_links(self) -> JobLinks:
        """Of which workflows jobs are."""
        return self._need(self._job_links)

    @property
    def workflows(self) -> WorkflowService:
        """Saved workflows and their versions."""
        return self._need(self._workflows)

    @property
    def shares(self) -> Shares:
        """What is published of workflows."""
        return self._need(self._shares)

    @property
    def tasks(self) -> TaskRunner:
        """Background work."""
        return self._need(self._tasks)

    @property
    def task_list(self) -> TaskList:
        """Questions about background work."""
        return self._need(self._task_list)

    @property
    def feedback(self) -> FeedbackFile:
        """What users say of the server."""
        return self._feedback

    @property
    def db(self) -> Database:
        """The open store."""
        return self._need(self._db)

    def _need(self, service: T | None) -> T:
        if service is None:
            raise StoreUnavailableError("The library store is not available; the server's log says why.")
        return service

    @property
    def problem(self) -> str | None:
        """Why the store could not be opened, or None."""
        return self._problem

    async def ready(self) -> None:
        """Wait until the store is open. Raises StoreUnavailableError when it could not be opened."""
        await self.started()
        self._need(self._db)

    async def started(self) -> None:
        """Wait until the store is open, or could not be opened."""
        await self._opened.wait()

    async def start(self, *, recover: bool = True) -> None:
        """Open the store; a failure is kept and logged, and every request that needs the store is told of it.

        ``recover`` puts in order what a killed server left, which is not for commands: a server may be at work.
        """
        try:
            self._db = await Database.open(self.host.data_directory() / STORE_NAME)
            await self._compose(self._db, recover)
        except (StoreError, sqlite3.Error) as error:
            self._problem = str(error)
            log.error("The library is unavailable. %s", error)
            self._recorder.give_up()
            await self.stop()
        finally:
            self._opened.set()

    async def _compose(self, db: Database, recover: bool) -> None:
        tasks = TaskRunner(_Journal(db))
        gate = WorkGate(self.host.is_executing)
        self._tasks = tasks
        self._task_list = TaskList(db)
        self._search = SearchIndex(db, tasks, gate)
        self._assets = AssetService(db, self.host, self._search)
        indexer = self._indexer = Indexer(db, self.host, tasks, gate, hash_files=self.config.hash_files)
        self._follower = Follower(self.host, tasks, gate, indexer)
        self._uploads = Uploads(db, self.host)
        self._references = References(db, self.host)
        self._trash = TrashBin(db, self.host)
        self._editing = Editing(db, self.host, self._trash)
        self._portability = Portability(db, self.host)
        files = self._workflow_files = WorkflowFiles(db, self.host, self.config.max_workflow_size)
        self._workflow_watch = FileWatch(self.host, files)
        self._workflows = WorkflowService(db, files)
        self._job_links = JobLinks(db, jobs_recorded=self._recorder.flush)
        self._shares = Shares(db, self.host, indexer, files)
        jobs = self._jobs = JobService(db, self.host, self._recorder)
        outputs = self._outputs = OutputIntake(
            db, self.host, read_files=self.config.hash_files, jobs_recorded=self._recorder.flush
        )
        self.host.on_finished(outputs.take)
        if recover:
            await task_rows.fail_interrupted(db)
            await workflow_trash.purge(db)
            await self._trash.recover()
            await self._uploads.remove_leftovers()
            await self._take_up_jobs(db, jobs, outputs)
        cache = ThumbnailCache(self.host.data_directory() / _THUMBNAILS, self.config.thumbnail_cache_size)
        previews = self._previews = Previews(db, self.host, cache)

        def stop_workers() -> None:
            tasks.cancel_all()
            indexer.cancel_reading()
            previews.cancel()
            outputs.cancel()

        db.close_at_exit(before=stop_workers)

    async def _take_up_jobs(self, db: Database, jobs: JobService, outputs: OutputIntake) -> None:
        """Go on where the last server ended. What waited is put back last: it may be over before anything else is."""
        if self._journal_problem is not None:
            log.warning("Jobs are not safe from a crash, their journal cannot be opened: %s", self._journal_problem)
        waiting = await recovery.recover(db, self._journal, restore=self.config.restore_queue)
        await recovery.fill_history(db, self.host.execution)
        self._recorder.open(db)
        jobs.start()
        await self._recorder.flush()
        for prompt in await recovery.unlinked(db):
            outputs.take(prompt)
        await recovery.put_back(waiting, self.host.execution)

    async def start_indexing(self) -> None:
        """Begin to index for search; and the first scan, then to follow the disk, if the configuration wants it.

        Nothing begins where the store could not be opened.
        """
        if self._search is None or self._indexer is None or self._follower is None:
            return
        self._search.start()
        if self._workflow_watch is not None and self._job_links is not None:
            self._workflow_watch.start(follow=self.config.follow)
            self._job_links.start()
        if self.config.scan_on_start:
            self._indexer.start_scan()
            if self.config.follow:
                self._follower.start()

    async def stop(self) -> None:
        """End background work, write what is in memory, and close the store."""
        if self._workflow_watch is not None:
            await self._workflow_watch.close()
        if self._job_links is not None:
            await self._job_links.close()
        if self._search is not None:
            await self._search.close()
        if self._tasks is not None:
            await self._tasks.close()
        if self._jobs is not None:
            await self._jobs.close()
        if self._outputs is not None:
            await self._outputs.close()
        await self._recorder.close()
        if self._indexer is not None:
            self._indexer.close()
        if self._assets is not None:
            await self._assets.close()
        if self._previews is not None:
            await self._previews.close()
        if self._db is not None:
            await self._db.close()
        self._db = self._tasks = self._search = self._assets = self._indexer = self._follower = None
        self._uploads = self._references = self._editing = self._trash = self._previews = None
        self._portability = self._outputs = self._jobs = None
        self._workflows = self._shares = self._workflow_files = self._workflow_watch = self._job_links = None
        self._task_list = None


class _Journal:
    """Records tasks in the store."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str) -> None:
        await task_rows.keep_newest(self._db, name, _KEPT_TASKS)
        await task_rows.create(self._db, task_id, name, payload, owner)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        await task_rows.update(self._db, task_id, result)

    async def finished(self, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
        await task_rows.finish(self._db, task_id, result, error)
