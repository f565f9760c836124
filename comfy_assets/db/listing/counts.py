"""How many of the assets that pass a filter have each tag set: what histograms of tags are made of."""

from __future__ import annotations

from typing import Any

from ...models import AssetFilter
from .. import fulltext, tags
from ..connection import Database
from ..sql import json_array
from .filters import BY_IDS, ROW_COST, Found, Rows, TagSet, select


async def set_counts(db: Database, wanted: AssetFilter) -> tuple[str, list[Any]]:
    """A query for the tag sets (``set_id``) of the assets that pass, and how many have each (``n``)."""
    if not (wanted.name_contains or wanted.words or wanted.metadata or wanted.hash):
        condition, parameters = tags.set_condition(wanted)
        return f"SELECT s.id AS set_id, s.asset_count AS n FROM tag_sets s WHERE {condition}", parameters
    selection = await select(db, wanted)
    if isinstance(selection, Rows):
        return _by_row("assets a", selection.where), selection.parameters
    if not selection.total:
        return _by_row("assets a", "0"), []
    largest = max(selection.sets, key=lambda each: each.assets)
    if selection.total * ROW_COST <= sum(each.assets for each in selection.sets if each is not largest):
        return _by_row(BY_IDS, "1"), [json_array(selection.ids)]
    counts = await _by_set(db, selection, largest)
    return (
        "SELECT json_extract(value, '$[0]') AS set_id, json_extract(value, '$[1]') AS n FROM json_each(?)",
        [json_array(counts)],
    )


def _by_row(source: str, where: str) -> str:
    return f"SELECT a.tag_set_id AS set_id, count(*) AS n FROM {source} WHERE {where} GROUP BY 1"


async def _by_set(db: Database, found: Found, largest: TagSet) -> list[tuple[int, int]]:
    """The same from the sets' own assets. Those of the largest, often most of the library, are what is left."""
    others = [each.id for each in found.sets if each is not largest]
    rows = await db.fetch_all(
        "SELECT tag_set_id, group_concat(id) FROM assets WHERE tag_set_id IN (SELECT value FROM json_each(?))"
        " GROUP BY tag_set_id",
        (json_array(others),),
    )
    counts = [(set_id, found.ids.count(await fulltext.parse(text))) for set_id, text in rows]
    return [*counts, (largest.id, found.total - sum(count for _, count in counts))]
