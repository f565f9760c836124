"""Full-text indexes: what they hold of assets and jobs, and which rows they find.

Each index consists of SQLite full-text tables and a row of state: which rows are indexed, and by which rules their
words were made. ``search.index`` keeps them up to date. Assets that have changed since they were indexed are in the
table ``search_stale`` with what they were indexed with, because SQLite needs that to remove them. Finding a part of a
name is exact at any time; before words are searched for, the index must be brought up to date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..models import SearchGroup, SearchWord
from .connection import Database, Transaction
from .listing import bitmap
from .listing.bitmap import IdSet
from .sql import json_array

if TYPE_CHECKING:
    from .listing.bitmap import Ids


class FullTextIndex(NamedTuple):
    """The table of an index's state, and its full-text tables, each with its column."""

    state: str
    tables: Mapping[str, str]

    @property
    def upto(self) -> str:
        """SQL for the last row id that is indexed."""
        return f"(SELECT indexed_upto FROM {self.state})"


# A word of every entry, from which searches that only exclude words start. No text has it among its words.
EVERY = "\ue00f"

ASSETS = FullTextIndex("search_state", {"search_names": "name", "search_words": "words"})
JOBS = FullTextIndex("job_search", {"job_words": "words"})


class IndexEntry(NamedTuple):
    """A row of an index: its id, and a text for each of the index's tables. Words are separated by spaces."""

    id: int
    texts: tuple[str, ...]


async def rules(db: Database, index: FullTextIndex) -> str:
    """Return the rules by which the indexed words were made."""
    row = await db.fetch_one(f"SELECT rules FROM {index.state}")
    return str(row[0]) if row else ""


async def start_over(tx: Transaction, index: FullTextIndex, rules: str) -> None:
    """Empty an index. Whatever is inserted from now on is made by these rules."""
    for table in index.tables:
        await tx.execute(f"INSERT INTO {table} ({table}) VALUES ('delete-all')")
    await tx.execute(f"UPDATE {index.state} SET indexed_upto = 0, rules = ?", (rules,))
    if index is ASSETS:
        await tx.execute("DELETE FROM search_stale")
        await tx.execute("UPDATE search_state SET version = version + 1")


async def insert(tx: Transaction, index: FullTextIndex, entries: Sequence[IndexEntry]) -> None:
    """Insert rows that the index does not have."""
    for at, (table, column) in enumerate(index.tables.items()):
        await tx.execute(
            f"INSERT INTO {table} (rowid, {column})"
            " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
            (json_array((entry.id, entry.texts[at]) for entry in entries),),
        )


async def delete(tx: Transaction, index: FullTextIndex, entries: Sequence[IndexEntry]) -> None:
    """Delete rows. Their texts must have exactly the words that they were inserted with."""
    for at, (table, column) in enumerate(index.tables.items()):
        await tx.execute(
            f"INSERT INTO {table} ({table}, rowid, {column})"
            " SELECT 'delete', json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
            (json_array((entry.id, entry.texts[at]) for entry in entries),),
        )


# Assets: what is to be indexed.


class IndexedAsset(NamedTuple):
    """The sources of an asset's words. ``tags`` is a JSON array, or None for a deleted asset, which is not indexed.

    ``folder`` is the logical path of the file's folder, "" without a file. ``graph_id`` is the document with the graph
    of the job that made the asset, if its file has none. ``metadata`` (a JSON object) and ``documents`` (a JSON array
    of keys with ids) are those of the content. ``has_preview`` is 1 if a preview was chosen.
    ``sidecars`` are the metadata and documents of descriptions beside a model, each as the content's (a JSON array).
    """

    id: int
    name_key: str
    tags: str | None
    content_id: int | None
    folder: str
    mime_type: str
    graph_id: int | None
    metadata: str | None
    documents: str
    has_preview: int
    sidecars: str


async def has_backlog(db: Database) -> bool:
    """Return whether there are assets that are not indexed, or not in their current state."""
    row = await db.fetch_one(
        f"SELECT EXISTS (SELECT 1 FROM assets WHERE id > {ASSETS.upto}) OR EXISTS (SELECT 1 FROM search_stale)"
    )
    return row is not None and bool(row[0])


async def is_backlog_small(db: Database, limit: int) -> bool:
    """Return whether less than so many assets are not indexed in their current state."""
    row = await db.fetch_one(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM search_stale LIMIT ?1))"
        f" + (SELECT count(*) FROM (SELECT 1 FROM assets WHERE id > {ASSETS.upto} LIMIT ?1))",
        (limit,),
    )
    return row is not None and row[0] < limit


