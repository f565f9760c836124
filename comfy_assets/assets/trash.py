"""Deletion of assets: the trash keeps the files of deleted uploads until they are restored or the trash is emptied.

Files change volumes by a copy. It is made before the transaction begins, so that no other write waits for it; inside
the transaction the file is only renamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..db import assets, contents, files, sidecars, tags, trash
from ..db.assets import AssetFile, AssetUse
from ..db.connection import Database, Transaction
from ..db.trash import DeletedAsset, TrashedFile
from ..errors import ApiError, AssetInUseError, AssetNotFoundError, StorageError
from ..fs import atomic
from ..fs.atomic import LEFTOVER_AGE_S, remove_leftovers, run_blocking
from ..fs.paths import file_stat
from ..host.base import Host
from ..ids import now_ms
from ..models import UPLOADED, Asset
from ..names import split_suffix
from .index.insert import folder_row
from .roots import Roots, current_roots
from .service import not_found, parse_id, require_asset

log = logging.getLogger("comfy_assets.library")

T = TypeVar("T")

FOLDER = "trash"


class TrashMove:
    """A file on its way into the trash. Blocks: for worker threads."""

    def __init__(self, file: AssetFile, trash: Path) -> None:
        """Copy the file to the volume of the trash folder if it lies on another. Raises OSError."""
        self._file = file
        self._trash = trash
        self._source = Path(file.folder) / file.name
        self._stat = file_stat(self._source.stat())
        self._staged = atomic.stage(self._source, trash)
        self._is_copy = self._staged != self._source
        self._is_moved = False

    def run(self, asset_id: str, file: AssetFile) -> TrashedFile:
        """Move the file into the trash. Raises OSError, and StorageError if it has changed since the start."""
        # The copy may have taken long: deleting a file that changed since would lose the new content.
        if file != self._file or file_stat(self._source.stat()) != self._stat:
            raise StorageError("The file has just been changed or moved.")
        target = self._trash / asset_id / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._is_copy:
            self._source.unlink()
            self._is_moved = True
        atomic.move_no_replace(self._staged, target)
        self._staged, self._is_moved = target, True
        return TrashedFile(f"{asset_id}/{file.name}", file.folder, file.name)

    def undo(self) -> None:
        """Put the file back, and remove any copy of it from the trash."""
        if self._is_moved:
            _restore_file(self._staged, self._source)
        elif self._is_copy:
            self._staged.unlink(missing_ok=True)


class RestoreMove:
    """A file on its way out of the trash. Blocks: for worker threads."""

    def __init__(self, stored: Path, folder: Path) -> None:
        """Copy the file to the volume of the folder if it lies on another; create the folder. Raises OSError."""
        self._stored = stored
        self._staged = atomic.stage(stored, folder)
        self._is_copy = self._staged != stored
        self._folder = folder

    def place(self, name: str, taken: Iterable[str]) -> Path:
        """Move the file into the folder under this name, or a numbered one; return its path. Raises OSError."""
        self._staged = atomic.move_to_free_name(self._staged, self._folder, name, taken)
        return self._staged

    def undo(self) -> None:
        """Leave the file in the trash, and remove any copy of it elsewhere. Raises OSError."""
        if self._is_copy:
            self._staged.unlink(missing_ok=True)
        elif self._staged != self._stored:
            atomic.move_no_replace(self._staged, self._stored)

    def finish(self) -> None:
        """Remove the file from the trash after it was copied."""
        if self._is_copy:
            self._stored.unlink(missing_ok=True)
        atomic.remove_if_empty(self._stored.parent)


class AssetTrash:
    """Deletes assets, lists and restores deleted ones, and empties the trash."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host
        self._folder = host.data_directory() / FOLDER

    async def delete_all(self, asset_ids: Sequence[str], owner: str) -> None:
        """Delete assets as ``delete`` does, or none of them if one is in use. Unknown ones are skipped.

        Raises AssetInUseError, and StorageError, which leaves the assets before deleted.
        """
        for asset_id in asset_ids:
            asset = await assets.get(self._db, asset_id, owner)
            if asset is not None:
                await _refuse_if_used(self._db, asset, owner)
        for asset_id in asset_ids:
            with contextlib.suppress(AssetNotFoundError):
                await self.delete(asset_id, owner)

    async def delete(self, asset_id: str, owner: str) -> None:
        """Delete an asset so that it can be restored (deleteAsset).

        The file of an upload moves to the trash unless references need its content, with the sidecars of a model. Any
        other file stays where it is. Raises AssetNotFoundError, AssetInUseError, StorageError.
        """
        await self._delete(asset_id, owner, takes_file=False)

    async def _delete(self, asset_id: str, owner: str, *, takes_file: bool) -> None:
        """Delete an asset; with ``takes_file`` its file moves to the trash even if it was not uploaded."""
        async with self._db.transaction() as tx:
            _, file = await _deletable(tx, asset_id, owner, takes_file=takes_file)
        # A copy to another volume may take long, so the checks are repeated afterwards.
        async with self._moving(file) as move, self._db.transaction() as tx:
            asset, file = await _deletable(tx, asset_id, owner, takes_file=takes_file)
            taken = None
            if move is not None and file is not None:
                taken = await run_blocking(partial(move.run, asset.id, file))
            preview = await trash.own_preview(tx, asset.row_id)
            own_sidecars = await sidecars.only_of(tx, asset.row_id)
            await trash.hide(tx, asset.row_id, now_ms(), taken)
            await contents.update_missing_references(tx, await contents.of_assets(tx, [asset.row_id]))
            await tags.drop_unused_sets(tx)
        self._host.emit("assets.changed", {"deleted": 1})
        if preview is not None:
            await self._follow(self.delete(preview, owner), preview)
        for sidecar in own_sidecars:
            await self._follow(self._delete(sidecar, owner, takes_file=taken is not None), sidecar)

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
        move = None if file is None else await run_blocking(lambda: _if_present(lambda: TrashMove(file, self._folder)))
        if move is None:
            yield None
            return
        try:
            yield move
        except BaseException:  # also a cancelled request
            await asyncio.shield(asyncio.to_thread(move.undo))
            raise

    async def entries(self) -> list[DeletedAsset]:
        """Return every deleted asset, the latest first."""
        return await trash.entries(self._db)

    async def restore(self, asset_id: str, owner: str | None = None) -> Asset:
        """Restore a deleted asset and its file, under a numbered name if the former one is taken.

        With an ``owner`` the asset must be theirs or public. Raises AssetNotFoundError if there is no such deleted
        asset, StorageError.
        """
        roots = await current_roots(self._host)
        deleted = await trash.find(self._db, parse_id(asset_id))
        if deleted is None or (owner is not None and deleted.owner not in ("", owner)):
            raise not_found(asset_id)
        async with self._restoring(deleted, roots) as move, self._db.transaction() as tx:
            if await trash.find(tx, deleted.id) != deleted:
                raise not_found(asset_id)  # another request restored it in between
            await trash.reveal(tx, deleted.row_id)
            if deleted.stored is not None:
                if move is None:
                    raise StorageError("The file is no longer in the trash.")
                await self._place(tx, deleted, roots, move)
            await contents.update_missing_references(tx, await contents.of_assets(tx, [deleted.row_id]))
            await tags.drop_unused_sets(tx)
            preview = await trash.deleted_preview(tx, deleted.row_id)
            own_sidecars = await sidecars.deleted_of(tx, deleted.row_id, deleted.deleted_at)
        for follower in (*([preview] if preview is not None else []), *own_sidecars):
            await self._follow(self.restore(follower, owner), follower)
        asset = await assets.get(self._db, deleted.id, deleted.owner)
        if asset is None:
            raise LookupError("a restored asset is not there")
        self._host.emit("assets.changed", {"returned": 1})
        return asset

    @contextlib.asynccontextmanager
    async def _restoring(self, deleted: DeletedAsset, roots: Roots) -> AsyncIterator[RestoreMove | None]:
        """Prepare the move of a restored asset's file; undo it if the block fails. Yields None without a file."""
        if deleted.stored is None:
            yield None
            return
        stored, folder = self._folder / deleted.stored, _restore_folder(deleted, roots)
        move = await run_blocking(lambda: _if_present(lambda: RestoreMove(stored, folder)))
        if move is None:
            yield None
            return
        try:
            yield move
        except BaseException:
            await asyncio.shield(asyncio.to_thread(move.undo))
            raise
        await asyncio.to_thread(move.finish)

    async def _place(self, tx: Transaction, deleted: DeletedAsset, roots: Roots, move: RestoreMove) -> None:
        folder = _restore_folder(deleted, roots)
        name = deleted.file_name or Path(str(deleted.stored)).name
        taken = await files.names_like(tx, str(folder), split_suffix(name)[0])
        path = await run_blocking(partial(move.place, name, taken))
        place = roots.place(folder)
        if place is None:
            raise StorageError("The former folder of the file is not part of the library.")
        stat = file_stat(await run_blocking(path.stat))
        former = await files.categories_of(tx, deleted.folder or str(folder))
        await assets.put_file(tx, deleted.row_id, folder_row(folder, place), path.name, stat)
        await tags.replace_place_tags(tx, [deleted.row_id], former, place.tags_of(path.name))

    async def empty(self, before: int | None = None) -> tuple[int, int]:
        """Remove deleted assets and their files permanently; return the numbers of assets and bytes.

        ``before`` (ms) limits this to assets deleted earlier. The row of a deleted asset whose file was not moved is
        kept, because it prevents the next scan from listing the file again.
        """
        count = size = 0
        for deleted in await trash.forgettable(self._db):
            if before is not None and deleted.deleted_at >= before:
                continue
            if deleted.stored is not None:
                # The file goes first: after a crash in between, the row can still be removed.
                await run_blocking(partial(_remove, self._folder / deleted.stored))
                size += deleted.size
            async with self._db.transaction() as tx:
                await trash.forget(tx, deleted.row_id)
            count += 1
        async with self._db.transaction() as tx:
            await tags.drop_unused_sets(tx)
        return count, size

    async def recover(self) -> None:
        """Put back files that a killed server had moved without recording the deletion."""
        await asyncio.to_thread(remove_leftovers, [self._folder], time.time() - LEFTOVER_AGE_S)
        known = {deleted.stored for deleted in await trash.entries(self._db)}
        for stored in await asyncio.to_thread(lambda: list(self._folder.glob("*/*"))):
            if f"{stored.parent.name}/{stored.name}" in known:
                continue
            # The folder is named by the asset's id; see TrashMove.run.
            async with self._db.transaction() as tx:
                holder = await assets.holder_of(tx, stored.parent.name)
                file = await assets.file_of(tx, holder.row_id) if holder is not None else None
            if file is not None and file.name == stored.name:
                await asyncio.to_thread(_restore_file, stored, Path(file.folder) / file.name)


