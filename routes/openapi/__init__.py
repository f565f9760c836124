"""The project's OpenAPI document: a table of operations for each subject, and the page that displays it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..router import Route
from . import assets, exports, files, jobs, nodes, server, shares, tasks, users, workflows
from .document import build

OPERATIONS = [
    operation
    for module in (assets, exports, files, jobs, nodes, server, shares, tasks, users, workflows)
    for operation in module.OPERATIONS
]
HOST_OPERATIONS = [operation for module in (files, jobs, nodes, server, users) for operation in module.HOST_OPERATIONS]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Build the document of these routes and of the host's operations."""
    return build(routes, OPERATIONS, HOST_OPERATIONS, jobs.RECORDS)
