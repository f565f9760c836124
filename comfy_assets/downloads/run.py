"""The work of one download: its turn at the host, the transfer, the new asset, and reports about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ..assets.fields import UploadFields, upload_file_name
from ..assets.references import CreatedAsset
from ..assets.uploads import UploadService
from ..background.interruption import Cancelled, until_cancelled
from ..background.tasks import Task
from ..db import downloads
from ..db.connection import Database
from ..db.downloads import DownloadRow
from ..errors import (
    AddressNotAllowedError,
    ApiError,
    HashMismatchError,
    InvalidLinkError,
    InvalidPreviewError,
    SourceError,
    SourceKeyDeniedError,
    SourceKeyInvalidError,
    SourceKeyNeededError,
    StoreUnavailableError,
    UnsupportedContentError,
)
from ..fs import shared_files
from ..fs.atomic import run_blocking, temp_name
from ..fs.partial_file import ResumableFile
from ..host.base import Host
from ..host.remote_client import RemoteClient
from ..ids import hash_text
from .secrets import SecretService
from .sources import RemoteFile
from .transfer import Transfer, TransferLimits, TransferState

log = logging.getLogger("comfy_assets.downloads")

_EVENT_S = 0.5  # between messages about the progress of a download
# Pages learn from the response of createAssetDownload which category a download is for, and only then can they show the
# new model in a list that is open. A message before this response makes them ignore the category.
HOLD_S = 1.0
# After these errors another attempt cannot use the part that has arrived.
_USELESS = (HashMismatchError, UnsupportedContentError, InvalidLinkError, AddressNotAllowedError)
_CURABLE = (SourceKeyNeededError, SourceKeyInvalidError, SourceKeyDeniedError)


class HostTurns:
    """Locks by host, so that one file at a time is downloaded from each."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, list[object]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait for the turn at the host, in the order of the calls."""
        lock, users = self._locks.setdefault(host, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[host]


@dataclass(frozen=True)
class DownloadTools:
    """Services and limits that all downloads share."""

    db: Database
    host: Host
    uploads: UploadService
    client: RemoteClient
    secrets: SecretService
    limits: TransferLimits
    turns: HostTurns


class _Messages:
    """Sends messages to pages, the first of them after ``HOLD_S`` seconds. Their order stays."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._held: list[dict[str, Any]] | None = []
        asyncio.get_running_loop().call_later(HOLD_S, self._release)

    def send(self, message: dict[str, Any]) -> None:
        if self._held is None:
            self._host.emit("asset_download", message)
        else:
            self._held.append(message)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for message in held:
            self.send(message)


class DownloadRun:
    """Runs one download as the work of a task. ``created`` is its result."""

    def __init__(self, tools: DownloadTools, row: DownloadRow, source: RemoteFile, task: Task) -> None:
        self._tools = tools
        self._row = row
        self._file: ResumableFile | None = None
        self._state = TransferState(row.validator)
        self._reported_at = 0.0
        self._messages = _Messages(tools.host)
        self._source = source
        self.task = task
        self._fields = msgspec.json.decode(row.request, type=UploadFields)
        self._name = upload_file_name(self._fields)
        self.created: CreatedAsset | None = None

    async def work(self) -> None:
        """Download the file and create its asset. Raises ApiError, Cancelled."""
        task = self.task
        self._report("created")
        try:
            # The last step is short and moves the file into place: it is not cancelled.
            await until_cancelled(self._receive(), task.token)
            await self._complete()
        except Cancelled:
            # At the end of the server the row stays active, so that the next start continues the download.
            await self._leave(keep=not task.is_cancel_requested, is_over=task.is_cancel_requested)
            if task.is_cancel_requested:
                self._report("cancelled")
            raise
        except ApiError as error:
            await self._leave(keep=_is_worth_keeping(error), is_over=True)
            log.warning("A download from %s failed: %s", self._source.host, error.message)
            task.result = {**self._progress(), "success": False, "code": error.code, "error": error.message}
            self._report("failed", error=error.message)
            raise
        except Exception:
            log.exception("A download from %s failed", self._source.host)
            await self._leave(keep=True, is_over=True)
            self._report("failed", error="The download failed; the server's log says why.")
            raise

    async def _receive(self) -> None:
        async with self._tools.turns.turn(self._source.host):
            if self._row.verified is not None and not await run_blocking(self._path.exists):
                # The server was killed between the last two steps: the file has been moved into place.
                found = await self._tools.uploads.find_existing(self._row.verified, self._fields, self._row.owner)
                if found is not None:
                    self.created = CreatedAsset(found, is_new=False)
                    return
            await self._choose_folder()
            self._file = await run_blocking(lambda: ResumableFile(Path(self._row.folder), self._row.key))
            # Without a hash to compare, only bytes that a power failure cannot have damaged are used.
            limit = None if self._source.sha256 is not None else self._row.flushed
            file = self._file
            await run_blocking(lambda: file.resume(limit, self.task.token.check))
            key = await self._tools.secrets.key(self._row.owner, self._source.provider)
            self._report("running")
            transfer = Transfer(
                self._tools.client,
                self._source,
                file,
                key=key,
                state=self._state,
                limits=self._tools.limits,
                on_progress=self._on_progress,
                on_flush=self._on_flush,
            )
            await transfer.run()
        await downloads.record_verified(self._tools.db, self.task.id, file.digest(), file.sha256())

    async def _choose_folder(self) -> None:
        """Begin in the folder that is the destination now, unless there is a partial file to continue."""
        if await run_blocking(self._path.exists):
            return
        folder = str((await self._tools.uploads.destination(self._fields.tags)).folder)
        if folder != self._row.folder:
            self._row = msgspec.structs.replace(self._row, folder=folder, flushed=0)
            self._state.validator = None
            await downloads.record_folder(self._tools.db, self.task.id, folder)

    async def _complete(self) -> None:
        """Create the asset, or find the one of the same content; then the download has ended."""
        if self.created is None and self._file is not None:
            fields = await self._with_preview()
            self.created = await self._tools.uploads.complete(self._file, fields, self._row.owner)
            await run_blocking(self._file.discard)  # it is still there if the library had the content already
        await self._forget()
        if self.created is not None:
            asset = self.created.asset
            self.task.result = {
                "success": True,
                "asset_id": asset.id,
                "filename": asset.name,
                "hash": hash_text(asset.hash) if asset.hash else "",
                "content_type": asset.mime_type,
                "bytes_downloaded": asset.size,
                "bytes_total": asset.size,
                "created_new": self.created.is_new,
            }
            self._report("completed", asset_id=asset.id)

    async def _with_preview(self) -> UploadFields:
        """Return the fields, without a preview that was deleted during the download."""
        try:
            await self._tools.uploads.check_preview(self._fields.preview_id, self._row.owner)
        except InvalidPreviewError:
            return replace(self._fields, preview_id=None)
        return self._fields

    @property
    def _path(self) -> Path:
        return Path(self._row.folder) / temp_name(self._row.key)

    async def _leave(self, *, keep: bool, is_over: bool) -> None:
        """Close or remove the partial file. The row stays active unless the download ``is_over``."""
        if self._file is not None:
            await run_blocking(self._file.close)
            await self._on_flush()
        has_part = await run_blocking(lambda: keep and self._path.exists() and self._path.stat().st_size > 0)
        if not has_part:
            await run_blocking(lambda: shared_files.remove(self._path, missing_ok=True))
        if is_over:
            await self._forget(is_interrupted=has_part)

    async def _forget(self, *, is_interrupted: bool = False) -> None:
        """Remove the row, or mark it as interrupted."""
        try:
            if is_interrupted:
                await downloads.interrupt(self._tools.db, self.task.id)
            else:
                await downloads.remove(self._tools.db, self.task.id)
        except ApiError as error:  # the next start of the server finds out that the file is there, or continues
            log.warning("The end of a download could not be recorded: %s", error.message)

    async def _on_flush(self) -> None:
        if self._file is None:
            return
        try:
            await downloads.record_progress(self._tools.db, self.task.id, self._file.flushed, self._state.validator)
        except StoreUnavailableError:  # the next flush records it: a locked store does not stop a transfer
            log.debug("The progress of a download could not be recorded.")

    def _on_progress(self) -> None:
        if time.monotonic() - self._reported_at >= _EVENT_S:
            self._report("running")

    def _progress(self) -> dict[str, Any]:
        received = self._file.size if self._file is not None else 0
        total = self._state.total or self._source.size or 0
        return {"filename": self._name, "bytes_downloaded": received, "bytes_total": max(total, received)}

    def _report(self, status: str, **more: str) -> None:
        """Store the progress with the task and send it to the pages."""
        progress = self._progress()
        if status in ("created", "running"):
            self.task.result = progress
        self._reported_at = time.monotonic()
        if self._tools.host.is_multi_user():
            return  # messages go to the pages of all users; those of this user ask for the task
        total, received = progress["bytes_total"], progress["bytes_downloaded"]
        if status == "completed":
            total = received = self.task.result["bytes_total"]
        message = {
            "task_id": str(self.task.id),
            "asset_name": self.task.result.get("filename", self._name),
            "bytes_total": total,
            "bytes_downloaded": received,
            "progress": 1.0 if status == "completed" else round(received / total, 4) if total else 0.0,
            "status": status,
            **more,
        }
        self._messages.send(message)


def _is_worth_keeping(error: ApiError) -> bool:
    """Return whether a later attempt can continue after this error."""
    if isinstance(error, SourceError):
        return error.is_passing or isinstance(error, _CURABLE)
    return not isinstance(error, _USELESS)
