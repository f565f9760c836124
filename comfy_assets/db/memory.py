"""What searches have found, kept so that the next page, another order and the histogram need not search again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .id_sets import IdSet


class Memory:
    """Sets by what was looked for and the version of the indexes; what was not asked for longest is forgotten.

    A set in a library of a million assets takes 125 kB.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._found: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, what: str, version: int) -> IdSet | None:
        """What was found, if it is remembered."""
        from .id_sets import IdSet

        packed = self._found.get((what, version))
        if packed is None:
            return None
        self._found.move_to_end((what, version))
        return IdSet.unpacked(packed)

    def put(self, what: str, version: int, found: IdSet) -> None:
        """Remember what was found."""
        self._found[what, version] = found.packed()
        while len(self._found) > self._limit:
            self._found.popitem(last=False)
