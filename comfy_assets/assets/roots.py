"""The folders of the library, and the tags and names that a path inside them gives to files."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..fs.paths import file_names, is_definitely_gone
from ..host.base import Host, HostFolders, LibraryFolder, RootKind
from ..models import MODEL_TYPE_PREFIX

# Program code, not models, although servers list them among the categories.
_NOT_MODELS = frozenset({"custom_nodes"})
# Files of operating systems, download tools and ComfyUI itself, which are never assets.
_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})
_IGNORED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".aria2", ".incomplete")
# The last characters of the names and suffixes above: for most files one comparison decides.
_LITTER_ENDS = frozenset("".join(end[-1] + end[-1].upper() for end in (*_IGNORED_NAMES, *_IGNORED_SUFFIXES)))
_KIND_ORDER: dict[RootKind, int] = {"input": 0, "output": 1, "models": 2, "temp": 3}


@dataclass(frozen=True)
class Place:
    """The attributes that a folder's path gives to the files directly in it.

    ``logical`` is the path under the namespace root ("models/loras/style"); ``loader_prefix`` the path inside
    the category as loaders take it ("style", "" at the top), or None outside every category.
    """

    kind: RootKind
    logical: str
    loader_prefix: str | None
    categories: tuple[LibraryFolder, ...] = ()

    @property
    def category_names(self) -> list[str]:
        """The names of the categories, sorted."""
        return sorted({f.category for f in self.categories if f.category})

    @property
    def key(self) -> str:
        """A text that changes whenever any attribute of the files changes."""
        claims = [f"{f.category}({','.join(sorted(f.extensions))})" for f in self.categories]
        return "|".join([self.kind, self.logical, str(self.loader_prefix), *claims])

    def tags_of(self, name: str) -> tuple[str, ...]:
        """Return the tags of a file of this name: root, categories, and model types that accept its suffix."""
        tags: list[str] = [self.kind]
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file
        for folder in self.categories:
            if folder.category is None:
                continue
            tags.append(folder.category)
            if not folder.extensions or suffix in folder.extensions:
                tags.append(MODEL_TYPE_PREFIX + folder.category)
        return tuple(tags)


class Roots:
    """A snapshot of the library's folders: the roots of walks, and the place of a path in the library."""

    def __init__(self, folders: HostFolders) -> None:
        self.folders = folders
        self._folders = [
            LibraryFolder(f.kind, absolute(f.path), f.category, f.extensions)
            for f in folders.folders
            if f.category not in _NOT_MODELS
        ]
        self._at: dict[Path, list[LibraryFolder]] = defaultdict(list)
        for folder in self._folders:
            self._at[folder.path].append(folder)
        self.temp = absolute(folders.temp) if folders.temp is not None else None
        self.excluded = frozenset(absolute(p) for p in folders.excluded)

    def walk_roots(self, only: frozenset[str] | None = None) -> list[Path]:
        """Return the outermost folders, so that walks of them meet every folder of the library once.

        ``only`` restricts them to kinds or categories by name. A folder inside another is walked on its own
        only below a hidden folder, which the walk of the other does not enter.
        """
        chosen = {f.path for f in self._folders if only is None or f.kind in only or f.category in only}
        outermost: list[Path] = []
        for path in sorted(chosen, key=lambda p: (len(p.parts), str(p))):
            if not self.is_excluded(path) and not any(_walk_reaches(base, path) for base in outermost):
                outermost.append(path)
        return outermost

    def destination(self, kind: RootKind, category: str | None = None) -> Path | None:
        """Return the folder for new files of a kind or a models category; None if there is none."""
        if kind == "temp":
            return self.temp
        # The first of several: ComfyUI lists the default folder for new files first.
        found = (f.path for f in self._folders if f.kind == kind and f.category == category)
        return next(found, None)

    def destinations(self) -> list[Path]:
        """Return every folder for new files."""
        return [*dict.fromkeys(f.path for f in self._folders), *([self.temp] if self.temp else [])]

    def categories(self) -> frozenset[str]:
        """Return the names of the model categories."""
        return frozenset(f.category for f in self._folders if f.category is not None)

    def suffixes(self, category: str | None) -> frozenset[str]:
        """Return the suffixes that a category's loaders accept; empty if they accept any, and for no category."""
        return next((f.extensions for f in self._folders if category and f.category == category), frozenset())

    def names(self) -> frozenset[str]:
        """Return the kinds and categories that a scan can be restricted to."""
        return frozenset(n for f in self._folders for n in (f.kind, f.category) if n is not None)

    def is_excluded(self, path: Path) -> bool:
        """Return whether a path is in a subtree that is never part of the library."""
        return not self.excluded.isdisjoint((path, *path.parents))

    def is_temporary(self, path: Path) -> bool:
        """Return whether a path is in the server's temporary folder."""
        return self.temp is not None and path.is_relative_to(self.temp)

    def place(self, path: Path) -> Place | None:
        """Return the attributes that a folder's path gives to files; None outside the library.

        The temporary folder is not walked, but uploads may go there, so it has attributes too.
        """
        ancestors = (path, *path.parents)
        if self.temp is not None and self.temp in ancestors:
            return Place("temp", _join("temp", path.relative_to(self.temp)), None)
        if not self.excluded.isdisjoint(ancestors):
            return None
        holding = [f for ancestor in ancestors for f in self._at.get(ancestor, ())]
        if not holding:
            return None
        nearest = max(holding, key=lambda f: (len(f.path.parts), -_KIND_ORDER[f.kind]))
        if nearest.kind != "models":
            return Place(nearest.kind, _join(nearest.kind, path.relative_to(nearest.path)), None)
        models = [f for f in holding if f.kind == "models"]
        categories = tuple(sorted((f for f in models if f.category), key=lambda f: f.category or ""))
        return Place("models", _models_logical(path, models), _loader_prefix(path, categories), categories)


