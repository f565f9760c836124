"""The index of the words of jobs: what is put into it and taken out, and which jobs it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models import SearchWord
from . import fulltext
from .connection import Database, Transaction
from .sql import json_array

if TYPE_CHECKING:
    from .listing.bitmap import IdSet

_UPTO = "(SELECT indexed_upto FROM job_search)"

# A job's row, and its words apart by spaces.
Words = tuple[int, str]


async def rules(db: Database) -> str:
    """How the indexed words were made."""
    row = await db.fetch_one("SELECT rules FROM job_search")
    return str(row[0]) if row else ""


async def start_over(tx: Transaction, rules: str) -> None:
    """Empty the index; what is put into it from now on is made by these rules."""
    await tx.execute("INSERT INTO job_words (job_words) VALUES ('delete-all')")
    await tx.execute("UPDATE job_search SET indexed_upto = 0, rules = ?", (rules,))


async def distrust(tx: Transaction) -> None:
    """Have the index made anew before it is used again."""
    await tx.execute("UPDATE job_search SET rules = ''")


async def graphs_to_index(db: Database, limit: int) -> list[tuple[int, bytes]]:
    """The next jobs that are not indexed: rows and compressed graphs."""
    rows = await db.fetch_all(
        "SELECT r.job_id, d.body FROM job_records r CROSS JOIN documents d ON d.id = r.graph_id"
        f" WHERE r.job_id > {_UPTO} ORDER BY r.job_id LIMIT ?",
        (limit,),
    )
    return [(row[0], row[1]) for row in rows]


async def put(tx: Transaction, words: Sequence[Words]) -> None:
    """Put the next jobs into the index, except those that were removed meanwhile."""
    await tx.execute_many(
        "INSERT INTO job_words (rowid, words) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)"
        f" AND ?1 > {_UPTO}",
        words,
    )
    await tx.execute("UPDATE job_search SET indexed_upto = max(indexed_upto, ?)", (words[-1][0],))


async def indexed_graphs(tx: Transaction, row_ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Those of the jobs that are indexed: rows and compressed graphs."""
    rows = await tx.fetch_all(
        "SELECT r.job_id, d.body FROM job_records r JOIN documents d ON d.id = r.graph_id"
        f" WHERE r.job_id IN (SELECT value FROM json_each(?)) AND r.job_id <= {_UPTO}",
        (json_array(row_ids),),
    )
    return [(row[0], row[1]) for row in rows]


async def take_out(tx: Transaction, words: Sequence[Words]) -> None:
    """Take jobs out of the index; the words must be those they are in with."""
    await tx.execute_many("INSERT INTO job_words (job_words, rowid, words) VALUES ('delete', ?, ?)", words)


async def find(db: Database, words: Sequence[SearchWord]) -> IdSet:
    """The rows of the jobs that are indexed with all of the words; remembered until jobs come or go."""
    from .listing.bitmap import IdSet

    match = " AND ".join(f"{fulltext.quoted(word.text)}{'' if word.is_whole else '*'}" for word in words)
    upto, count = (await db.fetch_all(f"SELECT {_UPTO}, (SELECT sum(n) FROM job_counts)"))[0]
    what = f"jobs {match} of {count}"
    packed = db.job_memory.get(what, upto)
    if packed is not None:
        return IdSet.unpacked(packed)
    sql = f"SELECT {_UPTO}, (SELECT group_concat(rowid) FROM job_words WHERE job_words MATCH ?)"
    now, ids = (await db.fetch_all(sql, (match,)))[0]
    found = IdSet.of(await fulltext.parse(ids))
    if now == upto:
        db.job_memory.put(what, upto, found.packed())
    return found
