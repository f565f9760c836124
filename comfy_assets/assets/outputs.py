"""What executed prompts say they have written, and where that lies in the library."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..host.base import HostFolders
from ..models import FileStat
from .roots import Place, Roots, absolute
from .walker import extended, file_stat, is_ignored

# Temporary previews are not part of the library.
OutputKind = Literal["input", "output"]
_KINDS: Mapping[object, OutputKind] = {"input": "input", "output": "output"}


@dataclass(frozen=True)
class OutputFile:
    """A file as nodes show it: a folder of the server, a path below it, and a name."""

    kind: OutputKind
    subfolder: str
    name: str


@dataclass(frozen=True)
class LocatedFile:
    """A file that is there, in a folder of the library."""

    folder: str
    place: Place
    name: str
    stat: FileStat


def output_files(outputs: Mapping[str, Any]) -> list[OutputFile]:
    """The files that nodes have shown, whatever they call them: images, gifs, audio, 3d, and so on. Pure."""
    found: dict[OutputFile, None] = {}
    for shown in outputs.values():
        for items in shown.values() if isinstance(shown, Mapping) else ():
            for item in items if isinstance(items, (list, tuple)) else ():
                if (file := _output_file(item)) is not None:
                    found[file] = None
    return list(found)


def _output_file(item: object) -> OutputFile | None:
    if not isinstance(item, Mapping):
        return None
    kind, subfolder, name = item.get("type"), item.get("subfolder") or "", item.get("filename")
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(subfolder, str):
        return None
    return OutputFile(_KINDS[kind], subfolder, name) if isinstance(name, str) and name else None


class OutputFolders:
    """Finds files where nodes say that they are. Blocks: for worker threads."""

    def __init__(self, folders: HostFolders) -> None:
        self._roots = Roots(folders)
        self._walked = lru_cache(maxsize=None)(_as_walked)

    def locate(self, file: OutputFile) -> LocatedFile | None:
        """The file, if it is there and a scan would list it: not outside its folder, hidden, or litter."""
        root = self._roots.destination(file.kind)
        if root is None:
            return None
        try:
            path = absolute(root / file.subfolder / file.name)
            if root not in path.parents or any(part.startswith(".") for part in path.relative_to(root).parts):
                return None
            folder = self._walked(root, path.parent)
            path.name.encode()
            str(folder).encode()
            info = Path(extended(str(folder / path.name))).stat()
        except (OSError, ValueError):  # a name that the system refuses, or that is no Unicode
            return None
        place = self._roots.place(folder)
        if place is None or not stat.S_ISREG(info.st_mode) or is_ignored(path.name, info.st_size):
            return None
        return LocatedFile(str(folder), place, path.name, file_stat(info))


def _as_walked(root: Path, folder: Path) -> Path:
    """The folder as a scan comes by it: as the disk spells it, and not through a link if it lies in the root itself."""
    try:
        return root / folder.resolve().relative_to(root.resolve())
    except (OSError, ValueError):
        return folder
