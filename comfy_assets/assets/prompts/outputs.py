"""Output files of executed prompts: find them in the nodes' results, and on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ...db import files
from ...fs.paths import birth_ns, extended, file_stat, real_path
from ...host.base import HostFolders
from ...ids import canonical_id
from ...models import FileStat, Pending
from ..media.mime import DEFAULT_MIME, guess_mime
from ..roots import Place, Roots, absolute

# Temporary previews are not part of the library.
OutputKind = Literal["input", "output"]
_KINDS: Mapping[object, OutputKind] = {"input": "input", "output": "output"}
_MAX_PATH = 1024  # characters


@dataclass(frozen=True)
class OutputFile:
    """A file as nodes report it: a folder of the server, a path below it, and a name."""

    kind: OutputKind
    subfolder: str
    name: str


@dataclass(frozen=True)
class LocatedFile:
    """An existing file in a folder of the library. ``birth_ns`` is its creation time, if the system provides it."""

    folder: str
    place: Place
    name: str
    stat: FileStat
    birth_ns: int | None = None

    def pending(self) -> Pending:
        """Return the file as one to read."""
        return Pending(0, self.folder, self.name, *self.stat[:2], files.NEW)

    def is_other_than(self, former: FileStat) -> bool:
        """Return whether this is certainly another file than the former one, not the same one overwritten."""
        if self.stat[2] and former[2]:
            return self.stat[2] != former[2]
        return self.birth_ns is not None and self.birth_ns > former[1]


@dataclass(frozen=True)
class OutputSlot:
    """Position of an output: the node, the key that the node chose, and the zero-based index."""

    node_id: str
    key: str
    index: int


@dataclass(frozen=True)
class ShownFile:
    """A file in the results of a node. ``alias`` is the id that the server's own asset feature gave to it, if any.

    ``is_path``: the node named it by a bare path, as it also names files that it has not written.
    """

    file: OutputFile
    slot: OutputSlot
    alias: str | None = None
    is_path: bool = False


def shown_items(outputs: Mapping[str, Any]) -> Iterator[tuple[OutputSlot, Any]]:
    """Yield all results of nodes in order, under any key: images, gifs, audio, 3d and so on."""
    for node_id, shown in outputs.items():
        for key, items in shown.items() if isinstance(shown, Mapping) else ():
            for index, item in enumerate(items if isinstance(items, (list, tuple)) else ()):
                yield OutputSlot(str(node_id), str(key), index), item


def shown_files(outputs: Mapping[str, Any]) -> list[ShownFile]:
    """Return the files among the results of nodes."""
    found: list[ShownFile] = []
    for slot, item in shown_items(outputs):
        if isinstance(item, str):
            if (file := file_at_path(item)) is not None:
                found.append(ShownFile(file, slot, is_path=True))
        elif (file := output_file(item)) is not None:
            found.append(ShownFile(file, slot, alias_of(item)))
    return found


def file_at_path(text: str) -> OutputFile | None:
    """Return the file if the text can be the path of one in the output folder, such as "3d/ComfyUI_00001_.ply".

    ComfyUI's nodes for 3D files return such paths, and may add the folder's name as in "a.glb [output]".
    """
    if len(text) > _MAX_PATH or "\n" in text:
        return None
    path = text.removesuffix(" [output]")
    # Most texts are prompts and numbers: only a known suffix is worth a look at the disk.
    return None if guess_mime(path) == DEFAULT_MIME else OutputFile("output", "", path)


def alias_of(item: Mapping[str, Any]) -> str | None:
    """Return the id in a description of a file, in canonical form, or None if it has none that is a UUID."""
    given = item.get("id")
    return canonical_id(given) if isinstance(given, str) else None


def output_file(item: object) -> OutputFile | None:
    """Return the file that a result names, or None if it names no file in the input or output folder."""
    if not isinstance(item, Mapping):
        return None
    kind, subfolder, name = item.get("type"), item.get("subfolder") or "", item.get("filename")
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(subfolder, str):
        return None
    return OutputFile(_KINDS[kind], subfolder, name) if isinstance(name, str) and name else None


class OutputFolders:
    """Finds the files that nodes report. Blocks: for worker threads."""

    def __init__(self, folders: HostFolders) -> None:
        self.roots = Roots(folders)
        self._folder = lru_cache(maxsize=None)(self._find_folder)

    def locate(self, file: OutputFile) -> LocatedFile | None:
        """Return the file if it exists and a scan would list it: inside its folder, not hidden, not left out."""
        subfolder, name = os.path.split(os.path.join(file.subfolder, file.name))  # noqa: PTH118 - called for every file
        if not name or name.startswith("."):
            return None
        try:
            folder = self._folder(file.kind, subfolder)
            if folder is None:
                return None
            name.encode()
            info = os.stat(extended(os.path.join(folder[0], name)))  # noqa: PTH116, PTH118
        except (OSError, ValueError):  # ValueError: a NUL character, or not valid Unicode
            return None
        if not stat.S_ISREG(info.st_mode) or self.roots.is_ignored(Path(folder[0]), name, info.st_size):
            return None
        return LocatedFile(*folder, name, file_stat(info), birth_ns(info))

    def _find_folder(self, kind: OutputKind, subfolder: str) -> tuple[str, Place] | None:
        """Return the path, spelled as by a scan, and the place of a subfolder, or None outside the library."""
        root = self.roots.destination(kind)
        if root is None:
            return None
        folder = absolute(root / subfolder)
        if not folder.is_relative_to(root) or self.roots.is_left_out(folder):
            return None
        folder = self._as_walked(root, folder)
        if self.roots.is_left_out(folder):
            return None
        str(folder).encode()
        place = self.roots.place(folder)
        return None if place is None else (str(folder), place)

    def _as_walked(self, root: Path, folder: Path) -> Path:
        """Return the folder as a scan reaches it: in the disk's spelling, and without a link inside the library."""
        try:
            real, real_root = real_path(folder), real_path(root)
            if real.is_relative_to(real_root):
                return root / real.relative_to(real_root)
        except OSError:
            return folder
        others = self.roots.other_names(folder)  # scans follow no link from one root to another
        return others[0] if others else folder
