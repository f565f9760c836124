"""Files on their way into the trash and out of it. Blocks, except where noted: for worker threads.

Each volume of the library has a trash folder, so that a model of many gigabytes is renamed rather than copied. At every
moment of a move the file is complete in one of its two places: a killed process loses nothing.
"""

from __future__ import annotations

import contextlib
import filecmp
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from ..db.assets import AssetFile
from ..db.trash import TrashedFile
from ..errors import StorageError
from ..fs import atomic, shared_files
from ..fs.paths import extended_path, file_stat, plain, unlimited
from ..host.base import Host
from .roots import Roots, absolute, current_roots

log = logging.getLogger("comfy_assets.library")

T = TypeVar("T")

FOLDER = "trash"  # in the data directory
# In folders of the library on other volumes: hidden, as scans and most programs skip such folders.
LIBRARY_FOLDER = ".comfy-assets-trash"
# Loaders list the files of hidden folders as well, but only those whose suffixes they know.
_SUFFIX = ".trashed"


class TrashFolders:
    """The folders that trashed files are kept in: one in the data directory, and one on each other volume."""

    def __init__(self, data_directory: Path, roots: Roots) -> None:
        self._default = data_directory / FOLDER
        self._roots = roots

    def choose(self, source: Path, folder: Path) -> Path:
        """Return the trash folder for a file in a folder: on the same volume where possible. Raises OSError."""
        atomic.make_folder(self._default)
        if atomic.is_same_volume(source, self._default):
            return self._default
        # The highest folder of the library that is on the volume, so that there are few trash folders.
        for root in sorted(self._roots.paths, key=lambda path: len(path.parts)):
            if folder.is_relative_to(root) and atomic.is_same_volume(source, root):
                with contextlib.suppress(OSError):  # a folder that cannot be written to: the file is copied
                    extended_path(root, LIBRARY_FOLDER).mkdir(exist_ok=True)
                    return root / LIBRARY_FOLDER
        return self._default

    def all(self) -> Iterator[Path]:
        """Yield every trash folder that exists."""
        for folder in (self._default, *(root / LIBRARY_FOLDER for root in self._roots.paths)):
            if extended_path(folder).is_dir():
                yield folder

    def stored_name(self, folder: Path, asset_id: str, name: str) -> str:
        """Return the ``stored`` of a file in a trash folder: relative in the default one. Does not block."""
        if folder == self._default:
            return f"{asset_id}/{name}"
        return str(folder / asset_id / f"{name}{_SUFFIX}")

    def path(self, stored: str) -> Path:
        """Return the path of a file in the trash; one on another volume is found after that was moved, too."""
        path = self._default / stored  # an absolute path stays as it is
        if not _is_there(path) and Path(stored).is_absolute():
            moved = (folder / Path(stored).parent.name / Path(stored).name for folder in self.all())
            path = next((each for each in moved if _is_there(each)), path)
        return path

    def file_name(self, path: Path) -> str:
        """Return the name that a file in the trash had in its place. Does not block."""
        return path.name if path.parent.parent == self._default else path.name.removesuffix(_SUFFIX)

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the files in all trash folders, each with its ``stored``."""
        for folder in self.all():
            for path in unlimited(folder).glob("*/*"):
                path = Path(plain(str(path)))
                yield path, self.stored_name(folder, path.parent.name, self.file_name(path))


async def trash_folders(host: Host) -> TrashFolders:
    """Return the folders of deleted files, beside the library's present roots. Does not block."""
    return TrashFolders(host.data_directory(), await current_roots(host))


