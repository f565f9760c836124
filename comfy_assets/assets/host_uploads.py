"""Ownership of files that users upload with ComfyUI's own operations, such as ``/upload/image``, in multi-user mode."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..db import files, tags
from ..db.connection import Database
from ..errors import OtherUsersFileError
from ..host.base import Host
from .index.insert import NewFile, add_new, folder_row
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

    async def claim(self, user: str, file: OutputFile, mark: UploadMark) -> None:
        """Assign the file to the user if it is new since ``begin``, which returned the mark."""
        located = await self._locate(file)
        if located is None:
            return  # the host refused the upload, or stored it outside the library
        position = (located.folder, located.name)
        async with self._db.transaction() as tx:
            known = (await files.by_position(tx, [position])).get(position)
            if known is None:  # otherwise the watcher was faster
                folder_ids = await files.add_folders(tx, [folder_row(located.folder, located.place)])
                folder_id = folder_ids[located.folder]
                await add_new(tx, [NewFile(folder_id, located.name, located.place, located.stat)])
                known = (await files.by_position(tx, [position]))[position]
            if known.id > mark.last_id:
                await tags.give_public(tx, [known.id], user)

    async def names_of_others(self, user: str, kind: OutputKind) -> set[str]:
        """Return the names of other users' files at the top of the input or output folder."""
        root = await asyncio.to_thread(lambda: Roots(self._host.folders()).destination(kind))
        return await files.names_of_others(self._db, str(root), user) if root is not None else set()

    async def _locate(self, file: OutputFile) -> LocatedFile | None:
        return await asyncio.to_thread(lambda: OutputFolders(self._host.folders()).locate(file))
