"""Removal of assets for good, with their files: deleted ones, one or all that pass a filter, and expired ones.

Assets expire at the time that a client has chosen for them (``expires_in``). Only what the client uploaded or minted
has such a time. An asset that something refers to stays until nothing does: workflows, shares, jobs that have not
ended, collections, and assets that show it as their preview. One that a user has rated, marked or described stays as
well. Content that another asset needs stays in its file. What has expired is deleted for good, as the client wanted no
more of it.
"""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ..background.tasks import Task, TaskRunner, WorkWatch
from ..db import tags, trash
from ..db.connection import Database
from ..db.trash import DeletedAsset, DueAsset, LeftFile
from ..errors import AssetInUseError, AssetNotFoundError, StorageError, TrashForbiddenError
from ..fs import shared_files
from ..fs.atomic import run_blocking
from ..fs.paths import extended_path, stat_as_recorded
from ..host.base import Host
from ..ids import now_ms
from ..models import Asset, CursorKey, TrashFilter
from .trash import AssetTrash
from .trash_files import TrashFolders, remove, trash_folders

log = logging.getLogger("comfy_assets.library")

EMPTY_TRASH = "empty_trash"  # name of the tasks
_PAGE = 200  # deleted assets read at a time
AGAIN_MS = 10 * 60 * 1000  # until an asset that was in use is looked at again
_AT_ONCE = 100


class EmptiedTrash(NamedTuple):
    """The result of a removal for good: the numbers of assets and bytes, and the failures with their reasons."""

    removed: int
    freed: int
    failed: list[tuple[DeletedAsset, StorageError]]


class TrashPurge:
    """Removes deleted assets for good."""

    def __init__(self, db: Database, host: Host, bin_: AssetTrash, tasks: TaskRunner | None = None) -> None:
        """``tasks`` runs long removals; commands have none."""
        self._db = db
        self._host = host
        self._trash = bin_
        self._tasks = tasks

    async def purge(self, asset_id: str, owner: str | None = None) -> int:
        """Remove a deleted asset for good, with what was deleted with it; return the freed bytes (deleteTrashEntry).

        A file that stayed in its place stays there, and stays out of the library: a note of it remains. Raises
        AssetNotFoundError, TrashForbiddenError, StorageError.
        """
        deleted = await self._trash.find(asset_id, owner)
        if owner is not None and self._host.is_multi_user() and deleted.owner != owner:
            raise TrashForbiddenError(
                "The asset belongs to all users; only the command line removes it for good.", details={"id": asset_id}
            )
        return await self._purge(deleted)

    async def _purge(self, deleted: DeletedAsset) -> int:
        size = 0
        folders = await trash_folders(self._host)
        for each in (*await trash.followers(self._db, deleted.row_id), deleted):
            if each.stored is not None:
                # The file goes first: after a crash in between, the row can still be removed.
                await run_blocking(partial(_remove_stored, folders, each.stored))
                size += each.size
            async with self._db.transaction() as tx:
                await trash.forget(tx, each.row_id)
                await tags.drop_unused_sets(tx)
            if each.hash is not None:
                size += await self._remove_left_files(each.hash)
        return size

    async def _remove_left_files(self, digest: bytes) -> int:
        """Remove the files that stayed in their places for assets that are gone now; return the freed bytes."""
        size = 0
        for left in await trash.left_files(self._db, digest):
            if await run_blocking(partial(_remove_unchanged, left)):
                size += left.size
                async with self._db.transaction() as tx:
                    await trash.forget_left_file(tx, left.row_id)
                    await tags.drop_unused_sets(tx)
        return size

    async def empty(
        self, before: int | None = None, *, wanted: TrashFilter | None = None, task: Task | None = None
    ) -> EmptiedTrash:
        """Remove deleted assets and their files for good, all but those whose files other programs hold open.

        ``before`` (ms) limits this to assets deleted earlier. Of files that stayed in their places notes remain, see
        ``purge``; the notes of files that are gone are removed. ``task`` gets the progress and can cancel.
        """
        wanted = wanted or TrashFilter(None, before=before)
        count = size = 0
        total = (await trash.totals(self._db, wanted)).assets
        after: CursorKey | None = None
        failed: list[tuple[DeletedAsset, StorageError]] = []
        reported: list[dict[str, str]] = []
        while found := await trash.list_page(self._db, wanted, _PAGE, after):
            for deleted in found:
                if task is not None:
                    task.token.check()
                try:
                    size += await self._purge(deleted)
                    count += 1
                except StorageError as error:
                    failed.append((deleted, error))
                    if len(reported) < _PAGE:
                        reported.append({"id": deleted.id, "code": error.code, "message": error.message})
                if task is not None:
                    task.result = {"total": total, "done": count, "freed": size, "failed": list(reported)}
            after = CursorKey(found[-1].deleted_at, found[-1].row_id)
        async with self._db.transaction() as tx:
            await trash.forget_notes_of_missing(tx)
            await tags.drop_unused_sets(tx)
        return EmptiedTrash(count, size, failed)

    async def start_emptying(self, wanted: TrashFilter) -> Task:
        """Start to remove the deleted assets that pass a filter for good (emptyTrash), as a task.

        On a server with several users these are the user's own. Returns the running task of the same filter, if any.
        """
        if self._tasks is None:
            raise LookupError("the trash has no task runner")
        owner = wanted.owner or ""
        if self._host.is_multi_user():
            wanted = msgspec.structs.replace(wanted, only_own=True)
        payload: dict[str, Any] = {"kinds": list(wanted.kinds)}
        if wanted.before is not None:
            payload["before"] = wanted.before
        if wanted.ids is not None:
            payload["selected"] = len(wanted.ids)
        digest = hashlib.blake2s(msgspec.json.encode(wanted)).hexdigest()
        task = Task(EMPTY_TRASH, payload, owner, key=f"{EMPTY_TRASH}:{digest}")

        async def work(running: Task) -> None:
            running.result = {"total": 0, "done": 0, "freed": 0, "failed": []}
            await self.empty(wanted=wanted, task=running)

        return await self._tasks.spawn(task, work)


