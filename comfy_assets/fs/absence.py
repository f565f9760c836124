"""What is surely gone from the disk, rather than out of reach for the time being. Blocks: for worker threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..assets.index.walker import extended, is_junction
from ..assets.roots import Roots, root_of


def is_gone(folder: str, root: Path | None, unreachable: list[str]) -> bool:
    """Whether a folder that was not listed is surely gone, rather than out of reach for the time being.

    It is out of reach below an unreachable folder, below a link whose target is away, or when its root is
    away.
    """
    path = Path(folder)
    if any(path.is_relative_to(base) for base in unreachable):
        return False
    for ancestor in (path, *path.parents):
        if root is not None and not ancestor.is_relative_to(root):
            return False
        try:
            info = os.stat(extended(str(ancestor)))  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            if _is_link(ancestor):
                return False
        except OSError:
            return False
        else:
            return ancestor != root or stat.S_ISDIR(info.st_mode)
    return False


def _is_link(path: Path) -> bool:
    try:
        info = os.lstat(extended(str(path)))
    except OSError:
        return False
    return stat.S_ISLNK(info.st_mode) or is_junction(info)


def gone_folders(
    unlisted: Iterable[str], roots: Roots, walk_roots: list[Path], unreachable: list[str], *, everywhere: bool
) -> list[str]:
    """Those of the folders, which a walk of these roots did not list, whose files are all gone.

    If the walk was one of everything, those that left the library are among them; not what is in the temporary
    folder, which is never walked.
    """
    gone: list[str] = []
    for folder in unlisted:
        root = root_of(folder, walk_roots)
        if root is None:
            if everywhere and not roots.is_temporary(Path(folder)):
                gone.append(folder)
        elif is_gone(folder, root, unreachable):
            gone.append(folder)
    return gone


def absent_files(folder: str, known: Sequence[tuple[int, str]], roots: Roots, walk_roots: list[Path]) -> list[int]:
    """Those of a folder's known files (ids and names) that are surely not there."""
    there = files_there(folder, roots, walk_roots)
    return [] if there is None else [file_id for file_id, name in known if name not in there]


def files_there(folder: str, roots: Roots, walk_roots: list[Path]) -> frozenset[str] | None:
    """The names of the files in a folder exactly as they are spelled, which asking for one would not tell.

    None when the folder is out of reach. The temporary folder never is: servers remove it as a whole.
    """
    root = root_of(folder, walk_roots)
    is_temporary = root is None and roots.is_temporary(Path(folder))
    if root is None and not is_temporary:
        return None
    try:
        with os.scandir(extended(folder)) as entries:
            return frozenset(entry.name for entry in entries if _may_be_file(entry))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset() if is_temporary or is_gone(folder, root, []) else None
    except OSError:
        return None


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one; or to something that cannot be looked at."""
    try:
        return entry.is_file()
    except OSError:
        return True
