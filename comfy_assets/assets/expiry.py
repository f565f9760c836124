"""Deletion of assets at the time that a client has chosen for them (``expires_in``).

Only what the client uploaded or minted has such a time. An asset that something refers to stays until nothing does:
workflows, shares, jobs that have not ended, collections, and assets that show it as their preview. One that a user
has rated, marked or described stays as well. Content that another asset needs stays in its file. What is deleted is
deleted for good, as the client wanted no more of it.
"""

from __future__ import annotations

import logging

from ..background.work_watch import WorkWatch
from ..db import trash
from ..db.connection import Database
from ..db.trash import DueAsset
from ..errors import AssetInUseError, AssetNotFoundError, StorageError
from ..ids import now_ms
from ..models import Asset
from .trash import AssetTrash
from .trash_purge import TrashPurge

log = logging.getLogger("comfy_assets.library")

AGAIN_MS = 10 * 60 * 1000  # until an asset that was in use is looked at again
_AT_ONCE = 100


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
