"""A user's workflows folder: the paths that workflows have in it, and access to it on disk.

Paths are relative to the folder and have forward slashes. The functions that map names to paths are pure; every method
of ``WorkflowFolder`` blocks.
"""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from blake3 import blake3

from ..fs import atomic, shared_files
from ..fs.paths import extended_path, fresh_for_ns
from ..models import WorkflowView
from ..names import MAX_PART_BYTES, folded, safe_file_name
from ..store_guard import check_found

FOLDER = "workflows"
_SUFFIX, _APP_SUFFIX = ".json", ".app.json"
_NO_NAME = "Untitled"
UNCERTAIN_MTIME = -1  # no file has this time, so the next listing differs and the file is read again
_MAX_DEPTH = 32  # of folders: a listing must end, and junctions on Windows, which are no symlinks, can form a cycle


def is_workflow(path: str) -> bool:
    """Return whether a file at this path may be a workflow. Hidden files and folders belong to other programs."""
    return path.lower().endswith(_SUFFIX) and not any(part.startswith(".") for part in path.split("/"))


def view_of(path: str) -> WorkflowView:
    """Return the view in which the frontend opens the file."""
    return "app" if path.lower().endswith(_APP_SUFFIX) else "workflow"


def name_of(path: str) -> str:
    """Return the name of the workflow in a file."""
    name = posixpath.basename(path)
    stem = name[: -len(_APP_SUFFIX if view_of(path) == "app" else _SUFFIX)]
    return unicodedata.normalize("NFC", stem)


def key_of(path: str) -> str:
    """Return a key that is equal for two paths if any file system treats them as one."""
    return folded(path)


def path_for(name: str | None, view: WorkflowView, folder: str, taken: Collection[str]) -> str:
    """Return a path in the folder for a workflow of this name. ``taken`` holds keys of paths that are in use.

    A taken name gets a number from 1, as in ComfyUI's own uploads and in ``names.numbered``.
    """
    suffix = _APP_SUFFIX if view == "app" else _SUFFIX
    given = (name or "").strip()
    while given.lower().endswith(_SUFFIX):
        given = given[: -len(_SUFFIX)]
    stem = safe_file_name(given or _NO_NAME, fallback=_NO_NAME)
    number = 0
    while True:
        mark = f" ({number})" if number else ""
        room = MAX_PART_BYTES - len(mark) - len(suffix)
        # Cutting may leave a space or dot at the end, which Windows would drop.
        part = stem.encode()[:room].decode(errors="ignore").rstrip(". ") if len(stem.encode()) > room else stem
        path = posixpath.join(folder, f"{part}{mark}{suffix}")
        if key_of(path) not in taken:
            return path
        number += 1


def in_userdata(file: str) -> str | None:
    """Return the path in the workflows folder that a request for ``file`` in the user data is about, None for others.

    ComfyUI decodes it a second time if a percent sign is left. Backslashes count as separators, as they do on Windows.
    """
    if "%" in file:
        file = unquote(file)
    path = posixpath.normpath(file.replace("\\", "/"))
    folder, _, rest = path.partition("/")
    return rest if folder.casefold() == FOLDER and rest else None


class FileStamp(NamedTuple):
    """Size in bytes and time of the last change in ns, or UNCERTAIN_MTIME if a further change might not show."""

    size: int
    mtime_ns: int


class FileText(NamedTuple):
    """The content of a file, its blake3 digest, and the stamp from before it was read."""

    content: bytes
    hash: bytes
    stamp: FileStamp


@dataclass
class WorkflowListing:
    """The files that may be workflows, by path, and the folders that could not be listed ("" is the whole folder)."""

    files: dict[str, FileStamp] = field(default_factory=dict)
    unlisted: list[str] = field(default_factory=list)

    def covers(self, path: str) -> bool:
        """Return whether the listing would contain a file at this path."""
        return not any(folder == "" or path.startswith(f"{folder}/") for folder in self.unlisted)


