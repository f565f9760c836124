"""The trash: the files of deleted uploads, kept until they are restored or the trash is emptied."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..db import assets, files, folders, references, tags, trash
from ..db.assets import AssetFile, AssetUse
from ..db.connection import Database, Transaction
from ..db.trash import Deleted, TakenFile
from ..errors import AssetInUseError, StorageError
from ..fs import atomic
from ..fs.atomic import run_blocking
from ..fs.partial_file import LEFTOVER_AGE_S, remove_leftovers
from ..fs.stat import file_stat
from ..host.base import Host
from ..ids import now_ms
from ..models import UPLOADED, Asset
from ..names import split_suffix
from .index.insert import folder_row
from .roots import Roots
from .service import not_found, parse_id, require_asset

log = logging.getLogger("comfy_assets.library")

T = TypeVar("T")

FOLDER = "trash"


class TrashMove:
    """The file of an asset that is being deleted."""

    def __init__(self, file: AssetFile, trash: Path) -> None:
        """Bring the file to the volume of the trash folder. Raises OSError."""
        self._file = file
        self._trash = trash
        self._source = Path(file.folder) / file.name
        self._stat = file_stat(self._source.stat())
        self._held = atomic.stage(self._source, trash)
        self._is_copy = self._held != self._source
        self._is_taken = False

    def take(self, asset_id: str, file: AssetFile) -> TakenFile:
        """Move the file into the trash. Raises OSError; StorageError when it is not what it was at first."""
        if file != self._file or file_stat(self._source.stat()) != self._stat:
            raise StorageError("The file has just been changed or moved.")
        target = self._trash / asset_id / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._is_copy:
            self._source.unlink()
            self._is_taken = True
        atomic.move_no_replace(self._held, target)
        self._held, self._is_taken = target, True
        return TakenFile(f"{asset_id}/{file.name}", file.folder, file.name)

    def undo(self) -> None:
        """Have the file where it was, and there alone."""
        if self._is_taken:
            _put_back_file(self._held, self._source)
        elif self._is_copy:
            self._held.unlink(missing_ok=True)


class RestoreMove:
    """The file of an asset that is being restored."""

    def __init__(self, stored: Path, folder: Path) -> None:
        """Bring the file to the volume of a folder, which is made if there is none. Raises OSError."""
        self._stored = stored
        self._held = atomic.stage(stored, folder)
        self._is_copy = self._held != stored
        self._folder = folder

    def place(self, name: str, taken: Iterable[str]) -> Path:
        """Put the file into the folder under this name, or a numbered one; answers where it is. Raises OSError."""
        self._held = atomic.move_to_free_name(self._held, self._folder, name, taken)
        return self._held

    def undo(self) -> None:
        """Have the file in the trash, and there alone. Raises OSError."""
        if self._is_copy:
            self._held.unlink(missing_ok=True)
        elif self._held != self._stored:
            atomic.move_no_replace(self._held, self._stored)

    def finish(self) -> None:
        """Leave nothing in the trash."""
        if self._is_copy:
            self._stored.unlink(missing_ok=True)
        atomic.remove_if_empty(self._stored.parent)


class AssetTrash:
    """Lists, restores and forgets what was deleted."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host
        self._folder = host.data_directory() / FOLDER

    async def delete(self, asset_id: str, owner: str) -> None:
        """Delete an asset (deleteAsset); it can be restored. Raises AssetNotFoundError, AssetInUseError, StorageError.

        The file of an upload goes to the trash, unless references need its content; any other file stays where it is.
        """
        async with self._db.transaction() as tx:
            _, file = await _deletable(tx, asset_id, owner)
        async with self._taking(file) as taking, self._db.transaction() as tx:
            asset, file = await _deletable(tx, asset_id, owner)
            taken = None
            if taking is not None and file is not None:
                taken = await run_blocking(partial(taking.take, asset.id, file))
            await trash.hide(tx, asset.row_id, now_ms(), taken)
            await references.settle(tx, await references.contents_of(tx, [asset.row_id]))
            await tags.drop_unused_sets(tx)
        self._host.emit("assets.changed", {"deleted": 1})

    @contextlib.asynccontextmanager
    async def _taking(self, file: AssetFile | None) -> AsyncIterator[TrashMove | None]:
        """The file of an asset that is deleted inside the block; back in its place if the block fails.

        A file that is gone already is no hindrance. Raises StorageError.
        """
        taking = (
            None if file is None else await run_blocking(lambda: _unless_gone(lambda: TrashMove(file, self._folder)))
        )
        if taking is None:
            yield None
            return
        try:
            yield taking
        except BaseException:
            await asyncio.shield(asyncio.to_thread(taking.undo))
            raise

    async def entries(self) -> list[Deleted]:
        """Every deleted asset, the latest first."""
        return await trash.entries(self._db)

    async def restore(self, asset_id: str, owner: str | None = None) -> Asset:
        """Bring a deleted asset back, with its file, which goes where it was, or beside what is there now.

        With an ``owner`` it must be theirs or everybody's. Raises AssetNotFoundError when no such deleted asset has
        this id, StorageError.
        """
        roots = Roots(await asyncio.to_thread(self._host.folders))
        deleted = await trash.find(self._db, parse_id(asset_id))
        if deleted is None or (owner is not None and deleted.owner not in ("", owner)):
            raise not_found(asset_id)
        async with self._returning(deleted, roots) as returning, self._db.transaction() as tx:
            if await trash.find(tx, deleted.id) != deleted:
                raise not_found(asset_id)  # somebody else has restored it meanwhile
            await trash.reveal(tx, deleted.row_id)
            if deleted.stored is not None:
                if returning is None:
                    raise StorageError("The file is not in the trash any more.")
                await self._put_back(tx, deleted, roots, returning)
            await references.settle(tx, await references.contents_of(tx, [deleted.row_id]))
            await tags.drop_unused_sets(tx)
            asset = await assets.get(tx, deleted.id, deleted.owner)
        if asset is None:
            raise LookupError("a restored asset is not there")
        self._host.emit("assets.changed", {"created": 1})
        return asset

    @contextlib.asynccontextmanager
    async def _returning(self, deleted: Deleted, roots: Roots) -> AsyncIterator[RestoreMove | None]:
        """The file of an asset that is restored inside the block; back in the trash if the block fails."""
        if deleted.stored is None:
            yield None
            return
        stored, folder = self._folder / deleted.stored, _folder_for(deleted, roots)
        returning = await run_blocking(lambda: _unless_gone(lambda: RestoreMove(stored, folder)))
        if returning is None:
            yield None
            return
        try:
            yield returning
        except BaseException:
            await asyncio.shield(asyncio.to_thread(returning.undo))
            raise
        await asyncio.to_thread(returning.finish)

    async def _put_back(self, tx: Transaction, deleted: Deleted, roots: Roots, returning: RestoreMove) -> None:
        folder = _folder_for(deleted, roots)
        name = deleted.file_name or Path(str(deleted.stored)).name
        taken = await files.names_like(tx, str(folder), split_suffix(name)[0])
        path = await run_blocking(partial(returning.place, name, taken))
        place = roots.place(folder)
        if place is None:
            raise StorageError("The folder that the file came from is not part of the library.")
        stat = file_stat(await run_blocking(path.stat))
        former = await folders.categories_of(tx, deleted.folder or str(folder))
        await assets.put_file(tx, deleted.row_id, folder_row(folder, place), path.name, stat)
        await files.replace_place_tags(tx, [deleted.row_id], former, place.tags_of(path.name))

    async def empty(self, before: int | None = None) -> tuple[int, int]:
        """Remove what was deleted, for good; answers how many assets and bytes.

        ``before`` (ms) spares what was deleted later. A deleted asset whose file stayed in its place is kept: it is
        what keeps that file from being listed again.
        """
        count = size = 0
        for deleted in await trash.forgettable(self._db):
            if before is not None and deleted.deleted_at >= before:
                continue
            if deleted.stored is not None:
                await run_blocking(partial(_remove, self._folder / deleted.stored))
                size += deleted.size
            async with self._db.transaction() as tx:
                await trash.forget(tx, deleted.row_id)
            count += 1
        async with self._db.transaction() as tx:
            await tags.drop_unused_sets(tx)
        return count, size

    async def recover(self) -> None:
        """Put back what a killed server had taken from its place without noting that the asset is deleted."""
        await asyncio.to_thread(remove_leftovers, [self._folder], time.time() - LEFTOVER_AGE_S)
        known = {deleted.stored for deleted in await trash.entries(self._db)}
        for stored in await asyncio.to_thread(lambda: list(self._folder.glob("*/*"))):
            if f"{stored.parent.name}/{stored.name}" in known:
                continue
            async with self._db.transaction() as tx:
                holder = await assets.holder_of(tx, stored.parent.name)
                file = await assets.file_of(tx, holder.row_id) if holder is not None else None
            if file is not None and file.name == stored.name:
                await asyncio.to_thread(_put_back_file, stored, Path(file.folder) / file.name)


