"""Renaming of files together with their assets, where nothing refers to their names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..db import assets, files, moves, sidecars
from ..db.asset_uses import UseKind
from ..db.connection import Database, Transaction
from ..errors import AssetContentMissingError, FileNameTakenError, InvalidNameError
from ..fs import atomic, shared_files
from ..fs.atomic import run_blocking
from ..fs.paths import extended_path
from ..host.base import Host
from ..ids import now_ms
from ..models import Asset
from ..names import UnsafeName, file_name, folded, split_suffix
from .roots import Roots, current_roots
from .service import require_asset
from .uses import refuse_if_used

_BY_NAME: tuple[UseKind, ...] = ("workflow_version", "share", "job")


class FileRename(NamedTuple):
    """A file of an asset, given by row, its name and its new one. ``renames_asset``: the asset has the file's name."""

    row_id: int
    old: str
    new: str
    renames_asset: bool


class FileRenamer:
    """Renames files of assets."""

    def __init__(self, db: Database, host: Host, jobs_recorded: Callable[[], Awaitable[None]]) -> None:
        """``jobs_recorded`` waits until all submitted jobs are in the store."""
        self._db = db
        self._host = host
        self._jobs_recorded = jobs_recorded

    async def rename(self, asset_id: str, name: str, owner: str) -> Asset:
        """Rename an asset and its file, and the sidecars of a model (updateAsset with ``rename_file``).

        The suffix of the file stays: it is added to a name without it. Raises AssetNotFoundError, InvalidNameError for
        a name that some system cannot store, AssetContentMissingError without a file, AssetInUseError if a workflow,
        share or job refers to the file, FileNameTakenError, StorageError; nothing has changed then.
        """
        await self._jobs_recorded()
        roots = await current_roots(self._host)
        folder, renames = Path(), list[FileRename]()
        try:
            async with self._db.transaction() as tx:
                asset = await require_asset(tx, asset_id, owner)
                file = await assets.file_of(tx, asset.row_id)
                if file is None or file.missing:
                    raise AssetContentMissingError("The asset has no file of its own.", details={"id": asset.id})
                folder = Path(file.folder)
                new_name = _new_name(name, file.name, folder, roots)
                await refuse_if_used(tx, asset, owner, _BY_NAME, advice="Its file cannot be renamed.")
                renames = await self._plan(tx, asset, file.name, new_name)
                await _refuse_if_taken(tx, folder, renames)
                if new_name != file.name:
                    await run_blocking(lambda: _move_all(folder, renames))
                await self._record(tx, folder, asset.row_id, new_name, renames)
                changed = await require_asset(tx, asset_id, owner)
        except BaseException:
            if renames:
                await asyncio.shield(asyncio.to_thread(_move_back, folder, renames))
            raise
        self._host.emit("assets.changed", {"changed": 1})
        return changed

    async def _plan(self, tx: Transaction, asset: Asset, old: str, new: str) -> list[FileRename]:
        """Return the file, and the sidecars that belong to it alone."""
        renames = [FileRename(asset.row_id, old, new, renames_asset=True)]
        stem = sidecars.model_stem(old)
        if stem is None:
            return renames
        own = await sidecars.only_of(tx, asset.row_id)
        new_stem = new[: len(new) - (len(old) - len(stem))]
        for sidecar in (await assets.get_many(tx, own)).values():
            file = await assets.file_of(tx, sidecar.row_id)
            if file is None or file.missing or file.name[: len(stem)].lower() != stem.lower():
                continue
            renamed = f"{new_stem}{file.name[len(stem) :]}"
            renames.append(FileRename(sidecar.row_id, file.name, renamed, sidecar.name == file.name))
        return renames

    async def _record(
        self, tx: Transaction, folder: Path, row_id: int, name: str, renames: Sequence[FileRename]
    ) -> None:
        await files.rename(tx, [(each.row_id, each.new) for each in renames])
        await moves.rename_assets(tx, [(each.row_id, each.new) for each in renames if each.renames_asset])
        await assets.touch(tx, row_id, now_ms())
        await sidecars.link_folder_at(tx, str(folder))


def _new_name(name: str, old: str, folder: Path, roots: Roots) -> str:
    """Return the file's new name with its suffix. Raises InvalidNameError."""
    suffix = split_suffix(old)[1]
    wanted = name if name.lower().endswith(suffix.lower()) and len(name) > len(suffix) else name + suffix
    try:
        wanted = file_name(wanted, windows=True)
    except UnsafeName as error:
        raise InvalidNameError(f"The name is refused: {error}.", details={"field": "name"}) from error
    if wanted.startswith(".") or roots.is_ignored(folder, wanted, 1):
        raise InvalidNameError("Files of this name do not belong to the library.", details={"field": "name"})
    return wanted


async def _refuse_if_taken(tx: Transaction, folder: Path, renames: Sequence[FileRename]) -> None:
    """Raise FileNameTakenError if a file has one of the new names, in any case, that is not renamed itself."""
    own = {folded(each.old) for each in renames}
    wanted = {folded(each.new): each.new for each in renames if folded(each.new) not in own}
    known = set(map(folded, await files.named_alike(tx, str(folder), wanted.values())))
    for key, name in wanted.items():
        if key in known or await asyncio.to_thread(os.path.lexists, extended_path(folder, name)):
            raise FileNameTakenError("The folder has a file of this name.", details={"name": name})


def _move_all(folder: Path, renames: Sequence[FileRename]) -> None:
    """Rename the files; if one fails, rename back those before it. Raises OSError, FileNameTakenError."""
    for count, each in enumerate(renames):
        try:
            _move(extended_path(folder, each.old), extended_path(folder, each.new))
        except OSError as error:
            _move_back(folder, renames[:count])
            if isinstance(error, FileExistsError):
                raise FileNameTakenError("The folder has a file of this name.", details={"name": each.new}) from error
            raise


def _move(old: Path, new: Path) -> None:
    if old.name == new.name:  # paths of Windows are equal in any case
        return
    # Where case or composition does not matter, a name that differs in that alone is the name of the file itself.
    if folded(old.name) == folded(new.name) and new.exists() and new.samefile(old):
        shared_files.rename(old, new)
    else:
        atomic.move_no_replace(old, new)


def _move_back(folder: Path, renames: Sequence[FileRename]) -> None:
    """Give files their former names, as far as they have the new ones."""
    for each in reversed(renames):
        old, new = extended_path(folder, each.old), extended_path(folder, each.new)
        is_same_name = folded(each.old) == folded(each.new)  # then both may lead to the file
        if each.old != each.new and new.exists() and (is_same_name or not old.exists()):
            _move(new, old)
