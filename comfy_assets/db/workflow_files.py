"""The files that workflows are: where they lie, as they were last seen, and which version they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..models import WorkflowView
from .connection import Database, Transaction

TO_REMOVE = -1  # the version in the file of a workflow that was deleted here: it is still to be removed


class FileRow(msgspec.Struct, frozen=True, gc=False):
    """A workflow with regard to its file; see the table for what is what.

    ``hash`` is that of the latest version's text, ``held_hash`` that of the version which the file was seen to hold.
    A misnamed one has been given a name that its file is still to be called by.
    """

    row_id: int
    id: str
    owner: str
    name: str | None
    view: WorkflowView
    path: str | None
    size: int | None
    mtime_ns: int | None
    version: int | None
    latest: int
    graph_id: str | None
    hash: bytes
    held_hash: bytes | None
    is_misnamed: bool


_ROW = (
    "w.id, w.uuid, w.owner, w.name, w.default_view, w.path, w.file_size, w.file_mtime_ns, w.file_version,"
    " w.latest_version, w.graph_id, d.hash, h.hash, w.is_misnamed FROM workflows w"
    " JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = w.latest_version"
    " JOIN documents d ON d.id = v.document_id"
    " LEFT JOIN workflow_versions f ON f.workflow_id = w.id AND f.version = w.file_version"
    " LEFT JOIN documents h ON h.id = f.document_id"
)


def _file_row(row: Sequence[Any]) -> FileRow:
    values = [*row[:-1], bool(row[-1])]
    return FileRow(*values)


async def of_owner(db: Database | Transaction, owner: str) -> list[FileRow]:
    """All of an owner's workflows that are not deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.owner = ? AND w.deleted_at IS NULL", (owner,))
    return [_file_row(row) for row in rows]


async def at(db: Database | Transaction, owner: str, path: str) -> FileRow | None:
    """The workflow that is the file at a path."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.owner = ? AND w.path = ? AND w.deleted_at IS NULL", (owner, path))
    return _file_row(rows[0]) if rows else None


async def of_row(db: Database | Transaction, row_id: int) -> FileRow | None:
    """The workflow of this row, unless it is deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.id = ? AND w.deleted_at IS NULL", (row_id,))
    return _file_row(rows[0]) if rows else None


async def of_id(db: Database, workflow_id: str) -> FileRow | None:
    """The workflow of this id, unless it is deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.uuid = ? AND w.deleted_at IS NULL", (workflow_id,))
    return _file_row(rows[0]) if rows else None


async def is_at_rest(db: Database, owner: str) -> bool:
    """Whether every workflow's file is called and holds what it is to, and was seen long enough after its change."""
    rows = await db.fetch_all(
        "SELECT 1 FROM workflows WHERE owner = ?1 AND CASE WHEN deleted_at IS NULL"
        " THEN file_version IS NOT latest_version OR file_mtime_ns < 0 OR is_misnamed"
        f" ELSE file_version = {TO_REMOVE} END LIMIT 1",
        (owner,),
    )
    return not rows


async def to_remove(db: Database | Transaction, owner: str) -> list[FileRow]:
    """Deleted workflows whose files are still to be removed."""
    rows = await db.fetch_all(
        f"SELECT {_ROW} WHERE w.owner = ? AND w.deleted_at IS NOT NULL AND w.file_version = {TO_REMOVE}", (owner,)
    )
    return [_file_row(row) for row in rows]


