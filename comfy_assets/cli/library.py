"""``comfy-assets scan`` and ``status``: update the library, and print what it contains."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from .. import VERSION, advisories
from ..app import STORE_NAME, Services
from ..assets.index.indexer import Indexer
from ..config import Config
from ..db import assets, files, trash
from ..errors import StoreError
from ..host.standalone import StandaloneHost
from .command import (
    PROBLEMS,
    Commands,
    add_command,
    add_extra_paths,
    add_json,
    counted,
    existing_base,
    extra_folders,
    open_library,
    written_size,
)
from .terminal import ProgressBar, complain, say


def add_to(commands: Commands) -> None:
    """Add the commands."""
    scan = add_command(commands, "scan", _scan, "index and hash the files of the library, then exit")
    add_extra_paths(scan)
    scan.add_argument("--no-hash", action="store_true", help="index the files without reading them")
    add_json(scan)
    add_json(add_command(commands, "status", _status, "print what the library contains"))


def _scan(options: argparse.Namespace) -> int:
    base = existing_base(options)
    host = StandaloneHost(base, extra_folders=extra_folders(options, base))
    with ProgressBar(sys.stderr) as bar:
        summary = asyncio.run(_run_scan(host, not options.no_hash, bar))
    errors = int(str(summary["errors"]))
    if options.json:
        say(json.dumps(summary))
    else:
        _print_summary(summary)
    return 0 if errors == 0 else PROBLEMS


async def _run_scan(host: StandaloneHost, hash_files: bool, bar: ProgressBar) -> dict[str, object]:
    services = Services(host, Config(scan_on_start=False, hash_files=hash_files))
    await services.start(recover=False)  # a server may be running on the same library
    if services.problem:
        raise StoreError(services.problem)
    try:
        indexer = services.indexer
        started = time.perf_counter()
        task, _ = indexer.start_scan()
        await _follow(task.done, indexer, bar)
        indexed = time.perf_counter()
        await _follow(asyncio.create_task(indexer.finish()), indexer, bar)
        hashed = time.perf_counter()
        if task.error:
            raise OSError(task.error)
        status = indexer.status()
        return {
            "files": await assets.count(services.db),
            "index_seconds": round(indexed - started, 3),
            "hash_seconds": round(hashed - indexed, 3) if hash_files else 0.0,
            "errors": int(status.get("problems", 0)) + int(status.get("unreadable", 0)),
            "problems": status.get("errors", []),
        }
    finally:
        await services.stop()


async def _follow(work: asyncio.Event | asyncio.Task[None], indexer: Indexer, bar: ProgressBar) -> None:
    """Show the progress until the work is done."""
    waiting = asyncio.ensure_future(work.wait()) if isinstance(work, asyncio.Event) else work
    while not waiting.done():
        await asyncio.wait([waiting], timeout=0.2)
        bar.show(indexer.status())
    await waiting


def _print_summary(summary: dict[str, object]) -> None:
    say(
        f"{summary['files']} files indexed in {summary['index_seconds']} s,"
        f" hashed in {summary['hash_seconds']} s, {summary['errors']} problems"
    )
    problems = summary["problems"]
    for problem in problems if isinstance(problems, list) else ():
        say(f"  {problem}")


def _status(options: argparse.Namespace) -> int:
    answer = asyncio.run(_read_status(existing_base(options)))
    if options.json:
        say(json.dumps(answer))
        return 0
    say(
        answer["store"],
        ", ".join(f"{name} {version}" for name, version in answer["versions"].items()),
        f"{answer['assets']} assets, {answer['missing']} missing,"
        f" {answer['pending']} not hashed yet ({written_size(answer['pending_bytes'])})",
    )
    if answer["deleted"]:
        deleted, kept = counted(answer["deleted"], "deleted asset"), written_size(answer["trash_bytes"])
        say(f"{deleted} can be restored, with {kept} of files in the trash")
    for warning in answer["warnings"]:
        complain(f"warning: {warning}")
    return 0


async def _read_status(base: Path) -> dict[str, Any]:
    async with open_library(base) as library:
        count, size = await files.pending_totals(library.db)
        deleted = await trash.entries(library.db)
        return {
            "store": str(library.host.data_directory() / STORE_NAME),
            "assets": await assets.count(library.db),
            "missing": await files.missing_count(library.db),
            "pending": count,
            "pending_bytes": size,
            "deleted": len(deleted),
            "trash_bytes": sum(entry.size for entry in deleted if entry.stored is not None),
            "versions": _versions(),
            "warnings": advisories.warnings(),
        }


def _versions() -> dict[str, str]:
    """Return the versions of the packages of this command. A server may use others."""
    own = {"comfy-assets": VERSION, "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    return {**own, **advisories.versions()}