def _unless_gone(begin: Callable[[], T]) -> T | None:
    """What begins with a file, or None when the file is not there: somebody else may be quicker."""
    try:
        return begin()
    except FileNotFoundError:
        return None


def _folder_for(deleted: Deleted, roots: Roots) -> Path:
    """The folder a file came from, or the input folder when that is not part of the library any more."""
    former = Path(deleted.folder or "")
    if deleted.folder is not None and roots.place(former) is not None:
        return former
    return roots.destination("input") or former


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    atomic.remove_if_empty(path.parent)


def _put_back_file(stored: Path, place: Path) -> None:
    """Move a file out of the trash to its place; where that fails it is kept, and the log says so."""
    try:
        atomic.move_across_volumes(stored, place)
    except OSError as error:
        log.error("%s could not be put back; it is kept in the trash folder as %s (%s)", place.name, stored, error)
    else:
        atomic.remove_if_empty(stored.parent)


async def _deletable(tx: Transaction, asset_id: str, owner: str) -> tuple[Asset, AssetFile | None]:
    """An asset that may be deleted, and the file that goes with it. Raises AssetNotFoundError, AssetInUseError."""
    asset = await require_asset(tx, asset_id, owner)
    await _refuse_if_used(tx, asset, owner)
    return asset, await _file_to_take(tx, asset)


