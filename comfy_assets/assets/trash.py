"""Deletion of assets: the trash, its list, and restoring from it. ``trash_purge`` empties it.

There are two actions: *remove* hides the record and keeps the file in its place, *trash* moves the file into the trash
folder. Both keep everything that the asset had, so that it can be restored.

Files change volumes by a copy. It is made before the transaction begins, so that no other write waits for it; inside
the transaction the file is only renamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ..db import assets, contents, files, moves, sidecars, tags, trash
from ..db.asset_uses import OF_FILE, OF_RECORD, UseKind
from ..db.assets import AssetFile
from ..db.connection import Database, Transaction
from ..db.trash import DeletedAsset, TrashTotals
from ..errors import ApiError, AssetNotFoundError, StorageError
from ..fs.atomic import LEFTOVER_AGE_S, remove_leftovers, run_blocking
from ..fs.paths import extended_path, file_stat
from ..host.base import Host
from ..ids import now_ms
from ..models import UPLOADED, Asset, CursorKey, Page, TrashFilter
from ..names import split_suffix
from .roots import Roots, absolute, current_roots
from .service import not_found, parse_id, require_asset
from .trash_files import (
    RestoreMove,
    TrashFolders,
    TrashMove,
    if_present,
    is_copy_of,
    put_back,
    remove,
    trash_folders,
)
from .uses import refuse_if_used

log = logging.getLogger("comfy_assets.library")

# "default" is what clients of the contract mean: the file of an upload goes to the trash, any other stays.
DeletionAction = Literal["default", "remove", "trash"]

# Runs in the transaction that deletes or restores an asset.
Note = Callable[[Transaction, Asset], Awaitable[None]]

_JOBS: tuple[UseKind, ...] = ("job",)
_ATTEMPTS = 5  # at a path that other programs take meanwhile


@dataclass(frozen=True)
class RestoredAsset:
    """A restored asset. ``former`` is the path that its file had, ``path`` the one it has; both None without a file."""

    asset: Asset
    former: Path | None = None
    path: Path | None = None

    @property
    def is_renamed(self) -> bool:
        """True if the former path was taken, or is no longer part of the library."""
        return self.former != self.path


@dataclass(frozen=True)
class TrashEntry:
    """A deleted asset in a list. ``file_path`` is the place of its file, relative to the kind of its folder."""

    deleted: DeletedAsset
    file_path: str | None


class AssetTrash:
    """Deletes assets, lists and restores deleted ones."""

    def __init__(
        self,
        db: Database,
        host: Host,
        jobs_recorded: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``jobs_recorded`` waits until all submitted jobs are in the store."""
        self._db = db
        self._host = host
        self._jobs_recorded = jobs_recorded
        self._restorer = _Restorer(db, host)

    async def delete_all(self, asset_ids: Sequence[str], owner: str) -> None:
        """Delete assets as ``delete`` does, or none of them if one is in use. Unknown ones are skipped.

        Raises AssetInUseError, and StorageError, which leaves the assets before deleted.
        """
        for asset_id in asset_ids:
            asset = await assets.get(self._db, asset_id, owner)
            if asset is not None:
                await refuse_if_used(self._db, asset, owner, OF_RECORD)
        for asset_id in asset_ids:
            with contextlib.suppress(AssetNotFoundError):
                await self.delete(asset_id, owner)

    async def delete(
        self,
        asset_id: str,
        owner: str,
        action: DeletionAction = "default",
        *,
        force: bool = False,
        note: Note | None = None,
        emit: bool = True,
        is_operator: bool = False,
        held_by_jobs: bool = False,
    ) -> None:
        """Delete an asset so that it can be restored (deleteAsset).

        By default the file of an upload moves to the trash unless references need its content, with the sidecars of a
        model; any other file stays where it is. "remove" keeps every file, "trash" moves every file. With ``force``
        an asset is deleted that the user's own workflows, shares or jobs use. ``note`` runs in the transaction.
        ``emit``: tell pages. For an operator of the server, all workflows, shares and jobs count as their own.
        ``held_by_jobs``: it is in use while a job that uses it has not ended, whatever happens to its file.

        Raises AssetNotFoundError, AssetInUseError, StorageError.
        """
        if (action == "trash" or held_by_jobs) and self._jobs_recorded is not None:
            await self._jobs_recorded()
        check = partial(
            _deletable, force=force, user=None if is_operator else owner, more=_JOBS if held_by_jobs else ()
        )
        async with self._db.transaction() as tx:
            _, file = await check(tx, asset_id, owner, action)
        # A copy to another volume may take long, so the checks are repeated afterwards.
        async with self._moving(file) as move, self._db.transaction() as tx:
            asset, file = await check(tx, asset_id, owner, action)
            taken = None
            if move is not None and file is not None:
                taken = await run_blocking(partial(move.run, asset.id, file))
            preview = await trash.own_preview(tx, asset.row_id)
            own_sidecars = await sidecars.only_of(tx, asset.row_id)
            is_kept = taken is None and await _is_kept_for_others(tx, asset, action)
            await trash.hide(tx, asset.row_id, now_ms(), taken, "" if is_operator else owner, is_kept=is_kept)
            await contents.update_missing_references(tx, await contents.of_assets(tx, [asset.row_id]))
            await tags.drop_unused_sets(tx)
            if note is not None:
                await note(tx, asset)
        if emit:
            self._host.emit("assets.changed", {"deleted": 1})
        if preview is not None:
            await self._follow(self.delete(preview, owner, action, emit=emit, is_operator=is_operator), preview)
        of_model: DeletionAction = "trash" if taken is not None else action
        for sidecar in own_sidecars:
            await self._follow(self.delete(sidecar, owner, of_model, emit=emit, is_operator=is_operator), sidecar)

    async def _follow(self, change: Awaitable[object], follower: str) -> None:
        """Delete or restore what belongs to an asset after it: its preview, the sidecars of a model.

        A failure changes nothing for the asset.
        """
        try:
            await change
        except ApiError as error:
            log.warning("The asset %s stays as it is: %s", follower, error)

    @contextlib.asynccontextmanager
    async def _moving(self, file: AssetFile | None) -> AsyncIterator[TrashMove | None]:
        """Prepare the move of a deleted asset's file; undo it if the block fails.

        Yields None without a file, and if the file is gone already. Raises StorageError.
        """
        move = None
        if file is not None:
            folders = await trash_folders(self._host)
            move = await run_blocking(lambda: if_present(lambda: TrashMove(file, folders)))
        if move is None:
            yield None
            return
        try:
            yield move
        except BaseException:  # also a cancelled request
            await asyncio.shield(asyncio.to_thread(move.undo))
            raise

    async def entries(self) -> Sequence[DeletedAsset]:
        """Return every deleted asset, the latest first."""
        return await trash.entries(self._db)

    async def list(
        self, wanted: TrashFilter, limit: int, after: CursorKey | None = None, offset: int = 0
    ) -> tuple[Page[TrashEntry], TrashTotals]:
        """Return a page of deleted assets, the latest first (listTrash), with the totals of the whole list."""
        totals = await trash.totals(self._db, wanted)
        found = await trash.list_page(self._db, wanted, limit + 1, after, offset)
        roots = await current_roots(self._host)
        items = [TrashEntry(each, _file_path(each, roots)) for each in found[:limit]]
        has_more = len(found) > limit
        key = CursorKey(found[limit - 1].deleted_at, found[limit - 1].row_id) if has_more else None
        return Page(items, totals.assets, has_more, key), totals

    async def find(self, asset_id: str, owner: str | None) -> DeletedAsset:
        """Return a deleted asset; with an ``owner``, one of theirs or a public one. Raises AssetNotFoundError."""
        deleted = await trash.find(self._db, parse_id(asset_id))
        if deleted is None or (owner is not None and deleted.owner not in ("", owner)):
            raise not_found(asset_id)
        return deleted

    async def file(self, asset_id: str, owner: str) -> tuple[DeletedAsset, Path]:
        """Return a deleted asset and the path of its file, in the trash or in its place.

        Raises AssetNotFoundError, also if there is no file.
        """
        deleted = await self.find(asset_id, owner)
        if deleted.stored is not None:
            folders, stored = await trash_folders(self._host), deleted.stored
            return deleted, await asyncio.to_thread(lambda: folders.path(stored))
        roots = await current_roots(self._host)
        if deleted.folder is None or deleted.file_name is None or roots.place(absolute(Path(deleted.folder))) is None:
            raise not_found(asset_id)
        return deleted, extended_path(deleted.folder, deleted.file_name)

    async def restore(
        self, asset_id: str, owner: str | None = None, *, note: Note | None = None, emit: bool = True
    ) -> RestoredAsset:
        """Restore a deleted asset and its file, under a numbered name if the former one is taken.

        With an ``owner`` the asset must be theirs or public. ``note`` runs in the transaction. ``emit``: tell pages.
        Raises AssetNotFoundError if there is no such deleted asset, StorageError.
        """
        deleted = await self.find(asset_id, owner)
        path, followers = await self._restorer.restore(deleted, note)
        for follower in followers:
            await self._follow(self.restore(follower, owner, emit=emit), follower)
        asset = (await assets.get_many(self._db, [deleted.id])).get(deleted.id)
        if asset is None:
            raise not_found(asset_id)  # another request has deleted it for good
        if emit:
            self._host.emit("assets.changed", {"returned": 1})
        if path is None:
            return RestoredAsset(asset)
        return RestoredAsset(asset, Path(str(deleted.folder), str(deleted.file_name)), path)

    async def recover(self) -> None:
        """Complete or undo the moves that a killed server had begun."""
        folders = await trash_folders(self._host)
        before = time.time() - LEFTOVER_AGE_S
        await asyncio.to_thread(lambda: remove_leftovers(list(folders.all()), before))
        for deleted in await trash.restoring(self._db):
            for follower in await self._restorer.recover(deleted, folders):
                await self._follow(self.restore(follower), follower)
        await self._undo_deletions(folders)

    async def _undo_deletions(self, folders: TrashFolders) -> None:
        """Move files back whose deletion was not committed."""
        known = await trash.stored_names(self._db)
        for stored, name in await asyncio.to_thread(lambda: list(folders.files())):
            if name in known:
                continue
            # The folder is named by the asset's id; see TrashMove.run.
            async with self._db.transaction() as tx:
                holder = await assets.holder_of(tx, stored.parent.name)
                file = await assets.file_of(tx, holder.row_id) if holder is not None else None
            if file is not None and file.name == folders.file_name(stored):
                await asyncio.to_thread(put_back, stored, extended_path(file.folder, file.name))