async def deleted_like(tx: Transaction, owner: str, graph_id: str | None, path: str, text: bytes) -> int | None:
    """The row of the deleted workflow that a new file at a path, with a text of this hash, is again.

    It is the one deleted last whose graph gave itself the same id, or as well none, and that was at this path or has
    had this text: many save workflows made of one template, with its id. It is none where one that is not deleted
    gives itself that id.
    """
    if graph_id is not None and await tx.fetch_all(
        "SELECT 1 FROM workflows WHERE owner = ? AND graph_id = ? AND deleted_at IS NULL LIMIT 1", (owner, graph_id)
    ):
        return None
    rows = await tx.fetch_all(
        "SELECT w.id FROM workflows w WHERE w.owner = ?1 AND w.graph_id IS ?2 AND w.deleted_at IS NOT NULL"
        " AND (w.path = ?3 OR (?2 IS NOT NULL AND EXISTS (SELECT 1 FROM workflow_versions v"
        " JOIN documents d ON d.id = v.document_id WHERE v.workflow_id = w.id AND d.hash = ?4)))"
        " ORDER BY w.deleted_at DESC, w.id DESC LIMIT 1",
        (owner, graph_id, path, text),
    )
    return int(rows[0][0]) if rows else None


async def is_free(tx: Transaction, workflow_id: str) -> bool:
    """Whether no workflow, also no deleted one, has this id."""
    return not await tx.fetch_all("SELECT 1 FROM workflows WHERE uuid = ?", (workflow_id,))


async def hash_of(db: Database | Transaction, row_id: int, number: int) -> bytes | None:
    """The hash of a version's text."""
    rows = await db.fetch_all(
        "SELECT d.hash FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return rows[0][0] if rows else None


async def has_text(db: Database, row_id: int, text: bytes) -> bool:
    """Whether a version of a workflow has the text of this hash."""
    rows = await db.fetch_all(
        "SELECT 1 FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND d.hash = ?",
        (row_id, text),
    )
    return bool(rows)


async def body_of(db: Database | Transaction, row_id: int, number: int) -> bytes:
    """The compressed text of a version that is there."""
    rows = await db.fetch_all(
        "SELECT d.body FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return bytes(rows[0][0])


async def place(tx: Transaction, row_id: int, path: str | None) -> None:
    """Say where a workflow's file is to be, or that it has none."""
    await tx.execute(
        "UPDATE workflows SET path = ?2, file_size = NULL, file_mtime_ns = NULL, file_version = NULL, is_misnamed = 0"
        " WHERE id = ?1",
        (row_id, path),
    )


async def move(tx: Transaction, row_id: int, path: str) -> None:
    """Say that a workflow's file lies elsewhere now."""
    await tx.execute("UPDATE workflows SET path = ?, is_misnamed = 0 WHERE id = ?", (path, row_id))


async def misname(tx: Transaction, row_id: int) -> None:
    """Say that a workflow's file, if it has one, is to be called by its new name."""
    await tx.execute("UPDATE workflows SET is_misnamed = path IS NOT NULL WHERE id = ?", (row_id,))


async def stamp(tx: Transaction, row_id: int, size: int, mtime_ns: int, version: int) -> None:
    """Note a file as it was seen, and which version it holds."""
    await tx.execute(
        "UPDATE workflows SET file_size = ?, file_mtime_ns = ?, file_version = ? WHERE id = ?",
        (size, mtime_ns, version, row_id),
    )


async def set_removal(tx: Transaction, row_id: int, *, wanted: bool) -> None:
    """Note whether the file of a workflow that was deleted is still to be removed."""
    await tx.execute(
        "UPDATE workflows SET file_version = ? WHERE id = ? AND deleted_at IS NOT NULL",
        (TO_REMOVE if wanted else None, row_id),
    )


async def release(tx: Transaction, row_id: int) -> None:
    """Let a workflow that is to come back have its file written again: in its place, if that is free, or another."""
    await tx.execute(
        "UPDATE workflows SET file_size = NULL, file_mtime_ns = NULL, file_version = NULL,"
        " path = CASE WHEN EXISTS (SELECT 1 FROM workflows o"
        " WHERE o.owner = workflows.owner AND o.path = workflows.path AND o.deleted_at IS NULL"
        " AND o.id != workflows.id)"
        " THEN NULL ELSE path END WHERE id = ?",
        (row_id,),
    )
