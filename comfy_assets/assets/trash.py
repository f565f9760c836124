"""The trash: the files of deleted uploads, kept until they are restored or the trash is emptied."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..db import assets, entries, files, folders, references, tags, trash
from ..db.connection import Database, Transaction
from ..db.entries import FileRow
from ..db.trash import Deleted
from ..errors import StorageError
from ..fs import atomic
from ..fs.atomic import run_blocking
from ..fs.partial_file import LEFTOVER_AGE_S, remove_leftovers
from ..fs.stat import file_stat
from ..host.base import Host
from ..models import Asset
from ..names import split_suffix
from .index.insert import folder_row
from .roots import Roots
from .service import not_found, parse_id
from .trash_moves import Returning, Taking, put_back

T = TypeVar("T")

FOLDER = "trash"


class TrashBin:
    """Lists, restores and forgets what was deleted."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host
        self._folder = host.data_directory() / FOLDER

    @contextlib.asynccontextmanager
    async def taking(self, file: FileRow | None) -> AsyncIterator[Taking | None]:
        """The file of an asset that is deleted inside the block; back in its place if the block fails.

        A file that is gone already is no hindrance. Raises StorageError.
        """
        taking = None if file is None else await run_blocking(lambda: _unless_gone(lambda: Taking(file, self._folder)))
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
    async def _returning(self, deleted: Deleted, roots: Roots) -> AsyncIterator[Returning | None]:
        """The file of an asset that is restored inside the block; back in the trash if the block fails."""
        if deleted.stored is None:
            yield None
            return
        stored, folder = self._folder / deleted.stored, _folder_for(deleted, roots)
        returning = await run_blocking(lambda: _unless_gone(lambda: Returning(stored, folder)))
        if returning is None:
            yield None
            return
        try:
            yield returning
        except BaseException:
            await asyncio.shield(asyncio.to_thread(returning.undo))
            raise
        await asyncio.to_thread(returning.finish)

    async def _put_back(self, tx: Transaction, deleted: Deleted, roots: Roots, returning: Returning) -> None:
        folder = _folder_for(deleted, roots)
        name = deleted.file_name or Path(str(deleted.stored)).name
        taken = await files.names_like(tx, str(folder), split_suffix(name)[0])
        path = await run_blocking(partial(returning.place, name, taken))
        place = roots.place(folder)
        if place is None:
            raise StorageError("The folder that the file came from is not part of the library.")
        stat = file_stat(await run_blocking(path.stat))
        former = await folders.categories_of(tx, deleted.folder or str(folder))
        await entries.put_file(tx, deleted.row_id, folder_row(folder, place), path.name, stat)
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
                holder = await entries.holder_of(tx, stored.parent.name)
                file = await entries.file_of(tx, holder.row_id) if holder is not None else None
            if file is not None and file.name == stored.name:
                await asyncio.to_thread(put_back, stored, Path(file.folder) / file.name)


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
