"""The composition root: create the services over a host and a store, start and stop them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, Generic, TypeVar

from . import store_guard
from .assets.batch.service import BatchService
from .assets.collections import CollectionService
from .assets.expiry import AssetExpiry
from .assets.exports.selection import ExportCollector
from .assets.exports.service import EXPORT, AssetExports
from .assets.host_files import AssetAliases, HostUploads
from .assets.index.indexer import HASH, SCAN, Indexer
from .assets.index.reread import REREAD, Rereader
from .assets.index.watcher import Follower
from .assets.media import decoders
from .assets.media.idle_thumbnails import IdleThumbnails
from .assets.media.thumbnail_cache import ThumbnailCache
from .assets.media.thumbnail_service import ThumbnailService
from .assets.page_refresh import PageRefresh
from .assets.prompts.output_recorder import OutputRecorder
from .assets.prompts.references import ReferenceResolver
from .assets.references import ReferenceService
from .assets.rename import FileRenamer
from .assets.saved_searches import SavedSearchService
from .assets.service import AssetService
from .assets.trash import AssetTrash
from .assets.trash_purge import TrashPurge
from .assets.uploads import UploadService
from .assets.uses import AssetUses
from .background.tasks import Task, TaskRunner, TaskService, TaskStore
from .background.throttle import Throttle
from .config import Config
from .db import tasks as task_rows
from .db.connection import Database
from .db.connection_pool import reading
from .downloads.links import ProviderUrls
from .downloads.secrets import SecretService
from .downloads.service import DOWNLOAD, DownloadService
from .downloads.sources import Sources
from .errors import StoreError, StoreLockedError, StoreUnavailableError
from .feedback import FeedbackFile
from .host.base import Host
from .host.proxies import TrustedProxies, parse_network
from .host.remote_client import RemoteClient, RemoteLimits
from .idempotency import IdempotencyKeys
from .ignored_files import ExcludePatterns
from .jobs import recovery
from .jobs.journal import Journal
from .jobs.live_events import LiveEvents
from .jobs.recorder import JobRecorder
from .jobs.service import JobService, UserHistory, fill_history
from .jobs.user_queue import PromptIds, QueueControl, UserQueue
from .jobs.values import JobValues
from .jobs.views import JobViews
from .login.service import LoginService
from .models import JobRecord
from .quotas import Quotas
from .search.index import SearchIndex
from .workflows.bundles.service import BundleService
from .workflows.job_links import JobLinks
from .workflows.requirements import WorkflowRequirements
from .workflows.service import WorkflowService, purge_workflows
from .workflows.shares import Shares
from .workflows.sync import WorkflowSync

log = logging.getLogger("comfy_assets")

T = TypeVar("T")

STORE_NAME = "library.db"
_THUMBNAILS = "thumbnails"
_JOURNAL = "queue"
_TRY_AGAIN_S = 5.0  # while another process blocks the store
_RESUMED = (EXPORT, DOWNLOAD)  # tasks that the next start continues


class StoreService(Generic[T]):
    """A service that exists while the store is open; reading it otherwise raises StoreUnavailableError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, services: Services, owner: type) -> T:
        try:
            found: T = services._available[self._name]
        except KeyError:
            raise StoreUnavailableError("The library store is not available; the server's log says why.") from None
        return found

    def __set__(self, services: Services, service: T) -> None:
        services._available[self._name] = service


