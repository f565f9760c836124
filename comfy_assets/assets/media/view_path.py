"""Paths of ``/api/view`` and similar requests: parse them, and find the file without leaving the library."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from ... import store_guard
from ...errors import FileMissingError, InvalidNameError
from ...fs.paths import extended, file_stat, real_path
from ...host.base import HostFolders
from ...models import FileStat
from ...names import WINDOWS, FileType, UnsafeName, existing_folder_parts, existing_parts, split_annotation
from ..roots import Roots, absolute


@dataclass(frozen=True)
class ViewPath:
    """A file named by a request. ``folder`` lies lexically in ``base``; nothing of it need exist."""

    base: Path
    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The full path."""
        return self.folder / self.name


@dataclass(frozen=True)
class ViewedFile:
    """An existing regular file. ``is_beyond_link``: it is a link that leaves the library, or lies beyond one."""

    stat: FileStat
    is_beyond_link: bool


def parse(roots: Roots, file_type: FileType, subfolder: str, filename: str, *, windows: bool = WINDOWS) -> ViewPath:
    """Return the path for a request's parameters; a name ending in ``[output]`` or similar overrides the type.

    Raises InvalidNameError for a path that could lead elsewhere, FileMissingError if the server has no folder of this
    type.
    """
    bare, annotated = split_annotation(filename)
    try:
        parts = existing_folder_parts(subfolder, windows=windows)
    except UnsafeName as error:
        raise _invalid_name("subfolder", error) from error
    try:
        *further, name = existing_parts(bare, windows=windows)
    except UnsafeName as error:
        raise _invalid_name("filename", error) from error
    # As in ComfyUI's nodes, the annotation in the name wins over the parameter.
    base = roots.destination(annotated or file_type)
    if base is None:
        raise _missing()
    return ViewPath(base, base.joinpath(*parts, *further), name)


def _invalid_name(field: str, error: UnsafeName) -> InvalidNameError:
    return InvalidNameError(f"{field} is refused: {error}.", details={"field": field})


def _missing() -> FileMissingError:
    return FileMissingError("There is no such file.")


def find(roots: Roots, wanted: ViewPath, *, follow_file: bool = False) -> ViewedFile:
    """Find the file. Blocks: for worker threads.

    Raises FileMissingError, also for a link into a folder that is excluded from the library, and for a file that is
    itself a link out of the library, unless ``follow_file``: the caller must know then that a scan has listed it.
    """
    if roots.place(wanted.folder) is None:
        raise _missing()
    try:
        info = os.stat(extended(str(wanted.path)))  # noqa: PTH116
    except (OSError, ValueError):
        raise _missing() from None
    # Reading a pipe or a device would block the thread forever.
    if not stat.S_ISREG(info.st_mode) or store_guard.is_protected(wanted.path):
        raise _missing()
    return ViewedFile(file_stat(info), _is_beyond_link(roots, wanted, follow_file))


def _is_beyond_link(roots: Roots, wanted: ViewPath, follow_file: bool) -> bool:
    """Return whether the file, or a folder on the way to it, is a link that leaves the library.

    Raises FileMissingError if either leads into an excluded folder, or if the file is one that is not to be followed.
    """
    folder, file = _real(wanted.folder), _real(wanted.path)
    is_folder_linked = folder != _real(wanted.base) / wanted.folder.relative_to(wanted.base)
    is_file_linked = file != folder / wanted.name
    if not is_folder_linked and not is_file_linked:
        return False
    # Users link folders of other disks into the library, so a link to another folder of the library is no exit.
    library = Roots(_real_folders(roots.folders))
    does_file_leave = is_file_linked and _leaves(library, file.parent)
    if does_file_leave and not follow_file:
        raise _missing()
    return (_leaves(library, folder) and is_folder_linked) or does_file_leave


def _leaves(library: Roots, folder: Path) -> bool:
    """Return whether a folder is outside the library. Raises FileMissingError if it is an excluded one."""
    if library.place(folder) is not None:
        return False
    if library.is_excluded(folder):
        raise _missing()
    return True


def _real(path: Path) -> Path:
    return real_path(path)


def _real_folders(folders: HostFolders) -> HostFolders:
    """Return the folders with all links resolved."""
    return HostFolders(
        tuple(replace(folder, path=_real(absolute(folder.path))) for folder in folders.folders),
        tuple(_real(absolute(path)) for path in folders.excluded),
        _real(absolute(folders.temp)) if folders.temp is not None else None,
    )
