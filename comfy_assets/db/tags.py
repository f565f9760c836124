"""Tags and the interned combinations of owner and tags that assets point to."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..models import MISSING_TAG, MODEL_TYPE_PREFIX, AssetFilter, Page, TagCount, TagRequest
from .connection import Database, Transaction
from .sql import json_array

ROOT_TAGS = ("models", "input", "output", "temp")
# SQL that tells of a ``tag_sets s`` row whether a user (the parameter) may know of its assets.
VISIBLE = "s.owner IN ('', ?) AND s.hidden = 0"


def canonical(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags without repeats in the order responses show: root, category, model_type, the user's, missing."""
    unique = set(tags)
    categories = {t.removeprefix(MODEL_TYPE_PREFIX) for t in unique if t.startswith(MODEL_TYPE_PREFIX)}

    def rank(tag: str) -> tuple[int, str]:
        if tag in ROOT_TAGS:
            return 0, tag
        if tag in categories:
            return 1, tag
        if tag.startswith(MODEL_TYPE_PREFIX):
            return 2, tag
        return (4 if tag == MISSING_TAG else 3), tag

    return tuple(sorted(unique, key=rank))


def place_tags(present: Iterable[str], former_categories: Iterable[str]) -> set[str]:
    """Those of an asset's tags that came from its place rather than from a user."""
    former = set(former_categories)
    return {t for t in present if t in ROOT_TAGS or t.startswith(MODEL_TYPE_PREFIX) or t in former}


async def intern(tx: Transaction, owner: str, tags: Iterable[str], *, hidden: bool = False) -> int:
    """The id of the tag set with exactly these tags, made if there is none; a hidden one is for deleted assets."""
    ordered = canonical(tags)
    key = (owner, json_array(ordered), hidden)
    found = await tx.fetch_value("SELECT id FROM tag_sets WHERE owner = ? AND tags = ? AND hidden = ?", key)
    if found is not None:
        return int(found)
    await tx.execute("INSERT INTO tag_sets (owner, tags, hidden) VALUES (?, ?, ?)", key)
    set_id = int(await tx.fetch_value("SELECT last_insert_rowid()"))
    await tx.execute_many("INSERT OR IGNORE INTO tags (name) VALUES (?)", [(tag,) for tag in ordered])
    await tx.execute_many(
        "INSERT INTO tag_set_tags (tag_id, tag_set_id) SELECT id, ? FROM tags WHERE name = ?",
        [(set_id, tag) for tag in ordered],
    )
    return set_id


async def with_tag_changes(tx: Transaction, set_id: int, add: Iterable[str], remove: Iterable[str]) -> int:
    """The id of the tag set that differs from ``set_id`` by these tags."""
    rows = await tx.fetch_all("SELECT owner, tags, hidden FROM tag_sets WHERE id = ?", (set_id,))
    owner, text, hidden = rows[0]
    tags = (set(msgspec.json.decode(text, type=list[str])) - set(remove)) | set(add)
    return await intern(tx, owner, tags, hidden=bool(hidden))


async def drop_unused_sets(tx: Transaction) -> None:
    """Forget the combinations no asset has any more.

    The tags themselves stay known, save those that a user's own assets had and nobody's have now: others must not
    learn of them.
    """
    private = await tx.fetch_all(
        "SELECT DISTINCT l.tag_id FROM tag_sets s JOIN tag_set_tags l ON l.tag_set_id = s.id"
        " WHERE s.asset_count = 0 AND s.owner <> ''"
    )
    await tx.execute("DELETE FROM tag_sets WHERE asset_count = 0")
    await tx.execute_many(
        "DELETE FROM tags WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = ?1)", private
    )


def set_condition(wanted: AssetFilter) -> tuple[str, list[object]]:
    """SQL that tells of a ``tag_sets s`` row whether its assets pass the owner and tag filters."""
    clauses = [VISIBLE if wanted.include_public else "s.owner = ? AND s.hidden = 0"]
    parameters: list[object] = [wanted.owner]
    member = "s.id {} (SELECT l.tag_set_id FROM tag_set_tags l JOIN tags t ON t.id = l.tag_id WHERE t.name = ?)"
    for tag in wanted.include_tags:
        clauses.append(member.format("IN"))
        parameters.append(tag)
    for tag in wanted.exclude_tags:
        clauses.append(member.format("NOT IN"))
        parameters.append(tag)
    return " AND ".join(clauses), parameters


async def list_tags(db: Database, wanted: TagRequest) -> Page[TagCount]:
    """Tags with the number of assets that carry them. A tag of another owner's alone is never told of."""
    visible, parameters = set_condition(AssetFilter(wanted.owner, wanted.include_public))
    known = (
        "EXISTS (SELECT 1 FROM tag_set_tags l JOIN tag_sets s ON s.id = l.tag_set_id"
        f" WHERE l.tag_id = t.id AND {visible})"
        " OR NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = t.id)"
    )
    counted = (
        f"SELECT t.name AS name, coalesce((SELECT sum(s.asset_count) FROM tag_set_tags l"
        f" JOIN tag_sets s ON s.id = l.tag_set_id WHERE l.tag_id = t.id AND {visible}), 0) AS n"
        f" FROM tags t WHERE substr(t.name, 1, ?) = ? AND ({known})"
    )
    ordering = "name" if wanted.order == "name_asc" else "n DESC, name"
    bound = [*parameters, len(wanted.prefix), wanted.prefix, *parameters, wanted.include_zero]
    rows = await db.fetch_all(
        f"WITH counted AS ({counted}), listed AS (SELECT * FROM counted WHERE n > 0 OR ?)"
        f" SELECT name, n, (SELECT count(*) FROM listed) FROM listed ORDER BY {ordering} LIMIT ? OFFSET ?",
        [*bound, wanted.limit + 1, wanted.offset],
    )
    # A page beyond the end has no row that tells the total.
    total = rows[0][2] if rows else await _count_tags(db, counted, bound)
    items = [TagCount(name, count) for name, count, _ in rows[: wanted.limit]]
    return Page(items, total, has_more=len(rows) > wanted.limit)


async def _count_tags(db: Database, counted: str, bound: list[object]) -> int:
    row = await db.fetch_one(f"SELECT count(*) FROM ({counted}) WHERE n > 0 OR ?", bound)
    return int(row[0]) if row else 0
