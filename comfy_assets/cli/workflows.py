"""``comfy-assets workflows``: list and restore deleted workflows."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..db import workflows as workflow_rows
from ..db.workflows import DeletedWorkflow
from ..workflows.service import TRASH_DAYS, restore_workflow
from .command import (
    PROBLEMS,
    UNNAMED,
    Commands,
    add_command,
    add_group,
    add_json,
    counted,
    existing_base,
    open_library,
    restore_each,
    say,
    written_time,
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(commands, "workflows", "list and restore deleted workflows")
    add_json(add_command(actions, "deleted", _list, "list deleted workflows, the latest first"))
    restore = add_command(actions, "restore", _restore, "restore deleted workflows with all their versions")
    restore.add_argument("ids", nargs="+", metavar="ID", help="an id from workflows deleted")


def _list(options: argparse.Namespace) -> int:
    entries = asyncio.run(_entries(existing_base(options)))
    if options.json:
        say(json.dumps([_as_json(entry) for entry in entries]))
        return 0
    for entry in entries:
        versions = counted(entry.latest_version, "version")
        say(f"{entry.id}  {written_time(entry.deleted_at)}  {versions:>12}  {entry.name or UNNAMED}")
    say(f"{counted(len(entries), 'deleted workflow')}, kept for {TRASH_DAYS} days")
    return 0


async def _entries(base: Path) -> Sequence[DeletedWorkflow]:
    async with open_library(base) as library:
        return await workflow_rows.deleted(library.db)


def _as_json(entry: DeletedWorkflow) -> dict[str, Any]:
    """Return what is known of a deleted workflow, with the names of the API."""
    members = {
        "id": entry.id,
        "name": entry.name,
        "owner": entry.owner,
        "latest_version": entry.latest_version,
        "deleted_at": written_time(entry.deleted_at),
    }
    return {name: value for name, value in members.items() if value is not None}


def _restore(options: argparse.Namespace) -> int:
    failed = asyncio.run(_restore_all(existing_base(options), options.ids))
    return PROBLEMS if failed else 0


async def _restore_all(base: Path, ids: Sequence[str]) -> int:
    async with open_library(base) as library:

        async def restore(workflow_id: str) -> str:
            workflow = await restore_workflow(library.db, workflow_id)
            return f"{workflow.id}  {workflow.name or UNNAMED}"

        return await restore_each(ids, restore)
