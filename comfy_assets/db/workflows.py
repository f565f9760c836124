"""Rows of saved workflows and their versions: lists, saving, deleting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ..models import (
    COMPLETED,
    CursorKey,
    Page,
    Workflow,
    WorkflowContent,
    WorkflowEdit,
    WorkflowFilter,
    WorkflowPage,
    WorkflowVersion,
    WorkflowView,
)
from . import contents, shares, tags
from .asset_uses import DELETED_SHARE_USE, DELETED_WORKFLOW_USE, SHARE_USE, WORKFLOW_USE
from .connection import Database, Transaction
from .contents import Document
from .job_links import PLACES, place
from .sql import Columns, after_key, json_array, order_by

COLUMNS = Columns(
    Workflow,
    row_id="w.id",
    id="w.uuid",
    owner="w.owner",
    name="w.name",
    description="w.description",
    default_view="w.default_view",
    latest_version="w.latest_version",
    forked_from_id="w.forked_from_id",
    forked_from_version_id="w.forked_from_version_id",
    created_at="w.created_at",
    updated_at="w.updated_at",
    path="w.path",
    preview=f"(SELECT j.preview FROM jobs j WHERE j.workflow_id = w.uuid AND j.status = {COMPLETED}"
    " AND j.owner IN ('', w.owner) AND j.preview IS NOT NULL ORDER BY j.created_at DESC LIMIT 1)",
    deleted_at="w.deleted_at",
    is_starred="w.is_starred = 1",
)
_VERSION_COLUMNS = Columns(
    WorkflowVersion,
    row_id="v.id",
    id="v.uuid",
    number="v.version",
    created_by="v.created_by",
    created_at="v.created_at",
)


class NewWorkflow(msgspec.Struct, frozen=True, gc=False):
    """A new workflow, created at a time in ms; see ``models.Workflow``."""

    id: str
    owner: str
    name: str | None
    description: str | None
    default_view: WorkflowView
    forked_from_id: str | None
    forked_from_version_id: str | None
    at: int


class NewVersion(msgspec.Struct, frozen=True, gc=False):
    """A new version, created at a time in ms; see ``models.WorkflowVersion``.

    ``graph_id`` is the id inside its text, ``graph_digest`` the digest of its executed part.
    """

    id: str
    number: int
    created_by: str
    at: int
    graph_id: str | None = None
    graph_digest: bytes | None = None


async def add(tx: Transaction, new: NewWorkflow) -> int:
    """Add a workflow, whose version 1 is to follow; return its row id."""
    await tx.execute(
        "INSERT INTO workflows (uuid, owner, name, name_key, description, default_view, latest_version,"
        " forked_from_id, forked_from_version_id, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?9)",
        (
            new.id,
            new.owner,
            new.name,
            (new.name or "").casefold(),
            new.description,
            new.default_view,
            new.forked_from_id,
            new.forked_from_version_id,
            new.at,
        ),
    )
    return int(await tx.fetch_value("SELECT id FROM workflows WHERE uuid = ?", (new.id,)))


async def advance(tx: Transaction, row_id: int, base: int, now: int) -> bool:
    """Make the version after ``base`` the latest. Return False if ``base`` is not the latest."""
    # One statement checks and changes, so that of two writers with the same base only one succeeds.
    changed = await tx.execute(
        "UPDATE workflows SET latest_version = latest_version + 1, updated_at = ?3"
        " WHERE id = ?1 AND latest_version = ?2 AND deleted_at IS NULL",
        (row_id, base, now),
    )
    return changed == 1


async def add_version(tx: Transaction, row_id: int, new: NewVersion, document: Document) -> None:
    """Add the latest version of a workflow. Equal texts are stored once."""
    await tx.execute("INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", (document.hash, document.body))
    await tx.execute(
        "INSERT INTO workflow_versions"
        " (uuid, workflow_id, version, document_id, created_by, created_at, graph_id, graph_digest)"
        " SELECT ?1, ?2, ?3, id, ?5, ?6, ?7, ?8 FROM documents WHERE hash = ?4",
        (
            new.id,
            row_id,
            new.number,
            document.hash,
            new.created_by,
            new.at,
            new.graph_id,
            new.graph_digest,
        ),
    )
    # Repeated in the row of the workflow, where it has an index.
    await tx.execute("UPDATE workflows SET graph_id = ? WHERE id = ?", (new.graph_id, row_id))


async def copy_version(tx: Transaction, row_id: int, new: NewVersion, source: WorkflowVersion) -> None:
    """Add a version of a workflow that equals another version and names the same assets."""
    await tx.execute(
        "INSERT INTO workflow_versions"
        " (uuid, workflow_id, version, document_id, created_by, created_at, graph_id, graph_digest)"
        " SELECT ?1, ?2, ?3, document_id, ?5, ?6, graph_id, graph_digest FROM workflow_versions WHERE id = ?4",
        (new.id, row_id, new.number, source.row_id, new.created_by, new.at),
    )
    await tx.execute(
        "UPDATE workflows SET graph_id = (SELECT graph_id FROM workflow_versions WHERE id = ?) WHERE id = ?",
        (source.row_id, row_id),
    )
    await tx.execute(
        "INSERT INTO asset_uses (asset_id, kind, used_by, named)"
        f" SELECT asset_id, '{WORKFLOW_USE}', ?1, named FROM asset_uses WHERE used_by = ?2 AND kind = '{WORKFLOW_USE}'",
        (new.id, source.id),
    )


async def link_files(tx: Transaction, version_id: str, owner: str, named: Iterable[tuple[str, str, str]]) -> None:
    """Store which visible assets a version names, by (kind of folder or "", path in it, name)."""
    # The parameters of PLACES have numbers, so all others need one as well.
    await tx.execute_many(
        "INSERT OR IGNORE INTO asset_uses (asset_id, kind, used_by, named)"
        f" SELECT a.id, '{WORKFLOW_USE}', ?6, ?7 FROM {PLACES}"
        f" JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE {tags.VISIBLE.replace('?', '?5')}",
        [(*place(*file), owner, version_id, path_of(file)) for file in named],
    )


def path_of(file: tuple[str, str, str]) -> str:
    """Return the path of a file that is named as in ``link_files``, as ``asset_uses.named`` has it."""
    kind, folder, name = file
    path = f"{folder}/{name}" if folder else name
    return f"{path} [{kind}]" if kind else path


async def link_references(
    tx: Transaction, version_id: str, owner: str, ids: Iterable[str], digests: Iterable[bytes]
) -> None:
    """Store which visible assets a version names, by id or by the hash of their content."""
    link = (
        f"INSERT OR IGNORE INTO asset_uses (asset_id, kind, used_by) SELECT a.id, '{WORKFLOW_USE}', ?2 FROM assets a"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.VISIBLE.replace('?', '?3')}"
    )
    await tx.execute_many(f"{link} AND a.uuid = ?1", [(asset_id, version_id, owner) for asset_id in ids])
    of_content = f"{link} AND a.content_id = (SELECT id FROM contents WHERE hash = ?1)"
    await tx.execute_many(of_content, [(digest, version_id, owner) for digest in digests])


async def get(db: Database | Transaction, workflow_id: str) -> Workflow | None:
    """Return the workflow, of any owner, unless it is deleted."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS.sql} FROM workflows w WHERE w.uuid = ? AND w.deleted_at IS NULL", (workflow_id,)
    )
    return COLUMNS.read(rows[0]) if rows else None


