"""Files on their way into the trash and out of it.

Between volumes a file is copied first, while nobody waits for the store, and only put in its place inside the
transaction. Blocks: for worker threads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..db.entries import FileRow
from ..db.trash import TakenFile
from ..errors import StorageError
from ..fs import atomic
from ..fs.stat import file_stat

log = logging.getLogger("comfy_assets.library")


class Taking:
    """The file of an asset that is being deleted."""

    def __init__(self, file: FileRow, trash: Path) -> None:
        """Bring the file to the volume of the trash folder. Raises OSError."""
        self._file = file
        self._trash = trash
        self._source = Path(file.folder) / file.name
        self._stat = file_stat(self._source.stat())
        self._held = atomic.stage(self._source, trash)
        self._is_copy = self._held != self._source
        self._is_taken = False

    def take(self, asset_id: str, file: FileRow) -> TakenFile:
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
            put_back(self._held, self._source)
        elif self._is_copy:
            self._held.unlink(missing_ok=True)


class Returning:
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


def put_back(stored: Path, place: Path) -> None:
    """Move a file out of the trash to its place; where that fails it is kept, and the log says so."""
    try:
        atomic.move_across_volumes(stored, place)
    except OSError as error:
        log.error("%s could not be put back; it is kept in the trash folder as %s (%s)", place.name, stored, error)
    else:
        atomic.remove_if_empty(stored.parent)
