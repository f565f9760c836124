"""Contents and the files that have them: which of them users can see, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..models import Location
from . import tags
from .connection import Database, Transaction
from .sql import Columns

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
