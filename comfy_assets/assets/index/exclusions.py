"""Exclusions of a walk: ignored files and folders, links that are not followed, and the codes of the reasons.

Clients translate the codes; each comes with the reason in English. Blocks: for worker threads.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ... import store_guard
from ...fs.paths import Identity, identity_at, is_link, real_path
from ...ignored_files import is_ignored_folder
from ..roots import Roots

# Folders of one namespace give their files the same tags: "models|loras", "output". A folder is listed once in each.
Namespace = str


@dataclass(frozen=True)
class Obstacle:
    """Reason for which a path is not listed. ``detail`` is its variable part, such as the message of the system."""

    code: str
    reason: str
    detail: str = ""


NAME_NOT_UNICODE = Obstacle("name_not_unicode", "the name is not valid Unicode")
LISTED_ALREADY = Obstacle("listed_already", "links to a folder that is already indexed")
LINK_UPWARDS = Obstacle("link_upwards", "links to a folder that it is in")

# The panel translates these.
CODES = (
    "access_denied",
    "broken_link",
    "link_elsewhere",
    "link_upwards",
    "listed_already",
    "name_not_unicode",
    "unreadable",
)
_ERRORS = {errno.EACCES: "access_denied", errno.EPERM: "access_denied", errno.ENOENT: "broken_link"}


def link_elsewhere(kinds: set[str]) -> Obstacle:
    """Return the obstacle of a link to a folder of the library whose files are of other kinds."""
    return Obstacle(
        "link_elsewhere",
        f"links to a folder that is indexed as {' and '.join(sorted(kinds))}",
        ", ".join(sorted(kinds)),
    )


def unreadable(error: OSError) -> Obstacle:
    """Return the obstacle that an error of the system is. A missing file counts as a broken link."""
    reason = error.strerror or type(error).__name__
    return Obstacle(_ERRORS.get(error.errno or 0, "unreadable"), reason, reason)


@dataclass(frozen=True)
class ScanProblem:
    """A path that is not listed, in printable form, and why."""

    path: str
    obstacle: Obstacle

    def __str__(self) -> str:
        return f"{self.path}: {self.obstacle.reason}"

    def as_dict(self) -> dict[str, str]:
        """Return JSON members."""
        return {"path": self.path, "code": self.obstacle.code, "detail": self.obstacle.detail, "message": str(self)}


def problem_messages(result: Mapping[str, Any]) -> list[str]:
    """Return the messages of the problems in a scan's result."""
    return [problem["message"] for problem in result.get("problem_details", [])]


