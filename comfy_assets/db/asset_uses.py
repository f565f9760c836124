"""The uses of an asset: versions of workflows, shares, jobs that have not ended, and other assets."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..models import IN_PROGRESS, PENDING, REFERENCE
from . import tags
from .connection import Database, Transaction

UseKind = Literal["workflow_version", "share", "job", "reference", "preview"]

# Kinds of rows of asset_uses. Those of deleted workflows keep no asset.
WORKFLOW_USE, DELETED_WORKFLOW_USE = "workflow_version", "deleted_workflow_version"
SHARE_USE, DELETED_SHARE_USE = "share", "deleted_share"


class AssetUse(msgspec.Struct, frozen=True):
    """A use of an asset by the workflow version, share, job or asset ``id``, which belongs to ``owner`` ("" for all).

    A ``reference`` is an asset whose content is in no other file, a ``preview`` an asset that shows this one as its
    picture. ``name`` is that of the workflow, share or asset. ``workflow_id``, ``version`` and ``is_latest`` are those
    of a workflow version or share, ``is_running`` is that of a job.
    """

    kind: UseKind
    id: str
    owner: str | None = None
    name: str | None = None
    workflow_id: str | None = None
    version: int | None = None
    is_latest: bool | None = None
    is_running: bool | None = None


# Each has the row of the asset, the user and the limit as its parameters. Uses of others come first: they decide.
_OTHERS_FIRST = "{owner} IN ('', ?2)"
_VERSIONS = f"""
    SELECT '{WORKFLOW_USE}', u.used_by, w.owner, w.name, w.uuid, v.version, v.version = w.latest_version, NULL
    FROM asset_uses u LEFT JOIN workflow_versions v ON v.uuid = u.used_by LEFT JOIN workflows w ON w.id = v.workflow_id
    WHERE u.asset_id = ?1 AND u.kind = '{WORKFLOW_USE}'
    ORDER BY {_OTHERS_FIRST.format(owner="w.owner")}, 7 DESC, w.name_key, v.version DESC, u.used_by LIMIT ?3
"""
_SHARES = f"""
    SELECT '{SHARE_USE}', u.used_by, w.owner, s.name, w.uuid, s.version, NULL, NULL
    FROM asset_uses u LEFT JOIN shares s ON s.share_id = u.used_by LEFT JOIN workflows w ON w.id = s.workflow_id
    WHERE u.asset_id = ?1 AND u.kind = '{SHARE_USE}'
    ORDER BY {_OTHERS_FIRST.format(owner="w.owner")}, u.used_by LIMIT ?3
"""
_JOBS = f"""
    SELECT 'job', j.uuid, j.owner, NULL, NULL, NULL, NULL, j.status = {IN_PROGRESS}
    FROM job_inputs i JOIN jobs j ON j.id = i.job_id
    WHERE i.asset_id = ?1 AND j.status IN ({PENDING}, {IN_PROGRESS})
    ORDER BY {_OTHERS_FIRST.format(owner="j.owner")}, j.status DESC, j.id LIMIT ?3
"""
_REFERENCES = f"""
    SELECT 'reference', r.uuid, s.owner, r.name, NULL, NULL, NULL, NULL
    FROM assets a JOIN assets r ON r.content_id = a.content_id AND r.origin = {REFERENCE} AND r.id <> a.id
    JOIN tag_sets s ON s.id = r.tag_set_id AND s.hidden = 0
    WHERE a.id = ?1 AND NOT EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id
        WHERE b.content_id = a.content_id AND b.id <> a.id AND f.missing = 0)
    ORDER BY {_OTHERS_FIRST.format(owner="s.owner")}, r.id LIMIT ?3
"""
_PREVIEWS = f"""
    SELECT 'preview', p.uuid, s.owner, p.name, NULL, NULL, NULL, NULL
    FROM assets p JOIN tag_sets s ON s.id = p.tag_set_id AND NOT s.hidden & {tags.DELETED}
    WHERE p.preview_id = ?1 AND p.id <> ?1
    ORDER BY {_OTHERS_FIRST.format(owner="s.owner")}, p.id LIMIT ?3
"""
_QUERIES: dict[UseKind, str] = {
    "workflow_version": _VERSIONS,
    "share": _SHARES,
    "job": _JOBS,
    "reference": _REFERENCES,
    "preview": _PREVIEWS,
}
_MEMBERS = 6  # columns before the flags
# Uses that the deletion of the record would break, and those that the loss of the file would.
OF_RECORD: tuple[UseKind, ...] = ("workflow_version", "share")
OF_FILE: tuple[UseKind, ...] = ("workflow_version", "share", "job", "reference")
ALL: tuple[UseKind, ...] = tuple(_QUERIES)


async def uses_of(
    db: Database | Transaction, row_id: int, owner: str | None, kinds: tuple[UseKind, ...] = OF_RECORD, limit: int = 100
) -> list[AssetUse]:
    """Return the uses of an asset: up to ``limit`` of each kind, those of other users than ``owner`` first."""
    found: list[AssetUse] = []
    for kind in kinds:
        rows = await db.fetch_all(_QUERIES[kind], (row_id, owner, limit))
        found += [AssetUse(*row[:_MEMBERS], **_flags(*row[_MEMBERS:])) for row in rows]
    return found


def _flags(is_latest: int | None, is_running: int | None) -> dict[str, Any]:
    flags = {"is_latest": is_latest, "is_running": is_running}
    return {name: bool(value) for name, value in flags.items() if value is not None}
