"""Restoring from the trash: the record of a deleted asset, and its file, which another program may take meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from ..db import assets, contents, files, moves, sidecars, tags, trash
from ..db.connection import Database, Transaction
from ..db.trash import DeletedAsset
from ..errors import StorageError
from ..fs.atomic import run_blocking
from ..fs.paths import extended_path, file_stat
from ..host.base import Host
from ..models import Asset
from ..names import split_suffix
from .roots import Roots, current_roots
from .service import not_found
from .trash_files import (
    RestoreMove,
    TrashFolders,
    if_present,
    is_copy_of,
    remove,
    restore_folder,
    trash_folders,
)

# Runs in the transaction that deletes or restores an asset.
Note = Callable[[Transaction, Asset], Awaitable[None]]

_ATTEMPTS = 5  # at a path that other programs take meanwhile


class TrashRestorer:
    """Restores the records and files of deleted assets, and completes moves that a killed server had begun."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def restore(self, deleted: DeletedAsset, note: Note | None) -> tuple[Path | None, Sequence[str]]:
        """Restore a record and its file; return the file's path, and the ids of what was deleted with the asset.

        The path is None if the file was not in the trash. ``note`` runs in the transaction. Raises AssetNotFoundError,
        StorageError.
        """
        if deleted.stored is not None:
            return await self._restore_file(deleted, note)
        async with self._db.transaction() as tx:
            await self._reveal(tx, deleted)
            return None, await self._complete(tx, deleted, note)

    async def recover(self, deleted: DeletedAsset, folders: TrashFolders) -> Sequence[str]:
        """Record a restored file whose move was completed; otherwise leave it in the trash.

        Returns the ids of what was deleted with the asset.
        """
        roots = await current_roots(self._host)
        target = Path(str(deleted.restoring))
        stored = await asyncio.to_thread(folders.path, str(deleted.stored))
        async with self._db.transaction() as tx:
            if await trash.find(tx, deleted.id) != deleted:
                return ()  # another server has completed it
            if not await run_blocking(lambda: _is_restored(stored, target)) or roots.place(target.parent) is None:
                await trash.set_restoring(tx, deleted.row_id, None)
                return ()
            await self._reveal(tx, deleted)
            await self._record_restored(tx, deleted, roots, target)
            followers = await self._complete(tx, deleted)
        await asyncio.to_thread(remove, stored)
        return followers

    async def _reveal(self, tx: Transaction, deleted: DeletedAsset) -> None:
        """Restore the record, before its file: sidecars are linked with files that are not deleted."""
        if await trash.find(tx, deleted.id) != deleted:
            raise not_found(deleted.id)  # another request restored it in between
        await trash.reveal(tx, deleted.row_id)

    async def _complete(self, tx: Transaction, deleted: DeletedAsset, note: Note | None = None) -> Sequence[str]:
        """Update what depends on a restored asset; return the ids of what was deleted with it."""
        await contents.update_missing_references(tx, await contents.of_assets(tx, [deleted.row_id]))
        await tags.drop_unused_sets(tx)
        preview = await trash.deleted_preview(tx, deleted.row_id)
        own_sidecars = await sidecars.deleted_of(tx, deleted.row_id, deleted.deleted_at)
        if note is not None:
            await note(tx, (await assets.get_many(tx, [deleted.id]))[deleted.id])
        return [*([preview] if preview is not None else []), *own_sidecars]

    async def _restore_file(self, deleted: DeletedAsset, note: Note | None) -> tuple[Path, Sequence[str]]:
        """Restore the record and the file; return its path, and the ids of what was deleted with it.

        The path is stored before the move, so that the next start of a server can complete what a killed one began.
        """
        roots = await current_roots(self._host)
        async with self._restoring(deleted, roots) as move:
            for attempt in range(_ATTEMPTS):
                intent, target = await self._announce(deleted, roots, move)
                try:
                    async with self._db.transaction() as tx:
                        await self._reveal(tx, intent)
                        await _move_to_free(move)
                        await self._record_restored(tx, intent, roots, target)
                        return target, await self._complete(tx, intent, note)
                except FileExistsError as error:
                    if attempt == _ATTEMPTS - 1:
                        raise StorageError("Other programs keep taking the name of the file.") from error
        raise AssertionError("unreachable")

    async def _announce(self, deleted: DeletedAsset, roots: Roots, move: RestoreMove) -> tuple[DeletedAsset, Path]:
        """Choose a path and store it; return the row as it is then."""
        folder = restore_folder(deleted, roots)
        async with self._db.transaction() as tx:
            current = await trash.find(tx, deleted.id)
            if current is None or (current.stored, current.deleted_at) != (deleted.stored, deleted.deleted_at):
                raise not_found(deleted.id)
            taken = await files.names_like(tx, str(folder), split_suffix(str(deleted.file_name))[0])
            target = await run_blocking(partial(move.choose, taken))
            await trash.set_restoring(tx, deleted.row_id, str(target))
            intent = await trash.find(tx, deleted.id)
        if intent is None:
            raise not_found(deleted.id)
        return intent, target

    async def _record_restored(self, tx: Transaction, deleted: DeletedAsset, roots: Roots, path: Path) -> None:
        """Store the row of a file that was restored, and the tags of its place."""
        stat = file_stat(await run_blocking(lambda: extended_path(path).stat()))
        place = roots.place(path.parent)
        if place is None:
            raise StorageError("The folder of the file is no longer part of the library.")
        former = await files.categories_of(tx, deleted.folder or str(path.parent))
        folder = place.folder_row(path.parent)
        listed = (await files.by_position(tx, [(str(path.parent), path.name)])).get((str(path.parent), path.name))
        # No file has a name with a slash in it; the row gets the name of the one that a scan has added meanwhile.
        name = path.name if listed is None else f"/{deleted.row_id}"
        await assets.put_file(tx, deleted.row_id, folder, name, stat)
        if listed is not None:
            await moves.adopt_files(tx, {listed.id: deleted.row_id})
        await tags.replace_place_tags(tx, [deleted.row_id], former, place.tags_of(path.name))

    @contextlib.asynccontextmanager
    async def _restoring(self, deleted: DeletedAsset, roots: Roots) -> AsyncIterator[RestoreMove]:
        """Prepare the move of a restored asset's file; undo it if the block fails.

        Raises AssetNotFoundError, StorageError.
        """
        folders, folder = await trash_folders(self._host), restore_folder(deleted, roots)

        def begin() -> RestoreMove:
            stored = folders.path(str(deleted.stored))
            return RestoreMove(stored, folder, deleted.file_name or folders.file_name(stored))

        move = await run_blocking(lambda: if_present(begin))
        if move is None:
            if await trash.find(self._db, deleted.id) is None:
                raise not_found(deleted.id)  # another request restored it in between
            raise StorageError("The file is no longer in the trash.")
        try:
            yield move
        except BaseException:
            await asyncio.shield(asyncio.to_thread(move.undo))
            raise
        await asyncio.to_thread(move.finish)


async def _move_to_free(move: RestoreMove) -> None:
    """Move the file; unlike ``run_blocking`` with FileExistsError if the path was taken. Raises StorageError."""

    def place() -> FileExistsError | None:
        try:
            move.place()
        except FileExistsError as error:
            return error
        return None

    taken = await run_blocking(place)
    if taken is not None:
        raise taken


def _is_restored(stored: Path, target: Path) -> bool:
    """Return whether the file has come to its target. Blocks."""
    if not extended_path(target).exists():
        return False
    return not stored.exists() or is_copy_of(stored, extended_path(target))