def _remove_unchanged(left: LeftFile) -> bool:
    """Remove a file unless another program has written to it. Raises OSError."""
    path = extended_path(left.folder, left.name)
    if stat_as_recorded(path, left.size, left.mtime_ns) is None:
        return False
    shared_files.remove(path, missing_ok=True)
    return True


def _remove_stored(folders: TrashFolders, stored: str) -> None:
    remove(folders.path(stored))


class AssetExpiry:
    """Deletes expired assets in the background."""

    def __init__(self, db: Database, trash: AssetTrash, purge: TrashPurge) -> None:
        self._db = db
        self._trash = trash
        self._purge = purge
        self._watch = WorkWatch(self._look, "comfy-assets expiry", "Expired assets could not be deleted")

    def start(self) -> None:
        """Begin to look for expired assets."""
        self._watch.start()

    async def close(self) -> None:
        """Stop looking for expired assets."""
        await self._watch.close()

    async def deadline(self, asset: Asset) -> int | None:
        """Return the time (ms since 1970) at which an asset is deleted, None if it is kept."""
        return await trash.expiration_of(self._db, asset.row_id)

    async def sweep(self) -> int:
        """Delete the assets that have expired and that nothing refers to; return their number."""
        deleted = 0
        while found := await trash.due_assets(self._db, now_ms(), _AT_ONCE):
            for each in found:
                deleted += await self._delete(each)
        return deleted

    async def _look(self) -> bool:
        await self.sweep()
        return True

    async def _delete(self, due: DueAsset) -> bool:
        """Delete an asset, or postpone its expiry. After every call it is no longer due."""
        if due.is_kept:
            await self._postpone(due)
            return False
        try:
            await self._trash.delete(due.id, due.owner, held_by_jobs=True)
            await self._purge.purge(due.id)
        except AssetInUseError:
            await self._postpone(due)
            return False
        except AssetNotFoundError:
            await self._keep(due)  # its owner deleted or restored it meanwhile
            return False
        except StorageError as error:
            log.warning("The expired asset %s could not be deleted: %s", due.id, error.message)
            await self._postpone(due)
            return False
        return True

    async def _postpone(self, due: DueAsset) -> None:
        async with self._db.transaction() as tx:
            await trash.postpone_expiration(tx, due.row_id, now_ms() + AGAIN_MS)

    async def _keep(self, due: DueAsset) -> None:
        async with self._db.transaction() as tx:
            await trash.put_expiration(tx, due.row_id, None)
