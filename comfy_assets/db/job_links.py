"""Links of jobs: to the assets in their graphs and outputs, to the owners of the outputs, and to workflow versions.

Outputs that are no assets, such as texts, have ids of their own (``job_values``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from ..models import REFERENCE, JobOutput
from . import assets, tags
from .connection import Database, Transaction
from .jobs import VISIBLE
from .sql import json_array

# Job id, its run, (kind of folder or "", path in it, name).
NamedInput = tuple[str, int, tuple[str, str, str]]
# Job id, node id, key, index, folder, name.
ShownAt = tuple[str, str, str, int, str, str]
# SQL for the files that a node's value can mean: in model categories, or in a folder of the given kind. Its parameters
# are the first four; see ``place``.
PLACES = (
    "(SELECT id FROM folders WHERE loader_prefix = ?1 AND ?2 IS NULL"
    " UNION SELECT id FROM folders WHERE loader_prefixes IS NOT NULL AND ?2 IS NULL"
    " AND EXISTS (SELECT 1 FROM json_each(loader_prefixes) p WHERE p.value = ?1)"
    " UNION SELECT id FROM folders WHERE logical = ?3 AND kind = coalesce(?2, 'input')"
    ") d JOIN files f ON f.folder_id = d.id AND f.name = ?4"
)


def place(kind: str, folder: str, name: str) -> tuple[str, str | None, str, str]:
    """Return the parameters of ``PLACES`` for a name in a folder of this kind; "" is the default of loader nodes."""
    root = kind or "input"
    return folder, kind or None, f"{root}/{folder}" if folder else root, name


async def link_inputs(tx: Transaction, named: Sequence[NamedInput]) -> None:
    """Store which assets the graphs of jobs name."""
    await tx.execute_many(
        f"INSERT OR IGNORE INTO job_inputs (job_id, asset_id) SELECT j.id, f.id FROM jobs j JOIN {PLACES}"
        " WHERE j.uuid = ?5 AND j.run = ?6",
        [(*place(*file), job_id, run) for job_id, run, file in named],
    )


async def link_outputs(tx: Transaction, shown: Sequence[ShownAt]) -> None:
    """Store which assets jobs showed. Unknown assets and jobs are skipped."""
    await tx.execute_many(
        "INSERT OR REPLACE INTO job_outputs (job_id, node_id, output_key, output_index, asset_id)"
        " SELECT j.id, ?2, ?3, ?4, f.id FROM jobs j, folders d JOIN files f ON f.folder_id = d.id AND f.name = ?6"
        " WHERE j.uuid = ?1 AND d.path = ?5",
        shown,
    )


async def link_visible_outputs(tx: Transaction, shown: Sequence[ShownAt]) -> None:
    """Store which assets jobs showed, as far as they are public or belong to the job's owner."""
    await tx.execute_many(
        "INSERT OR REPLACE INTO job_outputs (job_id, node_id, output_key, output_index, asset_id)"
        " SELECT j.id, ?2, ?3, ?4, f.id FROM jobs j, folders d JOIN files f ON f.folder_id = d.id AND f.name = ?6"
        " JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id"
        " WHERE j.uuid = ?1 AND d.path = ?5 AND s.owner IN ('', j.owner)",
        shown,
    )


async def outputs_of(db: Database, job_row: int, owner: str) -> list[JobOutput]:
    """Return the assets that a job showed and the user may see, in the order of nodes and outputs."""
    rows = await db.fetch_all(
        "SELECT a.uuid, o.node_id, o.output_key, o.output_index FROM job_outputs o JOIN assets a ON a.id = o.asset_id"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE o.job_id = ? AND {tags.VISIBLE}"
        " ORDER BY o.node_id, o.output_key, o.output_index",
        (job_row, owner),
    )
    found = await assets.get_many(db, [row[0] for row in rows])
    return [JobOutput(found[row[0]], *row[1:]) for row in rows if row[0] in found]


# Owners of outputs.


class JobOwner(NamedTuple):
    """The owner of a job ("" for everybody), and when it began (ms)."""

    owner: str
    began_at: int


async def owners_of_jobs(db: Database | Transaction, job_ids: Collection[str]) -> dict[str, JobOwner]:
    """Return the owners of jobs by job id. Unknown jobs are left out."""
    rows = await db.fetch_all(
        "SELECT uuid, owner, coalesce(started_at, created_at) FROM jobs WHERE uuid IN (SELECT value FROM json_each(?))",
        (json_array(job_ids),),
    )
    return {row[0]: JobOwner(row[1], row[2]) for row in rows}