class Services:
    """All services that requests use. They open in the background; ``ready`` waits for that."""

    db = StoreService[Database]()
    tasks = StoreService[TaskRunner]()
    task_list = StoreService[TaskService]()
    search = StoreService[SearchIndex]()
    assets = StoreService[AssetService]()
    indexer = StoreService[Indexer]()
    rereader = StoreService[Rereader]()
    follower = StoreService[Follower]()
    uploads = StoreService[UploadService]()
    downloads = StoreService[DownloadService]()
    host_uploads = StoreService[HostUploads]()
    references = StoreService[ReferenceService]()
    trash = StoreService[AssetTrash]()
    trash_purge = StoreService[TrashPurge]()
    expiry = StoreService[AssetExpiry]()
    idempotency = StoreService[IdempotencyKeys]()
    collections = StoreService[CollectionService]()
    saved_searches = StoreService[SavedSearchService]()
    asset_uses = StoreService[AssetUses]()
    renamer = StoreService[FileRenamer]()
    batches = StoreService[BatchService]()
    aliases = StoreService[AssetAliases]()
    reference_resolver = StoreService[ReferenceResolver]()
    thumbnails = StoreService[ThumbnailService]()
    idle_thumbnails = StoreService[IdleThumbnails]()
    exports = StoreService[AssetExports]()
    jobs = StoreService[JobService]()
    user_history = StoreService[UserHistory]()
    job_values = StoreService[JobValues]()
    job_views = StoreService[JobViews]()
    outputs = StoreService[OutputRecorder]()
    workflow_sync = StoreService[WorkflowSync]()
    workflows = StoreService[WorkflowService]()
    bundles = StoreService[BundleService]()
    workflow_requirements = StoreService[WorkflowRequirements]()
    job_links = StoreService[JobLinks]()
    shares = StoreService[Shares]()
    page_refresh = StoreService[PageRefresh]()

    def __init__(self, host: Host, config: Config) -> None:
        self.host = host
        self.config = config
        store_guard.protect(host.data_directory())
        host.exclude(ExcludePatterns(config.exclude))
        self.feedback = FeedbackFile(host.data_directory())
        self._providers = ProviderUrls(**_mirrors(config))
        self.secrets = SecretService(host.data_directory(), self._providers)
        self.login = LoginService(host.data_directory())
        self.quotas = Quotas(
            host,
            config,
            lambda key: self.login.state.users.get(key),
            lambda user: self._recorder.live.waiting(user),
            lambda: self._available.get("db"),
        )
        self.proxies = TrustedProxies(tuple(map(parse_network, config.trusted_proxies)), config.proxy_user_header)
        self._opened = asyncio.Event()
        self._problem: str | None = None
        self._opening_again: asyncio.Task[None] | None = None
        self._is_indexing_wanted = False
        self._ends = AsyncExitStack()
        self._available: dict[str, Any] = {}
        self._journal: Journal | None = None
        self._journal_problem: str | None = None
        self.live_events = LiveEvents()
        self._set_recorder(JobRecorder(None))

    def _set_recorder(self, recorder: JobRecorder) -> None:
        """Use a recorder, with the services of jobs that need no store."""
        self._recorder = recorder
        self.control = QueueControl(self.host.execution, recorder)
        self.user_queue = UserQueue(self.host, recorder, self.control)
        self.prompt_ids = PromptIds(recorder)

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
        self.db = db
        self._compose(db)
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

    def _compose(self, db: Database) -> None:
        """Create the services, and register their ends."""
        host, config = self.host, self.config
        gate = Throttle(host.is_executing)
        self.tasks = TaskRunner(TaskStore(db, self._recorder.seat))
        self.task_list = TaskService(db, self.tasks)
        self.search = SearchIndex(db, self.tasks, gate, after=(SCAN, HASH, REREAD))
        self.assets = AssetService(db, host, self.search)
        # Without this, a scan that is faster than the recorder would make a user's new outputs public for a moment.
        is_private = host.is_multi_user() and not config.shared_outputs
        unrecorded = self._recorder.live.first_start if is_private else None
        self.indexer = Indexer(db, host, self.tasks, gate, hash_files=config.hash_files, unrecorded_since=unrecorded)
        self.rereader = Rereader(db, host, self.tasks, gate, after=(SCAN,))
        self.follower = Follower(host, self.tasks, gate, self.indexer)
        self.uploads = UploadService(db, host)
        client = RemoteClient(
            allow_private=config.download_private,
            allow_http=config.download_private,
            limits=RemoteLimits(idle_s=config.download_idle),
        )
        self.downloads = DownloadService(
            db,
            host,
            self.uploads,
            self.tasks,
            client,
            Sources(client, self._providers),
            self.secrets,
            instance=self._recorder.seat,
            enabled=config.downloads,
            check_room=self.quotas.check_room,
        )
        self.host_uploads = HostUploads(db, host)
        self.references = ReferenceService(db, host)
        self.trash = AssetTrash(db, host, self._recorder.write)
        self.trash_purge = TrashPurge(db, host, self.trash, self.tasks)
        self.expiry = AssetExpiry(db, self.trash, self.trash_purge)
        self.idempotency = IdempotencyKeys(db)
        self.asset_uses = AssetUses(db, self._recorder.write)
        self.renamer = FileRenamer(db, host, self._recorder.write)
        self.reference_resolver = ReferenceResolver(db, host)
        cache = ThumbnailCache(host.data_directory() / _THUMBNAILS, config.thumbnail_cache_size)
        self.thumbnails = ThumbnailService(db, host, cache)
        self.idle_thumbnails = IdleThumbnails(db, host, self.tasks, gate, self.thumbnails, after=(SCAN, HASH, REREAD))
        self.outputs = OutputRecorder(
            db,
            host,
            read_files=config.hash_files,
            shared=config.shared_outputs,
            jobs_recorded=self._recorder.write,
            finished=self._recorder.files_recorded,
        )
        self.aliases = AssetAliases(db, host, self._outputs_recorded)
        self.saved_searches = SavedSearchService(db)
        self.collections = CollectionService(db, host, self.aliases)
        self.batches = BatchService(db, host, self.tasks, self.assets, self.trash, self.aliases)
        collector = ExportCollector(db, host, self.aliases, self._outputs_recorded)
        self.exports = AssetExports(db, host, self.tasks, collector)
        self.jobs = JobService(
            db,
            host,
            self._recorder,
            self.control,
            self.live_events,
            take_over=self._take_over,
            outputs_recorded=self._outputs_recorded,
            delete_assets=self.trash.delete_all,
        )
        self.user_history = UserHistory(db, self._recorder)
        self.job_values = JobValues(db, host)
        self.job_views = JobViews(db, self.jobs, self._recorder, self.live_events, self.outputs, self.job_values)
        self.workflow_sync = WorkflowSync(db, host, config.max_workflow_size)
        self.workflows = WorkflowService(db, self.workflow_sync)
        self.bundles = BundleService(db, host, self.tasks, self.workflows, self.exports, config.max_workflow_size)
        self.workflow_requirements = WorkflowRequirements(db, self.workflows)
        self.job_links = JobLinks(db, jobs_recorded=self._recorder.write)
        self.shares = Shares(db, host, self.indexer, self.workflow_sync)
        self.page_refresh = PageRefresh(db, host)

        # They end in reverse order: tasks and recorders before the services that they use, and the database last.
        self._ends.push_async_callback(db.close)
        self._ends.push_async_callback(client.close)
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

    async def _outputs_recorded(self) -> None:
        """Wait until the outputs of all ended jobs are assets."""
        await self._recorder.flush()
        self.outputs.flush_soon()
        await self.outputs.drain()

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


def _mirrors(config: Config) -> dict[str, str]:
    """Return the addresses of providers that the configuration replaces."""
    given = {"huggingface": config.huggingface_url, "civitai": config.civitai_url}
    return {name: address for name, address in given.items() if address}


async def _try_again(task: Task, start: Callable[[], Task]) -> None:
    while True:
        await task.done.wait()
        if not isinstance(task.failure, StoreUnavailableError):
            return
        await asyncio.sleep(_TRY_AGAIN_S)
        task = start()
