"""The composition root: all services, and the parts that each is constructed from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from .assets.batches import BatchService
from .assets.collections import CollectionService
from .assets.export_selection import ExportCollector
from .assets.exports import AssetExports
from .assets.host_files import AssetAliases, HostUploads
from .assets.index.indexer import HASH, SCAN, Indexer
from .assets.index.reread import REREAD, Rereader
from .assets.index.watcher import Follower
from .assets.media.thumbnail_cache import ThumbnailCache
from .assets.media.thumbnail_service import IdleThumbnails, ThumbnailService
from .assets.page_refresh import PageRefresh
from .assets.prompts.output_recorder import OutputRecorder
from .assets.prompts.references import ReferenceResolver
from .assets.references import ReferenceService
from .assets.rename import FileRenamer
from .assets.saved_searches import SavedSearchService
from .assets.service import AssetService
from .assets.trash import AssetTrash
from .assets.trash_purge import AssetExpiry, TrashPurge
from .assets.uploads import UploadService
from .assets.uses import AssetUses
from .background.interruption import Throttle
from .background.tasks import TaskRunner, TaskService, TaskStore
from .config import Config
from .db.connection import Database
from .db.idempotency import IdempotencyKeys
from .downloads.secrets import SecretService
from .downloads.service import DownloadService
from .downloads.sources import ProviderUrls, Sources
from .errors import StoreUnavailableError
from .feedback import FeedbackFile
from .host.access import TrustedProxies, parse_network
from .host.base import Host
from .host.remote_client import RemoteClient, RemoteLimits
from .jobs.live_jobs import LiveEvents
from .jobs.recorder import JobRecorder
from .jobs.service import JobService, UserHistory
from .jobs.user_queue import PromptIds, QueueControl, UserQueue
from .jobs.values import JobValues
from .jobs.views import JobViews
from .login.service import LoginService
from .quotas import Quotas
from .search.index import SearchIndex
from .workflows.bundles.service import BundleService
from .workflows.job_links import JobLinks
from .workflows.requirements import WorkflowRequirements
from .workflows.service import WorkflowService
from .workflows.shares import Shares
from .workflows.sync import WorkflowSync

T = TypeVar("T")

_THUMBNAILS = "thumbnails"


class StoreService(Generic[T]):
    """A service that exists while the store is open; reading it otherwise raises StoreUnavailableError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, services: Composition, owner: type) -> T:
        try:
            found: T = services._available[self._name]
        except KeyError:
            raise StoreUnavailableError("The library store is not available; the server's log says why.") from None
        return found

    def __set__(self, services: Composition, service: T) -> None:
        services._available[self._name] = service


class Composition:
    """All services. Those over the store are constructed by ``_compose`` and exist while it is open."""

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
        self._available: dict[str, Any] = {}
        self.live_events = LiveEvents()
        self._set_recorder(JobRecorder(None))

    def _set_recorder(self, recorder: JobRecorder) -> None:
        """Use a recorder, with the services of jobs that need no store."""
        self._recorder = recorder
        self.control = QueueControl(self.host.execution, recorder)
        self.user_queue = UserQueue(self.host, recorder, self.control)
        self.prompt_ids = PromptIds(recorder)

    def _compose(self, db: Database, take_over: Callable[[set[int]], Awaitable[None]]) -> None:
        """Construct the services over an open store. ``take_over`` adopts the work of servers that have ended."""
        host, config = self.host, self.config
        throttle = Throttle(host.is_executing)
        self.db = db
        self.tasks = TaskRunner(TaskStore(db, self._recorder.seat))
        self.task_list = TaskService(db, self.tasks)
        self.search = SearchIndex(db, self.tasks, throttle, after=(SCAN, HASH, REREAD))
        self.assets = AssetService(db, host, self.search)
        # Without this, a scan that is faster than the recorder would make a user's new outputs public for a moment.
        is_private = host.is_multi_user() and not config.shared_outputs
        unrecorded = self._recorder.live.first_start if is_private else None
        self.indexer = Indexer(
            db, host, self.tasks, throttle, hash_files=config.hash_files, unrecorded_since=unrecorded
        )
        self.rereader = Rereader(db, host, self.tasks, throttle, after=(SCAN,))
        self.follower = Follower(host, self.tasks, throttle, self.indexer)
        self.uploads = UploadService(db, host)
        self._client = RemoteClient(
            allow_private=config.download_private,
            allow_http=config.download_private,
            limits=RemoteLimits(idle_s=config.download_idle),
        )
        self.downloads = DownloadService(
            db,
            host,
            self.uploads,
            self.tasks,
            self._client,
            Sources(self._client, self._providers),
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
        self.idle_thumbnails = IdleThumbnails(
            db, host, self.tasks, throttle, self.thumbnails, after=(SCAN, HASH, REREAD)
        )
        self.outputs = OutputRecorder(
            db,
            host,
            read_files=config.hash_files,
            shared=config.shared_outputs,
            jobs_recorded=self._recorder.write,
            finished=self._recorder.files_recorded,
        )
        self.aliases = AssetAliases(db, host, self._outputs_recorded)
        self.saved_searches = SavedSearchService(db, host)
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
            take_over=take_over,
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

    async def _outputs_recorded(self) -> None:
        """Wait until the outputs of all ended jobs are assets."""
        await self._recorder.flush()
        self.outputs.flush_soon()
        await self.outputs.drain()


def _mirrors(config: Config) -> dict[str, str]:
    """Return the addresses of providers that the configuration replaces."""
    given = {"huggingface": config.huggingface_url, "civitai": config.civitai_url}
    return {name: address for name, address in given.items() if address}
