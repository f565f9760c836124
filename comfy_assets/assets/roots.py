"""The folders of the library, and the tags and names that a path inside them gives to files."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec

from ..db.files import FolderRow
from ..fs.paths import file_names, is_definitely_gone, real_path
from ..host.base import Host, HostFolders, LibraryFolder, RootKind
from ..ignored_files import is_ignored, is_ignored_folder
from ..models import MODEL_TYPE_PREFIX

# Program code, not models, although servers list them among the categories.
_NOT_MODELS = frozenset({"custom_nodes"})
# A folder for downloads, with a folder for each category in it. ComfyUI Desktop has it name its whole models directory,
# and ComfyUI-Manager downloads into it. No loader reads it; as a category it would be one of every model.
_DOWNLOADS = "download_model_base"
_KIND_ORDER: dict[RootKind, int] = {"input": 0, "output": 1, "models": 2, "temp": 3}


@dataclass(frozen=True)
class Place:
    """The attributes that a folder's path gives to the files directly in it.

    ``logical`` is the path under the namespace root ("models/loras/style"); ``loader_prefix`` the path inside
    the category as loaders take it ("style", "" at the top), or None outside every category. Where folders of several
    categories overlap, it is that of the innermost, and ``loader_prefixes`` has pairs of all categories and prefixes.
    """

    kind: RootKind
    logical: str
    loader_prefix: str | None
    categories: tuple[LibraryFolder, ...] = ()
    loader_prefixes: tuple[tuple[str, str], ...] = ()

    @property
    def category_names(self) -> list[str]:
        """The names of the categories, sorted."""
        return sorted({f.category for f in self.categories if f.category})

    @property
    def key(self) -> str:
        """A text that changes whenever any attribute of the files changes."""
        claims = [f"{f.category}({','.join(sorted(f.extensions))})" for f in self.categories]
        prefixes = [f"{category}={prefix}" for category, prefix in self.loader_prefixes]
        return "|".join([self.kind, self.logical, str(self.loader_prefix), *claims, *prefixes])

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

    def folder_row(self, folder: Path | str, fingerprint: bytes | None = None) -> FolderRow:
        """Return the row of a folder. Without a fingerprint the next scan compares its files one by one."""
        return FolderRow(
            str(folder),
            self.kind,
            self.logical,
            self.loader_prefix,
            msgspec.json.encode(self.category_names).decode(),
            self.key,
            fingerprint,
            loader_prefixes=msgspec.json.encode(dict(self.loader_prefixes)).decode() if self.loader_prefixes else None,
        )


class Roots:
    """A snapshot of the library's folders: the roots of walks, and the place of a path in the library."""

    def __init__(self, folders: HostFolders) -> None:
        self.folders = folders
        self._folders = [
            LibraryFolder(f.kind, absolute(f.path), f.category if f.category != _DOWNLOADS else None, f.extensions)
            for f in folders.folders
            if f.category not in _NOT_MODELS
        ]
        self._at: dict[Path, list[LibraryFolder]] = defaultdict(list)
        for folder in self._folders:
            self._at[folder.path].append(folder)
        self.temp = absolute(folders.temp) if folders.temp is not None else None
        self.excluded = frozenset(absolute(p) for p in folders.excluded)
        self._by_key = {_key(path): found for path, found in self._at.items()}
        self._excluded_keys = frozenset(map(_key, self.excluded))
        self.patterns = folders.patterns
        self._real_paths: list[tuple[Path, Path]] | None = None  # resolved when they are needed

    @property
    def paths(self) -> list[Path]:
        """The folders of the library."""
        return list(self._at)

    def walk_roots(self, only: frozenset[str] | None = None) -> list[Path]:
        """Return the outermost folders, so that walks of them meet every folder of the library once.

        ``only`` restricts them to kinds or categories by name. A folder inside another is walked on its own
        only below a folder that the walk of the other does not enter: a hidden one, or one that is left out.
        """
        return list(_all_walk_roots(self.folders)) if only is None else self._outermost(only)

    def _outermost(self, only: frozenset[str] | None) -> list[Path]:
        chosen = {f.path for f in self._folders if only is None or f.kind in only or f.category in only}
        outermost: list[Path] = []
        for path in sorted(chosen, key=lambda p: (len(p.parts), str(p))):
            if not self.is_excluded(path) and not any(self._walk_reaches(base, path) for base in outermost):
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

    def other_names(self, folder: Path) -> list[Path]:
        """Return the other paths of a folder in the library, where links lead into it. Blocks."""
        if self._real_paths is None:
            self._real_paths = [(path, real_path(path)) for path in self._at]
        real = real_path(folder)
        found = {path / real.relative_to(base) for path, base in self._real_paths if real.is_relative_to(base)}
        return sorted(found - {folder})

    def is_left_out(self, folder: Path) -> bool:
        """Return whether walks do not enter a folder of the library: it is hidden, of a system, or left out by a user.

        So are all folders below such a one, but not a folder of the library itself.
        """
        for path in (folder, *folder.parents):
            if path in self._at:
                return False
            if self.is_skipped(path):
                return True
        return False

    def leaves_out(self, folder: Path) -> Callable[[str], object] | None:
        """Return a function that tells by name whether a user leaves out a file of a folder; None if none is."""
        if not self.patterns:
            return None
        place = self.place(folder)
        return self.patterns.files_in(place.logical) if place is not None else None

    def is_ignored(self, folder: Path, name: str, size: int) -> bool:
        """Return whether a file in a folder that walks enter is no asset."""
        leaves_out = self.leaves_out(folder)
        return is_ignored(name, size) or (leaves_out is not None and bool(leaves_out(name)))

    def _walk_reaches(self, base: Path, path: Path) -> bool:
        between = path.relative_to(base).parts if path.is_relative_to(base) else None
        if between is None:
            return False
        return not any(self.is_skipped(base.joinpath(*between[: i + 1])) for i in range(len(between)))

    def is_skipped(self, folder: Path) -> bool:
        """Return whether the walk of a folder does not enter this one in it."""
        name = folder.name
        if name.startswith("."):
            return True
        if folder in self._at:
            return False  # a folder that is configured is meant, whatever its name
        if is_ignored_folder(name):
            return True
        above = self.place(folder.parent) if self.patterns else None
        leaves_out = self.patterns.folders_in(above.logical) if above is not None else None
        return leaves_out is not None and bool(leaves_out(name))

    def is_temporary(self, path: Path) -> bool:
        """Return whether a path is in the server's temporary folder."""
        return self.temp is not None and path.is_relative_to(self.temp)

    def place(self, path: Path) -> Place | None:
        """Return the attributes that a folder's path gives to files; None outside the library.

        The temporary folder is not walked, but uploads may go there, so it has attributes too.
        """
        # By the parts of the path, as a scan asks for every folder, and each of pathlib's parents is a new object.
        parts = path.parts
        keys = [key[:length] for key in [_key(path)] for length in range(len(key), 0, -1)]
        if self.temp is not None and _key(self.temp) in keys:
            return Place("temp", _join("temp", parts, self.temp), None)
        if not self._excluded_keys.isdisjoint(keys):
            return None
        holding = [f for key in keys for f in self._by_key.get(key, ())]
        if not holding:
            return None
        nearest = max(holding, key=lambda f: (len(f.path.parts), -_KIND_ORDER[f.kind]))
        if nearest.kind != "models":
            return Place(nearest.kind, _join(nearest.kind, parts, nearest.path), None)
        models = [f for f in holding if f.kind == "models"]
        categories = tuple(sorted((f for f in models if f.category), key=lambda f: f.category or ""))
        prefixes = _loader_prefixes(parts, categories)
        return Place("models", _models_logical(parts, models), _loader_prefix(parts, categories), categories, prefixes)


