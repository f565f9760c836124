"""Counts of assets by tag set and folder, when many assets change at once.

Triggers keep ``tag_sets.asset_count`` and ``folder_counts`` for each changed row. For thousands of rows, most of them
alike, that takes longer than the change itself: here it is a few statements for all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from .connection import Transaction
from .sql import Statement, json_array, statements

NO_ID = (1 << 63) - 1  # higher than any id
FEW = 20  # fewer assets than this are counted faster by triggers

_CHANGES_TABLE = "CREATE TEMP TABLE IF NOT EXISTS count_changes (folder_id INTEGER, tag_set_id INTEGER, n INTEGER)"
_COUNTED_BELOW = "UPDATE counted_apart SET first_id = ?"
_NOTE = """
    INSERT INTO count_changes SELECT folder_id, tag_set_id, ?1 * count(*) FROM assets
    WHERE id IN (SELECT value FROM json_each(?2)) GROUP BY 1, 2
"""
_APPLY = (
    "UPDATE tag_sets SET asset_count = asset_count"
    " + (SELECT sum(n) FROM count_changes WHERE tag_set_id = tag_sets.id)"
    " WHERE id IN (SELECT tag_set_id FROM count_changes)",
    "INSERT INTO folder_counts SELECT e.node_id, c.tag_set_id, sum(e.is_direct * c.n), sum(c.n)"
    " FROM (SELECT folder_id, tag_set_id, sum(n) AS n FROM count_changes GROUP BY 1, 2 HAVING sum(n) <> 0) c"
    " JOIN folder_ancestors e ON e.folder_id = c.folder_id GROUP BY 1, 2"
    " ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total",
)


@asynccontextmanager
async def counted_together(tx: Transaction, ids: Sequence[int]) -> AsyncIterator[None]:
    """Count the changes of these assets at the end of the block.

    No other asset may change in it, and the transaction must not pause. An exception must end the transaction.
    """
    if len(ids) < FEW:
        yield
        return
    chosen = json_array(ids)
    await tx.execute_all([*starting(0), Statement(_NOTE, (-1, chosen))])
    yield
    await tx.execute_all([Statement(_NOTE, (1, chosen)), *FINISHING])


def starting(first_id: int) -> tuple[Statement, ...]:
    """Return statements that have triggers count no asset with this id or a higher one until ``FINISHING``."""
    return (
        Statement(_CHANGES_TABLE),
        Statement("DELETE FROM count_changes"),
        Statement(_COUNTED_BELOW, (first_id,)),
    )


# Apply the changes that were noted in ``count_changes``; triggers count again.
FINISHING = (Statement(_COUNTED_BELOW, (NO_ID,)), *statements(*_APPLY))
