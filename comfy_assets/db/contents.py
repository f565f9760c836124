"""Contents known by hash: the large documents found in them, the files that have them, and the references to them.

A *reference* is an asset without a file of its own, whose content is in another asset's file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..models import REFERENCE, Location
from . import tags, trash
from .compression import decompress, decompress_within
from .connection import Database, Transaction
from .files import HASHED, UNREADABLE
from .sql import Columns, Row, Statement, insertion, json_array, statements

# SQL for the ids of the assets with the content of an asset: its parameters are the asset's uuid, and the user to whom
# the asset must be visible. An asset whose content is unknown has only itself.
SAME_CONTENT = (
    "SELECT b.id FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
    f" JOIN assets b ON b.id = a.id OR b.content_id = a.content_id WHERE a.uuid = ? AND {tags.VISIBLE}"
)
# The columns of the location of a file ``f`` in a folder ``d``.
LOCATION = Columns(
    Location,
    folder="d.path",
    name="f.name",
    kind="d.kind",
    logical="d.logical",
    loader_prefix="d.loader_prefix",
    loader_prefixes="d.loader_prefixes",
    missing="f.missing",
)
_MAX_COPIES = 100  # enough to find one that can be used: a content in more files is some empty image


# Values that are made by the thousand while files are read are not tracked by the garbage collector (``gc=False``):
# they contain no cycles, and in a process with torch a full collection stops everything for a quarter of a second.


class Document(msgspec.Struct, frozen=True, gc=False):
    """A text found in a file: its key there, blake3 digest, and compressed body."""

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
    """A file that could not be read, the reason, and whether that is another program that has it open."""

    file_id: int
    reason: str
    is_locked: bool = False


# Content of which nothing is known may have been read under a name that hid its format. What else is known stays: it is
# replaced by ``replace`` alone.
_KEEP_KNOWN = """
    ON CONFLICT (hash) DO UPDATE
    SET metadata = excluded.metadata, mime_type = excluded.mime_type, reader_version = excluded.reader_version
    WHERE contents.metadata = '{}'
        AND (excluded.metadata <> '{}' OR contents.reader_version < excluded.reader_version)
"""
_PUT = f"INSERT INTO contents (hash, size, metadata, mime_type, reader_version) VALUES (?, ?, ?, ?, ?) {_KEEP_KNOWN}"

_FEW = 20  # results, of which rows are made without a change of threads

_READINGS_TABLE = """
    CREATE TEMP TABLE IF NOT EXISTS readings (
        file_id INTEGER PRIMARY KEY, size, mtime_ns, metadata, mime_type, reader_version, hash, content_id
    )
"""
_READINGS = "readings (file_id, size, mtime_ns, metadata, mime_type, reader_version, hash)"
_FOUND_DOCUMENTS_TABLE = "CREATE TEMP TABLE IF NOT EXISTS found_documents (file_id, key, hash)"
# Only those that the same version has found: what another version knows of a content stays.
_FOUND_LINKS = """
    SELECT c.id, f.key, d.id FROM found_documents f
    CROSS JOIN readings r ON r.file_id = f.file_id
    CROSS JOIN contents c ON c.id = r.content_id AND c.reader_version = r.reader_version
    CROSS JOIN documents d ON d.hash = f.hash
"""
_LINK_READINGS = f"INSERT OR IGNORE INTO content_documents (content_id, key, document_id) {_FOUND_LINKS}"
# With types: SQLite looks up a number by an index of numbers only.
_NEW_LINKS_TABLE = """
    CREATE TEMP TABLE IF NOT EXISTS new_links (
        content_id INTEGER, key TEXT, document_id INTEGER, PRIMARY KEY (content_id, key)
    ) WITHOUT ROWID
"""
_STAGE_LINKS = f"INSERT OR IGNORE INTO new_links {_FOUND_LINKS}"
# Most contents have the same documents as before: links that stay cost no triggers.
_CHANGED_LINKS = """
    content_id IN (SELECT file_id FROM readings) AND NOT EXISTS (
        SELECT 1 FROM new_links n WHERE n.content_id = content_documents.content_id
        AND n.key = content_documents.key AND n.document_id = content_documents.document_id
    )
"""
_ADD_LINKS = """
    INSERT INTO content_documents (content_id, key, document_id)
    SELECT content_id, key, document_id FROM new_links n WHERE NOT EXISTS (
        SELECT 1 FROM content_documents l WHERE l.content_id = n.content_id AND l.key = n.key
    )
