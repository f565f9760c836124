"""Install the files of a bundle: move them to their folders and register them, all of them or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...assets.moves.apply import ChangedPath, match_written
from ...assets.roots import Roots
from ...db import assets, contents, files
from ...db.assets import NewAsset
from ...db.connection import Database, Transaction
from ...db.contents import Facts, Hashed
from ...errors import StorageError
from ...fs import atomic, shared_files
from ...fs.paths import extended_path, file_stat
from ...ids import new_ids, now_ms
from ...models import UPLOADED, Asset
from ...names import split_suffix


@dataclass(frozen=True)
class BundleFile:
    """A complete file to install: its current path, its future folder and name, and the facts of its asset.

    ``source`` is None for a file that is at its destination already but not registered.
    """

    source: Path | None
    folder: Path
    name: str
    title: str
    mime_type: str
    facts: Facts


async def install(db: Database, roots: Roots, bundle_files: Sequence[BundleFile], owner: str) -> list[Path]:
    """Install files, and return their paths. A file whose name is taken gets a free name in the same folder.

    An asset whose missing file this is gets it back. Changes nothing if it raises StorageError or OSError.
    """
    placed: list[Path] = []
    made: list[Path] = []
    try:
        # Files are moved within the transaction, so that no scan can register one of them in between.
        async with db.transaction() as tx:
            return [await _install(tx, roots, each, owner, (placed, made)) for each in bundle_files]
    except BaseException:
        # Shielded, as a second Ctrl-C would otherwise leave files without records.
        await asyncio.shield(asyncio.to_thread(_remove, placed, made))
        raise


def _remove(placed: Sequence[Path], made: Sequence[Path]) -> None:
    for path in placed:
        with contextlib.suppress(OSError):
            shared_files.remove(path, missing_ok=True)
    for folder in reversed(made):
        atomic.remove_if_empty(folder)


async def _install(
    tx: Transaction, roots: Roots, file: BundleFile, owner: str, undo: tuple[list[Path], list[Path]]
) -> Path:
    placed, made = undo
    made += await asyncio.to_thread(create_folder, file.folder)
    former = await _former(tx, file, owner)
    path = file.folder / file.name
    if file.source is not None:
        # Onto the volume of its folder first, so that the last step is a rename, which cannot fail halfway.
        source = await asyncio.to_thread(atomic.stage, file.source, file.folder)
        placed.append(source)  # a copy if the folder is on another volume
        path = await _move(tx, source, file, is_former=former is not None)
        placed.append(path)  # renamed from the one above, which is then missing
    elif former is None and await _is_known(tx, path):
        return path
    await _register(tx, roots, path, file, former if path.name == file.name else None, owner)
    return path


def create_folder(folder: Path) -> list[Path]:
    """Create a folder, and return the folders that had to be created, the outermost first. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not extended_path(each).exists()]
    atomic.make_folder(folder)
    return missing[::-1]


async def _former(tx: Transaction, file: BundleFile, owner: str) -> Asset | None:
    """Return the asset of this content with a missing file at the same path, preferably one of the owner."""
    for own in (True, False):
        for asset in await assets.of_content(tx, file.facts.hash, owner, own=own):
            place = asset.location
            if place and place.missing and (place.folder, place.name) == (str(file.folder), file.name):
                return asset
    return None


async def _move(tx: Transaction, source: Path, file: BundleFile, *, is_former: bool) -> Path:
    # Names of missing files stay taken: another file under such a name would be mistaken for the missing one.
    taken = await files.names_like(tx, str(file.folder), split_suffix(file.name)[0])
    if is_former:
        taken = [name for name in taken if name != file.name]
    return await asyncio.to_thread(atomic.move_to_free_name, source, file.folder, file.name, taken)


async def _is_known(tx: Transaction, path: Path) -> bool:
    return any(row[1] == path.name for row in await files.known_files(tx, [str(path.parent)]))


async def _register(
    tx: Transaction, roots: Roots, path: Path, file: BundleFile, former: Asset | None, owner: str
) -> None:
    place = roots.place(path.parent)
    if place is None:
        raise StorageError("The folder for a file is not part of the library.")
    stat = file_stat(await asyncio.to_thread(extended_path(path).stat))
    facts = file.facts
    if former is not None:
        await match_written(tx, [ChangedPath(former.row_id, stat, stat)], roots)
        read = Hashed(
            former.row_id,
            stat[0],
            stat[1],
            facts.hash,
            facts.metadata,
            facts.mime_type,
            facts.documents,
            facts.reader_version,
        )
        await contents.record(tx, [read])
        row_id = former.row_id
    else:
        entry = NewAsset(
            uuid=new_ids(1)[0],
            owner=owner,
            # The title of the bundle would hide that the file has another name than the workflow uses.
            name=file.title if path.name == file.name else path.name,
            mime_type=file.mime_type,
            tags=place.tags_of(path.name),
            origin=UPLOADED,
            created_at=now_ms(),
        )
        row_id = await assets.add(tx, entry, facts.size, facts)
        await assets.put_file(tx, row_id, place.folder_row(path.parent), path.name, stat)
    await contents.update_missing_references(tx, await contents.of_assets(tx, [row_id]))