class TrashMove:
    """A file on its way into the trash."""

    def __init__(self, file: AssetFile, folders: TrashFolders) -> None:
        """Copy the file to the volume of the trash folder if it lies on another. Raises OSError."""
        self._file = file
        self._folders = folders
        self._source = extended_path(file.folder, file.name)
        self._stat = file_stat(self._source.stat())
        self._folder = folders.choose(self._source, absolute(Path(file.folder)))
        self._staged = atomic.stage(self._source, self._folder)
        self._is_copy = self._staged != self._source
        self._is_moved = False

    def run(self, asset_id: str, file: AssetFile) -> TrashedFile:
        """Move the file into the trash. Raises OSError, and StorageError if it has changed since the start."""
        # The copy may have taken long: deleting a file that changed since would lose the new content.
        if file != self._file or file_stat(self._source.stat()) != self._stat:
            raise StorageError("The file has just been changed or moved.")
        stored = self._folders.stored_name(self._folder, asset_id, file.name)
        target = self._folders.path(stored)
        atomic.make_folder(target.parent)
        atomic.move_no_replace(self._staged, target)
        self._staged = target
        if self._is_copy:
            shared_files.remove(self._source)
        self._is_moved = True
        return TrashedFile(stored, file.folder, file.name)

    def undo(self) -> None:
        """Put the file back, and remove any copy of it from the trash."""
        if self._is_moved:
            put_back(self._staged, self._source)
        elif self._is_copy:
            shared_files.remove(self._staged, missing_ok=True)
            atomic.remove_if_empty(self._staged.parent)


class RestoreMove:
    """A file on its way out of the trash."""

    def __init__(self, stored: Path, folder: Path, name: str) -> None:
        """Copy the file to the volume of the folder if it lies on another; create the folder. Raises OSError."""
        self._stored = stored
        self._staged = atomic.stage(stored, folder)
        self._is_copy = self._staged != stored
        self._folder = folder
        self._name = name
        self.target: Path | None = None

    def choose(self, taken: Iterable[str]) -> Path:
        """Choose a free path in the folder, under the file's name or a numbered one. Raises OSError."""
        self.target = self._folder / atomic.free_name(self._folder, self._name, taken)
        return self.target

    def place(self) -> None:
        """Move the file to the chosen path. Raises FileExistsError if that has been taken meanwhile, OSError."""
        assert self.target is not None
        atomic.move_no_replace(self._staged, self.target)
        self._staged = self.target

    def undo(self) -> None:
        """Leave the file in the trash, and remove any copy of it elsewhere. Raises OSError."""
        if self._is_copy:
            shared_files.remove(self._staged, missing_ok=True)
        elif self._staged != self._stored:
            atomic.move_no_replace(self._staged, self._stored)

    def finish(self) -> None:
        """Remove the file from the trash after it was copied."""
        if self._is_copy:
            shared_files.remove(self._stored, missing_ok=True)
        atomic.remove_if_empty(self._stored.parent)


def if_present(begin: Callable[[], T]) -> T | None:
    """Call ``begin``; return None if its file is gone, because another program may remove it at any time."""
    try:
        return begin()
    except FileNotFoundError:
        return None


def _is_there(path: Path) -> bool:
    return os.path.lexists(extended_path(path))


def put_back(stored: Path, place: Path) -> None:
    """Move a file out of the trash. On failure the file stays there, and the log names it."""
    try:
        if _is_there(place) and is_copy_of(stored, place):
            shared_files.remove(stored)  # the move was interrupted when the file had both names
        else:
            atomic.move_across_volumes(stored, place)
    except OSError as error:
        log.error("%s could not be restored; it is kept in the trash folder as %s (%s)", place.name, stored, error)
    else:
        atomic.remove_if_empty(stored.parent)


def is_copy_of(first: Path, second: Path) -> bool:
    """Return whether two paths lead to the same file, or to files with the same bytes. Raises OSError."""
    first, second = extended_path(first), extended_path(second)
    one, other = first.lstat(), second.lstat()
    if one.st_ino and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
        return True
    return one.st_size == other.st_size and filecmp.cmp(first, second, shallow=False)


def remove(path: Path) -> None:
    """Remove a file from the trash for good. Raises OSError."""
    shared_files.remove(path, missing_ok=True)
    atomic.remove_if_empty(path.parent)
