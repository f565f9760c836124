"""Requests for downloads: facts about a link, checks before a transfer, and continuation after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..assets.fields import UploadDestination, UploadFields
from ..assets.media.mime import guess_mime
from ..assets.references import CreatedAsset
from ..assets.roots import Roots, current_roots
from ..assets.uploads import UploadService
from ..background.tasks import Task, TaskRunner
from ..db import downloads
from ..db import tasks as task_rows
from ..db.connection import Database
from ..db.downloads import DownloadRow
from ..errors import (
    ApiError,
    DownloadsDisabledError,
    SourceError,
    StoreUnavailableError,
    TooManyDownloadsError,
    UnsafePickleError,
    UnsafeVirusError,
)
from ..fs import shared_files
from ..fs.atomic import run_blocking, temp_name
from ..fs.paths import free_bytes
from ..host.base import Host
from ..host.remote_client import RemoteClient
from ..ids import now_ms
from .run import DownloadRun, DownloadTools, HostTurns
from .secrets import SecretService
from .sources import RemoteFile, SourceProblem, Sources
from .transfer import TransferLimits, check_space

log = logging.getLogger("comfy_assets.downloads")

DOWNLOAD = "asset_download"
MAX_ACTIVE = 100
_KNOWN_S = 300.0  # responses of servers are kept for the request that follows
_MAX_KNOWN = 100
_INTERRUPTED_MS = 7 * 24 * 60 * 60 * 1000  # partial files wait so long for another request
_MAX_USER_METADATA_BYTES = 64 << 10
_UNSAFE: dict[str, type[SourceError]] = {error.code: error for error in (UnsafePickleError, UnsafeVirusError)}
# Other names of folders, in links and at providers.
_ALIASES = {
    "checkpoint": "checkpoints",
    "lora": "loras",
    "unet": "diffusion_models",
    "clip": "text_encoders",
    "text_encoder": "text_encoders",
    "controlnets": "controlnet",
    "embedding": "embeddings",
    "upscaler": "upscale_models",
}


class DownloadRequest(msgspec.Struct, frozen=True):
    """A request for a download: a link, and fields of the new asset. ``user_metadata`` are members of it."""

    url: str
    tags: tuple[str, ...] = ()
    name: str | None = None
    user_metadata: dict[str, Any] = {}
    preview_id: str | None = None


class RemoteMetadata(msgspec.Struct, frozen=True):
    """Facts about the file behind a link. ``tags`` name its likely location, ``preview`` is a data URL."""

    source: RemoteFile
    tags: tuple[str, ...]
    preview: str | None
    problems: tuple[SourceProblem, ...]


@dataclass(frozen=True)
class StartedDownload:
    """A download that has not ended: the id of its task."""

    task_id: uuid.UUID


# Raises StorageQuotaError if a user has no room for so many bytes.
CheckRoom = Callable[[str, int], Awaitable[None]]


class DownloadService:
    """Creates assets from links (createAssetDownload), one file at a time from each host.

    ``instance`` is this server among those that share the store. ``check_room`` applies the quotas of users.
    """

    def __init__(
        self,
        db: Database,
        host: Host,
        uploads: UploadService,
        tasks: TaskRunner,
        client: RemoteClient,
        sources: Sources,
        secrets: SecretService,
        *,
        instance: int = 0,
        enabled: bool = True,
        limits: TransferLimits | None = None,
        check_room: CheckRoom | None = None,
    ) -> None:
        self._db = db
        self._host = host
        self._uploads = uploads
        self._tasks = tasks
        self._sources = sources
        self._secrets = secrets
        self._instance = instance
        self._enabled = enabled
        self._check_room = check_room
        self._tools = DownloadTools(db, host, uploads, client, secrets, limits or TransferLimits(), HostTurns())
        self._known: dict[tuple[str, str], tuple[float, RemoteFile]] = {}
        self._runs: dict[uuid.UUID, DownloadRun] = {}

    async def metadata(self, url: str, owner: str) -> RemoteMetadata:
        """Return the facts about the file behind a link (getRemoteAssetMetadata).

        Raises DownloadsDisabledError, InvalidLinkError, AddressNotAllowedError, SourceError.
        """
        self._check_enabled()
        source = await self._find(url, owner, "url")
        roots = await current_roots(self._host)
        preview = None
        try:
            preview = await self._sources.preview(source)
        except ApiError as error:  # the picture is an ornament
            log.debug("The preview of a model could not be loaded: %s", error.message)
        problems = (*source.problems, *_format_problems(source.name, roots))
        return RemoteMetadata(source, _suggested_tags(source, roots), preview, problems)

    async def start(
        self, request: DownloadRequest, owner: str, field: str = "source_url"
    ) -> CreatedAsset | StartedDownload:
        """Start a download (createAssetDownload); return the asset at once if the library has the file already.

        A second request for the same file and location returns the running download. ``field`` is the member with the
        link. Raises DownloadsDisabledError, InvalidLinkError, AddressNotAllowedError, SourceError, InvalidTagsError,
        InvalidNameError, InvalidPreviewError, UnsupportedContentError, NotEnoughSpaceError, StorageQuotaError,
        TooManyDownloadsError.
        """
        self._check_enabled()
        destination = await self._uploads.destination(request.tags)
        await self._uploads.check_preview(request.preview_id, owner)
        source = await self._find(request.url, owner, field)
        _check_source(source, field)
        fields = _fields_of(request, source)
        await self._uploads.check_name(fields, source.size or 1)  # now, rather than after a transfer of hours
        existing = await self._existing(source, fields, owner)
        if existing is not None:
            return existing
        row = self._row(source, fields, owner, destination)
        active = await downloads.active_by_key(self._db, row.key)
        if active is None:
            await _check_space(destination.folder, source.size or 0)
            if self._check_room is not None:
                await self._check_room(owner, source.size or 0)
            active = await downloads.claim(self._db, row, MAX_ACTIVE)
        if active is None:
            raise TooManyDownloadsError("Too many downloads are waiting.", details={"limit": MAX_ACTIVE})
        if active.id == row.id:
            await self._spawn(active)
        return StartedDownload(uuid.UUID(bytes=active.id))

    async def fetch(self, request: DownloadRequest, owner: str) -> CreatedAsset:
        """Download a file and return its asset (createAsset with a link).

        Raises the errors of ``start``, and those of the transfer: SourceError, HashMismatchError, StorageError. The
        download goes on if the caller is cancelled.
        """
        started = await self.start(request, owner, "url")
        if isinstance(started, CreatedAsset):
            return started
        details = {"task_id": str(started.task_id)}
        run = self._runs.get(started.task_id)
        if run is None:
            raise SourceError("Another server of this library downloads the file.", details=details)
        await run.task.done.wait()
        if isinstance(run.task.failure, ApiError):
            raise run.task.failure
        if run.created is None:
            raise SourceError("The download was cancelled or failed.", details=details)
        return run.created

    async def resume(self, running: Collection[int]) -> None:
        """Continue the downloads of servers that have ended, and remove partial files that nobody asked for again.

        ``running`` are the instances of servers that run.
        """
        for row in await downloads.remove_interrupted(self._db, now_ms() - _INTERRUPTED_MS):
            await asyncio.to_thread(_remove_partial, row)
        adopted = await downloads.adopt(self._db, self._instance, running)
        for task in await task_rows.interrupted(self._db, DOWNLOAD, running):
            if not self._enabled or task.id.bytes not in {row.id for row in adopted}:
                await task_rows.finish(self._db, task.id, "failed", {}, task_rows.STOPPED)
        for row in adopted:
            if self._enabled:
                await self._spawn(row)
            else:
                await downloads.interrupt(self._db, uuid.UUID(bytes=row.id))

    async def partial_names(self) -> set[str]:
        """Return the names of partial files that may be continued."""
        return {temp_name(key) for key in await downloads.keys(self._db)}

    def _check_enabled(self) -> None:
        if not self._enabled:
            raise DownloadsDisabledError("Downloads are turned off on this server.")

    async def _find(self, url: str, owner: str, field: str) -> RemoteFile:
        """Return the file behind a link; a response of the last minutes is used again."""
        provider = self._sources.provider_of(url, field)
        known_at, known = self._known.get((owner, url), (0.0, None))
        if known is not None and time.monotonic() - known_at < _KNOWN_S:
            return known
        found = await self._sources.find(url, await self._secrets.key(owner, provider), field)
        self._known.pop((owner, url), None)
        while len(self._known) >= _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[owner, url] = (time.monotonic(), found)
        return found

    async def _existing(self, source: RemoteFile, fields: UploadFields, owner: str) -> CreatedAsset | None:
        """Return an asset with the content that the source describes, if the library knows that it has it."""
        digest = source.blake3
        if digest is None and source.sha256 is not None:
            digest = await downloads.blake3_of(self._db, source.sha256)
        if digest is None:
            return None
        found = await self._uploads.find_existing(digest, fields, owner)
        return None if found is None else CreatedAsset(found, is_new=False)

    def _row(self, source: RemoteFile, fields: UploadFields, owner: str, destination: UploadDestination) -> DownloadRow:
        identity = [owner, source.url, destination.kind, destination.category]
        return DownloadRow(
            id=uuid.uuid4().bytes,
            owner=owner,
            instance=self._instance,
            key=hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:32],
            is_active=True,
            request=msgspec.json.encode(fields).decode(),
            source=msgspec.json.encode(source).decode(),
            folder=str(destination.folder),
        )

    async def _spawn(self, row: DownloadRow) -> None:
        source = msgspec.json.decode(row.source, type=RemoteFile)
        task_id, payload = uuid.UUID(bytes=row.id), {"source_url": source.page, "filename": source.name}
        # Its key is its id: the row ensures that nothing is downloaded twice, and has gone before the task has ended.
        task = Task(DOWNLOAD, payload, row.owner, task_id=task_id, is_awaited=True, is_resumable=True)
        run = self._runs[task_id] = DownloadRun(self._tools, row, source, task)

        async def work(_: Task) -> None:
            try:
                await run.work()
            finally:
                self._runs.pop(task_id, None)

        try:
            await self._tasks.spawn(task, work)
        except StoreUnavailableError:
            self._runs.pop(task_id, None)
            with suppress(StoreUnavailableError):
                await downloads.remove(self._db, task_id)
            raise


def _check_source(source: RemoteFile, field: str) -> None:
    """Raise SourceError for a file that must not be downloaded."""
    for problem in source.problems:
        if problem.is_fatal:
            raise _UNSAFE.get(problem.code, SourceError)(problem.message, details={"field": field})
    if source.size == 0:
        raise SourceError("The file is empty.", details={"field": field})


def _fields_of(request: DownloadRequest, source: RemoteFile) -> UploadFields:
    """Return the fields of the new asset, with the provider's facts beside the user's metadata."""
    given = dict(request.user_metadata)
    if given.get("source_url") == request.url:
        given["source_url"] = source.page  # without keys that a query may have
    for metadata in ({**source.facts, "source_url": source.page, **given}, given):
        text = msgspec.json.encode(metadata)
        if len(text) <= _MAX_USER_METADATA_BYTES:
            break
    return UploadFields(
        tags=request.tags,
        file_name=source.name,
        name=request.name,
        user_metadata=text.decode(),
        preview_id=request.preview_id,
    )


def _suggested_tags(source: RemoteFile, roots: Roots) -> tuple[str, ...]:
    """Return the tags of the models category that the link names, by its innermost folders first."""
    categories = roots.categories()
    for word in reversed(source.folders):
        lowered = word.lower()
        for name in (lowered, _ALIASES.get(lowered)):
            if name in categories:
                return ("models", name)
    return ("models",) if not _is_media(source.name) else ()


def _format_problems(name: str, roots: Roots) -> list[SourceProblem]:
    accepted = frozenset[str]().union(*(roots.suffixes(category) for category in roots.categories()))
    suffix = Path(name).suffix.lower()
    if not accepted or suffix in accepted or _is_media(name):
        return []
    return [SourceProblem("FORMAT_NOT_ALLOWED", f"No loader reads files of this type: {suffix or 'no suffix'}.")]


def _is_media(name: str) -> bool:
    return guess_mime(name).partition("/")[0] in ("image", "video", "audio", "model")


async def _check_space(folder: Path, needed: int) -> None:
    check_space(await run_blocking(lambda: free_bytes(folder)), needed)


def _remove_partial(row: DownloadRow) -> None:
    with suppress(OSError):  # a folder that is away keeps it until it is found by the removal of leftovers
        shared_files.remove(Path(row.folder) / temp_name(row.key), missing_ok=True)
