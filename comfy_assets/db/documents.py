"""Large texts, each kept once, for as long as a content, a job, a version of a workflow or a share has it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .connection import Transaction


async def drop_unused(tx: Transaction, ids: Iterable[int]) -> None:
    """Remove those of the documents that nothing has any more."""
    await tx.execute(
        "DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?1))"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE graph_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM job_records WHERE workflow_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM workflow_versions WHERE document_id = documents.id)"
        " AND NOT EXISTS (SELECT 1 FROM shares WHERE document_id = documents.id)"
        " AND id NOT IN (SELECT document_id FROM content_documents"
        " WHERE document_id IN (SELECT value FROM json_each(?1)))",
        (msgspec.json.encode(list(ids)).decode(),),
    )