async def by_path(db: Database | Transaction, owner: str, path: str) -> Workflow | None:
    """Return the user's workflow with this path in the workflows folder, unless it is deleted."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS.sql} FROM workflows w WHERE w.owner = ? AND w.path = ? AND w.deleted_at IS NULL",
        (owner, path),
    )
    return COLUMNS.read(rows[0]) if rows else None


async def called(db: Database, text: str) -> list[Workflow]:
    """Return all users' workflows with this name (in any case) or path, without deleted ones."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS.sql} FROM workflows w WHERE (w.name_key = ?1 OR w.path = ?2) AND w.deleted_at IS NULL"
        " ORDER BY w.id LIMIT 10",  # enough to say that a name is ambiguous
        (text.casefold(), text),
    )
    return COLUMNS.read_all(rows)


async def assets_called(db: Database, owner: str, named: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return the ids of visible assets that names mean, as in ``link_files``."""
    found: set[str] = set()
    for file in named:
        rows = await db.fetch_all(
            f"SELECT a.uuid FROM {PLACES} JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id"
            f" WHERE {tags.VISIBLE.replace('?', '?5')}",
            (*place(*file), owner),
        )
        found.update(row[0] for row in rows)
    return sorted(found)


async def edit(tx: Transaction, row_id: int, change: WorkflowEdit, now: int) -> None:
    """Change a workflow at ``now`` (ms). Members that are None stay as they are; a star is no change of its time."""
    await tx.execute(
        "UPDATE workflows SET name = coalesce(?2, name), name_key = coalesce(?3, name_key),"
        " description = coalesce(?4, description), default_view = coalesce(?5, default_view),"
        " is_starred = coalesce(?7, is_starred),"
        " updated_at = CASE WHEN coalesce(?2, ?4, ?5) IS NULL THEN updated_at ELSE ?6 END WHERE id = ?1",
        (
            row_id,
            change.name,
            change.name.casefold() if change.name is not None else None,
            change.description,
            change.default_view,
            now,
            change.is_starred,
        ),
    )


async def version_of(db: Database | Transaction, row_id: int, number: int) -> WorkflowVersion | None:
    """Return a version of a workflow by its number, or None."""
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS.sql} FROM workflow_versions v WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return _VERSION_COLUMNS.read(rows[0]) if rows else None


async def versions_of(db: Database, row_id: int, limit: int, offset: int) -> Sequence[WorkflowVersion]:
    """Return versions of a workflow, the latest first."""
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS.sql} FROM workflow_versions v WHERE v.workflow_id = ?"
        " ORDER BY v.version DESC LIMIT ? OFFSET ?",
        (row_id, limit, offset),
    )
    return _VERSION_COLUMNS.read_all(rows)


async def body_of(db: Database, row_id: int, number: int | None, owner: str) -> tuple[WorkflowContent, bytes] | None:
    """Return a version (None: the latest) of the owner's workflow without its text, and the compressed text.

    The content lists only assets that the owner can see.
    """
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS.sql}, d.body, (SELECT json_group_array(a.uuid) FROM asset_uses u"
        " JOIN assets a ON a.id = u.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE u.used_by = v.uuid AND u.kind = '{WORKFLOW_USE}' AND {tags.VISIBLE.replace('?', '?3')})"
        " FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id JOIN documents d ON d.id = v.document_id"
        " WHERE w.id = ?1 AND w.owner = ?3 AND v.version = coalesce(?2, w.latest_version)",
        (row_id, number, owner),
    )
    if not rows:
        return None
    *_, body, asset_ids = rows[0]
    ids = sorted(msgspec.json.decode(asset_ids, type=list[str]))
    return WorkflowContent(_VERSION_COLUMNS.read(rows[0]), b"", tuple(ids)), body


class DeletedWorkflow(msgspec.Struct, frozen=True):
    """A deleted workflow, and when it was deleted (ms)."""

    row_id: int
    id: str
    owner: str
    name: str | None
    latest_version: int
    deleted_at: int


async def hide(tx: Transaction, row_id: int, now: int) -> None:
    """Delete a workflow at ``now`` (ms) but keep its rows. Its versions and share no longer protect assets."""
    await tx.execute("UPDATE workflows SET deleted_at = ? WHERE id = ?", (now, row_id))
    await _change_uses(tx, row_id, WORKFLOW_USE, DELETED_WORKFLOW_USE)
    await shares.change_uses(tx, row_id, SHARE_USE, DELETED_SHARE_USE)


async def show(tx: Transaction, row_id: int) -> None:
    """Restore a deleted workflow."""
    await tx.execute("UPDATE workflows SET deleted_at = NULL WHERE id = ?", (row_id,))
    await _change_uses(tx, row_id, DELETED_WORKFLOW_USE, WORKFLOW_USE)
    await shares.change_uses(tx, row_id, DELETED_SHARE_USE, SHARE_USE)


async def _change_uses(tx: Transaction, row_id: int, kind: str, new_kind: str) -> None:
    await tx.execute(
        "UPDATE asset_uses SET kind = ?3"
        " WHERE used_by IN (SELECT uuid FROM workflow_versions WHERE workflow_id = ?1) AND kind = ?2",
        (row_id, kind, new_kind),
    )


async def deleted(db: Database | Transaction) -> list[DeletedWorkflow]:
    """Return the deleted workflows of all owners, the latest first."""
    rows = await db.fetch_all(
        "SELECT id, uuid, owner, name, latest_version, deleted_at FROM workflows WHERE deleted_at IS NOT NULL"
        " ORDER BY deleted_at DESC, id DESC"
    )
    return [DeletedWorkflow(*row) for row in rows]


async def get_deleted(tx: Transaction, workflow_id: str) -> DeletedWorkflow | None:
    """Return the workflow if it is deleted, or None."""
    rows = await tx.fetch_all(
        "SELECT id, uuid, owner, name, latest_version, deleted_at FROM workflows"
        " WHERE uuid = ? AND deleted_at IS NOT NULL",
        (workflow_id,),
    )
    return DeletedWorkflow(*rows[0]) if rows else None


async def rows_deleted_before(tx: Transaction, before: int, limit: int) -> list[int]:
    """Return rows of workflows that were deleted before a time (ms)."""
    rows = await tx.fetch_all("SELECT id FROM workflows WHERE deleted_at < ? LIMIT ?", (before, limit))
    return [row[0] for row in rows]


async def remove(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove workflows with their versions, their shares, and texts that nothing else refers to."""
    ids = json_array(row_ids)
    versions = await tx.fetch_all(
        "SELECT uuid, document_id FROM workflow_versions WHERE workflow_id IN (SELECT value FROM json_each(?))", (ids,)
    )
    await tx.execute_many(
        f"DELETE FROM asset_uses WHERE used_by = ? AND kind IN ('{WORKFLOW_USE}', '{DELETED_WORKFLOW_USE}')",
        [(version_id,) for version_id, _ in versions],
    )
    # Before the workflows: the cascade reaches the rows of shares, but not the uses of assets.
    await shares.remove_of(tx, row_ids)
    await tx.execute("DELETE FROM workflows WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    await contents.drop_unused_documents(tx, {document_id for _, document_id in versions})


# Each has an index. Times stay below 2^52.
_SORT_KEYS = {
    "create_time": "w.created_at",
    "update_time": "w.updated_at",
    "name": "w.name_key",
    "starred": "w.is_starred * 4503599627370496 + w.updated_at",
}


async def list_page(db: Database, wanted: WorkflowFilter, page: WorkflowPage) -> Page[Workflow]:
    """Return one page of the workflows that pass the filter, and the total number of them."""
    total = await _count(db, wanted)
    if page.after is None and page.offset >= total:
        return Page([], total, has_more=False)
    where, parameters = _select(wanted)
    key = _SORT_KEYS[page.sort]
    condition, bound = after_key(key, "w.id", page.order, page.after)
    offset = page.offset if page.after is None else 0
    # The page is found in an index alone. Only its rows, and one more that tells of another page, are looked up.
    rows = await db.fetch_all(
        f"SELECT {COLUMNS.sql}, k.key FROM (SELECT w.id, {key} AS key FROM workflows w WHERE {where}{condition}"
        f" {order_by(key, 'w.id', page.order)} LIMIT {page.limit + 1:d} OFFSET {offset:d}) k"
        f" CROSS JOIN workflows w ON w.id = k.id {order_by('k.key', 'k.id', page.order)}",
        [*parameters, *bound],
    )
    shown, has_more = rows[: page.limit], len(rows) > page.limit
    items = COLUMNS.read_all(shown)
    return Page(items, total, has_more, CursorKey(shown[-1][-1], items[-1].row_id) if has_more else None)


def _select(wanted: WorkflowFilter) -> tuple[str, list[Any]]:
    conditions, parameters = [f"w.deleted_at IS {'NOT NULL' if wanted.is_deleted else 'NULL'}"], list[Any]()
    if wanted.owner is not None:
        conditions.append("w.owner = ?")
        parameters.append(wanted.owner)
    if wanted.default_view is not None:
        conditions.append("w.default_view = ?")
        parameters.append(wanted.default_view)
    if wanted.name_contains:
        conditions.append("instr(w.name_key, ?)")
        parameters.append(wanted.name_contains.casefold())
    if wanted.folder is not None:
        condition, bound = _in_folder(wanted.folder)
        start = len(wanted.folder) + 1 if wanted.folder else 0
        conditions.append(f"{condition} AND NOT instr(substr(coalesce(w.path, ''), {start + 1:d}), '/')")
        parameters += bound
    if wanted.is_starred is not None:
        conditions.append("w.is_starred = ?")
        parameters.append(wanted.is_starred)
    if wanted.asset_id is not None:
        conditions.append(f"w.id IN ({_NAMING})")
        parameters += [wanted.asset_id, wanted.owner]
    return " AND ".join(conditions), parameters


# The workflows whose latest version names a visible asset (the first parameter), or another with the same content.
_NAMING = f"""
    SELECT n.id FROM ({contents.SAME_CONTENT}) b JOIN asset_uses u ON u.asset_id = b.id AND u.kind = '{WORKFLOW_USE}'
    JOIN workflow_versions v ON v.uuid = u.used_by
    JOIN workflows n ON n.id = v.workflow_id AND n.latest_version = v.version
"""


def _in_folder(folder: str) -> tuple[str, list[Any]]:
    """Return the condition for workflows in a folder or in one below it, as a range of paths, and its parameters."""
    # "0" is the character behind the slash.
    return ("w.path >= ? AND w.path < ?", [f"{folder}/", f"{folder}0"]) if folder else ("TRUE", [])


async def folders_in(db: Database, owner: str, folder: str) -> list[tuple[str, int]]:
    """Return the paths of the folders in a folder of the owner's workflows, each with the number of workflows in it."""
    condition, parameters = _in_folder(folder)
    start = len(folder) + 1 if folder else 0
    rows = await db.fetch_all(
        "SELECT substr(w.path, 1, ?1 + instr(substr(w.path, ?1 + 1), '/') - 1) AS folder, count(*) FROM workflows w"
        f" WHERE w.owner = ?2 AND w.deleted_at IS NULL AND {condition.replace('?', '?3', 1).replace('< ?', '< ?4')}"
        " AND instr(substr(w.path, ?1 + 1), '/') > 0 GROUP BY folder ORDER BY lower(folder), folder",
        [start, owner, *parameters],
    )
    return [(row[0], row[1]) for row in rows]


async def _count(db: Database, wanted: WorkflowFilter) -> int:
    is_listed = wanted.asset_id is not None or wanted.is_starred is not None
    if wanted.name_contains or wanted.folder is not None or wanted.is_deleted or is_listed:
        where, parameters = _select(wanted)
        rows = await db.fetch_all(f"SELECT count(*) FROM workflows w WHERE {where}", parameters)
    else:
        rows = await db.fetch_all(
            "SELECT coalesce(sum(n), 0) FROM workflow_counts"
            " WHERE owner = coalesce(?1, owner) AND default_view = coalesce(?2, default_view)",
            (wanted.owner, wanted.default_view),
        )
    return int(rows[0][0])
