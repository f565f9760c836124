"""The trash: the files of deleted uploads, kept until they are restored or the trash is emptied."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from ..db import assets, entries, files, folders, references, tags, trash
from ..db.connection import Database, Transaction
from ..db.entries import FileRow
from ..db.trash import Deleted, TakenFile
from ..errors import StorageError
from ..host.base import Host
from ..models import Asset
from ..names import split_suffix
from . import placing
from .on_disk import on_disk
from .registration import folder_row
from .roots import Roots
from .service import not_found, parse_id
from .walker import file_stat

log = logging.getLogger("comfy_assets.library")

FOLDER = "trash"


class TrashBin:
    """Lists, restores and forgets what was deleted."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host
        self._folder = host.data_directory() / FOLDER

    @contextlib.asynccontextmanager
    async def filling(self) -> AsyncIterator[Filling]:
        """Files taken inside the block go back to their places if it fails."""
        filling = Filling(self._folder)
        try:
            yield filling
        except BaseException:
            await asyncio.shield(asyncio.to_thread(filling.undo))
            raise

    async def entries(self) -> list[Deleted]:
        """Every deleted asset, the latest first."""
        return await trash.entries(self._db)

    async def restore(self, asset_id: str) -> Asset:
        """Bring a deleted asset back, with its file, which goes where it was, or beside what is there now.

        Raises AssetNotFoundError when no deleted asset has this id, StorageError.
        """
        roots = Roots(await asyncio.to_thread(self._host.folders))
        moved: list[tuple[Path, Path]] = []
        try:
            async with self._db.transaction() as tx:
                deleted = await trash.find(tx, parse_id(asset_id))
                if deleted is None:
                    raise not_found(asset_id)
                await trash.reveal(tx, deleted.row_id)
                if deleted.stored is not None:
                    await self._put_back(tx, deleted, roots, moved)
                await references.settle(tx)
                await tags.drop_unused_sets(tx)
                asset = await assets.get(tx, deleted.id, deleted.owner)
        except BaseException:
            for stored, path in moved:
                await asyncio.shield(asyncio.to_thread(placing.move_anywhere, path, stored))
            raise
        if asset is None:
            raise LookupError("a restored asset is not there")
        if deleted.stored is not None:
            await asyncio.to_thread(_remove_folder, (self._folder / deleted.stored).parent)
        self._host.emit("assets.changed", {"created": 1})
        return asset

    async def _put_back(self, tx: Transaction, deleted: Deleted, roots: Roots, moved: list[tuple[Path, Path]]) -> None:
        stored = self._folder / str(deleted.stored)
        folder = _folder_for(deleted, roots)
        name = deleted.file_name or stored.name
        taken = await files.names_like(tx, str(folder), split_suffix(name)[0])
        path = await on_disk(lambda: placing.place_from_anywhere(stored, folder, name, taken))
        moved.append((stored, path))
        place = roots.place(folder)
        if place is None:
            raise StorageError("The folder that the file came from is not part of the library.")
        stat = file_stat(await on_disk(path.stat))
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
                await on_disk(partial(_remove, self._folder / deleted.stored))
                size += deleted.size
            async with self._db.transaction() as tx:
                await trash.forget(tx, deleted.row_id)
            count += 1
        async with self._db.transaction() as tx:
            await tags.drop_unused_sets(tx)
        return count, size

    async def recover(self) -> None:
        """Put back what a killed server had taken from its place without noting that the asset is deleted."""
        known = {deleted.stored for deleted in await trash.entries(self._db)}
        for stored in await asyncio.to_thread(lambda: list(self._folder.glob("*/*"))):
            if f"{stored.parent.name}/{stored.name}" in known:
                continue
            async with self._db.transaction() as tx:
                holder = await entries.holder_of(tx, stored.parent.name)
                file = await entries.file_of(tx, holder.row_id) if holder is not None else None
            if file is not None and file.name == stored.name:
                await asyncio.to_thread(_back_to, stored, Path(file.folder) / file.name)


class Filling:
    """Files on their way into the trash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: list[tuple[Path, Path]] = []

    async def take(self, asset_id: str, file: FileRow) -> TakenFile:
        """Move an asset's file into the trash. Raises StorageError."""
        source = Path(file.folder) / file.name
        target = self._folder / asset_id / file.name
        await on_disk(lambda: placing.move_anywhere(source, target))
        self._taken.append((source, target))
        return TakenFile(f"{asset_id}/{file.name}", file.folder, file.name)

    def undo(self) -> None:
        """Move the files back."""
        for source, target in self._taken:
            _back_to(target, source)


def _back_to(stored: Path, place: Path) -> None:
    try:
        placing.move_anywhere(stored, place)
    except OSError as error:
        log.error("%s could not be put back; it is kept in the trash folder as %s (%s)", place.name, stored, error)
    else:
        _remove_folder(stored.parent)


def _folder_for(deleted: Deleted, roots: Roots) -> Path:
    """The folder a file came from, or the input folder when that is not part of the library any more."""
    former = Path(deleted.folder or "")
    if deleted.folder is not None and roots.place(former) is not None:
        return former
    return roots.destination("input") or former


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_folder(path.parent)


def _remove_folder(path: Path) -> None:
    """Remove a folder of the trash if nothing is left in it."""
    with contextlib.suppress(OSError):
        path.rmdir()
