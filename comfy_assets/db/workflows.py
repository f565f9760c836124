"""Saved workflows and their versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..models import Workflow, WorkflowContent, WorkflowEdit, WorkflowVersion, WorkflowView
from . import tags
from .connection import Database, Transaction
from .contents import Document
from .job_links import PLACES, place

COLUMNS = (
    "w.id, w.uuid, w.owner, w.name, w.description, w.default_view, w.latest_version, w.forked_from_id,"
    " w.forked_from_version_id, w.created_at, w.updated_at, w.path"
)
_VERSION_COLUMNS = "v.id, v.uuid, v.version, v.created_by, v.created_at"
USE = "workflow_version"  # the kind of asset_uses


class NewWorkflow(msgspec.Struct, frozen=True, gc=False):
    """A workflow to be added, at a time in ms; see ``models.Workflow``."""

    id: str
    owner: str
    name: str | None
    description: str | None
    default_view: WorkflowView
    forked_from_id: str | None
    forked_from_version_id: str | None
    at: int


class NewVersion(msgspec.Struct, frozen=True, gc=False):
    """A version to be added, at a time in ms; see ``models.WorkflowVersion``.

    ``graph_id`` is the id inside its text, ``graph_digest`` that of what in it is executed.
    """

    id: str
    number: int
    created_by: str
    at: int
    graph_id: str | None = None
    graph_digest: bytes | None = None


async def add(tx: Transaction, new: NewWorkflow) -> int:
    """Add a workflow, which is to have a version 1; answers its row id."""
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
    """Make the version after ``base`` the latest; False when ``base`` is not the latest."""
    changed = await tx.execute(
        "UPDATE workflows SET latest_version = latest_version + 1, updated_at = ?3"
        " WHERE id = ?1 AND latest_version = ?2 AND deleted_at IS NULL",
        (row_id, base, now),
    )
    return changed == 1


async def add_version(tx: Transaction, row_id: int, new: NewVersion, document: Document) -> None:
    """Add a version of a workflow, its latest. The text is kept once, whatever else has it."""
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
    await tx.execute("UPDATE workflows SET graph_id = ? WHERE id = ?", (new.graph_id, row_id))


async def copy_version(tx: Transaction, row_id: int, new: NewVersion, source: WorkflowVersion) -> None:
    """Add a version of a workflow that is, and names, what another version is and names."""
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
        f"INSERT INTO asset_uses (asset_id, kind, used_by) SELECT asset_id, '{USE}', ?1 FROM asset_uses"
        f" WHERE used_by = ?2 AND kind = '{USE}'",
        (new.id, source.id),
    )


async def link_files(tx: Transaction, version_id: str, owner: str, named: Iterable[tuple[str, str, str]]) -> None:
    """Note which assets that the owner can see a version names: by (kind of folder or "", path in it, name)."""
    await tx.execute_many(
        f"INSERT OR IGNORE INTO asset_uses (asset_id, kind, used_by) SELECT a.id, '{USE}', ?6 FROM {PLACES}"
        f" JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE {tags.VISIBLE.replace('?', '?5')}",
        [(*place(*file), owner, version_id) for file in named],
    )


async def link_references(
    tx: Transaction, version_id: str, owner: str, ids: Iterable[str], digests: Iterable[bytes]
) -> None:
    """Note which assets that the owner can see a version names: by id, or by the hash of their content."""
    link = (
        f"INSERT OR IGNORE INTO asset_uses (asset_id, kind, used_by) SELECT a.id, '{USE}', ?2 FROM assets a"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.VISIBLE.replace('?', '?3')}"
    )
    await tx.execute_many(f"{link} AND a.uuid = ?1", [(asset_id, version_id, owner) for asset_id in ids])
    of_content = f"{link} AND a.content_id = (SELECT id FROM contents WHERE hash = ?1)"
    await tx.execute_many(of_content, [(digest, version_id, owner) for digest in digests])


async def get(db: Database | Transaction, workflow_id: str) -> Workflow | None:
    """The workflow, whoever's it is, unless it is deleted."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS} FROM workflows w WHERE w.uuid = ? AND w.deleted_at IS NULL", (workflow_id,)
    )
    return Workflow(*rows[0]) if rows else None


async def by_path(db: Database | Transaction, owner: str, path: str) -> Workflow | None:
    """The user's workflow whose file is at a path in their workflows folder, unless it is deleted."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS} FROM workflows w WHERE w.owner = ? AND w.path = ? AND w.deleted_at IS NULL", (owner, path)
    )
    return Workflow(*rows[0]) if rows else None


async def called(db: Database, text: str) -> list[Workflow]:
    """All users' workflows of this name, whatever its case, or whose file is at this path, unless deleted."""
    rows = await db.fetch_all(
        f"SELECT {COLUMNS} FROM workflows w WHERE (w.name_key = ?1 OR w.path = ?2) AND w.deleted_at IS NULL"
        " ORDER BY w.id LIMIT 10",
        (text.casefold(), text),
    )
    return [Workflow(*row) for row in rows]


async def assets_called(db: Database, owner: str, named: Iterable[tuple[str, str, str]]) -> list[str]:
    """The ids of assets that the owner can see and that names mean, as ``link_files`` has them."""
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
    """Change a workflow at ``now`` (ms)."""
    await tx.execute(
        "UPDATE workflows SET name = coalesce(?2, name), name_key = coalesce(?3, name_key),"
        " description = coalesce(?4, description), default_view = coalesce(?5, default_view), updated_at = ?6"
        " WHERE id = ?1",
        (
            row_id,
            change.name,
            change.name.casefold() if change.name is not None else None,
            change.description,
            change.default_view,
            now,
        ),
    )


async def version_of(db: Database | Transaction, row_id: int, number: int) -> WorkflowVersion | None:
    """The version of this number of a workflow."""
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS} FROM workflow_versions v WHERE v.workflow_id = ? AND v.version = ?",
        (row_id, number),
    )
    return WorkflowVersion(*rows[0]) if rows else None


async def versions_of(db: Database, row_id: int, limit: int, offset: int) -> Sequence[WorkflowVersion]:
    """Versions of a workflow, the latest first."""
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS} FROM workflow_versions v WHERE v.workflow_id = ?"
        " ORDER BY v.version DESC LIMIT ? OFFSET ?",
        (row_id, limit, offset),
    )
    return [WorkflowVersion(*row) for row in rows]


async def body_of(db: Database, row_id: int, number: int | None, owner: str) -> tuple[WorkflowContent, bytes] | None:
    """A version of the owner's workflow (None: the latest), still without its text; and that, compressed.

    The assets are those that the owner can see.
    """
    rows = await db.fetch_all(
        f"SELECT {_VERSION_COLUMNS}, d.body, (SELECT json_group_array(a.uuid) FROM asset_uses u"
        " JOIN assets a ON a.id = u.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE u.used_by = v.uuid AND u.kind = '{USE}' AND {tags.VISIBLE.replace('?', '?3')})"
        " FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id JOIN documents d ON d.id = v.document_id"
        " WHERE w.id = ?1 AND w.owner = ?3 AND v.version = coalesce(?2, w.latest_version)",
        (row_id, number, owner),
    )
    if not rows:
        return None
    *version, body, asset_ids = rows[0]
    ids = sorted(msgspec.json.decode(asset_ids, type=list[str]))
    return WorkflowContent(WorkflowVersion(*version), b"", tuple(ids)), body
