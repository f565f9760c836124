"""Contents known by hash: the large documents found in them, and the references to them.

A *reference* is an asset without a file of its own, whose content is in another asset's file.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ..models import REFERENCE
from . import tags, trash
from .connection import Database, Transaction
from .files import HASHED, UNREADABLE
from .sql import Row, json_array

# Values that are made by the thousand while files are read are not tracked by the garbage collector (``gc=False``):
# they contain no cycles, and in a process with torch a full collection stops everything for a quarter of a second.


class Document(msgspec.Struct, frozen=True, gc=False):
    """A text found in a file: its key there, blake3 digest, and zlib-compressed body."""

    key: str
    hash: bytes
    body: bytes


class Hashed(msgspec.Struct, frozen=True, gc=False):
    """The result of reading a file. ``size`` and ``mtime_ns`` were the same before and after reading."""

    file_id: int
    size: int
    mtime_ns: int
    hash: bytes
    metadata: str
    mime_type: str | None = None
    documents: tuple[Document, ...] = ()
    reader_version: int = 0


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Facts about a content: blake3 digest, size in bytes, ``metadata`` (a JSON object) and documents.

    ``mime_type`` is what the content shows, if anything. ``reader_version`` is 0 if the content was not read.
    """

    hash: bytes
    size: int
    metadata: str
    documents: tuple[Document, ...] = ()
    mime_type: str | None = None
    reader_version: int = 0


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A file that could not be read, and the reason."""

    file_id: int
    reason: str


# Content of which nothing is known may have been read under a name that hid its format. What else is known stays: it is
# replaced by ``replace`` alone, which takes care of the words that assets are indexed with.
_PUT = """
    INSERT INTO contents (hash, size, metadata, mime_type, reader_version) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (hash) DO UPDATE
    SET metadata = excluded.metadata, mime_type = excluded.mime_type, reader_version = excluded.reader_version
    WHERE metadata = '{}' AND (excluded.metadata <> '{}' OR reader_version < excluded.reader_version)