def _if_present(begin: Callable[[], T]) -> T | None:
    """Call ``begin``; return None if its file is gone, because another program may remove it at any time."""
    try:
        return begin()
    except FileNotFoundError:
        return None


def _restore_folder(deleted: DeletedAsset, roots: Roots) -> Path:
    """Return the former folder of a file, or the input folder if it is no longer part of the library."""
    former = Path(deleted.folder or "")
    if deleted.folder is not None and roots.place(former) is not None:
        return former
    return roots.destination("input") or former


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    atomic.remove_if_empty(path.parent)


def _restore_file(stored: Path, place: Path) -> None:
    """Move a file out of the trash. On failure the file stays there, and the log names it."""
    try:
        atomic.move_across_volumes(stored, place)
    except OSError as error:
        log.error("%s could not be restored; it is kept in the trash folder as %s (%s)", place.name, stored, error)
    else:
        atomic.remove_if_empty(stored.parent)


async def _deletable(tx: Transaction, asset_id: str, owner: str, *, takes_file: bool) -> tuple[Asset, AssetFile | None]:
    """Return an asset that may be deleted, and its file if it has to move to the trash.

    Raises AssetNotFoundError, AssetInUseError.
    """
    asset = await require_asset(tx, asset_id, owner)
    await _refuse_if_used(tx, asset, owner)
    return asset, await _file_to_move(tx, asset, takes_file=takes_file)


