"""Contents that an older version of the readers of metadata has read, and the replacement of what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from .connection import Database, Transaction
from .contents import Facts, put_documents
from .files import HASHED
from .sql import json_array


class OutdatedContent(msgspec.Struct, frozen=True, gc=False):
    """A content that an older version of the readers has read, and a file that has it.

    ``folder`` and ``name`` (of the file), ``size`` and ``mtime_ns`` are as the file was recorded. ``metadata`` and
    ``mime_type`` are what is stored.
    """

    id: int
    hash: bytes
    metadata: str
    mime_type: str | None
    folder: str
    name: str
    size: int
    mtime_ns: int


class TypedAsset(NamedTuple):
    """An asset with the name of its file, or its own if it has none, and its media type."""

    id: int
    content_id: int
    name: str
    mime_type: str


_OUTDATED = f"""
    SELECT c.id, c.hash, c.metadata, c.mime_type, d.path, f.name, f.size, f.mtime_ns
    FROM contents c JOIN assets a ON a.content_id = c.id JOIN files f ON f.id = a.id
    JOIN folders d ON d.id = f.folder_id
    WHERE f.missing = 0 AND f.state = {HASHED}
"""


async def versions(db: Database, below: int) -> list[int]:
    """Return the versions of the readers, lower than ``below``, that have read contents last."""
    rows = await db.fetch_all(
        "WITH RECURSIVE found (version) AS (SELECT min(reader_version) FROM contents UNION ALL"
        " SELECT (SELECT min(reader_version) FROM contents WHERE reader_version > version) FROM found"
        " WHERE version IS NOT NULL) SELECT version FROM found WHERE version < ?",
        (below,),
    )
    return [row[0] for row in rows]


async def count_of_version(db: Database, version: int) -> int:
    """Return the number of contents that this version of the readers has read last."""
    row = await db.fetch_one("SELECT count(*) FROM contents WHERE reader_version = ?", (version,))
    return int(row[0]) if row else 0


async def page(db: Database, version: int, after_id: int, limit: int) -> list[OutdatedContent]:
    """Return contents that this version of the readers has read, by id, each with one of its present files."""
    rows = await db.fetch_all(
        f"{_OUTDATED} AND c.reader_version = ? AND c.id > ? GROUP BY c.id ORDER BY c.id LIMIT ?",
        (version, after_id, limit),
    )
    return [OutdatedContent(*row) for row in rows]


async def other_files(db: Database, known: Iterable[OutdatedContent], limit: int) -> list[OutdatedContent]:
    """Return the same contents with other present files, at most ``limit`` of each, without empty ones."""
    rows = await db.fetch_all(
        "SELECT id, hash, metadata, mime_type, path, name, size, mtime_ns FROM"
        f" (SELECT *, row_number() OVER (PARTITION BY id) AS number FROM ({_OUTDATED} AND f.size > 0"
        " AND (c.id, d.path, f.name) NOT IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]') FROM json_each(?1))"
        " AND c.id IN (SELECT json_extract(value, '$[0]') FROM json_each(?1)))) WHERE number <= ?2",
        (json_array((each.id, each.folder, each.name) for each in known), limit),
    )
    return [OutdatedContent(*row) for row in rows]


async def typed_assets(tx: Transaction, content_ids: Iterable[int]) -> list[TypedAsset]:
    """Return the assets that have these contents."""
    rows = await tx.fetch_all(
        "SELECT a.id, a.content_id, coalesce(f.name, a.name), a.mime_type"
        " FROM assets a LEFT JOIN files f ON f.id = a.id WHERE a.content_id IN (SELECT value FROM json_each(?))",
        (json_array(content_ids),),
    )
    return [TypedAsset(*row) for row in rows]


async def replace(tx: Transaction, found: Mapping[int, Facts]) -> set[int]:
    """Replace what is known of contents, by row id, unless a newer version has read them meanwhile.

    Return the former documents, which nothing may need any more. No asset may be indexed with one of the contents
    (``SearchIndex.replacing``): its words could not be removed from the index again.
    """
    rows = await tx.fetch_all(
        "SELECT c.id, l.document_id FROM contents c JOIN json_each(?) j"
        " ON c.id = json_extract(j.value, '$[0]') AND c.reader_version < json_extract(j.value, '$[1]')"
        " LEFT JOIN content_documents l ON l.content_id = c.id",
        (json_array((content_id, facts.reader_version) for content_id, facts in found.items()),),
    )
    wanted = {content_id: found[content_id] for content_id, _ in rows}
    await tx.execute_many(
        "UPDATE contents SET metadata = ?, mime_type = ?, reader_version = ? WHERE id = ?",
        [(f.metadata, f.mime_type, f.reader_version, content_id) for content_id, f in wanted.items()],
    )
    await tx.execute(
        "DELETE FROM content_documents WHERE content_id IN (SELECT value FROM json_each(?))", (json_array(wanted),)
    )
    for facts in wanted.values():
        await put_documents(tx, facts)
    return {document_id for _, document_id in rows if document_id is not None}


async def set_version(tx: Transaction, content_ids: Iterable[int], before: int, after: int) -> None:
    """Set the version of the readers of contents that have the version ``before``."""
    await tx.execute(
        "UPDATE contents SET reader_version = ? WHERE reader_version = ? AND id IN (SELECT value FROM json_each(?))",
        (after, before, json_array(content_ids)),
    )


async def unused_documents(db: Database, ids: Iterable[int]) -> list[int]:
    """Return the documents, of these, that no content refers to now."""
    rows = await db.fetch_all(
        "SELECT value FROM json_each(?1) EXCEPT SELECT document_id FROM content_documents"
        " WHERE document_id IN (SELECT value FROM json_each(?1))",
        (json_array(ids),),
    )
    return [row[0] for row in rows]
