"""Caches of an open store: results of searches, and columns of all assets."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, NamedTuple


class ResultCache:
    """The results of searches, so that the next page, another order and the histogram need no new search.

    They are bytes by key, for one version of a search index. The least recently used are dropped first. For a library
    of a million assets, a set of them takes 125 kB and an order of them 8 MB.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._version = -1
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str, version: int) -> bytes | None:
        """Return the result that was put for this version of the index, or None."""
        packed = self._kept.get(key) if version == self._version else None
        if packed is not None:
            self._kept.move_to_end(key)
        return packed

    def put(self, key: str, version: int, packed: bytes) -> None:
        """Keep a result. Those of older versions are dropped; one that is itself older is not kept."""
        if version < self._version:
            return
        if version > self._version:
            self._kept.clear()
            self._version = version
        self._kept[key] = packed
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


class LoadedColumn(NamedTuple):
    """An array of values by row id, with the last change of assets that it has, and the highest row id then."""

    values: Any
    change: int
    upto: int


class NumberedColumn(NamedTuple):
    """The values of a column, ``source``, replaced by numbers: equal ones for equal values, without gaps."""

    source: LoadedColumn
    numbers: Any


class ColumnCache:
    """Values of all assets in memory, which ``listing.columns`` reads and keeps up to date.

    ``jobs`` are the numbers that ``listing.pages`` gives to the jobs of assets.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, LoadedColumn] = {}
        self.jobs: NumberedColumn | None = None
        self.lock = asyncio.Lock()

    def clear(self) -> None:
        """Forget all columns."""
        self.loaded.clear()
        self.jobs = None
