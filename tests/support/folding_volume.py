"""Volumes of macOS, emulated: names lead to a file in any case and composition, and stay as they were spelled."""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs import shared_files

# Functions with one path, which is looked up.
_READING = ("stat", "lstat", "open", "listdir", "unlink", "remove", "rmdir", "utime", "chmod", "access", "mkdir")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class FoldingVolume:
    """The folder ``base`` behaves as a volume of macOS for this process, as far as Python's own functions ask.

    ``decomposes``: names are listed with decomposed letters, as HFS+ stores them; APFS keeps them.
    """

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch, *, decomposes: bool = False) -> None:
        self._base = str(base)
        self._decomposes = decomposes
        self._real: dict[str, Callable[..., Any]] = {}
        for name in _READING:
            self._replace(monkeypatch, os, name, self._with_one)
        for name in ("rename", "replace", "link"):
            self._replace(monkeypatch, os, name, self._with_two)
        self._replace(monkeypatch, os, "scandir", self._listing)
        self._replace(monkeypatch, io, "open", self._with_one)
        monkeypatch.setattr(shared_files, "_OPENER", lambda path, flags: os.open(path, flags))

    def _replace(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, wrap: Callable[..., Any]) -> None:
        self._real[name if module is os else f"io.{name}"] = real = getattr(module, name)
        monkeypatch.setattr(module, name, wrap(name, real))

    def _with_one(self, _: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            return real(self.resolve(path), *rest, **options)

        return call

    def _with_two(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: Any, target: Any, **options: Any) -> Any:
            old, new = self.resolve(source), self.resolve(target)
            if name != "link" and os.fspath(old) == os.fspath(new):
                new = os.path.join(os.path.dirname(new), os.path.basename(os.fspath(target)))  # spelled otherwise
            return real(old, new, **options)

        return call

    def _listing(self, _: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def scandir(path: Any = ".") -> Iterator[Iterator[Any]]:
            with real(self.resolve(path)) as entries:
                yield (_Entry(entry) if self._decomposes and self._has(path) else entry for entry in entries)

        return scandir

    def _has(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._base)

    def resolve(self, path: Any) -> Any:
        """The path as it is spelled on the disk, as far as it leads to something."""
        if not self._has(path) or self._exists(os.fspath(path)):
            return path
        found = self._base
        for part in Path(path).relative_to(self._base).parts:
            found = os.path.join(found, self._spelled(found, part))
        return found

    def _exists(self, path: str) -> bool:
        try:
            self._real["lstat"](path)
        except OSError:
            return False
        return True

    def _spelled(self, folder: str, name: str) -> str:
        if self._exists(os.path.join(folder, name)):
            return name
        try:
            present = self._real["listdir"](folder)
        except OSError:
            return name
        return next((each for each in present if _folded(each) == _folded(name)), name)


class _Entry:
    """An entry of a listing whose name is decomposed."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.name = unicodedata.normalize("NFD", entry.name)
        self.path = os.path.join(os.path.dirname(entry.path), self.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)
