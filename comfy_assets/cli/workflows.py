"""``comfy-assets workflows`` and ``shares``: list workflows and shares, and restore deleted workflows."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from ..db import shares as share_rows
from ..db import workflows as workflow_rows
from ..db.shares import ListedShare
from ..db.workflows import DeletedWorkflow
from ..models import Page, Workflow, WorkflowFilter, WorkflowPage, WorkflowSort
from ..workflows.folder import FOLDER
from ..workflows.service import TRASH_DAYS, restore_workflow
from .command import Commands, add_command, add_group, add_json, add_limit, restore_each
from .output import UNNAMED, Column, counted, local_time, print_table, say, say_json, without_none, written_time
from .store import full_id, open_library

# The sort keys of the API by the words of the option. Times begin with the latest.
_SORTS: dict[str, WorkflowSort] = {"updated": "update_time", "created": "create_time", "name": "name"}
_WORKFLOWS = (Column("UPDATED"), Column("VERSIONS", True), Column("ID"), Column("NAME"))
_DELETED = (Column("DELETED"), Column("VERSIONS", True), Column("ID"), Column("NAME"))
_SHARES = (Column("PUBLISHED"), Column("VERSION", True), Column("ASSETS", True), Column("ID"), Column("NAME"))


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(
        commands,
        "workflows",
        "list workflows, and restore deleted ones",
        ("workflows list --name portrait", "workflows deleted", "workflows restore 018f4a1c"),
    )
    list_ = add_command(
        actions,
        "list",
        _list,
        "list workflows, the latest saved first",
        ("workflows list", "workflows list --sort name --limit 100", "workflows list --name portrait --json"),
    )
    list_.add_argument("--name", default="", metavar="TEXT", help="only workflows with this text in their names")
    list_.add_argument("--sort", choices=_SORTS, default="updated", help="(default: %(default)s)")
    add_limit(list_, "workflows")
    deleted = add_command(
        actions, "deleted", _list_deleted, "list deleted workflows, the latest first", ("workflows deleted",)
    )
    restore = add_command(
        actions,
        "restore",
        _restore,
        "restore deleted workflows with all their versions",
        ("workflows restore 018f4a1c",),
    )
    restore.add_argument("ids", nargs="+", metavar="ID", help="an id from workflows deleted, or its first characters")
    actions = add_group(commands, "shares", "list published workflows", ("shares list",))
    shares = add_command(
        actions,
        "list",
        _list_shares,
        "list published workflows, the latest first",
        ("shares list", "shares list --json"),
    )
    for parser in (list_, deleted, shares):
        add_json(parser)


def _list(options: argparse.Namespace) -> int:
    page = asyncio.run(_page(options))
    if options.json:
        say_json([_as_json(workflow) for workflow in page.items])
        return 0
    print_table(
        _WORKFLOWS,
        [(local_time(w.updated_at), str(w.latest_version), w.id, _name(w)) for w in page.items],
    )
    say(f"{counted(page.total, 'workflow')}, {len(page.items):,} shown")
    return 0


async def _page(options: argparse.Namespace) -> Page[Workflow]:
    # Those of every user, as of jobs: whoever can read the store's file can read them anyway.
    sort = _SORTS[options.sort]
    page = WorkflowPage(sort, "asc" if sort == "name" else "desc", options.limit)
    async with open_library(options) as library:
        return await workflow_rows.list_page(library.db, WorkflowFilter(None, options.name), page)


def _name(workflow: Workflow) -> str:
    """Return the name of a workflow, with its folder if it is in one."""
    name = workflow.name or UNNAMED
    folder = workflow.path.rpartition("/")[0] if workflow.path is not None else ""
    return f"{folder}/{name}" if folder else name


def _as_json(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow as JSON, with the names of the API."""
    members = {
        "id": workflow.id,
        "name": workflow.name,
        "path": None if workflow.path is None else f"{FOLDER}/{workflow.path}",
        "owner": workflow.owner,
        "description": workflow.description,
        "latest_version": workflow.latest_version,
        "created_at": written_time(workflow.created_at),
        "updated_at": written_time(workflow.updated_at),
    }
    return without_none(members)


def _list_deleted(options: argparse.Namespace) -> int:
    entries = asyncio.run(_deleted(options))
    if options.json:
        say_json([_deleted_as_json(entry) for entry in entries])
        return 0
    print_table(
        _DELETED,
        [(local_time(each.deleted_at), str(each.latest_version), each.id, each.name or UNNAMED) for each in entries],
    )
    say(f"{counted(len(entries), 'deleted workflow')}, kept for {TRASH_DAYS} days")
    return 0


async def _deleted(options: argparse.Namespace) -> Sequence[DeletedWorkflow]:
    async with open_library(options) as library:
        return await workflow_rows.deleted(library.db)


def _deleted_as_json(entry: DeletedWorkflow) -> dict[str, Any]:
    """Return a deleted workflow as JSON, with the names of the API."""
    members = {
        "id": entry.id,
        "name": entry.name,
        "owner": entry.owner,
        "latest_version": entry.latest_version,
        "deleted_at": written_time(entry.deleted_at),
    }
    return without_none(members)


def _restore(options: argparse.Namespace) -> int:
    return asyncio.run(_restore_all(options))


async def _restore_all(options: argparse.Namespace) -> int:
    async with open_library(options) as library:

        async def restore(text: str) -> str:
            workflow = await restore_workflow(library.db, await full_id(library.db, "deleted workflow", text))
            return f"{workflow.id}  {workflow.name or UNNAMED}"

        return await restore_each(options.ids, restore)


def _list_shares(options: argparse.Namespace) -> int:
    shares = asyncio.run(_shares(options))
    if options.json:
        say_json([_share_as_json(share) for share in shares])
        return 0
    print_table(
        _SHARES,
        [
            (local_time(each.published_at), str(each.version), str(each.assets), each.share_id, each.name)
            for each in shares
        ],
    )
    say(counted(len(shares), "share"))
    return 0


async def _shares(options: argparse.Namespace) -> Sequence[ListedShare]:
    async with open_library(options) as library:
        return await share_rows.listed(library.db)


def _share_as_json(share: ListedShare) -> dict[str, Any]:
    return {
        "share_id": share.share_id,
        "workflow_id": share.workflow_id,
        "name": share.name,
        "owner": share.owner,
        "version": share.version,
        "assets": share.assets,
        "published_at": written_time(share.published_at),
        "open": share.is_open,
    }