"""


async def record(tx: Transaction, results: Sequence[Hashed]) -> None:
    """Store the contents of files whose rows still have the size and time that they were read at.

    The media type follows from the content, but one that a user has set stays if the same content is read again.
    """
    await tx.execute_many(_PUT, [_put_values(r) for r in results])
    await _record_documents(tx, results)
    await tx.execute_many(
        "UPDATE assets SET content_id = (SELECT id FROM contents WHERE hash = ?4), mime_type = CASE"
        " WHEN content_id = (SELECT id FROM contents WHERE hash = ?4) THEN mime_type ELSE coalesce(?5, mime_type) END"
        " WHERE id = ?1 AND EXISTS (SELECT 1 FROM files WHERE id = ?1 AND size = ?2 AND mtime_ns = ?3)",
        [(r.file_id, r.size, r.mtime_ns, r.hash, r.mime_type) for r in results],
    )
    await tx.execute_many(
        f"UPDATE files SET state = {HASHED}, error = NULL WHERE id = ? AND size = ? AND mtime_ns = ?",
        [(r.file_id, r.size, r.mtime_ns) for r in results],
    )
    await trash.reveal_changed(tx)


async def put(tx: Transaction, facts: Facts) -> int:
    """Store the facts of a content; return its row id."""
    await tx.execute(_PUT, _put_values(facts))
    await _record_documents(tx, [facts])
    return int(await tx.fetch_value("SELECT id FROM contents WHERE hash = ?", (facts.hash,)))


def _put_values(found: Hashed | Facts) -> tuple[bytes, int, str, str | None, int]:
    return found.hash, found.size, found.metadata, found.mime_type, found.reader_version


async def _record_documents(tx: Transaction, results: Sequence[Hashed | Facts]) -> None:
    documents = {d.hash: d.body for r in results for d in r.documents}
    if not documents:
        return
    await tx.execute_many("INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", list(documents.items()))
    await tx.execute_many(
        "INSERT OR IGNORE INTO content_documents (content_id, key, document_id)"
        " SELECT c.id, ?, d.id FROM contents c, documents d WHERE c.hash = ? AND c.reader_version = ? AND d.hash = ?",
        [(d.key, r.hash, r.reader_version, d.hash) for r in results for d in r.documents],
    )


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


async def outdated_versions(db: Database, below: int) -> list[int]:
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


async def outdated(db: Database, version: int, after_id: int, limit: int) -> list[OutdatedContent]:
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
    await _record_documents(tx, list(wanted.values()))
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


async def record_unreadable(tx: Transaction, failures: Sequence[Unreadable]) -> None:
    """Store why files could not be read. The next run tries them again."""
    await tx.execute_many(
        f"UPDATE files SET state = {UNREADABLE}, error = ?2 WHERE id = ?1",
        [(f.file_id, f.reason) for f in failures],
    )


async def record_thumbnail_failure(tx: Transaction, digest: bytes, version: str) -> None:
    """Store the version of the decoders that could make no thumbnail of a content."""
    await tx.execute("UPDATE contents SET thumbnail_failure = ? WHERE hash = ?", (version, digest))


async def documents_of(db: Database, digest: bytes, max_bytes: int | None = None) -> dict[str, bytes | None]:
    """Return the uncompressed documents of a content by key; None for those beyond ``max_bytes`` in all."""
    rows = await db.fetch_all(
        "SELECT l.key, d.body FROM contents c JOIN content_documents l ON l.content_id = c.id"
        " JOIN documents d ON d.id = l.document_id WHERE c.hash = ? ORDER BY l.key",
        (digest,),
    )
    return await asyncio.to_thread(_unpacked, rows, max_bytes)


def _unpacked(rows: Sequence[Row], max_bytes: int | None) -> dict[str, bytes | None]:
    if max_bytes is None:
        return {key: zlib.decompress(body) for key, body in rows}
    found: dict[str, bytes | None] = {}
    left = max_bytes
    for key, body in rows:
        # One byte more than is left shows that a document is too large, whatever size it unpacks to.
        text = zlib.decompressobj().decompress(body, left + 1)
        found[key] = text if len(text) <= left else None
        left -= len(text) if len(text) <= left else 0
    return found


async def drop_unused_documents(tx: Transaction, ids: Iterable[int]) -> None:
    """Delete the documents, of these, that no content, job, workflow version or share refers to any more."""
    # content_documents has no index by document. An EXISTS would read all of it for each document, this once.
    await tx.execute(
        "DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?1))"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE graph_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE workflow_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM workflow_versions WHERE document_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM shares WHERE document_id = documents.id)"
        " AND id NOT IN (SELECT document_id FROM content_documents"
        " WHERE document_id IN (SELECT value FROM json_each(?1)))",
        (json_array(ids),),
    )


async def references_need_file(tx: Transaction, content_id: int, row_id: int) -> bool:
    """Return whether references to this content would lose it without the file of this asset."""
    found = await tx.fetch_value(
        "SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.content_id = ?1 AND a.origin = {REFERENCE} AND s.hidden = 0 AND NOT EXISTS"
        " (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = ?1 AND b.id <> ?2 AND f.missing = 0) LIMIT 1",
        (content_id, row_id),
    )
    return found is not None


async def of_assets(tx: Transaction, ids: Sequence[int]) -> set[int]:
    """Return the contents of these assets, as far as they have been read."""
    rows = await tx.fetch_all(
        "SELECT content_id FROM assets WHERE id IN (SELECT value FROM json_each(?)) AND content_id IS NOT NULL",
        (json_array(ids),),
    )
    return {row[0] for row in rows}


async def update_missing_references(tx: Transaction, contents: Collection[int] | None = None) -> None:
    """Mark the references whose content is in no file any more as missing, and unmark those whose is.

    ``contents`` have gained or lost files; None: check the references to all contents.
    """
    chosen = "" if contents is None else " AND a.content_id IN (SELECT value FROM json_each(?))"
    rows = await tx.fetch_all(
        "SELECT id, present FROM (SELECT a.id AS id, EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = a.content_id AND f.missing = 0) AS present, s.missing AS marked"
        " FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.origin = {REFERENCE} AND a.content_id IS NOT NULL{chosen}) WHERE present = marked",
        () if contents is None else (json_array(sorted(contents)),),
    )
    await tags.set_missing(tx, [row[0] for row in rows if row[1]], missing=False)
    await tags.set_missing(tx, [row[0] for row in rows if not row[1]], missing=True)
