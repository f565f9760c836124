"""The project's own OpenAPI document: what each operation is, in words, by noun; and the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..router import Route
from . import assets, files, jobs, nodes, server, shares, tasks, users, workflows
from .document import build

OPERATIONS = [
    operation
    for module in (assets, files, jobs, nodes, server, shares, tasks, users, workflows)
    for operation in module.OPERATIONS
]
HOST_OPERATIONS = [operation for module in (files, jobs, nodes, server, users) for operation in module.HOST_OPERATIONS]
WORDS = [words for module in (assets, jobs, shares, tasks, users, workflows) for words in module.WORDS]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document of these routes, and of what the host answers beside them."""
    return build(routes, OPERATIONS, HOST_OPERATIONS, WORDS)
