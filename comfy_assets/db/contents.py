"""Contents known by hash: the large documents found in them, and the references to them.

A *reference* is an asset without a file of its own, whose content is in another asset's file.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterable, Sequence

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


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Facts about a content: blake3 digest, size in bytes, ``metadata`` (a JSON object) and documents."""

    hash: bytes
    size: int
    metadata: str
    documents: tuple[Document, ...] = ()


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A file that could not be read, and the reason."""

    file_id: int
    reason: str


async def record(tx: Transaction, results: Sequence[Hashed]) -> None:
    """Store the contents of files whose rows still have the size and time that they were read at.

    The media type follows from the content, but one that a user has set stays if the same content is read again.
    """
    await tx.execute_many(
        "INSERT OR IGNORE INTO contents (hash, size, metadata) VALUES (?, ?, ?)",
        [(r.hash, r.size, r.metadata) for r in results],
    )
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
    await tx.execute(
        "INSERT OR IGNORE INTO contents (hash, size, metadata) VALUES (?, ?, ?)",
        (facts.hash, facts.size, facts.metadata),
    )
    await _record_documents(tx, [facts])
    return int(await tx.fetch_value("SELECT id FROM contents WHERE hash = ?", (facts.hash,)))


async def _record_documents(tx: Transaction, results: Sequence[Hashed | Facts]) -> None:
    documents = {d.hash: d.body for r in results for d in r.documents}
    if not documents:
        return
    await tx.execute_many("INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", list(documents.items()))
    await tx.execute_many(
        "INSERT OR IGNORE INTO content_documents (content_id, key, document_id)"
        " SELECT c.id, ?, d.id FROM contents c, documents d WHERE c.hash = ? AND d.hash = ?",
        [(d.key, r.hash, d.hash) for r in results for d in r.documents],
    )


async def record_unreadable(tx: Transaction, failures: Sequence[Unreadable]) -> None:
    """Store why files could not be read. The next run tries them again."""
    await tx.execute_many(
        f"UPDATE files SET state = {UNREADABLE}, error = ?2 WHERE id = ?1",
        [(f.file_id, f.reason) for f in failures],
    )


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
