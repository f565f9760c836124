"""Sets of assets as bits, one for each row id: of a million assets, the work of microseconds.

SQLite hands over many ids fastest as one text; a row for each would take three times as long, and the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_SLICE = 1 << 17  # characters parsed in one go, while no other thread can run

Ids = NDArray[np.int64]


class IdSet:
    """Row ids of assets. Sets do not change; operations answer new ones."""

    def __init__(self, bits: NDArray[np.bool_]) -> None:
        self._bits = bits

    @classmethod
    def of(cls, ids: Ids) -> IdSet:
        """The set of these ids."""
        bits = np.zeros(int(ids.max()) + 1 if ids.size else 0, dtype=np.bool_)
        bits[ids] = True
        return cls(bits)

    @classmethod
    def unpacked(cls, packed: bytes) -> IdSet:
        """The set that was packed."""
        return cls(np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).view(np.bool_))

    def packed(self) -> bytes:
        """The set in an eighth of the room."""
        return np.packbits(self._bits).tobytes()

    def __len__(self) -> int:
        return int(np.count_nonzero(self._bits))

    @property
    def ids(self) -> Ids:
        """The ids in ascending order."""
        return np.flatnonzero(self._bits)

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __contains__(self, row_id: int) -> bool:
        return row_id < self._bits.size and bool(self._bits[row_id])

    def __and__(self, other: IdSet) -> IdSet:
        size = min(self._bits.size, other._bits.size)
        return IdSet(self._bits[:size] & other._bits[:size])

    def plus(self, ids: Ids) -> IdSet:
        """The set with these ids in it."""
        if not ids.size:
            return self
        bits = np.zeros(max(self._bits.size, int(ids.max()) + 1), dtype=np.bool_)
        bits[: self._bits.size] = self._bits
        bits[ids] = True
        return IdSet(bits)

    def minus(self, ids: Ids) -> IdSet:
        """The set without these ids."""
        if not ids.size:
            return self
        bits = self._bits.copy()
        bits[ids[ids < bits.size]] = False
        return IdSet(bits)

    def among(self, ids: Ids) -> Ids:
        """Those of the ids that are in the set, in the order given."""
        return ids[self._has(ids)]

    def upto(self, last: int) -> IdSet:
        """The set without what comes behind an id."""
        return IdSet(self._bits[: last + 1])

    def count(self, ids: Ids) -> int:
        """How many of these ids, all different, are in the set."""
        return int(np.count_nonzero(self._has(ids)))

    def count_by(self, keys: Ids, ids: Ids) -> list[tuple[int, int]]:
        """Count those of the ids that are in the set for each key; ``keys`` has one (0 or more) for each id."""
        counts = np.bincount(keys[self._has(ids)])
        found = np.flatnonzero(counts)
        return list(zip(found.tolist(), counts[found].tolist(), strict=True))

    def _has(self, ids: Ids) -> NDArray[np.bool_]:
        if not self._bits.size:
            return np.zeros(ids.size, dtype=np.bool_)
        return self._bits[np.minimum(ids, self._bits.size - 1)] & (ids < self._bits.size)


def order_of(packed: bytes) -> Ids:
    """The ids whose array was kept as bytes."""
    return np.frombuffer(packed, dtype=np.int64)


def parse(text: str | None) -> Ids:
    """The ids in a text that has commas between them; none of None. For worker threads if the text is long."""
    parts: list[Ids] = []
    start = 0
    while text and start < len(text):
        end = text.find(",", start + _SLICE)
        end = len(text) if end < 0 else end
        parts.append(np.fromstring(text[start:end], dtype=np.int64, sep=","))
        start = end + 1
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
