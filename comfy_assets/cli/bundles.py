"""``comfy-assets export`` and ``import``: a workflow handed over with the assets that it needs."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, get_args

from ..assets.index.hash_run import HashProgress
from ..background.cancel import Cancelled
from ..background.runner import Task
from ..config import Config
from ..fs.stat import ChangedWhileReading
from ..workflows.bundles.collector import find
from ..workflows.bundles.exporter import Export, Exported, Wanted
from ..workflows.bundles.format import BundledAsset
from ..workflows.bundles.importer import MAX_SIZE, Finding, Import, Imported, Outcome
from ..workflows.service import WorkflowService
from ..workflows.sync import WorkflowSync
from .command import (
    PROBLEMS,
    Commands,
    Library,
    add_command,
    add_extra_paths,
    add_json,
    counted,
    existing_base,
    extra_folders,
    open_library,
    print_some,
    shown,
    size,
    written_size,
)
from .terminal import complain, say

_NO_NAME = "(without a name)"
_IMPORT_MORE = (
    "Everything in the bundle is verified before anything is changed. Ends with 0 when the library has every asset"
    " under the name that the workflow has for it, with 3 when it has the workflow but not all of that, with 1 when the"
    " bundle is refused."
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    export = add_command(commands, "export", _export, "write a workflow or a share, with its assets, into a bundle")
    export.add_argument("workflow", metavar="WORKFLOW", help="its id or a share's, its name, or its file's path")
    export.add_argument("out", type=Path, metavar="OUT.zip", help="the bundle to write")
    export.add_argument("--version", type=int, metavar="N", help="a version of the workflow (default: the latest)")
    export.add_argument("--models", action="store_true", help="put the models in, too")
    export.add_argument("--incomplete", action="store_true", help="write the bundle although files are not there")
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    taking = add_command(commands, "import", _import, "take a bundle into the library", more=_IMPORT_MORE)
    taking.add_argument("bundle", type=Path, metavar="IN.zip", help="the bundle, as export writes it")
    taking.add_argument("--user", default="default", metavar="ID", help="whose the workflow is to be")
    taking.add_argument(
        "--unsafe-models",
        action="store_true",
        help="also take model files whose loading can run a program (.ckpt, .pt, .bin and the like)",
    )
    taking.add_argument(
        "--max-size",
        type=size,
        default=MAX_SIZE,
        metavar="SIZE",
        help="refuse a bundle whose files have more bytes than this in all: 500MB, 20GB (default 100GB)",
    )
    for parser in (export, taking):
        add_extra_paths(parser)
        add_json(parser)


def _export(options: argparse.Namespace) -> int:
    try:
        exported = asyncio.run(_run_export(existing_base(options), options))
    except (ChangedWhileReading, Cancelled) as error:
        complain(f"comfy-assets: {error}")
        return 1
    for problem in exported.problems:
        complain(f"left out: {problem}")
    if options.json:
        say(json.dumps(_exported_as_json(exported, options.out)))
    else:
        _print_exported(exported, options.out)
    return PROBLEMS if exported.problems else 0


async def _run_export(base: Path, options: argparse.Namespace) -> Exported:
    async with open_library(base, extra_folders(options, base)) as library:
        subject = await find(library.db, library.host, _service(library), options.workflow, options.version)
        wanted = Wanted(models=options.models, incomplete=options.incomplete, force=options.force)
        done: list[Exported] = []

        async def work(task: Task) -> None:
            export = Export(task.token)
            working = export.run(subject, options.out.absolute(), wanted)
            done.append(await shown(working, lambda: _told(task, export.progress)))
            task.result = {"assets": len(done[0].manifest.assets), "problems": list(done[0].problems)}

        said = subject.workflow
        payload = {"workflow_id": said.id, "version": said.version, "bundle": options.out.name, "models": wanted.models}
        await library.tasks.run("workflow_export", work, payload, subject.owner)
        return done[0]


def _told(task: Task, progress: HashProgress) -> dict[str, Any]:
    """How far the work is, as the task and the terminal are told it."""
    task.result = progress.as_dict()
    return {"phase": "hashing", **task.result}


def _service(library: Library) -> WorkflowService:
    files = WorkflowSync(library.db, library.host, Config.from_environment().max_workflow_size)
    return WorkflowService(library.db, files)


def _print_exported(exported: Exported, out: Path) -> None:
    print_some(
        f"{'with bytes' if asset.member else 'named only':>10}  {asset.place}  {written_size(asset.size)}"
        for asset in exported.manifest.assets
    )
    workflow = exported.manifest.workflow
    say(
        f"{workflow.name or _NO_NAME}, version {workflow.version},"
        f" and {counted(len(exported.manifest.assets), 'asset')} written to {out} ({written_size(out.stat().st_size)})"
    )


def _exported_as_json(exported: Exported, out: Path) -> dict[str, Any]:
    workflow = exported.manifest.workflow
    return {
        "bundle": str(out),
        "size": out.stat().st_size,
        "workflow": {"id": workflow.id, "name": workflow.name, "version": workflow.version},
        "assets": [{**_asset_as_json(each), "included": each.member is not None} for each in exported.manifest.assets],
        "problems": list(exported.problems),
    }


def _import(options: argparse.Namespace) -> int:
    imported = asyncio.run(_run_import(existing_base(options), options))
    if options.json:
        say(json.dumps(_imported_as_json(imported)))
    else:
        _print_imported(imported)
    return PROBLEMS if any(each.outcome == "missing" or each.note for each in imported.findings) else 0


async def _run_import(base: Path, options: argparse.Namespace) -> Imported:
    async with open_library(base, extra_folders(options, base)) as library:
        limit = Config.from_environment().max_workflow_size
        done: list[Imported] = []

        async def work(task: Task) -> None:
            taking = Import(library.db, library.host, _service(library), task.token, limit, options.max_size)
            working = taking.run(options.bundle, options.user, unsafe_models=options.unsafe_models)
            done.append(await shown(working, lambda: _told(task, taking.progress)))
            task.result = {"workflow_id": done[0].workflow.id, **_outcomes(done[0])}

        await library.tasks.run("workflow_import", work, {"bundle": options.bundle.name}, options.user)
        return done[0]


def _outcomes(imported: Imported) -> dict[str, int]:
    """How many assets were had, added and are missing."""
    return {each: sum(finding.outcome == each for finding in imported.findings) for each in get_args(Outcome)}


def _print_imported(imported: Imported) -> None:
    print_some(map(_told_finding, sorted(imported.findings, key=_is_as_wanted)))
    count = _outcomes(imported)
    say(
        f"{counted(len(imported.findings), 'asset')}:"
        f" {count['have']} had, {count['added']} added, {count['missing']} missing"
    )
    state = "saved as" if imported.is_new else "was there already:"
    say(f"{imported.workflow.name or _NO_NAME} {state} {imported.workflow.id}")


def _is_as_wanted(finding: Finding) -> bool:
    return finding.outcome != "missing" and finding.note is None


def _told_finding(finding: Finding) -> str:
    note = f" ({finding.note})" if finding.note else ""
    return f"{finding.outcome:>7}  {finding.asset.place}{note}"


def _imported_as_json(imported: Imported) -> dict[str, Any]:
    return {
        "workflow": {"id": imported.workflow.id, "name": imported.workflow.name, "created": imported.is_new},
        "assets": [_finding_as_json(finding) for finding in imported.findings],
    }


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    told = {**_asset_as_json(finding.asset), "outcome": finding.outcome, "file": finding.found, "note": finding.note}
    return {name: value for name, value in told.items() if value is not None}


def _asset_as_json(asset: BundledAsset) -> dict[str, Any]:
    told = {"hash": asset.hash, "size": asset.size, "name": asset.name, "kind": asset.kind, "path": asset.path}
    return told if asset.category is None else {**told, "category": asset.category}
