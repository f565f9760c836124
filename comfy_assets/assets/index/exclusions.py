"""Where walks do not go."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ... import store_guard
from ...fs.stat import Identity, identity_at


class Fence:
    """Keeps walks out of the excluded subtrees: under their own paths, and where links lead into them."""

    def __init__(self, excluded: Iterable[Path] = ()) -> None:
        paths = [str(path) for path in excluded]
        self._named = {os.path.normcase(path) for path in paths}
        self._real = {os.path.normcase(os.path.realpath(path)) for path in paths}
        self._tops = {identity for path in paths if (identity := identity_at(path)) is not None}

    def bars(self, path: str) -> bool:
        """Whether an excluded subtree begins at this folder."""
        return os.path.normcase(path) in self._named

    def bars_link(self, path: str) -> bool:
        """Whether a path leads into an excluded subtree by a link."""
        real = Path(os.path.normcase(os.path.realpath(path)))
        return not self._real.isdisjoint(map(str, (real, *real.parents)))

    def bars_file(self, path: str, info: os.stat_result, *, is_link: bool) -> bool:
        """Return whether a file is one of the store's, by a link or as a hard link."""
        return (is_link or info.st_nlink != 1) and store_guard.is_protected(path)

    def is_top(self, identity: Identity) -> bool:
        """Whether this is where an excluded subtree begins, whatever the path that led here."""
        return identity in self._tops
