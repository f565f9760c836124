r"""Windows' limit of 260 characters for paths, on systems that do not have it.

While it is emulated, the functions of the system find no longer path unless that begins with ``\\?\``, here with a
slash in front so that it is an absolute path. The project's own module of paths believes to be on Windows.
"""

from __future__ import annotations

import builtins
import errno
import glob
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs import atomic, paths, shared_files

LIMIT = 260  # with the null at the end
PREFIX = "/\\\\?\\"
_ONE_PATH = (
    *("stat", "lstat", "open", "listdir", "mkdir", "rmdir", "unlink", "remove", "chmod", "utime", "readlink", "access"),
    *("statvfs", "chown", "truncate"),
)
_TWO_PATHS = ("rename", "replace", "link", "symlink")


class _Entry:
    """An entry of ``os.scandir`` whose path begins as that of its folder."""

    def __init__(self, entry: os.DirEntry[str], folder: str) -> None:
        self._entry = entry
        self.path = f"{folder.rstrip('/')}/{entry.name}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __fspath__(self) -> str:
        return self.path


class _Listing:
    """What ``os.scandir`` returns."""

    def __init__(self, listing: Any, folder: str) -> None:
        self._listing = listing
        self._folder = folder

    def __enter__(self) -> _Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[_Entry]:
        return self

    def __next__(self) -> _Entry:
        return _Entry(next(self._listing), self._folder)

    def close(self) -> None:
        self._listing.close()


class _Windows:
    """The module ``os`` with the name of Windows."""

    name = "nt"

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _checked(path: Any) -> Any:
    """Return a path as this system knows it. Raises FileNotFoundError for one that Windows would not find."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        return path
    if text.startswith(PREFIX):
        return text[len(PREFIX) :] or "/"
    if PREFIX.startswith(text) and len(text) > 1:
        return "/"  # a beginning of the prefix, which resolving a path looks at
    if len(text) >= LIMIT:
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified", text)
    return path


def _with_one(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *arguments: Any, **more: Any) -> Any:
        return real(_checked(path), *arguments, **more)

    return call


def _with_two(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(one: Any, other: Any, *arguments: Any, **more: Any) -> Any:
        return real(_checked(one), _checked(other), *arguments, **more)

    return call


def emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulate the limit until the patches are undone."""
    for name in _ONE_PATH:
        monkeypatch.setattr(os, name, _with_one(getattr(os, name)))
    for name in _TWO_PATHS:
        monkeypatch.setattr(os, name, _with_two(getattr(os, name)))
    scandir, opened, file_io = os.scandir, open, io.FileIO

    def scan(path: Any = ".") -> Any:
        return scandir(path) if isinstance(path, int) else _Listing(scandir(_checked(path)), os.fspath(path))

    class LimitedFileIO(file_io):  # type: ignore[valid-type, misc]
        def __init__(self, file: Any, *arguments: Any, **more: Any) -> None:
            super().__init__(_checked(file), *arguments, **more)

    monkeypatch.setattr(os, "scandir", scan)
    # Python 3.10 keeps functions of the system for paths.
    if (accessor := getattr(pathlib, "_NormalAccessor", None)) is not None:
        for name in ({*_ONE_PATH, *_TWO_PATHS} - {"open"}) & vars(accessor).keys():
            monkeypatch.setattr(accessor, name, staticmethod(getattr(os, name)))
        monkeypatch.setattr(accessor, "scandir", staticmethod(scan))
        monkeypatch.setattr(accessor, "open", staticmethod(_with_one(io.open)))
    # Since Python 3.13, globbing paths call the functions that the system had when the module was imported.
    if (globber := getattr(glob, "_StringGlobber", None)) is not None:
        monkeypatch.setattr(globber, "scandir", staticmethod(scan))
        monkeypatch.setattr(globber, "lstat", staticmethod(os.lstat))
    monkeypatch.setattr(builtins, "open", _with_one(opened))
    monkeypatch.setattr(io, "open", _with_one(opened))
    monkeypatch.setattr(shared_files, "FileIO", LimitedFileIO)
    monkeypatch.setattr(paths, "os", _Windows())
    monkeypatch.setattr(paths, "_PREFIX", PREFIX)
    monkeypatch.setattr(paths, "birth_ns", lambda info: None)  # the time of creation, which only Windows tells so
    for module in (atomic, shared_files):
        monkeypatch.setattr(module, "WINDOWS", True)
