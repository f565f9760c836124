"""Sets of row ids as bitmaps: set operations on a million ids take microseconds.

Many ids are fetched as one text, because a row for each takes SQLite three times as long and holds the interpreter.
NumPy is imported within functions, as it would slow the server's start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

_SLICE = 1 << 17  # characters parsed at once: NumPy holds the interpreter lock for that long


class IdSet:
    """An immutable set of row ids."""

    def __init__(self, bits: NDArray[np.bool_]) -> None:
        self._bits = bits

    @classmethod
    def of(cls, ids: Ids) -> IdSet:
        """Make the set of these ids."""
        import numpy as np

        bits = np.zeros(int(ids.max()) + 1 if ids.size else 0, dtype=np.bool_)
        bits[ids] = True
        return cls(bits)

    @classmethod
    def unpacked(cls, packed: bytes) -> IdSet:
        """Make the set from packed bytes."""
        import numpy as np

        return cls(np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).view(np.bool_))

    def packed(self) -> bytes:
        """Pack the set into an eighth of its memory."""
        import numpy as np

        return np.packbits(self._bits).tobytes()

    def __len__(self) -> int:
        import numpy as np

        return int(np.count_nonzero(self._bits))

    @property
    def ids(self) -> Ids:
        """The ids in ascending order."""
        import numpy as np

        return np.flatnonzero(self._bits)

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __contains__(self, row_id: int) -> bool:
        return row_id < self._bits.size and bool(self._bits[row_id])

    def __and__(self, other: IdSet) -> IdSet:
        size = min(self._bits.size, other._bits.size)
        return IdSet(self._bits[:size] & other._bits[:size])

    def plus(self, ids: Ids) -> IdSet:
        """Return the union with these ids."""
        import numpy as np

        if not ids.size:
            return self
        bits = np.zeros(max(self._bits.size, int(ids.max()) + 1), dtype=np.bool_)
        bits[: self._bits.size] = self._bits
        bits[ids] = True
        return IdSet(bits)

    def minus(self, ids: Ids) -> IdSet:
        """Return the set without these ids."""
        if not ids.size:
            return self
        bits = self._bits.copy()
        bits[ids[ids < bits.size]] = False
        return IdSet(bits)

    def among(self, ids: Ids) -> Ids:
        """Return those of the ids that are in the set, in the given order."""
        return ids[self._has(ids)]

    def upto(self, last: int) -> IdSet:
        """Return the set without ids above ``last``."""
        return IdSet(self._bits[: last + 1])

    def count(self, ids: Ids) -> int:
        """Count how many of these distinct ids are in the set."""
        import numpy as np

        return int(np.count_nonzero(self._has(ids)))

    def count_by(self, keys: Ids, ids: Ids) -> list[tuple[int, int]]:
        """Count, for each key, the ids in the set. ``keys`` has one key, 0 or more, for each id."""
        import numpy as np

        counts = np.bincount(keys[self._has(ids)])
        found = np.flatnonzero(counts)
        return list(zip(found.tolist(), counts[found].tolist(), strict=True))

    def _has(self, ids: Ids) -> NDArray[np.bool_]:
        import numpy as np

        if not self._bits.size:
            return np.zeros(ids.size, dtype=np.bool_)
        return self._bits[np.minimum(ids, self._bits.size - 1)] & (ids < self._bits.size)


def order_of(packed: bytes) -> Ids:
    """Return the ids of an array that was stored as bytes."""
    import numpy as np

    return np.frombuffer(packed, dtype=np.int64)


def parse(text: str | None) -> Ids:
    """Parse ids separated by commas; None is empty. Call it in a worker thread if the text is long."""
    import numpy as np

    parts: list[Ids] = []
    start = 0
    while text and start < len(text):
        end = text.find(",", start + _SLICE)
        end = len(text) if end < 0 else end
        parts.append(np.fromstring(text[start:end], dtype=np.int64, sep=","))
        start = end + 1
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
