"""Shares: published workflow versions, and the assets that they include."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..models import PublishedWorkflow, SharedAsset
from . import contents
from .asset_uses import DELETED_SHARE_USE, SHARE_USE
from .connection import Database, Transaction
from .sql import json_array


class NewShare(msgspec.Struct, frozen=True):
    """A workflow version to be published at a time in ms. ``share_id`` is used if the workflow has no share yet.

    ``is_open``: whoever knows the id may read it without signing in; None: as before, for a new share not.
    """

    share_id: str
    workflow: int
    version: int
    name: str
    at: int
    is_open: bool | None = None


async def publish(tx: Transaction, new: NewShare, found: Sequence[tuple[int, SharedAsset]]) -> str:
    """Publish a version with assets (each with its row id), in place of the workflow's former share.

    Return the share id, which stays the same.
    """
    share_id = await id_of(tx, new.workflow)
    former: set[int] = set()
    opened = bool(new.is_open)
    if share_id is not None:
        opened = await is_open(tx, share_id) if new.is_open is None else opened
        former = await _remove(tx, share_id)
    await tx.execute(
        "INSERT INTO shares (share_id, workflow_id, version, document_id, name, published_at, is_open)"
        " SELECT ?1, ?2, ?3, document_id, ?4, ?5, ?6 FROM workflow_versions WHERE workflow_id = ?2 AND version = ?3",
        (share_id or new.share_id, new.workflow, new.version, new.name, new.at, opened),
    )
    await contents.drop_unused_documents(tx, former)  # only now: the new share may have the same document
    row_id = int(await tx.fetch_value("SELECT id FROM shares WHERE workflow_id = ?", (new.workflow,)))
    await tx.execute_many(
        "INSERT INTO shared_assets (share_id, uuid, hash, name, size, mime_type, kind, category, path)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(row_id, *msgspec.structs.astuple(asset)) for _, asset in found],
    )
    await tx.execute_many(
        f"INSERT OR IGNORE INTO asset_uses (asset_id, kind, used_by) VALUES (?, '{SHARE_USE}', ?)",
        [(asset_row, share_id or new.share_id) for asset_row, _ in found],
    )
    return share_id or new.share_id


async def id_of(db: Database | Transaction, workflow: int) -> str | None:
    """Return the share id of a workflow (its row), or None."""
    rows = await db.fetch_all("SELECT share_id FROM shares WHERE workflow_id = ?", (workflow,))
    return rows[0][0] if rows else None


async def is_open(db: Database | Transaction, share_id: str) -> bool:
    """Return whether there is such a share, and whoever knows its id may read it without signing in."""
    rows = await db.fetch_all(
        "SELECT s.is_open FROM shares s JOIN workflows w ON w.id = s.workflow_id"
        " WHERE s.share_id = ? AND w.deleted_at IS NULL",
        (share_id,),
    )
    return bool(rows and rows[0][0])


async def withdraw(tx: Transaction, share_id: str) -> None:
    """Delete a share."""
    await contents.drop_unused_documents(tx, await _remove(tx, share_id))


async def _remove(tx: Transaction, share_id: str) -> set[int]:
    """Delete a share; return the id of its document in a set."""
    rows = await tx.fetch_all("SELECT document_id FROM shares WHERE share_id = ?", (share_id,))
    await tx.execute(
        f"DELETE FROM asset_uses WHERE used_by = ? AND kind IN ('{SHARE_USE}', '{DELETED_SHARE_USE}')", (share_id,)
    )
    await tx.execute("DELETE FROM shares WHERE share_id = ?", (share_id,))
    return {row[0] for row in rows}


async def remove_of(tx: Transaction, workflows: Sequence[int]) -> None:
    """Delete the shares of workflows, by row, but not their documents, which the workflows still have."""
    rows = await tx.fetch_all(
        "SELECT share_id FROM shares WHERE workflow_id IN (SELECT value FROM json_each(?))",
        (json_array(workflows),),
    )
    for (share_id,) in rows:
        await _remove(tx, share_id)


async def change_uses(tx: Transaction, workflow: int, kind: str, new_kind: str) -> None:
    """Let a workflow's share protect its assets from deletion, or no longer."""
    await tx.execute(
        "UPDATE asset_uses SET kind = ?3"
        " WHERE used_by = (SELECT share_id FROM shares WHERE workflow_id = ?1) AND kind = ?2",
        (workflow, kind, new_kind),
    )


class ListedShare(msgspec.Struct, frozen=True):
    """A share in a list of all: published at a time in ms, with the number of its assets."""

    share_id: str
    workflow_id: str
    name: str
    owner: str
    version: int
    assets: int
    published_at: int
    is_open: bool


async def listed(db: Database) -> list[ListedShare]:
    """Return the shares of all users, the latest first, without those of deleted workflows."""
    rows = await db.fetch_all(
        "SELECT s.share_id, w.uuid, s.name, w.owner, s.version,"
        " (SELECT count(*) FROM shared_assets WHERE share_id = s.id), s.published_at, s.is_open"
        " FROM shares s JOIN workflows w ON w.id = s.workflow_id WHERE w.deleted_at IS NULL"
        " ORDER BY s.published_at DESC, s.id DESC"
    )
    return [msgspec.structs.replace(ListedShare(*row), is_open=bool(row[-1])) for row in rows]


async def get(db: Database | Transaction, share_id: str) -> tuple[PublishedWorkflow, bytes] | None:
    """Return a share without its text, and the compressed text; None for an unknown share or a deleted workflow."""
    rows = await db.fetch_all(
        "SELECT s.share_id, w.owner, w.uuid, s.version, s.name, s.published_at, s.is_open, d.body,"
        " (SELECT json_group_array(json_array(id, uuid, hex(hash), name, size, mime_type, kind, category, path))"
        " FROM shared_assets WHERE share_id = s.id) FROM shares s"
        " JOIN workflows w ON w.id = s.workflow_id JOIN documents d ON d.id = s.document_id"
        " WHERE s.share_id = ? AND w.deleted_at IS NULL",
        (share_id,),
    )  # one statement, because the share could be replaced between two
    if not rows:
        return None
    share, owner, workflow_id, version, name, at, opened, body, text = rows[0]
    # json_group_array promises no order. The ids, which come first, are in the order of the publication.
    found = sorted(msgspec.json.decode(text, type=list[tuple[int, str, str, str, int, str, str, str | None, str]]))
    published = tuple(_asset(row) for row in found)
    return PublishedWorkflow(share, owner, workflow_id, version, name, at, b"", published, bool(opened)), body


def _asset(row: tuple[int, str, str, str, int, str, str, str | None, str]) -> SharedAsset:
    return SharedAsset(row[1], bytes.fromhex(row[2]), *row[3:])
