"""Tags: the interned sets of what folders give, and the plain join table of what users give.

A *tag set* combines an owner with the tags of a place (root, categories, model types) and two flags: ``hidden`` for
deleted assets, previews of others and sidecars of models, ``missing`` for assets without content. The number of sets is
bounded by the numbers of folders and owners, so filters are decided on sets, and triggers keep a count of assets for
each. Users' tags are rows of ``asset_tags``; for them triggers keep ``tag_counts`` (by set) and ``tag_totals`` (by
owner). No asset has a tag twice, by its set and as a user's.

The triggers count each changed row. For thousands of rows, most of them alike, that takes longer than the change
itself: ``counted_together`` takes a few statements for all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import NamedTuple

import msgspec

from ..models import MISSING_TAG, MODEL_TYPE_PREFIX, categories_of
from .connection import Transaction
from .sql import Statement, json_array, statements

ROOT_TAGS = ("models", "input", "output", "temp")
# SQL that tells of a ``tag_sets s`` row whether a user (the parameter) may know of its assets.
VISIBLE = "s.owner IN ('', ?) AND s.hidden = 0"
# Bits of ``hidden``. No list, count or search has a hidden asset; previews of others are found by their ids, sidecars
# of models by their contents as well.
DELETED, PREVIEW, SIDECAR = 1, 2, 4
FOUND = f"s.owner IN ('', ?) AND NOT s.hidden & {DELETED}"
HELD = f"s.owner IN ('', ?) AND s.hidden IN (0, {SIDECAR})"
# SQL for the tags that users gave to an asset ``a``, as a JSON array; null for most assets, which have none.
USER_TAGS = """
    CASE WHEN EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = a.id) THEN (
        SELECT json_group_array(t.name) FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = a.id
    ) END
"""
_decode = msgspec.json.Decoder(list[str]).decode

NO_ID = (1 << 63) - 1  # higher than any id
FEW_CHANGES = 20  # fewer assets than this are counted faster by triggers
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


class TagSet(NamedTuple):
    """The owner, the tags of the place, and the flags that assets share."""

    owner: str
    tags: tuple[str, ...]
    hidden: int = 0
    missing: bool = False


def canonical(tags: Iterable[str]) -> tuple[str, ...]:
    """Sort tags as responses show them, without repeats: root, category, model_type, the user's, missing."""
    unique = set(tags)
    categories = set(categories_of(unique))

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
    """Return those of an asset's tags that came from its place rather than from a user."""
    former = set(former_categories)
    return {t for t in present if t in ROOT_TAGS or t.startswith(MODEL_TYPE_PREFIX) or t in former}