class WorkflowFolder:
    """The workflows folder at ``root``, which need not exist."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _on_disk(self, *parts: str) -> Path:
        return extended_path(self._root.joinpath(*parts))

    def exists(self) -> bool:
        """Return whether the folder exists."""
        return extended_path(self._root).is_dir()

    def listing(self) -> WorkflowListing:
        """List all files that may be workflows. Links are skipped because they may lead out of the folder."""
        listing = WorkflowListing()
        waiting = [("", 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(self._on_disk(folder)) as entries:
                    below = self._add_files(folder, entries, listing)
            except OSError:
                listing.unlisted.append(folder)
            else:
                if depth < _MAX_DEPTH:
                    waiting += [(each, depth + 1) for each in below]
                else:
                    listing.unlisted += below
        return listing

    @staticmethod
    def _add_files(folder: str, entries: Iterable[os.DirEntry[str]], listing: WorkflowListing) -> list[str]:
        """Add the files of a folder to the listing, and return its subfolders."""
        below: list[str] = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif is_workflow(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # removed since the folder was read
                    info = entry.stat(follow_symlinks=False)
                    listing.files[path] = FileStamp(info.st_size, info.st_mtime_ns)
        return below

    def stamp(self, path: str) -> FileStamp | None:
        """Return the stamp of a file, or None if there is none. Raises OSError if that cannot be found out."""
        try:
            info = os.stat(self._on_disk(path), follow_symlinks=False)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileStamp(info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None

    def read(self, path: str, limit: int) -> FileText | None:
        """Read a file. None if there is none or it has more than ``limit`` bytes. Raises OSError."""
        before = self.stamp(path)
        if before is None or before.size > limit:
            return None
        check_found(str(self._root / path))
        stamp = reliable(before)  # as of now: while the content is read, the stamp becomes older
        content = shared_files.read_shared(self._root / path)
        if self.stamp(path) != before or len(content) != before.size:
            stamp = FileStamp(len(content), UNCERTAIN_MTIME)  # changed while it was read
        return FileText(content, blake3(content).digest(), stamp)

    def actual_path(self, path: str) -> str | None:
        """Return the path as it is spelled on disk, which may differ in case or Unicode normalization.

        None if there is no such file or it is behind a link.
        """
        found = ""
        for part in path.split("/"):
            name = self._actual_name(found, part)
            if name is None:
                return None
            found = f"{found}/{name}" if found else name
        return found

    def _actual_name(self, folder: str, part: str) -> str | None:
        try:
            names = os.listdir(self._on_disk(folder))  # noqa: PTH208
            if part in names:
                return None if self._on_disk(folder, part).is_symlink() else part
            alike = [name for name in names if key_of(name) == key_of(part)]
            for name in alike:
                if self._on_disk(folder, name).samefile(self._on_disk(folder, part)):
                    return name
        except OSError:
            return None
        return None

    def keys_in(self, folder: str) -> set[str]:
        """Return the keys of the paths of everything in a folder, files or not."""
        try:
            return {key_of(f"{folder}/{name}" if folder else name) for name in os.listdir(self._on_disk(folder))}  # noqa: PTH208
        except OSError:
            return set()

    def write(self, path: str, content: bytes, *, replaces: bytes | None) -> FileStamp | None:
        """Write a file atomically, replacing only a file whose content has the hash ``replaces``.

        Returns the new stamp, or None if nothing was written because the content has changed. Raises OSError,
        FileExistsError if there is a file although ``replaces`` is None.
        """
        target = self._root / path
        atomic.make_folder(target.parent)
        with atomic.temp_file(target) as temporary:
            atomic.write_new(temporary, lambda stream: stream.write(content))
            info = temporary.stat()  # before the move, after which others may change the file
            stamp = reliable(FileStamp(info.st_size, info.st_mtime_ns))
            if replaces is None:
                atomic.move_no_replace(temporary, target)
            elif self._holds(path, replaces):
                shared_files.replace(
                    temporary, target
                )  # another program may write between the two: nothing does both in one step
            else:
                return None
        return stamp

    def _holds(self, path: str, digest: bytes) -> bool:
        """Return whether a file has the content with this hash right now. Raises OSError."""
        try:
            check_found(str(self._root / path))
            return blake3(shared_files.read_shared(self._root / path)).digest() == digest
        except FileNotFoundError:
            return False

    def rename(self, path: str, new: str) -> None:
        """Move a file within the folder. Raises OSError, FileExistsError if there is a file already."""
        source, target = self._on_disk(path), self._on_disk(new)
        if target.exists() and target.samefile(source):  # the same name in another case
            shared_files.rename(source, target)
        else:
            atomic.move_no_replace(source, target)

    def remove(self, path: str, digest: bytes) -> None:
        """Remove a file if its content has this hash. Raises OSError."""
        if self._holds(path, digest):
            shared_files.remove(self._root / path, missing_ok=True)

    def remove_leftovers(self, before: float) -> None:
        """Remove incomplete files of a killed server, last written before this time (s since 1970)."""
        atomic.remove_leftovers_below(self._root, before)


def reliable(stamp: FileStamp) -> FileStamp:
    """Return the stamp, with UNCERTAIN_MTIME if the file changed so recently that another change might not show."""
    return FileStamp(stamp.size, UNCERTAIN_MTIME) if fresh_for_ns(stamp.mtime_ns) else stamp


def _is_text(name: str) -> bool:
    """Return whether a file name is valid Unicode; on Linux any bytes can be a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
