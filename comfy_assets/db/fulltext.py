"""The search indexes' upkeep: what is to be put into them and taken out, and what words are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from .connection import Database, Transaction

INDEXED_UPTO = "(SELECT indexed_upto FROM search_state)"

_MAX_BODY = 256 << 10  # compressed bytes of a document; what is larger is no prompt


class Indexed(NamedTuple):
    """What an asset's words are made of; ``tags`` is a JSON array, or None where it is not to be found (deleted)."""

    id: int
    name_key: str
    tags: str | None
    content_id: int | None


class Link(NamedTuple):
    """A document of a content, and its key there."""

    content_id: int
    key: str
    document_id: int


async def has_backlog(db: Database) -> bool:
    """Whether there are assets that are not indexed, or not as they are."""
    row = await db.fetch_one(
        f"SELECT EXISTS (SELECT 1 FROM assets WHERE id > {INDEXED_UPTO}) OR EXISTS (SELECT 1 FROM search_stale)"
    )
    return row is not None and bool(row[0])


async def progress(db: Database) -> tuple[int, int]:
    """About how many of the assets are indexed, and how many there are."""
    row = await db.fetch_one(
        f"SELECT coalesce(sum(id <= {INDEXED_UPTO}), 0) - (SELECT count(*) FROM search_stale), count(*) FROM assets"
    )
    return (max(0, int(row[0])), int(row[1])) if row else (0, 0)


async def rules(db: Database) -> str:
    """How the indexed words were made."""
    row = await db.fetch_one("SELECT rules FROM search_state")
    return str(row[0]) if row else ""


async def start_over(tx: Transaction, rules: str) -> None:
    """Empty the indexes; what is put into them from now on is made by these rules."""
    await tx.execute("INSERT INTO search_words (search_words) VALUES ('delete-all')")
    await tx.execute("INSERT INTO search_names (search_names) VALUES ('delete-all')")
    await tx.execute("DELETE FROM search_stale")
    await tx.execute("UPDATE search_state SET indexed_upto = 0, version = version + 1, rules = ?", (rules,))


_CURRENT = """
    SELECT a.id, a.name_key, CASE s.hidden WHEN 0 THEN s.tags END, a.content_id
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id
"""


async def new(db: Database | Transaction, limit: int) -> list[Indexed]:
    """The next assets that are to be indexed, by id."""
    rows = await db.fetch_all(f"{_CURRENT} WHERE a.id > {INDEXED_UPTO} ORDER BY a.id LIMIT ?", (limit,))
    return [Indexed(*row) for row in rows]


async def stale(db: Database | Transaction, limit: int) -> list[Indexed]:
    """Assets that are indexed otherwise than they are, as they are indexed."""
    rows = await db.fetch_all("SELECT asset_id, name_key, tags, content_id FROM search_stale LIMIT ?", (limit,))
    return [Indexed(*row) for row in rows]


async def present(db: Database | Transaction, ids: Iterable[int]) -> list[Indexed]:
    """Those of the assets with these ids that are not new, as they are now."""
    rows = await db.fetch_all(
        f"{_CURRENT} WHERE a.id IN (SELECT value FROM json_each(?)) AND a.id <= {INDEXED_UPTO}", (_json(list(ids)),)
    )
    return [Indexed(*row) for row in rows]


async def links(db: Database | Transaction, content_ids: Collection[int]) -> list[Link]:
    """The documents of these contents."""
    rows = await db.fetch_all(
        "SELECT content_id, key, document_id FROM content_documents"
        " WHERE content_id IN (SELECT value FROM json_each(?))",
        (_json(list(content_ids)),),
    )
    return [Link(*row) for row in rows]


async def bodies(db: Database | Transaction, document_ids: Sequence[int]) -> dict[int, bytes]:
    """Compressed documents by id; those too large to be of use are left out."""
    rows = await db.fetch_all(
        "SELECT id, body FROM documents WHERE id IN (SELECT value FROM json_each(?)) AND length(body) <= ?",
        (_json(document_ids), _MAX_BODY),
    )
    return dict(rows)


async def model_facts(db: Database | Transaction, content_ids: Collection[int]) -> dict[int, str]:
    """The metadata (JSON) of those of the contents that are models with a header."""
    rows = await db.fetch_all(
        "SELECT id, metadata FROM contents WHERE id IN (SELECT value FROM json_each(?))"
        " AND instr(metadata, '\"header\"') > 0",
        (_json(list(content_ids)),),
    )
    return dict(rows)


class Entry(NamedTuple):
    """An asset as the indexes know it; ``words`` are apart by spaces."""

    id: int
    name_key: str
    words: str


async def put(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Put assets that are in neither into the indexes."""
    text = _json(entries)
    await tx.execute(
        "INSERT INTO search_names (rowid, name)"
        " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
        (text,),
    )
    await tx.execute(
        "INSERT INTO search_words (rowid, words)"
        " SELECT json_extract(value, '$[0]'), json_extract(value, '$[2]') FROM json_each(?)",
        (text,),
    )


async def take_out(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Take assets out of the indexes; all words they are in with must be given, others may."""
    text = _json(entries)
    await tx.execute(
        "INSERT INTO search_names (search_names, rowid, name)"
        " SELECT 'delete', json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
        (text,),
    )
    await tx.execute(
        "INSERT INTO search_words (search_words, rowid, words)"
        " SELECT 'delete', json_extract(value, '$[0]'), json_extract(value, '$[2]') FROM json_each(?)",
        (text,),
    )


async def settle(tx: Transaction, ids: Iterable[int], upto: int | None) -> None:
    """Note that these assets are indexed as they are, and that those up to an id are not new any more."""
    await tx.execute("DELETE FROM search_stale WHERE asset_id IN (SELECT value FROM json_each(?))", (_json(list(ids)),))
    await tx.execute("UPDATE search_state SET version = version + 1, indexed_upto = coalesce(?, indexed_upto)", (upto,))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
