"""Members of collections in lists: which they are, their order, and how many a user can see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...models import AssetFilter
from .. import collections, fulltext
from ..connection import Database
from .tag_filters import filtered_sets

if TYPE_CHECKING:
    from .bitmap import Ids, IdSet


_OF_COLLECTION = "FROM collection_members WHERE collection_id = (SELECT id FROM collections WHERE uuid = ?)"


async def members_of(db: Database, collection: str) -> IdSet:
    """Return all members of a collection, by its id."""
    from .bitmap import IdSet

    return IdSet.of(await fulltext.fetch_ids(db, f"SELECT group_concat(asset_id) {_OF_COLLECTION}", (collection,)))


async def positions_of(db: Database, collection: str, ids: Ids) -> Ids:
    """Return the positions of members, which are given by ascending id."""
    rows = await db.fetch_all(f"SELECT group_concat(asset_id), group_concat(position) {_OF_COLLECTION}", (collection,))
    members, positions = await fulltext.parse_ids(rows[0][0]), await fulltext.parse_ids(rows[0][1])
    order = members.argsort()
    at = members[order].searchsorted(ids).clip(0, max(0, members.size - 1))
    found: Ids = positions[order][at] if members.size else ids[:0]
    return found


async def count_visible(db: Database, row_ids: Sequence[int], owner: str) -> dict[int, int]:
    """Return, for each of these collections that has members, how many the user can see."""
    import numpy as np

    from . import columns

    members = await collections.rows_of(db, row_ids)
    tag_set = (await columns.load(db, ["tag_set"]))["tag_set"]
    passing = [each.id for each in await filtered_sets(db, AssetFilter(owner)) if each.passes]
    parsed = {row_id: await fulltext.parse_ids(text) for row_id, text in members.items()}

    def work() -> dict[int, int]:
        return {row_id: int(np.isin(columns.values_of(tag_set, ids), passing).sum()) for row_id, ids in parsed.items()}

    return await asyncio.to_thread(work)