async def progress(db: Database) -> tuple[int, int]:
    """Return about how many assets are indexed, and the number of assets."""
    row = await db.fetch_one(
        f"SELECT coalesce(sum(id <= {ASSETS.upto}), 0) - (SELECT count(*) FROM search_stale), count(*) FROM assets"
    )
    return (max(0, int(row[0])), int(row[1])) if row else (0, 0)


async def unindexed_assets(db: Database | Transaction, limit: int) -> list[IndexedAsset]:
    """Return the next assets that are not indexed yet, by id."""
    rows = await db.fetch_all(
        f"SELECT * FROM search_sources WHERE asset_id > {ASSETS.upto} ORDER BY asset_id LIMIT ?", (limit,)
    )
    return [IndexedAsset(*row) for row in rows]


async def stale_assets(db: Database | Transaction, limit: int) -> list[IndexedAsset]:
    """Return assets that have changed since they were indexed, in the state in which they are indexed."""
    return [IndexedAsset(*row) for row in await db.fetch_all("SELECT * FROM search_stale LIMIT ?", (limit,))]


async def current_assets(db: Database | Transaction, ids: Iterable[int]) -> list[IndexedAsset]:
    """Return the current state of indexed assets."""
    rows = await db.fetch_all(
        "SELECT s.* FROM json_each(?) e CROSS JOIN search_sources s ON s.asset_id = e.value"
        f" WHERE s.asset_id <= {ASSETS.upto}",
        (json_array(ids),),
    )
    return [IndexedAsset(*row) for row in rows]


class StoredText(NamedTuple):
    """A document's blake3 digest, and the size of its compressed body in bytes."""

    digest: bytes
    size: int


async def texts_of(db: Database | Transaction, document_ids: Iterable[int]) -> dict[int, StoredText]:
    """Return the digests and sizes of documents by id."""
    rows = await db.fetch_all(
        "SELECT id, hash, length(body) FROM documents WHERE id IN (SELECT value FROM json_each(?))",
        (json_array(document_ids),),
    )
    return {row[0]: StoredText(row[1], row[2]) for row in rows}


async def document_bodies(db: Database | Transaction, document_ids: Sequence[int]) -> dict[int, bytes]:
    """Return compressed documents by id."""
    rows = await db.fetch_all(
        "SELECT id, body FROM documents WHERE id IN (SELECT value FROM json_each(?))", (json_array(document_ids),)
    )
    return dict(rows)


async def invalidate(tx: Transaction, index: FullTextIndex) -> None:
    """Have an index built again before it is used again."""
    await tx.execute(f"UPDATE {index.state} SET rules = ''")


async def mark_indexed(tx: Transaction, stale_ids: Iterable[int], upto: int | None) -> None:
    """Record that stale assets are indexed in their current state, and new ones up to an id (None: no new ones)."""
    await tx.execute(
        "DELETE FROM search_stale WHERE asset_id IN (SELECT value FROM json_each(?))", (json_array(stale_ids),)
    )
    await tx.execute("UPDATE search_state SET version = version + 1, indexed_upto = coalesce(?, indexed_upto)", (upto,))


# Jobs: what is to be indexed. A job's graph never changes, so none is ever stale.


async def unindexed_graphs(db: Database, limit: int) -> list[tuple[int, bytes]]:
    """Return the rows and compressed graphs of the next jobs that are not indexed yet."""
    rows = await db.fetch_all(
        "SELECT r.job_id, d.body FROM job_records r CROSS JOIN documents d ON d.id = r.graph_id"
        f" WHERE r.job_id > {JOBS.upto} ORDER BY r.job_id LIMIT ?",
        (limit,),
    )
    return [(row[0], row[1]) for row in rows]


