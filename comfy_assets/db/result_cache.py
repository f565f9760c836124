"""A cache for the results of searches, so that the next page, another order and the histogram need no new search."""

from __future__ import annotations

from collections import OrderedDict


class ResultCache:
    """Bytes by key, for one version of a search index. The least recently used are dropped first.

    For a library of a million assets, a set of them takes 125 kB and an order of them 8 MB.
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
