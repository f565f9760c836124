"""Links between jobs and assets: outputs that jobs showed, and inputs that their graphs name."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import JobOutput
from . import assets, tags
from .connection import Database, Transaction

# Job id, its run, (kind of folder or "", path in it, name).
NamedFile = tuple[str, int, tuple[str, str, str]]
# Job id, node id, key, index, folder, name.
ShownAt = tuple[str, str, str, int, str, str]
# SQL for the files that a node's value can mean: in model categories, or in a folder of the given kind. Its parameters
# are the first four; see ``place``.
PLACES = (
    "(SELECT id FROM folders WHERE loader_prefix = ?1 AND ?2 IS NULL"
    " UNION SELECT id FROM folders WHERE logical = ?3 AND kind = coalesce(?2, 'input')"
    ") d JOIN files f ON f.folder_id = d.id AND f.name = ?4"
)


def place(kind: str, folder: str, name: str) -> tuple[str, str | None, str, str]:
    """Return the parameters of ``PLACES`` for a name in a folder of this kind; "" is the default of loader nodes."""
    root = kind or "input"
    return folder, kind or None, f"{root}/{folder}" if folder else root, name


async def link_inputs(tx: Transaction, named: Sequence[NamedFile]) -> None:
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
