"""``comfy-assets export`` and ``import``: workflows with their assets as bundles."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, get_args

from ..assets.index.content_reader import HashProgress
from ..background.interruption import Cancelled
from ..background.tasks import Task
from ..config import Config
from ..db import workflows as workflow_rows
from ..fs.paths import ChangedWhileReading
from ..workflows.bundles.exporter import BundleExporter, ExportOptions, ExportResult, collect
from ..workflows.bundles.format import BundledAsset
from ..workflows.bundles.importer import MAX_SIZE, AssetOutcome, BundleImporter, ImportOutcome, ImportResult
from ..workflows.service import WorkflowService
from ..workflows.sync import WorkflowSync
from .command import PROBLEMS, Commands, add_command, add_extra_paths, add_json, show_progress, size
from .output import UNNAMED, complain, counted, print_some, say, say_json, without_none, written_size
from .store import Library, full_id, open_library

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
    return 0 if all(map(_is_as_needed, result.outcomes)) else PROBLEMS


async def _run_import(options: argparse.Namespace) -> ImportResult:
    async with open_library(options) as library:
        limit = Config.from_environment().max_workflow_size
        results: list[ImportResult] = []

        async def work(task: Task) -> None:
            importer = BundleImporter(library.db, library.host, _service(library), task.token, limit, options.max_size)
            running = importer.run(options.bundle, options.user, unsafe_models=options.unsafe_models)
            results.append(await show_progress(running, lambda: _progress(task, importer.progress)))
            task.result = {"workflow_id": results[0].workflow.id, **_counts(results[0])}

        await library.tasks.run("workflow_import", work, {"bundle": options.bundle.name}, options.user)
        return results[0]


def _counts(result: ImportResult) -> dict[str, int]:
    """Return the number of assets with each outcome."""
    return {name: sum(each.outcome == name for each in result.outcomes) for name in get_args(ImportOutcome)}


def _print_import(result: ImportResult) -> None:
    # False sorts before True: problems come first, as only the first lines are printed.
    print_some(map(_line, sorted(result.outcomes, key=_is_as_needed)))
    count = _counts(result)
    say(
        f"{counted(len(result.outcomes), 'asset')}:"
        f" {count['have']} already there, {count['added']} added, {count['missing']} missing"
    )
    name, workflow_id = result.workflow.name or UNNAMED, result.workflow.id
    say(f"{name} imported as {workflow_id}" if result.is_new else f"{name} exists already: {workflow_id}")


def _is_as_needed(each: AssetOutcome) -> bool:
    """Return whether the library has the asset under the name that the workflow uses."""
    return each.outcome != "missing" and each.note is None


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
