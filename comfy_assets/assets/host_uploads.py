"""Uploads by ComfyUI's own operations, such as ``/upload/image``: owners of the files, and ids that ComfyUI gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..db import asset_aliases, files, tags
from ..db.asset_aliases import AliasedFile
from ..db.connection import Database
from ..errors import OtherUsersFileError
from ..host.base import Host
from .aliases import add_files
from .prompts.outputs import LocatedFile, OutputFile, OutputFolders, OutputKind
from .roots import Roots


@dataclass(frozen=True)
class UploadMark:
    """State of the database before the host writes a file: rows with higher ids are new."""

    last_id: int


class HostUploads:
    """Prevents users from replacing each other's files, and assigns uploaded files to their users."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def begin(self, user: str, file: OutputFile, *, overwrites: bool) -> UploadMark:
        """Check that the user may write the file; return a mark for ``claim``. Raises OtherUsersFileError."""
        if overwrites and (located := await self._locate(file)) is not None:
            owner = await files.owner_at(self._db, located.folder, located.name)
            if owner not in (None, "", user):
                raise OtherUsersFileError("A file of another user has this name.", details={"field": "image"})
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
            await add_files(tx, [located])
            known = (await files.by_position(tx, [position]))[position]
            if mark is not None and known.id > mark.last_id:
                await tags.give_public(tx, [known.id], user)
            if alias is not None:
                await asset_aliases.add(tx, [AliasedFile(alias, *position)])

    async def names_of_others(self, user: str, kind: OutputKind) -> set[str]:
        """Return the names of other users' files at the top of the input or output folder."""
        root = await asyncio.to_thread(lambda: Roots(self._host.folders()).destination(kind))
        return await files.names_of_others(self._db, str(root), user) if root is not None else set()

    async def _locate(self, file: OutputFile) -> LocatedFile | None:
        return await asyncio.to_thread(lambda: OutputFolders(self._host.folders()).locate(file))
