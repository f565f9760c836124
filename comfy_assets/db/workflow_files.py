"""The files of workflows: their paths, their last seen state, and the versions in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..models import WorkflowView
from .connection import Database, Transaction

TO_REMOVE = -1  # as version of a deleted workflow's file: the file is still to be removed


class WorkflowFileRow(msgspec.Struct, frozen=True, gc=False):
    """The state of a workflow's file; see the table for the columns.

    ``hash`` is that of the latest version's text, ``held_hash`` that of the version in the file when it was last seen.
    ``is_misnamed``: the workflow has a new name, and its file is still to be renamed.
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


def _file_row(row: Sequence[Any]) -> WorkflowFileRow:
    values = [*row[:-1], bool(row[-1])]
    return WorkflowFileRow(*values)


async def of_owner(db: Database | Transaction, owner: str) -> list[WorkflowFileRow]:
    """Return all of an owner's workflows that are not deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.owner = ? AND w.deleted_at IS NULL", (owner,))
    return [_file_row(row) for row in rows]


async def at(db: Database | Transaction, owner: str, path: str) -> WorkflowFileRow | None:
    """Return the workflow whose file has this path, or None."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.owner = ? AND w.path = ? AND w.deleted_at IS NULL", (owner, path))
    return _file_row(rows[0]) if rows else None


async def of_row(db: Database | Transaction, row_id: int) -> WorkflowFileRow | None:
    """Return the workflow of this row, or None if it is deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.id = ? AND w.deleted_at IS NULL", (row_id,))
    return _file_row(rows[0]) if rows else None


async def of_id(db: Database, workflow_id: str) -> WorkflowFileRow | None:
    """Return the workflow of this id, or None if it is deleted."""
    rows = await db.fetch_all(f"SELECT {_ROW} WHERE w.uuid = ? AND w.deleted_at IS NULL", (workflow_id,))
    return _file_row(rows[0]) if rows else None


async def is_at_rest(db: Database, owner: str) -> bool:
    """Return whether every file has its final name and version, and was seen long enough after its last change."""
    # A negative time is UNCERTAIN_MTIME of ``workflows.folder``.
    rows = await db.fetch_all(
        "SELECT 1 FROM workflows WHERE owner = ?1 AND CASE WHEN deleted_at IS NULL"
        " THEN file_version IS NOT latest_version OR file_mtime_ns < 0 OR is_misnamed"
        f" ELSE file_version = {TO_REMOVE} END LIMIT 1",
        (owner,),
    )
    return not rows


async def to_remove(db: Database | Transaction, owner: str) -> list[WorkflowFileRow]:
    """Return deleted workflows whose files are still to be removed."""
    rows = await db.fetch_all(
        f"SELECT {_ROW} WHERE w.owner = ? AND w.deleted_at IS NOT NULL AND w.file_version = {TO_REMOVE}", (owner,)
    )
    return [_file_row(row) for row in rows]


async def deleted_like(tx: Transaction, owner: str, graph_id: str | None, path: str, text: bytes) -> int | None:
    """Return the row of the deleted workflow that a new file at ``path`` restores; ``text`` is the hash of its text.

    It is the one deleted last with the same graph id (or also none) that had this path or has had this text. Both are
    needed, because users save several workflows from one template with its id. The result is None if a workflow that is
    not deleted has that graph id.
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
    """Return whether no workflow, not even a deleted one, has this id."""
    return not await tx.fetch_all("SELECT 1 FROM workflows WHERE uuid = ?", (workflow_id,))


async def hash_of(db: Database | Transaction, row_id: int, number: int) -> bytes | None:
    """Return the hash of a version's text, or None."""
    rows = await db.fetch_all(
        "SELECT d.hash FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return rows[0][0] if rows else None


async def has_text(db: Database, row_id: int, text: bytes) -> bool:
    """Return whether a version of a workflow has the text with this hash."""
    rows = await db.fetch_all(
        "SELECT 1 FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND d.hash = ?",
        (row_id, text),
    )
    return bool(rows)


async def body_of(db: Database | Transaction, row_id: int, number: int) -> bytes:
    """Return the compressed text of an existing version."""
    rows = await db.fetch_all(
        "SELECT d.body FROM workflow_versions v JOIN documents d ON d.id = v.document_id"
        " WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return bytes(rows[0][0])


async def place(tx: Transaction, row_id: int, path: str | None) -> None:
    """Set the path of a workflow's file, or None for no file, and forget what was seen of the former one."""
    await tx.execute(
        "UPDATE workflows SET path = ?2, file_size = NULL, file_mtime_ns = NULL, file_version = NULL, is_misnamed = 0"
        " WHERE id = ?1",
        (row_id, path),
    )


async def move(tx: Transaction, row_id: int, path: str) -> None:
    """Set the path of a workflow's file that was moved."""
    await tx.execute("UPDATE workflows SET path = ?, is_misnamed = 0 WHERE id = ?", (path, row_id))


async def misname(tx: Transaction, row_id: int) -> None:
    """Record that a workflow's file, if there is one, has to be renamed."""
    await tx.execute("UPDATE workflows SET is_misnamed = path IS NOT NULL WHERE id = ?", (row_id,))


async def stamp(tx: Transaction, row_id: int, size: int, mtime_ns: int, version: int) -> None:
    """Store size, time and version of a file as it was seen."""
    await tx.execute(
        "UPDATE workflows SET file_size = ?, file_mtime_ns = ?, file_version = ? WHERE id = ?",
        (size, mtime_ns, version, row_id),
    )


async def set_removal(tx: Transaction, row_id: int, *, wanted: bool) -> None:
    """Record whether the file of a deleted workflow is still to be removed."""
    await tx.execute(
        "UPDATE workflows SET file_version = ? WHERE id = ? AND deleted_at IS NOT NULL",
        (TO_REMOVE if wanted else None, row_id),
    )


async def release(tx: Transaction, row_id: int) -> None:
    """Let the file of a restored workflow be written again: at its path if that is free, or else at another."""
    await tx.execute(
        "UPDATE workflows SET file_size = NULL, file_mtime_ns = NULL, file_version = NULL,"
        " path = CASE WHEN EXISTS (SELECT 1 FROM workflows o"
        " WHERE o.owner = workflows.owner AND o.path = workflows.path AND o.deleted_at IS NULL"
        " AND o.id != workflows.id)"
        " THEN NULL ELSE path END WHERE id = ?",
        (row_id,),
    )
