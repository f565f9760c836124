"""A user's own files: the folder in which the page keeps workflows, settings and templates."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...fs.atomic import is_temp_name, temp_name
from ...names import UnsafeName, check_leads_nowhere, relative_parts
from ...store_guard import is_protected


class FileRefused(Exception):
    """What is asked of a user's files cannot be done: the status, and a sentence for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class UserFiles:
    """The files below one user's folder. Everything blocks; names are relative, with forward slashes.

    Every method raises FileRefused: 403 for a name that leads out of the folder, also through a link, 400 for one
    that no system could store, 404 for what is not there, 409 for what is there already.
    """

    def __init__(self, root: Path, lock: threading.Lock) -> None:
        self.root = root
        self._lock = lock

    def path(self, name: str) -> Path:
        """Where a file of this name is, or would be."""
        try:
            parts = relative_parts(name)
        except UnsafeName as error:
            raise FileRefused(403 if _leads_away(name) else 400, f"The name is refused: {error}.") from error
        path = self.root.joinpath(*parts)
        if not self._is_inside(path) or is_protected(path):
            raise FileRefused(403, "The name leads out of the user's folder.")
        return path

    def directory(self, name: str) -> Path:
        """Like ``path``, for a folder: a final slash is allowed, and ``.`` is the user's folder itself."""
        bare = name.rstrip("/") if name.strip("/") else name
        return self.root if bare in ("", ".") else self.path(bare)

    def existing(self, name: str) -> Path:
        """The path of a file that is there."""
        path = self.path(name)
        if not path.is_file():
            raise FileRefused(404, "There is no such file.")
        return path

    def files_in(self, name: str, *, deep: bool) -> list[tuple[str, Path]]:
        """The files of a folder, each with its name in that folder; hidden ones are left out."""
        directory = self.directory(name)
        if not directory.is_dir():
            raise FileRefused(404, "There is no such folder.")
        found = ((path.relative_to(directory).as_posix(), path) for path in self._walk(directory, deep=deep))
        return sorted((each, path) for each, path in found if path.is_file())

    def entries_in(self, name: str) -> list[dict[str, Any]]:
        """Everything below a folder, folders first, as /v2/userdata tells it; nothing while the user has no folder."""
        directory = self.directory(name)
        if directory == self.root and not directory.exists():
            return []
        if not directory.exists():
            raise FileRefused(404, "There is no such folder.")
        if not directory.is_dir():
            raise FileRefused(400, "That is not a folder.")
        entries = [self._entry(path) for path in self._walk(directory, deep=True, hidden=True)]
        return sorted(entries, key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))

    def store(self, name: str, content: bytes, *, overwrite: bool) -> Path:
        """Write a file, whole or not at all; one that had this name is replaced in one step."""
        path = self.path(name)
        self._make_room(path)
        draft = path.with_name(temp_name())
        try:
            draft.write_bytes(content)
            with self._lock:
                self._check_free(path, overwrite=overwrite)
                self._replace(draft, path)
        except OSError as error:
            raise FileRefused(400, f"The file cannot be written: {error.strerror or error}.") from error
        finally:
            draft.unlink(missing_ok=True)
        return path

    def move(self, name: str, new_name: str, *, overwrite: bool) -> Path:
        """Rename a file, into a new folder as well."""
        source, target = self.existing(name), self.path(new_name)
        self._make_room(target)
        with self._lock:
            self._check_free(target, overwrite=overwrite)
            self._replace(source, target)
        return target

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self.existing(name)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise FileRefused(400, f"The file cannot be removed: {error.strerror or error}.") from error

    def describe(self, path: Path, relative_to: Path) -> dict[str, Any]:
        """A file as lists with full_info tell it; times in milliseconds."""
        status = path.stat()
        return {
            "path": path.relative_to(relative_to).as_posix(),
            "size": status.st_size,
            "modified": int(status.st_mtime * 1000),
            "created": int(status.st_ctime * 1000),
        }

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))

    def _make_room(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileRefused(400, "A file is where a folder of this name would have to be.") from error

    def _check_free(self, path: Path, *, overwrite: bool) -> None:
        if path.is_dir():
            raise FileRefused(409 if not overwrite else 400, "A folder has this name.")
        if not overwrite and path.exists():
            raise FileRefused(409, "File already exists")

    def _replace(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
        except FileNotFoundError as error:
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise FileRefused(400, f"The file cannot have this name: {error.strerror or error}.") from error

    def _walk(self, directory: Path, *, deep: bool, hidden: bool = False) -> Iterator[Path]:
        """What is below a folder; links are not followed into folders, and those that lead away are left out."""
        for parent, folders, names in os.walk(directory):
            shown = [*folders, *names] if hidden else [name for name in [*folders, *names] if name[0] != "."]
            paths = [Path(parent, name) for name in shown if not is_temp_name(name)]
            yield from (path for path in paths if not path.is_symlink() or self._is_inside(path))
            if not hidden:
                folders[:] = [name for name in folders if name[0] != "."]
            if not deep:
                return

    def _entry(self, path: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": path.name, "path": path.relative_to(self.root).as_posix(), "type": "directory"}
        if not path.is_dir():
            entry["type"] = "file"
            try:
                status = path.stat()
            except OSError:  # gone in the meantime: told with what is known, as the stock server does
                return entry
            entry.update(size=status.st_size, modified=status.st_mtime)
        return entry


def _leads_away(name: str) -> bool:
    """Whether a name that is refused is so for leading out of the folder."""
    try:
        check_leads_nowhere(name)
    except UnsafeName:
        return "\0" not in name
    return False