async def _refuse_if_used(tx: Transaction, asset: Asset, owner: str) -> None:
    used_by = [_shown(use, owner) for use in await assets.uses_of(tx, asset.row_id)]
    if used_by:
        raise AssetInUseError(
            "The asset cannot be deleted: " + ", ".join(_words(use) for use in used_by) + " refers to it.",
            details={"id": asset.id, "used_by": used_by},
        )


def _shown(use: AssetUse, owner: str) -> dict[str, str]:
    """A use as the owner may know of it: another's share id would let them read what was shared."""
    if use.owner is not None and use.owner != owner:
        return {"kind": use.kind, "owner": use.owner}
    return {"kind": use.kind, "id": use.id, **({"name": use.name} if use.name is not None else {})}


def _words(use: dict[str, str]) -> str:
    return f"{use['kind']} {use['id']}" if "id" in use else f"a {use['kind']} of {use['owner']}"


async def _file_to_take(tx: Transaction, asset: Asset) -> AssetFile | None:
    """The file that goes with a deleted asset: an upload's, if it is there and no reference lives by it alone."""
    file = await assets.file_of(tx, asset.row_id)
    if asset.origin != UPLOADED or file is None or file.missing:
        return None
    if file.content_id is not None and await references.need_file_of(tx, file.content_id, asset.row_id):
        return None
    return file