def _file_path(deleted: DeletedAsset, roots: Roots) -> str | None:
    """Return the place of a deleted asset's file, relative to the kind of its folder; None if it had none."""
    if deleted.folder is None:
        return None
    place = roots.place(absolute(Path(deleted.folder)))
    return f"{place.logical}/{deleted.file_name}" if place is not None else None


async def _deletable(
    tx: Transaction,
    asset_id: str,
    owner: str,
    action: DeletionAction,
    *,
    force: bool,
    user: str | None,
    more: tuple[UseKind, ...],
) -> tuple[Asset, AssetFile | None]:
    """Return an asset that may be deleted, and its file if it has to move to the trash.

    ``user`` deletes it, None for an operator. ``more`` are kinds of uses that count beside the usual ones. Raises
    AssetNotFoundError, AssetInUseError.
    """
    asset = await require_asset(tx, asset_id, owner)
    kinds = OF_FILE if action == "trash" and asset.is_present else (*OF_RECORD, *more)
    await refuse_if_used(tx, asset, user, kinds, force=force)
    return asset, await _file_to_move(tx, asset, action)


async def _file_to_move(tx: Transaction, asset: Asset, action: DeletionAction) -> AssetFile | None:
    """Return the file that moves to the trash, if it is there.

    By default it is that of an upload, unless references need the only file that their content is in.
    """
    file = await assets.file_of(tx, asset.row_id)
    if file is None or file.missing or action == "remove" or (action == "default" and asset.origin != UPLOADED):
        return None
    if action == "trash" or file.content_id is None:
        return file
    return None if await contents.references_need_file(tx, file.content_id, asset.row_id) else file


async def _is_kept_for_others(tx: Transaction, asset: Asset, action: DeletionAction) -> bool:
    """Return whether the file of an upload would move to the trash if references did not need it."""
    file = await assets.file_of(tx, asset.row_id)
    is_wanted = action == "default" and asset.origin == UPLOADED
    return is_wanted and file is not None and not file.missing and file.content_id is not None


class _Restorer:
    """Restores the records and files of deleted assets, and completes moves that a killed server had begun.

    Another program may take the path of a file meanwhile.
    """

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
        folder = _restore_folder(deleted, roots)
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
        folders, folder = await trash_folders(self._host), _restore_folder(deleted, roots)

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


def _restore_folder(deleted: DeletedAsset, roots: Roots) -> Path:
    """Return the former folder of a file, or the input folder if it is no longer part of the library."""
    former = Path(deleted.folder or "")
    if deleted.folder is not None and roots.place(former) is not None:
        return former
    return roots.destination("input") or former


def _is_restored(stored: Path, target: Path) -> bool:
    """Return whether the file has come to its target. Blocks."""
    if not extended_path(target).exists():
        return False
    return not stored.exists() or is_copy_of(stored, extended_path(target))
