"""Deleted workflows: hidden with all their versions, shown again, or removed for good."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from . import documents, shares
from .connection import Database, Transaction
from .workflows import USE

DELETED_USE = "deleted_workflow_version"  # the kind of asset_uses that keeps no asset


class DeletedWorkflow(msgspec.Struct, frozen=True):
    """A workflow that was deleted, and when (ms)."""

    row_id: int
    id: str
    owner: str
    name: str | None
    latest_version: int
    deleted_at: int


async def hide(tx: Transaction, row_id: int, now: int) -> None:
    """Delete a workflow at ``now`` (ms), so that it can come back. Its versions and its share keep no assets then."""
    await tx.execute("UPDATE workflows SET deleted_at = ? WHERE id = ?", (now, row_id))
    await _change_uses(tx, row_id, USE, DELETED_USE)
    await shares.change_uses(tx, row_id, shares.USE, shares.DELETED_USE)


async def show(tx: Transaction, row_id: int) -> None:
    """Let a deleted workflow be there again."""
    await tx.execute("UPDATE workflows SET deleted_at = NULL WHERE id = ?", (row_id,))
    await _change_uses(tx, row_id, DELETED_USE, USE)
    await shares.change_uses(tx, row_id, shares.DELETED_USE, shares.USE)


async def _change_uses(tx: Transaction, row_id: int, kind: str, new_kind: str) -> None:
    await tx.execute(
        "UPDATE asset_uses SET kind = ?3"
        " WHERE used_by IN (SELECT uuid FROM workflow_versions WHERE workflow_id = ?1) AND kind = ?2",
        (row_id, kind, new_kind),
    )


async def entries(db: Database | Transaction) -> list[DeletedWorkflow]:
    """What was deleted, whoever's it is, the latest first."""
    rows = await db.fetch_all(
        "SELECT id, uuid, owner, name, latest_version, deleted_at FROM workflows WHERE deleted_at IS NOT NULL"
        " ORDER BY deleted_at DESC, id DESC"
    )
    return [DeletedWorkflow(*row) for row in rows]


async def get(tx: Transaction, workflow_id: str) -> DeletedWorkflow | None:
    """The workflow, if it is deleted."""
    rows = await tx.fetch_all(
        "SELECT id, uuid, owner, name, latest_version, deleted_at FROM workflows"
        " WHERE uuid = ? AND deleted_at IS NOT NULL",
        (workflow_id,),
    )
    return DeletedWorkflow(*rows[0]) if rows else None


async def rows_deleted(tx: Transaction, before: int, limit: int) -> list[int]:
    """The rows of workflows that were deleted before a time (ms)."""
    rows = await tx.fetch_all("SELECT id FROM workflows WHERE deleted_at < ? LIMIT ?", (before, limit))
    return [row[0] for row in rows]


async def remove(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove workflows for good, with their versions, their shares and the texts that nothing else has."""
    ids = msgspec.json.encode(row_ids).decode()
    versions = await tx.fetch_all(
        "SELECT uuid, document_id FROM workflow_versions WHERE workflow_id IN (SELECT value FROM json_each(?))", (ids,)
    )
    await tx.execute_many(
        f"DELETE FROM asset_uses WHERE used_by = ? AND kind IN ('{USE}', '{DELETED_USE}')",
        [(version_id,) for version_id, _ in versions],
    )
    await shares.remove_of(tx, row_ids)
    await tx.execute("DELETE FROM workflows WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    await documents.drop_unused(tx, {document_id for _, document_id in versions})