def split(tags: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the tags of an asset into those that a place gives (root, categories with a model type) and the users'."""
    ordered = canonical(tags)
    categories = set(categories_of(ordered))
    place = tuple(t for t in ordered if t in ROOT_TAGS or t in categories or t.startswith(MODEL_TYPE_PREFIX))
    return place, tuple(t for t in ordered if t not in place and t != MISSING_TAG)


@lru_cache(maxsize=4096)  # a page's assets have few combinations, and sorting them costs more than reading the rows
def combined(place: str, user: str | None, *, missing: bool) -> str:
    """Combine the tags of a place and of users (JSON arrays) to all tags of an asset, in canonical order."""
    if user is None and not missing:
        return place
    found = [*_decode(place), *(_decode(user) if user is not None else ()), *((MISSING_TAG,) if missing else ())]
    return json_array(canonical(found))


async def intern(tx: Transaction, owner: str, tags: Iterable[str], *, hidden: int = 0, missing: bool = False) -> int:
    """Return the id of the tag set with exactly these tags of a place; add it if there is none."""
    wanted = TagSet(owner, tuple(tags), hidden, missing)
    return (await intern_all(tx, [wanted]))[wanted]


async def intern_all(tx: Transaction, sets: Collection[TagSet]) -> dict[TagSet, int]:
    """Return the ids of tag sets; add those that are new. The order of their tags does not matter."""
    ordered = {wanted: wanted._replace(tags=canonical(wanted.tags)) for wanted in sets}
    ids = await _ids_of(tx, ordered.values())
    new = sorted({*ordered.values()} - ids.keys())
    if new:
        names = json_array({tag for each in new for tag in _linked(each)})
        await tx.execute_all(
            [
                Statement(
                    "INSERT INTO tag_sets (owner, tags, hidden, missing) VALUES (?, ?, ?, ?)",
                    [(each.owner, json_array(each.tags), each.hidden, each.missing) for each in new],
                    is_many=True,
                ),
                Statement("INSERT OR IGNORE INTO tags (name) SELECT value FROM json_each(?)", (names,)),
                # They are in use again.
                Statement(
                    "DELETE FROM tag_totals WHERE owner = '' AND n = 0 AND name IN (SELECT value FROM json_each(?))",
                    (names,),
                ),
            ]
        )
        ids |= await _ids_of(tx, new)
        await tx.execute_many(
            "INSERT INTO tag_set_tags (tag_id, tag_set_id) SELECT id, ?1 FROM tags WHERE name = ?2",
            [(ids[each], tag) for each in new for tag in _linked(each)],
        )
    return {wanted: ids[each] for wanted, each in ordered.items()}


def _linked(tag_set: TagSet) -> tuple[str, ...]:
    return (*tag_set.tags, MISSING_TAG) if tag_set.missing else tag_set.tags


async def _ids_of(tx: Transaction, sets: Iterable[TagSet]) -> dict[TagSet, int]:
    rows = await tx.fetch_all(
        "SELECT s.owner, s.tags, s.hidden, s.missing, s.id FROM json_each(?) j CROSS JOIN tag_sets s"
        " ON s.owner = json_extract(j.value, '$[0]') AND s.tags = json_extract(j.value, '$[1]')"
        " AND s.hidden = json_extract(j.value, '$[2]') AND s.missing = json_extract(j.value, '$[3]')",
        (json_array((each.owner, json_array(each.tags), each.hidden, each.missing) for each in sets),),
    )
    return {
        TagSet(owner, tuple(_decode(text)), hidden, bool(missing)): set_id
        for owner, text, hidden, missing, set_id in rows
    }


async def move_assets(tx: Transaction, ids: Iterable[int], change: Callable[[TagSet], TagSet]) -> None:
    """Give assets the tag sets that differ from theirs as ``change`` says: once for each set they have."""
    rows = await tx.fetch_all(
        "SELECT s.id, s.owner, s.tags, s.hidden, s.missing, o.ids FROM ("
        " SELECT tag_set_id, json_group_array(id) AS ids FROM assets"
        " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1"
        ") o JOIN tag_sets s ON s.id = o.tag_set_id",
        (json_array(ids),),
    )
    for set_id, owner, text, hidden, missing, members in rows:
        present = TagSet(owner, tuple(_decode(text)), hidden, bool(missing))
        target = change(present)
        if target == present:
            continue
        new_id = await intern(tx, target.owner, target.tags, hidden=target.hidden, missing=target.missing)
        if new_id != set_id:
            await tx.execute(
                "UPDATE assets SET tag_set_id = ? WHERE id IN (SELECT value FROM json_each(?))", (new_id, members)
            )


async def give_public(tx: Transaction, ids: Iterable[int], owner: str) -> None:
    """Make a user the owner of the public assets among these; their tags stay."""
    await move_assets(tx, ids, lambda s: s if s.owner else s._replace(owner=owner))


async def retag(tx: Transaction, ids: Iterable[int], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Change the same tags on many assets; what is in both is added. Those of the place can be removed, too."""
    chosen, added = json_array(ids), set(add)
    removed = set(remove) - added
    if removed:
        await _remove_user_tags(tx, chosen, removed)
        await move_assets(
            tx, _numbers(chosen), lambda s: s._replace(tags=tuple(tag for tag in s.tags if tag not in removed))
        )
    if added and chosen != "[]":
        await tx.execute("INSERT OR IGNORE INTO tags (name) SELECT value FROM json_each(?)", (json_array(added),))
        await tx.execute(
            "INSERT OR IGNORE INTO asset_tags (asset_id, tag_id, created_at)"
            " SELECT a.id, t.id, a.created_at FROM json_each(?1) i CROSS JOIN assets a ON a.id = i.value"
            " CROSS JOIN tags t ON t.name IN (SELECT value FROM json_each(?2)) WHERE NOT EXISTS"
            " (SELECT 1 FROM tag_set_tags WHERE tag_id = t.id AND tag_set_id = a.tag_set_id)",
            (chosen, json_array(added)),
        )


async def replace_place_tags(
    tx: Transaction, ids: Iterable[int], former_categories: Iterable[str], wanted: Iterable[str]
) -> None:
    """Replace the tags that files had by their place with those they have now; the users' tags stay."""
    chosen, place, former = json_array(ids), set(wanted), set(former_categories)
    kept: dict[str, list[int]] = {}
    for set_tags, members in await _members_of_sets(tx, chosen):
        for tag in set(set_tags) - place_tags(set_tags, former) - place:
            kept.setdefault(tag, []).extend(members)
    # A category is among the users' tags where no model type names it.
    await _remove_user_tags(tx, chosen, place | former)
    await move_assets(tx, _numbers(chosen), lambda s: s._replace(tags=canonical(place)))
    for tag, members in kept.items():
        await retag(tx, members, add=(tag,))


async def _members_of_sets(tx: Transaction, ids: str) -> list[tuple[list[str], list[int]]]:
    """Return the tags of the sets that assets have, each with those of the assets."""
    rows = await tx.fetch_all(
        "SELECT s.tags, json_group_array(a.id) FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " WHERE a.id IN (SELECT value FROM json_each(?)) GROUP BY s.id",
        (ids,),
    )
    return [(_decode(text), _numbers(members)) for text, members in rows]


async def _remove_user_tags(tx: Transaction, ids: str, names: set[str]) -> None:
    await tx.execute(
        "DELETE FROM asset_tags WHERE asset_id IN (SELECT value FROM json_each(?))"
        " AND tag_id IN (SELECT id FROM tags WHERE name IN (SELECT value FROM json_each(?)))",
        (ids, json_array(names)),
    )


def _numbers(text: str) -> list[int]:
    return msgspec.json.decode(text, type=list[int])


async def set_missing(tx: Transaction, ids: Iterable[int], *, missing: bool) -> None:
    """Mark assets as missing, or as there again."""
    await move_assets(tx, ids, lambda s: s._replace(missing=missing))


async def hide_as_preview(tx: Transaction, row_id: int) -> None:
    """Take an asset out of lists, counts and searches because it is the preview of another."""
    await move_assets(tx, [row_id], lambda s: s._replace(hidden=s.hidden | PREVIEW))


async def drop_unused_sets(tx: Transaction) -> None:
    """Remove the sets that no asset has any more.

    Their tags stay known, except those that a user's own assets had and nobody's have now: others must not learn of
    them.
    """
    rows = await tx.fetch_all(
        "SELECT l.tag_id, max(s.owner <> '') FROM tag_sets s JOIN tag_set_tags l ON l.tag_set_id = s.id"
        " WHERE s.asset_count = 0 GROUP BY 1"
    )
    await tx.execute("DELETE FROM tag_sets WHERE asset_count = 0")
    unused = (
        "id IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = tags.id)"
        " AND NOT EXISTS (SELECT 1 FROM asset_tags WHERE tag_id = tags.id)"
    )
    await tx.execute(f"DELETE FROM tags WHERE {unused}", (json_array(row[0] for row in rows if row[1]),))
    await tx.execute(
        f"INSERT OR IGNORE INTO tag_totals (owner, name, n) SELECT '', name, 0 FROM tags WHERE {unused}",
        (json_array(row[0] for row in rows if not row[1]),),
    )


@asynccontextmanager
async def counted_together(tx: Transaction, ids: Sequence[int]) -> AsyncIterator[None]:
    """Count the changes of these assets at the end of the block.

    No other asset may change in it, and the transaction must not pause. An exception must end the transaction.
    """
    if len(ids) < FEW_CHANGES:
        yield
        return
    chosen = json_array(ids)
    await tx.execute_all([*starting_to_count(0), Statement(_NOTE, (-1, chosen))])
    yield
    await tx.execute_all([Statement(_NOTE, (1, chosen)), *FINISH_COUNTING])


def starting_to_count(first_id: int) -> tuple[Statement, ...]:
    """Return statements that have triggers count no asset with this id or a higher one until ``FINISH_COUNTING``."""
    return (
        Statement(_CHANGES_TABLE),
        Statement("DELETE FROM count_changes"),
        Statement(_COUNTED_BELOW, (first_id,)),
    )


# Apply the changes that were noted in ``count_changes``; triggers count again.
FINISH_COUNTING = (Statement(_COUNTED_BELOW, (NO_ID,)), *statements(*_APPLY))
