"""Actions that delete and restore assets: one at a time, as their files move."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...db import batches, trash
from ...db.batches import BatchItem
from ...db.connection import Transaction
from ...db.trash import DeletedAsset
from ...errors import ApiError, AssetNotFoundError
from ...models import Asset
from ..trash import DeletionAction
from .action import BatchAction, BatchParameters, BatchWork


class _Deletion(msgspec.Struct, frozen=True):
    """The stored facts of a deletion that a batch takes back, needed to delete the asset again in the same way."""

    action: DeletionAction
    deleted_at: int
    deleted_by: str
    folder: str | None
    name: str | None
    is_note: bool


class Delete(BatchAction):
    """Remove assets from the library, or move their files to the trash: one at a time, as files move."""

    at_once = 20

    def __init__(self, action: DeletionAction) -> None:
        self._action = action

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return ("deletion",)

    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        async def note(tx: Transaction, asset: Asset) -> None:
            await work.record(tx, {asset.row_id: "{}"})

        for asset_id in (await batches.ids_of(work.db, rows)).values():
            try:
                await work.trash.delete(
                    asset_id, work.owner, self._action, force=work.parameters.force, note=note, emit=False
                )
                work.changed += 1
            except ApiError as error:
                work.fail(asset_id, error)

    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        await _restore(work, items)


async def _restore(work: BatchWork, items: Sequence[BatchItem]) -> None:
    async def note(tx: Transaction, asset: Asset) -> None:
        await work.settle(tx, [asset.row_id])

    for item in items:
        try:
            await work.trash.restore(item.id, work.owner, note=note, emit=False)
            work.changed += 1
        except AssetNotFoundError as error:  # somebody has restored it since
            async with work.db.transaction() as tx:
                await work.settle(tx, [item.row_id])
            work.fail(item.id, error)
        except ApiError as error:
            work.fail(item.id, error)


class Restore(BatchAction):
    """Restore deleted assets."""

    selects_deleted = True
    at_once = 20

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return ("deletion",)

    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        for asset_id in (await batches.ids_of(work.db, rows)).values():
            try:
                deleted = await work.trash.find(asset_id, work.owner)
                former = msgspec.json.encode(_deletion(deleted)).decode()

                async def note(tx: Transaction, asset: Asset, former: str = former) -> None:
                    await work.record(tx, {asset.row_id: former})

                await work.trash.restore(asset_id, work.owner, note=note, emit=False)
                work.changed += 1
            except ApiError as error:
                work.fail(asset_id, error)

    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        for item in items:
            deletion = msgspec.json.decode(item.former, type=_Deletion)

            async def note(tx: Transaction, asset: Asset, deletion: _Deletion = deletion) -> None:
                await trash.set_deletion(
                    tx,
                    asset.row_id,
                    deletion.deleted_at,
                    deletion.deleted_by,
                    (deletion.folder, deletion.name),
                    is_note=deletion.is_note,
                )
                await work.settle(tx, [asset.row_id])

            try:
                await work.trash.delete(item.id, work.owner, deletion.action, force=True, note=note, emit=False)
                work.changed += 1
            except ApiError as error:
                work.fail(item.id, error)


def _deletion(deleted: DeletedAsset) -> _Deletion:
    return _Deletion(
        "trash" if deleted.stored is not None else "remove",
        deleted.deleted_at,
        deleted.deleted_by,
        deleted.folder,
        deleted.file_name,
        deleted.is_note,
    )
