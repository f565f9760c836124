"""Files that come through the server's own operations: owners of its uploads, and the ids that it gives to files.

Such an id is an alias of the asset here. Aliases are stored when outputs of jobs and uploads are recorded. An id
given before, or while the project was not installed, is looked up in the server's table when a request names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..db import assets, files, tags
from ..db.assets import AliasedFile
from ..db.connection import Database, Transaction
from ..errors import OtherUsersFileError
from ..fs.paths import real_path
from ..host.base import Host
from ..ids import canonical_id
from .prompts.outputs import LocatedFile, OutputFile, OutputFolders, OutputKind, add_located
from .roots import Roots, absolute

_KINDS: tuple[OutputKind, ...] = ("output", "input")


@dataclass(frozen=True)
class UploadMark:
    """State of the database before the host writes a file: rows with higher ids are new."""

    last_id: int


class HostUploads:
    """Uploads by operations of the server, such as ``/upload/image``.

    In multi-user mode, prevents users from replacing each other's files, and assigns uploaded files to their users.
    """

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def begin(self, user: str, file: OutputFile, *, overwrites: bool) -> UploadMark:
        """Check that the user may write the file; return a mark for ``claim``. Raises OtherUsersFileError."""
        if overwrites and (located := await self._locate(file)) is not None:
            owner = await files.owner_at(self._db, located.folder, located.name)
            if owner not in (None, "", user):
                raise OtherUsersFileError("A file of another user has this name.", details={"field": "image"})
        # Taken before the host writes: the watcher may give the file a row before ``claim`` does.
        return UploadMark(await files.last_id(self._db))

    async def claim(self, user: str, file: OutputFile, mark: UploadMark, alias: str | None = None) -> None:
        """Assign the file to the user if it is new since ``begin``, which returned the mark.

        ``alias`` is the id that the host gave to the file, if any.
        """
        await self._record(file, alias, user, mark)

    async def note_alias(self, file: OutputFile, alias: str) -> None:
        """Store the id that the host gave to an uploaded file."""
        await self._record(file, alias)

    async def _record(
        self, file: OutputFile, alias: str | None, user: str = "", mark: UploadMark | None = None
    ) -> None:
        located = await self._locate(file)
        if located is None:
            return  # the host refused the upload, or stored it outside the library
        position = (located.folder, located.name)
        async with self._db.transaction() as tx:
            await _add_files(tx, [located])
            known = (await files.by_position(tx, [position]))[position]
            if mark is not None and known.id > mark.last_id:
                await tags.give_public(tx, [known.id], user)
            if alias is not None:
                await assets.add_aliases(tx, [AliasedFile(alias, *position)])

    async def is_anothers(self, user: str, path: Path) -> bool:
        """Return whether a file belongs to another user, by its own place or by that to which links lead."""
        places = (absolute(path), await asyncio.to_thread(real_path, path))
        for each in dict.fromkeys(places):
            if await files.owner_at(self._db, str(each.parent), each.name) not in (None, "", user):
                return True
        return False

    async def names_of_others(self, user: str, kind: OutputKind) -> set[str]:
        """Return the names of other users' files at the top of the input or output folder."""
        root = await asyncio.to_thread(lambda: Roots(self._host.folders()).destination(kind))
        return await files.names_of_others(self._db, str(root), user) if root is not None else set()

    async def _locate(self, file: OutputFile) -> LocatedFile | None:
        return await asyncio.to_thread(lambda: OutputFolders(self._host.folders()).locate(file))


class AssetAliases:
    """Finds the assets of ids that the server gave."""

    def __init__(self, db: Database, host: Host, outputs_recorded: Callable[[], Awaitable[None]]) -> None:
        """``outputs_recorded`` waits until the outputs of all ended jobs are assets."""
        self._db = db
        self._host = host
        self._outputs_recorded = outputs_recorded

    async def learn(self, ids: Collection[str]) -> bool:
        """Store the aliases among these ids that are not known yet; return whether there were any.

        The file of an id may be of a job that still runs. It becomes an asset at once if there is only one user;
        otherwise it does when the job ends, because nobody knows before whose it is.
        """
        wanted = await asyncio.to_thread(_canonical, ids)
        wanted = set(await assets.unknown_ids(self._db, wanted)) if wanted else set()
        located = await asyncio.to_thread(self._locate, sorted(wanted)) if wanted else {}
        if not located:
            return False
        if await self._without_asset(located.values()):
            await self._outputs_recorded()
        async with self._db.transaction() as tx:
            if not self._host.is_multi_user():
                await _add_files(tx, list(located.values()))
            await assets.add_aliases(tx, [AliasedFile(each, f.folder, f.name) for each, f in located.items()])
        return len(await assets.unknown_ids(self._db, located)) < len(located)

    async def is_unknown(self, asset_id: str) -> bool:
        """Return whether no asset of any user, deleted or not, has the id; False for a text that is not a UUID."""
        known = canonical_id(asset_id)
        return known is not None and bool(await assets.unknown_ids(self._db, [known]))

    def _locate(self, ids: Sequence[str]) -> Mapping[str, LocatedFile]:
        """Return the files of ids in the server's own table, as far as they are in the library. Blocks."""
        named = self._host.asset_files(ids)
        if not named:
            return {}
        library = OutputFolders(self._host.folders())
        found = {asset_id: _located(path, library) for asset_id, path in named.items()}
        return {asset_id: file for asset_id, file in found.items() if file is not None}

    async def _without_asset(self, located: Collection[LocatedFile]) -> bool:
        positions = {(file.folder, file.name) for file in located}
        return len(await files.by_position(self._db, sorted(positions))) < len(positions)


def _canonical(ids: Collection[str]) -> set[str]:
    """Return the ids that are UUIDs, in canonical form. Blocks for as long as thousands of them take."""
    return {known for each in ids if (known := canonical_id(each)) is not None}


async def _add_files(tx: Transaction, located: Sequence[LocatedFile]) -> None:
    """Add those of the files as assets that have no row yet: the watcher and the end of a job may be slower."""
    by_position = {(file.folder, file.name): file for file in located}
    known = await files.by_position(tx, list(by_position))
    await add_located(tx, [file for position, file in by_position.items() if position not in known])


def _located(path: Path, library: OutputFolders) -> LocatedFile | None:
    """Return the file if it is an input or an output of the library. Blocks."""
    for kind in _KINDS:
        root = library.roots.destination(kind)
        if root is not None and path.is_relative_to(root):
            inside = path.relative_to(root)
            subfolder = "" if inside.parent == Path() else str(inside.parent)
            return library.locate(OutputFile(kind, subfolder, inside.name))
    return None