# Public outputs of these users' jobs, without those that a workflow or share needs.
_PUBLIC_OUTPUTS = """
    SELECT DISTINCT a.id, j.owner, j.id FROM jobs j CROSS JOIN job_outputs o ON o.job_id = j.id
    JOIN assets a ON a.id = o.asset_id AND a.job_id = j.uuid
    JOIN tag_sets s ON s.id = a.tag_set_id AND s.owner = ''
    WHERE j.id > ?1 AND j.owner IN (SELECT value FROM json_each(?2))
    AND NOT EXISTS (SELECT 1 FROM asset_uses WHERE asset_id = a.id) ORDER BY j.id LIMIT ?3
"""


class PublicOutput(NamedTuple):
    """A public asset that a job of the user ``owner`` made."""

    row_id: int
    owner: str
    job_row: int


async def public_outputs(db: Database, users: Sequence[str], after: int, limit: int) -> list[PublicOutput]:
    """Return public assets that jobs of these users made, by the rows of the jobs, after the row ``after``."""
    named = json_array([user for user in users if user])
    return [PublicOutput(*row) for row in await db.fetch_all(_PUBLIC_OUTPUTS, (after, named, limit))]


# Other users' assets among the outputs of jobs: the jobs' rows, ids and owners, and the assets with their contents.
_OTHERS_SHOWN = """
    SELECT DISTINCT j.id, j.uuid, j.owner, a.id, a.content_id, s.tags
    FROM json_each(?) u JOIN jobs j ON j.uuid = u.value JOIN job_outputs o ON o.job_id = j.id
    JOIN assets a ON a.id = o.asset_id JOIN tag_sets s ON s.id = a.tag_set_id
    WHERE j.owner <> '' AND s.owner NOT IN ('', j.owner) AND a.content_id IS NOT NULL
"""
_OWN_OF_CONTENT = """
    SELECT a.id FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id
    WHERE a.content_id = ? AND s.owner = ? AND s.hidden = 0 ORDER BY a.id LIMIT 1
"""
_REFER = f"""
    INSERT INTO assets
    (uuid, tag_set_id, content_id, name, name_key, mime_type, size, created_at, updated_at, origin, job_id)
    SELECT ?1, ?2, content_id, name, name_key, mime_type, size, ?3, ?3, {REFERENCE}, ?4 FROM assets WHERE id = ?5
"""


async def refer_to_others(tx: Transaction, job_ids: Collection[str], new_id: Callable[[], str], now: int) -> int:
    """Replace other users' assets among the outputs of jobs by references of the jobs' owners; return how many are new.

    Servers reuse cached results of nodes for all users, so a job may show files that another user's job made.
    """
    rows = await tx.fetch_all(_OTHERS_SHOWN, (json_array(job_ids),))
    count = 0
    for job_row, job_id, owner, asset_row, content_id, text in rows:
        own = await tx.fetch_value(_OWN_OF_CONTENT, (content_id, owner))
        if own is None:
            roots = [tag for tag in msgspec.json.decode(text, type=list[str]) if tag in tags.ROOT_TAGS]
            set_id = await tags.intern(tx, owner, roots)
            await tx.execute(_REFER, (new_id(), set_id, now, job_id, asset_row))
            own = await tx.fetch_value("SELECT last_insert_rowid()")
            count += 1
        await tx.execute(
            "UPDATE job_outputs SET asset_id = ? WHERE job_id = ? AND asset_id = ?", (own, job_row, asset_row)
        )
    return count


# Workflow versions.


class LinkProgress(NamedTuple):
    """The last rows of jobs and of versions."""

    job_id: int
    version_id: int


class NamedWorkflow(NamedTuple):
    """An owner, and a workflow id that their jobs name."""

    owner: str
    workflow_id: str


class UnlinkedJob(msgspec.Struct, frozen=True, gc=False):
    """A job without a version. ``body`` is its compressed graph, in the frontend's form if there is one."""

    row_id: int
    document_hash: bytes
    body: bytes


class LinkCandidate(msgspec.Struct, frozen=True, gc=False):
    """A version that a job may belong to."""

    workflow_id: str
    version_id: str
    graph_digest: bytes | None


async def version_progress(db: Database) -> tuple[LinkProgress, LinkProgress]:
    """Return the rows up to which jobs and versions were checked, and the last rows that there are."""
    rows = await db.fetch_all(
        "SELECT job_id, version_id, (SELECT coalesce(max(id), 0) FROM jobs),"
        " (SELECT coalesce(max(id), 0) FROM workflow_versions) FROM workflow_links"
    )
    return LinkProgress(*rows[0][:2]), LinkProgress(*rows[0][2:])