async def _refuse_if_used(tx: Database | Transaction, asset: Asset, owner: str) -> None:
    used_by = [_describe_use(use, owner) for use in await assets.uses_of(tx, asset.row_id)]
    if used_by:
        raise AssetInUseError(
            "The asset cannot be deleted: " + ", ".join(_use_text(use) for use in used_by) + " refers to it.",
            details={"id": asset.id, "used_by": used_by},
        )


def _describe_use(use: AssetUse, owner: str) -> dict[str, str]:
    """Describe a use to the owner, without the id if it is another user's: a share's id grants access to it."""
    if use.owner is not None and use.owner != owner:
        return {"kind": use.kind, "owner": use.owner}
    return {"kind": use.kind, "id": use.id, **({"name": use.name} if use.name is not None else {})}


def _use_text(use: dict[str, str]) -> str:
    return f"{use['kind']} {use['id']}" if "id" in use else f"a {use['kind']} of {use['owner']}"


async def _file_to_move(tx: Transaction, asset: Asset, *, takes_file: bool) -> AssetFile | None:
    """Return the file of an upload (``takes_file``: of any asset), if it is there and no reference needs it.

    References need the only file that their content is in.
    """
    file = await assets.file_of(tx, asset.row_id)
    if (asset.origin != UPLOADED and not takes_file) or file is None or file.missing:
        return None
    if file.content_id is not None and await contents.references_need_file(tx, file.content_id, asset.row_id):
        return None
    return file