class Exclusions:
    """Keeps walks out of excluded subtrees, under their own paths and through links, and out of what a user leaves out.

    Without ``roots``, all folders are of one namespace, and links may lead anywhere else.
    """

    def __init__(self, excluded: Iterable[Path] = (), roots: Roots | None = None) -> None:
        paths = [str(path) for path in excluded]
        self._named = {os.path.normcase(path) for path in paths}
        self._real = {_real(path) for path in paths}
        # By identity as well, because an excluded folder may be reached under another path, as by a bind mount.
        self._tops = {identity for path in paths if (identity := identity_at(path)) is not None}
        self._roots = roots
        self._has_patterns = roots is not None and bool(roots.patterns)
        self._namespaces = {str(path): _namespace(path, roots) for path in roots.paths} if roots is not None else {}
        self._kinds_at: defaultdict[Identity, set[str]] = defaultdict(set)
        # Not those of all folders of the library: with some fifty, each change on a slow network drive would wait.
        for root in map(str, roots.walk_roots() if roots is not None else ()):
            if (identity := identity_at(root)) is not None:
                self._kinds_at[identity].add(_kind(self._namespaces[root]))

    @cached_property
    def _kinds(self) -> Mapping[str, set[str]]:
        """The kinds of the folders of the library, by their paths without links; needed for links alone."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for path, namespace in self._namespaces.items():
            found[_real(path)].add(_kind(namespace))
        return found

    def namespace_of(self, path: str) -> Namespace:
        """Return the namespace of a folder: that of the nearest folder of the library that holds it."""
        return next((self._namespaces[each] for each in _upwards(path) if each in self._namespaces), "")

    def namespace_in(self, namespace: Namespace, path: str) -> Namespace:
        """Return the namespace of a folder, given that of the folder that it is in."""
        return self._namespaces.get(path, namespace)

    def is_chosen(self, path: str) -> bool:
        """Return whether a folder is one of the library's, rather than inside one."""
        return path in self._namespaces

    def excludes(self, path: str) -> bool:
        """Return whether an excluded subtree begins at this folder."""
        return os.path.normcase(path) in self._named

    def excludes_link(self, path: str) -> bool:
        """Return whether a path leads into an excluded subtree through a link."""
        return not self._real.isdisjoint(_upwards(_real(path)))

    def excludes_file(self, path: str, info: os.stat_result, *, is_link: bool) -> bool:
        """Return whether a file is one of the store's, by a link or as a hard link."""
        return (is_link or info.st_nlink != 1) and store_guard.is_protected(path)

    def is_excluded_root(self, identity: Identity, path: str, namespace: Namespace) -> bool:
        """Return whether a folder is the top of an excluded subtree, or of another kind of root, under another path."""
        if identity in self._tops:
            return True
        kinds = self._kinds_at.get(identity)
        return kinds is not None and _kind(namespace) not in kinds and path not in self._namespaces

    def files_in(self, folder: str) -> Callable[[str], object] | None:
        """Return a function that tells which files of a folder a user leaves out, by name; None if none of them."""
        return self._roots.leaves_out(Path(folder)) if self._has_patterns and self._roots is not None else None

    def leaves_out_folder(self, folder: str, name: str) -> bool:
        """Return whether a folder of this name in another belongs to a system, or is left out by a user."""
        if folder in self._namespaces:  # a folder of the library itself is always entered
            return False
        if self._has_patterns and self._roots is not None:
            return self._roots.is_skipped(Path(folder))
        return is_ignored_folder(name)

    def refusal(self, link: str, namespace: Namespace) -> Obstacle | None:
        """Return why a link to a folder is not followed; None if it is.

        A link to a folder that it is in would list that, and all roots in it, again. A link to another root would list
        the same files as something else. In a category of models it may lead to a folder in another root, as to
        models that were trained into the output folder: loaders find them there.
        """
        target = _real(link)
        # Also those that the links before it are in: together they may lead round.
        links = [link, *(each for each in _upwards(os.path.dirname(link)) if is_link(each))]  # noqa: PTH120
        if any(target in _upwards(_real(os.path.dirname(each))) for each in links):  # noqa: PTH120
            return LINK_UPWARDS
        root = next((each for each in _upwards(target) if each in self._kinds), None)
        if root is None or _kind(namespace) in self._kinds[root]:
            return None
        if _kind(namespace) == "models" and target != root:
            return None
        return link_elsewhere(self._kinds[root])

    def is_refused(self, path: str) -> bool:
        """Return whether a folder is behind a link that walks do not follow."""
        if self.excludes_link(path):
            return True
        links = (each for each in _upwards(path) if each not in self._namespaces and is_link(each))
        return any(self.refusal(each, self.namespace_of(each)) is not None for each in links)


def _namespace(path: Path, roots: Roots) -> Namespace:
    place = roots.place(path)
    return "" if place is None else "|".join([place.kind, *place.category_names])


def _kind(namespace: Namespace) -> str:
    return namespace.partition("|")[0]


def _real(path: str) -> str:
    return os.path.normcase(real_path(path))


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and the folders that it is in, the innermost first."""
    yield path
    while (above := os.path.dirname(path)) != path:  # noqa: PTH120 - called for every link
        path = above
        yield path
