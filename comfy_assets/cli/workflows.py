"""``comfy-assets workflows``: which were deleted, and bringing them back."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..db import workflows as workflow_rows
from ..db.workflows import DeletedWorkflow
from ..errors import ApiError
from ..workflows.service import TRASH_DAYS, restore_workflow
from .command import (
    PROBLEMS,
    Commands,
    add_base_directory,
    add_json,
    counted,
    existing_base,
    open_library,
    written_time,
)
from .terminal import complain, say

_NO_NAME = "(without a name)"


def add_to(commands: Commands) -> None:
    """Add the commands."""
    help_text = "list deleted workflows, or bring them back"
    actions = commands.add_parser("workflows", help=help_text, description=help_text).add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = actions.add_parser("deleted", help="list the workflows that were deleted, the latest first")
    listing.set_defaults(run=_list)
    add_json(listing)
    restoring = actions.add_parser("restore", help="bring deleted workflows back, with all their versions")
    restoring.set_defaults(run=_restore)
    restoring.add_argument("ids", nargs="+", metavar="ID", help="an id as workflows deleted shows it")
    for parser in (listing, restoring):
        add_base_directory(parser)


def _list(options: argparse.Namespace) -> int:
    entries = asyncio.run(_entries(existing_base(options)))
    if options.json:
        say(json.dumps([_as_json(entry) for entry in entries]))
        return 0
    for entry in entries:
        versions = counted(entry.latest_version, "version")
        say(f"{entry.id}  {written_time(entry.deleted_at)}  {versions:>12}  {entry.name or _NO_NAME}")
    say(f"{counted(len(entries), 'deleted workflow')}, kept for {TRASH_DAYS} days")
    return 0


async def _entries(base: Path) -> Sequence[DeletedWorkflow]:
    async with open_library(base) as library:
        return await workflow_rows.deleted(library.db)


def _as_json(entry: DeletedWorkflow) -> dict[str, Any]:
    """What is known, with the names that the API has for it."""
    told = {
        "id": entry.id,
        "name": entry.name,
        "owner": entry.owner,
        "latest_version": entry.latest_version,
        "deleted_at": written_time(entry.deleted_at),
    }
    return {name: value for name, value in told.items() if value is not None}


def _restore(options: argparse.Namespace) -> int:
    failed = asyncio.run(_restore_all(existing_base(options), options.ids))
    return PROBLEMS if failed else 0


async def _restore_all(base: Path, ids: Sequence[str]) -> int:
    """Restore what can be; answers how many could not."""
    failed = 0
    async with open_library(base) as library:
        for workflow_id in ids:
            try:
                workflow = await restore_workflow(library.db, workflow_id)
            except ApiError as error:
                failed += 1
                complain(f"{workflow_id}: {error.message}")
            else:
                say(f"{workflow.id}  {workflow.name or _NO_NAME}")
    return failed