def _key(path: Path) -> tuple[str, ...]:
    """Return a key that is equal for equal paths."""
    return path.parts if os.name != "nt" else tuple(map(os.path.normcase, path.parts))


@lru_cache(maxsize=8)
def _all_walk_roots(folders: HostFolders) -> tuple[Path, ...]:
    # The follower asks four times a second. Comparing some fifty folders with all others takes some milliseconds.
    return tuple(Roots(folders)._outermost(None))


async def current_roots(host: Host) -> Roots:
    """Return the library's folders as configured now. In a thread, because a host may look at the disk for them."""
    return Roots(await asyncio.to_thread(host.folders))


def root_of(folder: str, walk_roots: list[Path]) -> Path | None:
    """Return the innermost of ``Roots.walk_roots`` (sorted outermost first) that holds a folder, or None."""
    return next((root for root in reversed(walk_roots) if Path(folder).is_relative_to(root)), None)


def present_names(folder: str, roots: Roots, walk_roots: list[Path]) -> frozenset[str] | None:
    """Return the names of the files in a folder; None if it is out of reach, so that nothing is known of them. Blocks.

    Files that walks leave out count as removed. The temporary folder is never out of reach: servers remove it as a
    whole.
    """
    root = root_of(folder, walk_roots)
    is_temporary = root is None and roots.is_temporary(Path(folder))
    if root is None and not is_temporary:
        return None
    try:
        names = file_names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset() if is_temporary or is_definitely_gone(folder, root) else None
    except OSError:
        return None
    return names if is_temporary else _walked(names, Path(folder), roots)


def _walked(names: frozenset[str], folder: Path, roots: Roots) -> frozenset[str]:
    """Return the names, of those in a folder, that walks list."""
    if roots.is_left_out(folder):
        return frozenset()
    leaves_out = roots.leaves_out(folder) or (lambda _: False)
    # The size counts for the empty markers of ComfyUI only, which have no rows.
    return frozenset(name for name in names if not (is_ignored(name, 1) or leaves_out(name)))


def absolute(path: Path) -> Path:
    """Return a path made absolute, without ``..`` and without following links."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links


def _join(root: str, parts: tuple[str, ...], base: Path) -> str:
    """Return the path below a root of the library, given its parts and the folder that is the root."""
    return "/".join((root, *parts[len(base.parts) :]))


def _models_logical(parts: tuple[str, ...], models: list[LibraryFolder]) -> str:
    """Return the path below the models directory, or for extra model paths below the category."""
    plain = [f for f in models if f.category is None]
    if plain:
        return _join("models", parts, plain[0].path)
    nearest = max(models, key=lambda f: len(f.path.parts))
    return _join(f"models/{nearest.category}", parts, nearest.path)


def _loader_prefix(parts: tuple[str, ...], categories: tuple[LibraryFolder, ...]) -> str | None:
    if not categories:
        return None
    return "/".join(parts[max(len(folder.path.parts) for folder in categories) :])


def _loader_prefixes(parts: tuple[str, ...], categories: tuple[LibraryFolder, ...]) -> tuple[tuple[str, str], ...]:
    """Return the prefix in each category; empty if it is the same in all."""
    if len({folder.path for folder in categories}) < 2:
        return ()
    by_category: dict[str, tuple[LibraryFolder, ...]] = defaultdict(tuple)
    for folder in categories:
        by_category[folder.category or ""] += (folder,)
    found = tuple((category, _loader_prefix(parts, folders) or "") for category, folders in by_category.items())
    return found if len({prefix for _, prefix in found}) > 1 else ()
