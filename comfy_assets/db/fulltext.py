"""The search indexes' upkeep: what is to be put into them and taken out, and what words are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..models import SearchWord
from .connection import Database, Transaction
from .sql import json_array

if TYPE_CHECKING:
    from .listing.bitmap import Ids, IdSet

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
    SELECT a.id, a.name_key, CASE s.hidden WHEN 0 THEN l.tags END, a.content_id
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id
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
        f"{_CURRENT} WHERE a.id IN (SELECT value FROM json_each(?)) AND a.id <= {INDEXED_UPTO}", (json_array(ids),)
    )
    return [Indexed(*row) for row in rows]


async def links(db: Database | Transaction, content_ids: Collection[int]) -> list[Link]:
    """The documents of these contents."""
    rows = await db.fetch_all(
        "SELECT content_id, key, document_id FROM content_documents"
        " WHERE content_id IN (SELECT value FROM json_each(?))",
        (json_array(content_ids),),
    )
    return [Link(*row) for row in rows]


async def bodies(db: Database | Transaction, document_ids: Sequence[int]) -> dict[int, bytes]:
    """Compressed documents by id; those too large to be of use are left out."""
    rows = await db.fetch_all(
        "SELECT id, body FROM documents WHERE id IN (SELECT value FROM json_each(?)) AND length(body) <= ?",
        (json_array(document_ids), _MAX_BODY),
    )
    return dict(rows)


async def model_facts(db: Database | Transaction, content_ids: Collection[int]) -> dict[int, str]:
    """The metadata (JSON) of those of the contents that are models with a header."""
    rows = await db.fetch_all(
        "SELECT id, metadata FROM contents WHERE id IN (SELECT value FROM json_each(?))"
        " AND instr(metadata, '\"header\"') > 0",
        (json_array(content_ids),),
    )
    return dict(rows)


class Entry(NamedTuple):
    """An asset as the indexes know it; ``words`` are apart by spaces."""

    id: int
    name_key: str
    words: str


async def put(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Put assets that are in neither into the indexes."""
    text = json_array(entries)
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
    text = json_array(entries)
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
    await tx.execute("DELETE FROM search_stale WHERE asset_id IN (SELECT value FROM json_each(?))", (json_array(ids),))
    await tx.execute("UPDATE search_state SET version = version + 1, indexed_upto = coalesce(?, indexed_upto)", (upto,))


PIECE = 3  # characters of a name that its index knows together

# While so many assets are not indexed as they are, parts of names are looked for in all names.
_MAX_UNINDEXED = 20_000
# The beginning of a word stands for this many words at most: naming them costs SQLite less than gathering them. One
# and two characters have an index of their own.
_MAX_COMPLETIONS = 32
_INDEXED_BEGINNING = 2
_TRIES = 5
_LONG_TEXT = 1 << 16  # characters; longer ones are parsed in a thread


class _Sql(NamedTuple):
    """A query for ids, answered as one text.

    ``version`` is that of the indexes where what it asks for was put together, or None where that makes no difference.
    """

    text: str
    parameters: Sequence[Any] = ()
    version: int | None = None


_NOTHING = _Sql("SELECT NULL")


async def are_names_indexed(db: Database) -> bool:
    """Whether nearly all names are in their index as they are."""
    if not db.can_search:
        return False
    row = await db.fetch_one(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM search_stale LIMIT ?1))"
        f" + (SELECT count(*) FROM (SELECT 1 FROM assets WHERE id > {INDEXED_UPTO} LIMIT ?1))",
        (_MAX_UNINDEXED,),
    )
    return row is not None and row[0] < _MAX_UNINDEXED


async def of_name(db: Database, needle: str) -> IdSet:
    """The assets whose name has the case-folded needle in it, by the index; deleted ones may be among them."""
    newest = _Sql(
        "SELECT group_concat(a.id) FROM assets a WHERE instr(a.name_key, ?) > 0"
        f" AND (a.id > {INDEXED_UPTO} OR a.id IN (SELECT asset_id FROM search_stale))",
        (needle,),
    )
    return await _find(db, f"name {needle}", lambda _: _names(needle), newest)


async def of_any_name(db: Database, needle: str) -> IdSet:
    """The same by looking at every name."""
    from .listing.bitmap import IdSet

    sql = _all_names(needle)
    return IdSet.of(await fetch_ids(db, sql.text, sql.parameters))