async def indexed_graphs(tx: Transaction, row_ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return the rows and compressed graphs of those of the jobs that are indexed."""
    rows = await tx.fetch_all(
        "SELECT r.job_id, d.body FROM job_records r JOIN documents d ON d.id = r.graph_id"
        f" WHERE r.job_id IN (SELECT value FROM json_each(?)) AND r.job_id <= {JOBS.upto}",
        (json_array(row_ids),),
    )
    return [(row[0], row[1]) for row in rows]


async def insert_jobs(tx: Transaction, entries: Sequence[IndexEntry]) -> None:
    """Index the next jobs, without those that were removed meanwhile or that another server has indexed."""
    rows = await tx.fetch_all(
        f"SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND id > {JOBS.upto}",
        (json_array(entry.id for entry in entries),),
    )
    wanted = {row[0] for row in rows}
    await insert(tx, JOBS, [entry for entry in entries if entry.id in wanted])
    await tx.execute("UPDATE job_search SET indexed_upto = max(indexed_upto, ?)", (entries[-1].id,))


# Searches. Results are cached until the index changes.

PIECE = 3  # characters of a name that its index looks up together

# With more assets than this that are not indexed in their current state, parts of names are looked for in all names.
_MAX_UNINDEXED = 20_000
# The beginning of a word is replaced by the words that begin with it if they are at most so many: to name them costs
# SQLite less than to gather them. Beginnings of one and two characters have an index of their own.
_MAX_COMPLETIONS = 32
_INDEXED_BEGINNING = 2
_TRIES = 5
_LONG_TEXT = 1 << 16  # characters; longer texts are parsed in a thread


class _IdQuery(NamedTuple):
    """A query that returns ids as one text.

    ``version`` is the version of the index from which its terms were taken, or None if any version will do.
    """

    sql: str
    parameters: Sequence[Any] = ()
    version: int | None = None


_NOTHING = _IdQuery("SELECT NULL")


async def are_names_indexed(db: Database) -> bool:
    """Return whether nearly all names are indexed in their current state."""
    return db.can_search and await is_backlog_small(db, _MAX_UNINDEXED)


async def of_name(db: Database, needles: Sequence[str]) -> IdSet:
    """Find, by the index, the assets whose name contains one of the case-folded needles. May include deleted ones."""
    newest = _IdQuery(
        f"SELECT group_concat(a.id) FROM assets a WHERE {_any_in_name('a.name_key', needles)}"
        f" AND (a.id > {ASSETS.upto} OR a.id IN (SELECT asset_id FROM search_stale))",
        needles,
    )
    return await _find(db, f"name {json_array(needles)}", lambda _: _names(needles), newest)


async def of_any_name(db: Database, needles: Sequence[str]) -> IdSet:
    """Find the assets whose name contains one of the case-folded needles by reading every name."""
    query = _all_names(needles)
    return IdSet.of(await fetch_ids(db, query.sql, query.parameters))


async def of_words(db: Database, words: SearchGroup, excluded: Sequence[SearchGroup] = ()) -> IdSet:
    """Find the assets that are indexed, in their current state, with all of the words, and with none of the groups.

    May include deleted ones.
    """
    key = f"words {json_array([words, excluded])}"
    return await _find(db, key, lambda is_last: _words(db, words, excluded, may_complete=not is_last), _NOTHING)


async def jobs_of_words(db: Database, words: SearchGroup, excluded: Sequence[SearchGroup] = ()) -> IdSet:
    """Find the rows of the jobs that are indexed with all of the words, and with none of the groups."""
    match = _match(words, excluded, {})
    # The number of jobs is part of the key, since removing one leaves the version as it is.
    upto, count = (await db.fetch_all(f"SELECT {JOBS.upto}, (SELECT sum(n) FROM job_counts)"))[0]
    key = f"jobs {match} of {count}"
    packed = db.job_results.get(key, upto)
    if packed is not None:
        return IdSet.unpacked(packed)
    sql = f"SELECT {JOBS.upto}, (SELECT group_concat(rowid) FROM job_words WHERE job_words MATCH ?)"
    now, ids = (await db.fetch_all(sql, (match,)))[0]
    found = IdSet.of(await parse_ids(ids))
    if now == upto:
        db.job_results.put(key, upto, found.packed())
    return found


async def fetch_ids(db: Database, sql: str, parameters: Sequence[Any] = ()) -> Ids:
    """Run a query that returns ids as one text, separated by commas."""
    row = await db.fetch_one(sql, parameters)
    return await parse_ids(row[0] if row else None)


async def parse_ids(text: str | None) -> Ids:
    """Parse such a text, a long one in a thread."""
    if text is None or len(text) < _LONG_TEXT:
        return bitmap.parse(text)
    return await asyncio.to_thread(bitmap.parse, text)


async def _find(db: Database, key: str, plan: Callable[[bool], Awaitable[_IdQuery]], newest: _IdQuery) -> IdSet:
    """Return the cached result of a key, or else run the planned query and cache what it finds.

    Assets that have changed since the index was written are removed, and those that ``newest`` finds are added.
    """
    state = f"(SELECT version FROM search_state), {ASSETS.upto}, (SELECT group_concat(asset_id) FROM search_stale)"
    version, upto, stale, new = (await db.fetch_all(f"SELECT {state}, ({newest.sql})", newest.parameters))[0]
    packed = db.search_results.get(key, version)
    found = IdSet.unpacked(packed) if packed is not None else None
    tries = 0
    while found is None:
        tries += 1
        query = await plan(tries == _TRIES)
        # One statement sees one state of the store: an index that changes in between would mix two.
        rows = await db.fetch_all(
            f"SELECT {state}, ({newest.sql}), ({query.sql})", (*newest.parameters, *query.parameters)
        )
        version, upto, stale, new, ids = rows[0]
        if query.version in (None, version):
            found = IdSet.of(await parse_ids(ids)).upto(upto)
            db.search_results.put(key, version, found.packed())
    return found.minus(await parse_ids(stale)).plus(await parse_ids(new))


async def _names(needles: Sequence[str]) -> _IdQuery:
    """Plan the search for a part of a name. The result may be wrong for assets not indexed in their current state."""
    if min(map(len, needles)) < PIECE:
        return _all_names(needles)
    match = " OR ".join(map(quoted, needles))
    return _IdQuery("SELECT group_concat(rowid) FROM search_names WHERE search_names MATCH ?", (match,))


def _all_names(needles: Sequence[str]) -> _IdQuery:
    return _IdQuery(
        f"SELECT group_concat(id) FROM assets INDEXED BY assets_by_name WHERE {_any_in_name('name_key', needles)}",
        needles,
    )


def _any_in_name(column: str, needles: Sequence[str]) -> str:
    return f"({' OR '.join([f'instr({column}, ?) > 0'] * len(needles))})"


async def _words(db: Database, words: SearchGroup, excluded: Sequence[SearchGroup], *, may_complete: bool) -> _IdQuery:
    """Plan the search for words."""
    each_word = [*words, *(word for group in excluded for word in group)]
    beginnings = [word.text for word in each_word if not word.is_whole and len(word.text) > _INDEXED_BEGINNING]
    terms: dict[str, list[str]] = {beginning: [] for beginning in beginnings if may_complete}
    version: int | None = None
    for row in await db.fetch_all(_COMPLETIONS, (json_array(terms), _MAX_COMPLETIONS)) if terms else []:
        version = row[0]
        terms[row[1]] += [row[2]] if row[2] is not None else []
    match = _match(words, excluded, terms)
    return _IdQuery("SELECT group_concat(rowid) FROM search_words WHERE search_words MATCH ?", (match,), version)


def _match(words: SearchGroup, excluded: Sequence[SearchGroup], terms: Mapping[str, Sequence[str]]) -> str:
    """Return a search in SQLite's full-text query syntax."""
    wanted = " AND ".join(_alternatives(word, terms) for word in words) or quoted(EVERY)
    others = [" AND ".join(_alternatives(word, terms) for word in group) for group in excluded]
    return "".join([f"({wanted})", *(f" NOT ({other})" for other in others)])


# The words that begin with each beginning: one more than the limit at most, then null. The recursive part jumps from
# one word to the next in the list of terms, which `SELECT DISTINCT` would read as a whole.
_COMPLETIONS = """
    WITH RECURSIVE completions (word, term, number) AS (
        SELECT value, (
            SELECT term FROM search_terms WHERE term >= value AND term < value || char(1114111) ORDER BY term LIMIT 1
        ), 1 FROM json_each(?)
        UNION ALL
        SELECT word, (
            -- No word contains a character as low as the exclamation mark.
            SELECT t.term FROM search_terms t
            WHERE t.term >= completions.term || '!' AND t.term < word || char(1114111) ORDER BY t.term LIMIT 1
        ), number + 1 FROM completions WHERE term IS NOT NULL AND number <= ?
    )
    SELECT (SELECT version FROM search_state), word, term FROM completions
"""


def _alternatives(word: SearchWord, terms: Mapping[str, Sequence[str]]) -> str:
    also = [quoted(word.also)] if word.also else []
    completions = terms.get(word.text, ())
    if word.is_whole:
        own = [quoted(word.text)]
    elif word.text not in terms or len(completions) > _MAX_COMPLETIONS:
        own = [f"{quoted(word.text)}*"]
    else:
        # A beginning that no word has: its own text is no word either, but the syntax wants one.
        own = [quoted(each) for each in completions] or [quoted(word.text)]
    return f"({' OR '.join(own + also)})"


def quoted(text: str) -> str:
    """Quote a text as a string of SQLite's full-text query syntax."""
    return '"' + text.replace('"', '""') + '"'