"""


# What was read becomes contents, and the contents of the files that have not changed since.
_RECORD = statements(
    "INSERT INTO contents (hash, size, metadata, mime_type, reader_version)"
    f" SELECT hash, size, metadata, mime_type, reader_version FROM readings WHERE true {_KEEP_KNOWN}",
    "UPDATE readings SET content_id = (SELECT id FROM contents WHERE hash = readings.hash)",
    _LINK_READINGS,
    "DELETE FROM readings WHERE NOT EXISTS (SELECT 1 FROM files f"
    " WHERE f.id = file_id AND f.size = readings.size AND f.mtime_ns = readings.mtime_ns)",
    "UPDATE assets SET mime_type = coalesce((SELECT r.mime_type FROM readings r"
    " WHERE r.file_id = assets.id AND r.content_id IS NOT assets.content_id), mime_type),"
    " content_id = (SELECT content_id FROM readings WHERE file_id = assets.id)"
    " WHERE id IN (SELECT file_id FROM readings)",
    f"UPDATE files SET state = {HASHED}, error = NULL WHERE id IN (SELECT file_id FROM readings)",
)


async def record(tx: Transaction, results: Sequence[Hashed]) -> None:
    """Store the contents of files whose rows still have the size and time that they were read at.

    The media type follows from the content, but one that a user has set stays if the same content is read again.
    """
    if results:
        await tx.execute_all([*await _staging(results), *_RECORD])
        await trash.reveal_changed(tx)


_REPLACE = statements(
    "DELETE FROM readings WHERE NOT EXISTS (SELECT 1 FROM contents c"
    " WHERE c.id = file_id AND c.reader_version < readings.reader_version)",
    "UPDATE readings SET content_id = file_id",
    "UPDATE contents SET (metadata, mime_type, reader_version) ="
    " (SELECT metadata, mime_type, reader_version FROM readings WHERE file_id = contents.id)"
    " WHERE id IN (SELECT file_id FROM readings)",
    _NEW_LINKS_TABLE,
    "DELETE FROM new_links",
    _STAGE_LINKS,
)


async def replace(tx: Transaction, found: Mapping[int, Facts]) -> set[int]:
    """Replace what is known of contents, by row id, unless a newer version has read them meanwhile.

    Return the former documents, which nothing may need any more. Triggers keep what indexed assets have words of.
    """
    results = [
        Hashed(content_id, f.size, 0, f.hash, f.metadata, f.mime_type, f.documents, f.reader_version)
        for content_id, f in found.items()
    ]
    await tx.execute_all([*await _staging(results), *_REPLACE])
    former = await tx.fetch_all(f"SELECT document_id FROM content_documents WHERE {_CHANGED_LINKS}")
    if former:
        await tx.execute(f"DELETE FROM content_documents WHERE {_CHANGED_LINKS}")
    await tx.execute(_ADD_LINKS)
    return {row[0] for row in former}


async def _staging(results: Sequence[Hashed]) -> list[Statement]:
    """Return statements that fill the tables of readings and of the documents found, and store the documents."""

    def parts() -> tuple[list[Row], list[Row], list[Row]]:
        chosen = {r.file_id: r for r in results}.values()
        readings: list[Row] = [
            (r.file_id, r.size, r.mtime_ns, r.metadata, r.mime_type, r.reader_version, r.hash) for r in chosen
        ]
        found: list[Row] = [(r.file_id, d.key, d.hash) for r in chosen for d in r.documents]
        return readings, found, [*{d.hash: d.body for r in chosen for d in r.documents}.items()]

    readings, found, documents = parts() if len(results) <= _FEW else await asyncio.to_thread(parts)
    return [
        Statement(_READINGS_TABLE),
        Statement("DELETE FROM readings"),
        *insertion(_READINGS, readings),
        Statement(_FOUND_DOCUMENTS_TABLE),
        Statement("DELETE FROM found_documents"),
        *insertion("found_documents", found),
        *insertion("documents (hash, body)", documents, or_ignore=True),
    ]


async def put(tx: Transaction, facts: Facts) -> int:
    """Store the facts of a content; return its row id."""
    await tx.execute(_PUT, (facts.hash, facts.size, facts.metadata, facts.mime_type, facts.reader_version))
    await tx.execute_many(
        "INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", [(d.hash, d.body) for d in facts.documents]
    )
    await tx.execute_many(
        "INSERT OR IGNORE INTO content_documents (content_id, key, document_id)"
        " SELECT c.id, ?, d.id FROM contents c, documents d WHERE c.hash = ? AND c.reader_version = ? AND d.hash = ?",
        [(d.key, facts.hash, facts.reader_version, d.hash) for d in facts.documents],
    )
    return int(await tx.fetch_value("SELECT id FROM contents WHERE hash = ?", (facts.hash,)))


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


async def graph_of_asset(db: Database, row_id: int) -> bytes | None:
    """Return the graph of the job that made an asset whose file carries none."""
    rows = await db.fetch_all(
        "SELECT d.body FROM asset_graphs g JOIN documents d ON d.id = g.document_id WHERE g.asset_id = ?", (row_id,)
    )
    return await asyncio.to_thread(decompress, rows[0][0]) if rows else None


async def text_beside(db: Database, row_id: int) -> dict[str, bytes]:
    """Return the text beside a picture that has none of its own, by the key of its document; empty if there is none."""
    rows = await db.fetch_all(
        "SELECT t.key, d.body FROM asset_texts t JOIN documents d ON d.id = t.document_id WHERE t.asset_id = ?",
        (row_id,),
    )
    return {key: decompress(body) for key, body in rows}  # at most 64 KiB


def _unpacked(rows: Sequence[Row], max_bytes: int | None) -> dict[str, bytes | None]:
    if max_bytes is None:
        return {key: decompress(body) for key, body in rows}
    found: dict[str, bytes | None] = {}
    left = max_bytes
    for key, body in rows:
        text = found[key] = decompress_within(body, left)
        left -= len(text) if text is not None else 0
    return found


async def drop_unused_documents(tx: Transaction, ids: Iterable[int]) -> None:
    """Delete the documents, of these, that no content, asset, job, workflow version or share refers to any more."""
    # content_documents has no index by document. An EXISTS would read all of it for each document, this once.
    await tx.execute(
        "DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?1))"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE graph_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE workflow_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM workflow_versions WHERE document_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM shares WHERE document_id = documents.id)"
        # Words that are in the search index can only be removed by the documents that they came from.
        " AND NOT EXISTS (SELECT 1 FROM asset_graphs WHERE document_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE document_id = documents.id)"
        " AND id NOT IN (SELECT graph_id FROM search_stale WHERE graph_id IS NOT NULL)"
        " AND id NOT IN (SELECT json_extract(e.value, '$[1]') FROM search_stale, json_each(search_stale.documents) e)"
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


async def any_references(tx: Transaction) -> bool:
    """Return whether there is a reference, so that changes of contents may concern one."""
    return bool(await tx.fetch_value(f"SELECT EXISTS (SELECT 1 FROM assets WHERE origin = {REFERENCE})"))


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


def location_of(row: Sequence[Any]) -> Location:
    """Return the location whose columns, those of ``LOCATION``, a row begins with."""
    fields = [*row[: LOCATION.count]]
    fields[-1] = bool(fields[-1])
    return Location(*fields)


async def stand_in(db: Database | Transaction, digest: bytes) -> Location | None:
    """Return the location of a file that is there and has this content, or None."""
    return (await stand_ins(db, [digest])).get(digest)


async def stand_ins(db: Database | Transaction, digests: Sequence[bytes]) -> dict[bytes, Location]:
    """Return the location of a file for each of these contents that some file has."""
    rows = await db.fetch_all(
        f"SELECT c.hash, {LOCATION.sql} FROM contents c JOIN assets b ON b.content_id = c.id"
        " JOIN files f ON f.id = b.id"
        f" JOIN folders d ON d.id = f.folder_id WHERE c.hash IN ({', '.join('?' * len(digests))}) AND f.missing = 0"
        " ORDER BY b.id DESC",
        digests,
    )
    return {row[0]: location_of(row[1:]) for row in rows}


async def hash_exists(db: Database | Transaction, digest: bytes, owner: str) -> bool:
    """Return whether the owner can see an asset of this content, and some file that is there has the content."""
    rows = await db.fetch_all(
        "SELECT 1 FROM contents c JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE c.hash = ? AND {tags.HELD} AND EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = c.id AND f.missing = 0) LIMIT 1",
        (digest, owner),
    )
    return bool(rows)


async def reachable(db: Database | Transaction, digests: Sequence[bytes], owner: str) -> set[bytes]:
    """Return the contents for which ``hash_exists`` is true."""
    rows = await db.fetch_all(
        "SELECT DISTINCT c.hash FROM contents c JOIN assets a ON a.content_id = c.id"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.HELD}"
        f" AND c.hash IN ({', '.join('?' * len(digests))}) AND EXISTS (SELECT 1 FROM assets b"
        " JOIN files f ON f.id = b.id WHERE b.content_id = c.id AND f.missing = 0)",
        (owner, *digests),
    )
    return {row[0] for row in rows}


@dataclass(frozen=True)
class ContentFile:
    """A file as it was when its content was read. ``visible``: the user may see the asset of the file."""

    row_id: int
    folder: str
    name: str
    size: int
    mtime_ns: int
    visible: bool


async def content_is_known(db: Database, digest: bytes, owner: str) -> bool:
    """Return whether the owner can see an asset of this content, even if no file has it any more."""
    rows = await db.fetch_all(
        "SELECT 1 FROM contents c JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE c.hash = ? AND {tags.HELD} LIMIT 1",
        (digest, owner),
    )
    return bool(rows)


async def files_of_content(db: Database, digest: bytes, owner: str) -> list[ContentFile]:
    """Return the files that had this content when last read: those of visible assets first, then the oldest."""
    rows = await db.fetch_all(
        f"SELECT a.id, d.path, f.name, f.size, f.mtime_ns, {tags.HELD} AS visible FROM contents c"
        " JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN files f ON f.id = a.id JOIN folders d ON d.id = f.folder_id"
        " WHERE c.hash = ? ORDER BY visible DESC, f.missing, a.id LIMIT ?",
        (owner, digest, _MAX_COPIES),
    )
    return [ContentFile(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


async def files_of_asset(db: Database, row_id: int) -> list[ContentFile]:
    """Return the asset's own file in a list, or an empty list."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.id = ?",
        (row_id,),
    )
    return [ContentFile(row[0], row[1], row[2], row[3], row[4], True) for row in rows]
