"""``comfy-assets workflows``, ``shares``, ``export`` and ``import``: workflows, their shares, and their bundles."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..assets.index.content_reader import HashProgress
from ..background.interruption import Cancelled
from ..background.tasks import Task
from ..config import Config
from ..db import shares as share_rows
from ..db import workflows as workflow_rows
from ..db.shares import ListedShare
from ..db.workflows import DeletedWorkflow
from ..fs.paths import ChangedWhileReading
from ..models import Page, Workflow, WorkflowFilter, WorkflowPage, WorkflowSort
from ..workflows.bundles.archive import BundledAsset
from ..workflows.bundles.exporter import BundleExporter, ExportOptions, ExportResult, collect
from ..workflows.bundles.importer import MAX_SIZE, AssetOutcome, BundleImporter, ImportResult
from ..workflows.folder import FOLDER
from ..workflows.service import TRASH_DAYS, WorkflowService, restore_workflow
from ..workflows.sync import WorkflowSync
from .command import (
    PROBLEMS,
    Commands,
    add_command,
    add_extra_paths,
    add_group,
    add_json,
    add_limit,
    restore_each,
    show_progress,
    size,
)
from .output import (
    UNNAMED,
    Column,
    complain,
    counted,
    local_time,
    print_some,
    print_table,
    say,
    say_json,
    without_none,
    written_size,
    written_time,
)
from .store import Library, full_id, open_library

# The sort keys of the API by the words of the option. Times begin with the latest.
_SORTS: dict[str, WorkflowSort] = {"updated": "update_time", "created": "create_time", "name": "name"}
_WORKFLOWS = (Column("UPDATED"), Column("VERSIONS", True), Column("ID"), Column("NAME"))
_DELETED = (Column("DELETED"), Column("VERSIONS", True), Column("ID"), Column("NAME"))
_SHARES = (Column("PUBLISHED"), Column("VERSION", True), Column("ASSETS", True), Column("ID"), Column("NAME"))
_EXPORT_EXAMPLES = (
    "export Portrait portrait.zip",
    "export video/Dragon.json dragon.zip --models",
    "export 018f4a1c portrait.zip --version 3 --force",
)
_IMPORT_EXAMPLES = ("import portrait.zip", "import portrait.zip --max-size 20GB")
_IMPORT_MORE = (
    "The whole bundle is verified before anything is changed. The exit status is 0 if the library has every asset"
    " under the name that the workflow uses, 3 if the workflow was imported but some of its assets are missing or have"
    " other names, and 1 if the bundle was rejected."
)


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
    _add_bundles(commands)


def _add_bundles(commands: Commands) -> None:
    export = add_command(
        commands, "export", _export, "export a workflow or share with its assets as a bundle", _EXPORT_EXAMPLES
    )
    export.add_argument("workflow", metavar="WORKFLOW", help="a workflow (id, name or path of its file) or share (id)")
    export.add_argument("out", type=Path, metavar="OUT.zip", help="the bundle to write")
    export.add_argument("--version", type=int, metavar="N", help="the version to export (default: the latest)")
    export.add_argument("--models", action="store_true", help="include model files")
    export.add_argument("--incomplete", action="store_true", help="export even if files are missing")
    export.add_argument("--force", action="store_true", help="replace an existing file")
    import_ = add_command(
        commands, "import", _import, "import a bundle into the library", _IMPORT_EXAMPLES, more=_IMPORT_MORE
    )
    import_.add_argument("bundle", type=Path, metavar="IN.zip", help="a bundle that export has written")
    import_.add_argument("--user", default="default", metavar="ID", help="the user who gets the workflow")
    import_.add_argument(
        "--unsafe-models",
        action="store_true",
        help="also import model files that can run code when they are loaded (.ckpt, .pt, .bin and similar)",
    )
    import_.add_argument(
        "--max-size",
        type=size,
        default=MAX_SIZE,
        metavar="SIZE",
        help="reject a bundle with more bytes of files in total, as in 500MB or 20GB (default: 100GB)",
    )
    for parser in (export, import_):
        add_extra_paths(parser)
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


def _export(options: argparse.Namespace) -> int:
    try:
        result = asyncio.run(_run_export(options))
    except (ChangedWhileReading, Cancelled) as error:
        complain(f"comfy-assets: {error}")
        return 1
    for problem in result.problems:
        complain(f"not included: {problem}")
    if options.json:
        say_json(_export_as_json(result, options.out))
    else:
        _print_export(result, options.out)
    return PROBLEMS if result.problems else 0


async def _run_export(options: argparse.Namespace) -> ExportResult:
    async with open_library(options) as library:
        name = await _name_or_id(library, options.workflow)
        content = await collect(library.db, library.host, _service(library), name, options.version)
        export = ExportOptions(models=options.models, incomplete=options.incomplete, force=options.force)
        results: list[ExportResult] = []  # a task returns nothing but its JSON result

        async def work(task: Task) -> None:
            exporter = BundleExporter(task.token)
            running = exporter.run(content, options.out.absolute(), export)
            results.append(await show_progress(running, lambda: _progress(task, exporter.progress)))
            task.result = {"assets": len(results[0].manifest.assets), "problems": list(results[0].problems)}

        workflow = content.workflow
        payload = {
            "workflow_id": workflow.id,
            "version": workflow.version,
            "bundle": options.out.name,  # not its path: the API lists tasks
            "models": export.models,
        }
        await library.tasks.run("workflow_export", work, payload, content.owner)
        return results[0]


async def _name_or_id(library: Library, text: str) -> str:
    """Return the id that a text shortens, of a share or a workflow; any other text as it is."""
    if await workflow_rows.called(library.db, text):
        return text  # a name may look like a short id
    share_id = await full_id(library.db, "share", text)
    return share_id if share_id != text else await full_id(library.db, "workflow", text)


def _progress(task: Task, progress: HashProgress) -> dict[str, Any]:
    """Report the progress to the task, and return it for the terminal."""
    task.result = progress.as_dict()
    return {"phase": "hashing", **task.result}


def _service(library: Library) -> WorkflowService:
    sync = WorkflowSync(library.db, library.host, Config.from_environment().max_workflow_size)
    return WorkflowService(library.db, sync)


def _print_export(result: ExportResult, out: Path) -> None:
    print_some(
        f"{'included' if asset.member else 'named only':>10}  {asset.library_path}  {written_size(asset.size)}"
        for asset in result.manifest.assets
    )
    workflow = result.manifest.workflow
    say(
        f"{workflow.name or UNNAMED}, version {workflow.version}, with"
        f" {counted(len(result.manifest.assets), 'asset')} exported to {out} ({written_size(out.stat().st_size)})"
    )


def _export_as_json(result: ExportResult, out: Path) -> dict[str, Any]:
    workflow = result.manifest.workflow
    return {
        "bundle": str(out),
        "size": out.stat().st_size,
        "workflow": {"id": workflow.id, "name": workflow.name, "version": workflow.version},
        "assets": [{**_asset_as_json(each), "included": each.member is not None} for each in result.manifest.assets],
        "problems": list(result.problems),
    }


def _import(options: argparse.Namespace) -> int:
    result = asyncio.run(_run_import(options))
    if options.json:
        say_json(_import_as_json(result))
    else:
        _print_import(result)
    return 0 if all(each.is_as_needed for each in result.outcomes) else PROBLEMS


async def _run_import(options: argparse.Namespace) -> ImportResult:
    async with open_library(options) as library:
        limit = Config.from_environment().max_workflow_size
        results: list[ImportResult] = []

        async def work(task: Task) -> None:
            importer = BundleImporter(library.db, library.host, _service(library), task.token, limit, options.max_size)
            running = importer.run(options.bundle, options.user, unsafe_models=options.unsafe_models)
            results.append(await show_progress(running, lambda: _progress(task, importer.progress)))
            task.result = {"workflow_id": results[0].workflow.id, **results[0].counts}

        await library.tasks.run("workflow_import", work, {"bundle": options.bundle.name}, options.user)
        return results[0]


def _print_import(result: ImportResult) -> None:
    print_some(map(_line, result.problems_first))
    count = result.counts
    say(
        f"{counted(len(result.outcomes), 'asset')}:"
        f" {count['have']} already there, {count['added']} added, {count['missing']} missing"
    )
    name, workflow_id = result.workflow.name or UNNAMED, result.workflow.id
    say(f"{name} imported as {workflow_id}" if result.is_new else f"{name} exists already: {workflow_id}")


def _line(each: AssetOutcome) -> str:
    note = f" ({each.note})" if each.note else ""
    return f"{each.outcome:>7}  {each.asset.library_path}{note}"


def _import_as_json(result: ImportResult) -> dict[str, Any]:
    return {
        "workflow": {"id": result.workflow.id, "name": result.workflow.name, "created": result.is_new},
        "assets": [_outcome_as_json(each) for each in result.outcomes],
    }


def _outcome_as_json(each: AssetOutcome) -> dict[str, Any]:
    members = {**_asset_as_json(each.asset), "outcome": each.outcome, "file": each.path, "note": each.note}
    return without_none(members)


def _asset_as_json(asset: BundledAsset) -> dict[str, Any]:
    members = {"hash": asset.hash, "size": asset.size, "name": asset.name, "kind": asset.kind, "path": asset.path}
    return members if asset.category is None else {**members, "category": asset.category}