async def current_roots(host: Host) -> Roots:
    """Return the library's folders as configured now. In a thread, because a host may look at the disk for them."""
    return Roots(await asyncio.to_thread(host.folders))


def root_of(folder: str, walk_roots: list[Path]) -> Path | None:
    """Return the innermost of ``Roots.walk_roots`` (sorted outermost first) that holds a folder, or None."""
    return next((root for root in reversed(walk_roots) if Path(folder).is_relative_to(root)), None)


def present_names(folder: str, roots: Roots, walk_roots: list[Path]) -> frozenset[str] | None:
    """Return the names of the files in a folder; None if it is out of reach, so that nothing is known of them. Blocks.

    The temporary folder is never out of reach: servers remove it as a whole.
    """
    root = root_of(folder, walk_roots)
    is_temporary = root is None and roots.is_temporary(Path(folder))
    if root is None and not is_temporary:
        return None
    try:
        return file_names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset() if is_temporary or is_definitely_gone(folder, root) else None
    except OSError:
        return None


def is_ignored(name: str, size: int) -> bool:
    """Return whether a file is no asset: a system file, an unfinished download, or ComfyUI's "put_…_here" marker."""
    if size and name[-1] not in _LITTER_ENDS:
        return False
    lowered = name.lower()
    if lowered in _IGNORED_NAMES or lowered.endswith(_IGNORED_SUFFIXES):
        return True
    return size == 0 and lowered.startswith("put_") and "_here" in lowered


def absolute(path: Path) -> Path:
    """Return a path made absolute, without ``..`` and without following links."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links


def _walk_reaches(base: Path, path: Path) -> bool:
    return path.is_relative_to(base) and not any(p.startswith(".") for p in path.relative_to(base).parts)


def _join(root: str, relative: Path) -> str:
    return str(PurePosixPath(root, *relative.parts))


def _models_logical(path: Path, models: list[LibraryFolder]) -> str:
    """Return the path below the models directory, or for extra model paths below the category."""
    plain = [f for f in models if f.category is None]
    if plain:
        return _join("models", path.relative_to(plain[0].path))
    nearest = max(models, key=lambda f: len(f.path.parts))
    return _join(f"models/{nearest.category}", path.relative_to(nearest.path))


def _loader_prefix(path: Path, categories: tuple[LibraryFolder, ...]) -> str | None:
    if not categories:
        return None
    nearest = max(categories, key=lambda f: len(f.path.parts))
    return "/".join(path.relative_to(nearest.path).parts)