async def of_words(db: Database, words: Sequence[SearchWord]) -> IdSet:
    """The assets that are indexed, as they are, with all of the words; deleted ones may be among them."""
    what = f"words {json_array(words)}"
    return await _find(db, what, lambda is_last: _words(db, words, may_complete=not is_last), _NOTHING)


async def fetch_ids(db: Database, sql: str, parameters: Sequence[Any] = ()) -> Ids:
    """The ids that a query answers as one text."""
    row = await db.fetch_one(sql, parameters)
    return await parse(row[0] if row else None)


async def parse(text: str | None) -> Ids:
    """The ids in such a text."""
    from .listing import bitmap

    if text is None or len(text) < _LONG_TEXT:
        return bitmap.parse(text)
    return await asyncio.to_thread(bitmap.parse, text)


async def _find(db: Database, what: str, ask: Callable[[bool], Awaitable[_Sql]], newest: _Sql) -> IdSet:
    """What is remembered or ``ask`` tells how to find, without what has changed since then, and with the newest."""
    from .listing.bitmap import IdSet

    state = f"(SELECT version FROM search_state), {INDEXED_UPTO}, (SELECT group_concat(asset_id) FROM search_stale)"
    version, upto, stale, new = (await db.fetch_all(f"SELECT {state}, ({newest.text})", newest.parameters))[0]
    packed = db.memory.get(what, version)
    found = IdSet.unpacked(packed) if packed is not None else None
    tries = 0
    while found is None:
        tries += 1
        sql = await ask(tries == _TRIES)
        # All in one statement, so that it is told of one state of the store.
        version, upto, stale, new, ids = (
            await db.fetch_all(f"SELECT {state}, ({newest.text}), ({sql.text})", (*newest.parameters, *sql.parameters))
        )[0]
        if sql.version in (None, version):
            found = IdSet.of(await parse(ids)).upto(upto)
            db.memory.put(what, version, found.packed())
    return found.minus(await parse(stale)).plus(await parse(new))


async def _names(needle: str) -> _Sql:
    """The assets with the needle in their name. Of those that are not indexed as they are, it may say anything."""
    if len(needle) < PIECE:
        return _all_names(needle)
    return _Sql("SELECT group_concat(rowid) FROM search_names WHERE search_names MATCH ?", (quoted(needle),))


def _all_names(needle: str) -> _Sql:
    return _Sql("SELECT group_concat(id) FROM assets INDEXED BY assets_by_name WHERE instr(name_key, ?) > 0", (needle,))


async def _words(db: Database, words: Sequence[SearchWord], *, may_complete: bool) -> _Sql:
    """The indexed assets with all of the words."""
    beginnings = [word.text for word in words if not word.is_whole and len(word.text) > _INDEXED_BEGINNING]
    terms: dict[str, list[str]] = {beginning: [] for beginning in beginnings if may_complete}
    version: int | None = None
    for row in await db.fetch_all(_COMPLETIONS, (json_array(terms), _MAX_COMPLETIONS)) if terms else []:
        version = row[0]
        terms[row[1]] += [row[2]] if row[2] is not None else []
    if not all(terms.values()):
        return _NOTHING._replace(version=version)
    match = " AND ".join(_alternatives(word, terms) for word in words)
    sql = "SELECT group_concat(rowid) FROM search_words WHERE search_words MATCH ?"
    return _Sql(sql, (match,), version)


# For each beginning, the words that begin so, one more than the limit at most; null for none, and behind the last.
_COMPLETIONS = """
    WITH RECURSIVE completions (word, term, number) AS (
        SELECT value, (
            SELECT term FROM search_terms WHERE term >= value AND term < value || char(1114111) ORDER BY term LIMIT 1
        ), 1 FROM json_each(?)
        UNION ALL
        SELECT word, (
            -- No word holds a character as low as the exclamation mark.
            SELECT t.term FROM search_terms t
            WHERE t.term >= completions.term || '!' AND t.term < word || char(1114111) ORDER BY t.term LIMIT 1
        ), number + 1 FROM completions WHERE term IS NOT NULL AND number <= ?
    )
    SELECT (SELECT version FROM search_state), word, term FROM completions
"""


def _alternatives(word: SearchWord, terms: dict[str, list[str]]) -> str:
    if word.is_whole:
        return quoted(word.text)
    completions = terms.get(word.text, ())
    if not completions or len(completions) > _MAX_COMPLETIONS:
        return f"{quoted(word.text)}*"
    return f"({' OR '.join(map(quoted, completions))})"


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
