"""The order of all names, for searches whose hits lie together far from where a walk through it would begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fulltext import INDEXED_UPTO
from .hits import parse

if TYPE_CHECKING:
    from .connection import Database
    from .listing.bitmap import Ids

_STATE = (
    "(SELECT version FROM search_state), NOT EXISTS (SELECT 1 FROM search_stale)"
    f" AND NOT EXISTS (SELECT 1 FROM assets WHERE id > {INDEXED_UPTO})"
)
_WHAT = "order of names"


async def name_order(db: Database) -> Ids | None:
    """The ids of all assets, by name; None while some are not indexed as they are, for what is remembered may not hold.

    A name that changes makes its asset such a one.
    """
    from .listing.bitmap import order_of

    version, is_settled = (await db.fetch_all(f"SELECT {_STATE}"))[0]
    packed = db.memory.get(_WHAT, version) if is_settled else None
    if packed is None and is_settled:
        # SQLite puts the ids together in the order in which the inner query, which the limit keeps apart, finds them.
        inner = "SELECT id FROM assets ORDER BY name_key, id LIMIT -1"
        rows = await db.fetch_all(f"SELECT {_STATE}, (SELECT group_concat(id) FROM ({inner}))")
        version, is_settled, text = rows[0]
        packed = (await parse(text)).tobytes()
        if is_settled:
            db.memory.put(_WHAT, version, packed)
    return order_of(packed) if packed is not None and is_settled else None