async def set_version_progress(tx: Transaction, upto: LinkProgress) -> None:
    """Store the rows up to which jobs and versions were checked."""
    await tx.execute("UPDATE workflow_links SET job_id = ?, version_id = ?", upto)


async def named_by_jobs(db: Database, after: int, upto: int) -> list[NamedWorkflow]:
    """Return the existing workflows that the jobs of these rows name."""
    # Two subqueries instead of one with OR: each uses an index of its own.
    rows = await db.fetch_all(
        "SELECT DISTINCT j.owner, j.workflow_id FROM jobs j WHERE j.id > ? AND j.id <= ?"
        " AND j.workflow_id IS NOT NULL AND j.workflow_version_id IS NULL AND (EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.graph_id = j.workflow_id AND w.owner = j.owner) OR EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.uuid = j.workflow_id AND w.owner = j.owner))",
        (after, upto),
    )
    return [NamedWorkflow(*row) for row in rows]


async def named_by_versions(db: Database, after: int, upto: int) -> list[NamedWorkflow]:
    """Return the ids by which jobs may name the workflows that have the versions of these rows."""
    rows = await db.fetch_all(
        "SELECT w.owner, w.uuid FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 UNION"
        " SELECT w.owner, v.graph_id FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 AND v.graph_id IS NOT NULL",
        (after, upto),
    )
    return [NamedWorkflow(*row) for row in rows]


async def without_version(db: Database, named: NamedWorkflow, after: int, limit: int) -> list[UnlinkedJob]:
    """Return the latest jobs after a row that name a workflow and have no version yet."""
    # The graph in the frontend's form is preferred, as it is the one that the workflow's text can equal.
    rows = await db.fetch_all(
        "SELECT j.id, d.hash, d.body FROM jobs j JOIN job_records r ON r.job_id = j.id"
        " JOIN documents d ON d.id = coalesce(r.workflow_id, r.graph_id)"
        " WHERE j.owner = ? AND j.workflow_id = ? AND j.workflow_version_id IS NULL AND j.id > ?"
        " ORDER BY j.id DESC LIMIT ?",
        (*named, after, limit),
    )
    return [UnlinkedJob(*row) for row in rows]


async def version_candidates(db: Database, named: NamedWorkflow) -> list[LinkCandidate]:
    """Return the versions of workflows that an id may mean, those whose graphs have the id first."""
    rows = await db.fetch_all(
        "SELECT w.uuid, v.uuid, v.graph_digest FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id"
        " WHERE w.owner = ?1 AND w.deleted_at IS NULL AND w.id IN"
        " (SELECT id FROM workflows WHERE graph_id = ?2 UNION SELECT id FROM workflows WHERE uuid = ?2)"
        " ORDER BY w.graph_id IS ?2 DESC, w.uuid = ?2 DESC, w.updated_at DESC, w.id, v.version DESC",
        named,
    )
    return [LinkCandidate(*row) for row in rows]


async def link_versions(tx: Transaction, links: Iterable[tuple[int, str, str | None]]) -> None:
    """Set the workflow and version of jobs: rows and ids."""
    await tx.execute_many("UPDATE jobs SET workflow_id = ?2, workflow_version_id = ?3 WHERE id = ?1", links)


class ValuePlace(NamedTuple):
    """The place of an output: the job's row, the node, its key, and the zero-based position."""

    job_row: int
    node_id: str
    key: str
    position: int


async def known_values(db: Database, ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are stored."""
    rows = await db.fetch_all(
        "SELECT uuid FROM job_values WHERE uuid IN (SELECT value FROM json_each(?))", (json_array(ids),)
    )
    return {row[0] for row in rows}


async def add_values(tx: Transaction, values: Sequence[tuple[str, ValuePlace]]) -> None:
    """Store ids and places. Those that are stored already, and those of jobs that were removed, are skipped."""
    await tx.execute_many(
        "INSERT OR IGNORE INTO job_values (uuid, job_id, node_id, output_key, output_index)"
        " SELECT ?1, id, ?3, ?4, ?5 FROM jobs WHERE id = ?2",
        [(value_id, *place) for value_id, place in values],
    )


async def find_value(db: Database, value_id: str, owner: str) -> ValuePlace | None:
    """Return the place of an output with this id, of a job that the user may see."""
    row = await db.fetch_one(
        "SELECT v.job_id, v.node_id, v.output_key, v.output_index FROM job_values v JOIN jobs j ON j.id = v.job_id"
        f" WHERE v.uuid = ? AND {VISIBLE}",
        (value_id, owner),
    )
    return ValuePlace(*row) if row is not None else None
