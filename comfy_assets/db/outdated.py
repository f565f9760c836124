"""Contents that an older version of the readers of metadata has read, with files to read them from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .connection import Database, Transaction
from .files import HASHED
from .sql import json_array


class OutdatedContent(msgspec.Struct, frozen=True, gc=False):
    """A content that an older version of the readers has read, and a file that has it.

    ``folder`` and ``name`` (of the file), ``size`` and ``mtime_ns`` are as the file was recorded. ``metadata``,
    ``mime_type`` and ``documents`` are what is stored: the latter are keys with hexadecimal digests, each followed by
    a line break, by key.
    """

    id: int
    hash: bytes
    metadata: str
    mime_type: str | None
    folder: str
    name: str
    size: int
    mtime_ns: int
    documents: str | None = None


class TypedAsset(NamedTuple):
    """An asset with the name of its file, or its own if it has none, and its media type."""

    id: int
    content_id: int
    name: str
    mime_type: str


_OUTDATED = f"""
    SELECT c.id, c.hash, c.metadata, c.mime_type, d.path, f.name, f.size, f.mtime_ns, (
        SELECT group_concat(key || hex(hash) || char(10), '') FROM (
            SELECT l.key, t.hash FROM content_documents l JOIN documents t ON t.id = l.document_id
            WHERE l.content_id = c.id ORDER BY l.key
        )
    ) AS documents
    FROM contents c CROSS JOIN assets a INDEXED BY assets_by_content ON a.content_id = c.id
    CROSS JOIN files f ON f.id = a.id CROSS JOIN folders d ON d.id = f.folder_id
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
        "SELECT id, hash, metadata, mime_type, path, name, size, mtime_ns, documents FROM"
        f" (SELECT *, row_number() OVER (PARTITION BY id) AS number FROM ({_OUTDATED} AND f.size > 0"
        " AND (c.id, d.path, f.name) NOT IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]') FROM json_each(?1))"
        " AND c.id IN (SELECT json_extract(value, '$[0]') FROM json_each(?1)))) WHERE number <= ?2",
        (json_array((each.id, each.folder, each.name) for each in known), limit),
    )
    return [OutdatedContent(*row) for row in rows]


async def of_other_types(tx: Transaction, types: Iterable[tuple[int, str | None]]) -> list[TypedAsset]:
    """Return the assets with another media type than their content shows; ``types`` are those of contents, by id."""
    rows = await tx.fetch_all(
        "SELECT a.id, a.content_id, coalesce(f.name, a.name), a.mime_type FROM json_each(?) j"
        " CROSS JOIN assets a ON a.content_id = json_extract(j.value, '$[0]')"
        " AND a.mime_type <> json_extract(j.value, '$[1]') LEFT JOIN files f ON f.id = a.id",
        (json_array(types),),
    )
    return [TypedAsset(*row) for row in rows]


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
