"""Files that come with the place where they belong: put there and registered all together, or none of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...assets.index.insert import CompleteFile, register
from ...assets.roots import Roots
from ...db import assets, contents, files, references
from ...db.assets import NewAsset
from ...db.connection import Database, Transaction
from ...db.contents import Facts, Hashed
from ...errors import StorageError
from ...fs import atomic
from ...fs.paths import extended_path
from ...fs.stat import file_stat
from ...ids import new_ids, now_ms
from ...models import UPLOADED, Asset
from ...names import split_suffix


@dataclass(frozen=True)
class Delivery:
    """A complete file: where it is now, where it is to be, and all that is known of it.

    ``source`` is None for a file that is in its place already and that the library does not know.
    """

    source: Path | None
    folder: Path
    name: str
    title: str
    mime_type: str
    facts: Facts


async def deliver(db: Database, roots: Roots, deliveries: Sequence[Delivery], owner: str) -> list[Path]:
    """Put the files in their places, or under free names beside them; answers where each is.

    An asset that has lost this very file takes it up again. Raises StorageError, OSError; then nothing has changed.
    """
    placed: list[Path] = []
    made: list[Path] = []
    try:
        async with db.transaction() as tx:
            return [await _deliver(tx, roots, each, owner, (placed, made)) for each in deliveries]
    except BaseException:
        await asyncio.shield(asyncio.to_thread(_take_back, placed, made))
        raise


def _take_back(placed: Sequence[Path], made: Sequence[Path]) -> None:
    for path in placed:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for folder in reversed(made):
        atomic.remove_if_empty(folder)


async def _deliver(
    tx: Transaction, roots: Roots, delivery: Delivery, owner: str, undo: tuple[list[Path], list[Path]]
) -> Path:
    placed, made = undo
    made += await asyncio.to_thread(make_folder, delivery.folder)
    former = await _former(tx, delivery, owner)
    path = delivery.folder / delivery.name
    if delivery.source is not None:
        source = await asyncio.to_thread(atomic.stage, delivery.source, delivery.folder)
        placed.append(source)  # a copy, where a folder in the library is on another volume
        path = await _put(tx, source, delivery, is_former=former is not None)
        placed.append(path)
    elif former is None and await _is_known(tx, path):
        return path
    await _register(tx, roots, path, delivery, former if path.name == delivery.name else None, owner)
    return path


def make_folder(folder: Path) -> list[Path]:
    """Make a folder; answers which had to be made, the outermost first. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


async def _former(tx: Transaction, delivery: Delivery, owner: str) -> Asset | None:
    """The asset of this content whose file was in this very place and is missing."""
    for own in (True, False):
        for asset in await assets.of_content(tx, delivery.facts.hash, owner, own=own):
            place = asset.location
            if place and place.missing and (place.folder, place.name) == (str(delivery.folder), delivery.name):
                return asset
    return None


async def _put(tx: Transaction, source: Path, delivery: Delivery, *, is_former: bool) -> Path:
    taken = await files.names_like(tx, str(delivery.folder), split_suffix(delivery.name)[0])
    if is_former:
        taken = [name for name in taken if name != delivery.name]
    return await asyncio.to_thread(atomic.move_to_free_name, source, delivery.folder, delivery.name, taken)


async def _is_known(tx: Transaction, path: Path) -> bool:
    return any(row[1] == path.name for row in await files.known_files(tx, [str(path.parent)]))


async def _register(
    tx: Transaction, roots: Roots, path: Path, delivery: Delivery, former: Asset | None, owner: str
) -> None:
    place = roots.place(path.parent)
    if place is None:
        raise StorageError("The folder for a file is not part of the library.")
    stat = file_stat(await asyncio.to_thread(extended_path(path).stat))
    facts = delivery.facts
    if former is not None:
        await files.mark_changed(tx, [(former.row_id, *stat)], now_ms())
        await files.mark_present(tx, [former.row_id])
        read = Hashed(former.row_id, stat[0], stat[1], facts.hash, facts.metadata, None, facts.documents)
        await contents.record(tx, [read])
        row_id = former.row_id
    else:
        entry = NewAsset(
            uuid=new_ids(1)[0],
            owner=owner,
            name=delivery.title if path.name == delivery.name else path.name,
            mime_type=delivery.mime_type,
            tags=place.tags_of(path.name),
            origin=UPLOADED,
            created_at=now_ms(),
        )
        row_id = await register(tx, entry, CompleteFile(path.parent, place, path.name, stat, facts))
    await references.settle(tx, await references.contents_of(tx, [row_id]))
