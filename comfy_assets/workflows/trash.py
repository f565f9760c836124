"""Deleted workflows: listed, brought back, and after thirty days removed for good."""

from __future__ import annotations

from ..db import workflow_files, workflows
from ..db.connection import Database
from ..db.workflows import DeletedWorkflow
from ..errors import WorkflowNotFoundError
from ..ids import canonical_id, now_ms
from ..models import Workflow

KEPT_DAYS = 30
_DAY_MS = 86_400_000
_AT_ONCE = 100  # in a transaction, so that others can write in between


async def deleted(db: Database) -> list[DeletedWorkflow]:
    """What was deleted, whoever's it is, the latest first."""
    return await workflows.deleted(db)


async def restore(db: Database, workflow_id: str, owner: str | None = None) -> Workflow:
    """Bring a deleted workflow back, with all its versions; a server writes its file again.

    With an ``owner`` it must be theirs. Raises WorkflowNotFoundError where none is deleted.
    """
    async with db.transaction() as tx:
        found = await workflows.get_deleted(tx, canonical_id(workflow_id) or workflow_id)
        if found is not None and owner in (None, found.owner):
            await workflow_files.release(tx, found.row_id)
            await workflows.show(tx, found.row_id)
            workflow = await workflows.get(tx, found.id)
            if workflow is not None:
                return workflow
    raise WorkflowNotFoundError("There is no such deleted workflow.", details={"id": workflow_id})


async def purge(db: Database, now: int | None = None) -> int:
    """Remove for good what was deleted more than thirty days ago; answers how many workflows that were."""
    before = (now_ms() if now is None else now) - KEPT_DAYS * _DAY_MS
    count = 0
    while True:
        async with db.transaction() as tx:
            rows = await workflows.rows_deleted_before(tx, before, _AT_ONCE)
            await workflows.remove(tx, rows)
        count += len(rows)
        if len(rows) < _AT_ONCE:
            return count
