"""What searches have found, kept so that the next page, another order and the histogram need not search again."""

from __future__ import annotations

from collections import OrderedDict


class Memory:
    """Bytes by what they tell, as long as the search indexes have the same version.

    What was not asked for longest is forgotten first. In a library of a million assets, a set of them takes 125 kB, an
    order of them 8 MB.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._version = -1
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, what: str, version: int) -> bytes | None:
        """What is remembered."""
        packed = self._kept.get(what) if version == self._version else None
        if packed is not None:
            self._kept.move_to_end(what)
        return packed

    def put(self, what: str, version: int, packed: bytes) -> None:
        """Remember; what belongs to an older version is of no use any more."""
        if version < self._version:
            return
        if version > self._version:
            self._kept.clear()
            self._version = version
        self._kept[what] = packed
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
