"""``comfy-assets scan``, ``status`` and ``verify``: update, describe and check the library."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
import sys
import time
from typing import Any

from .. import VERSION, advisories
from ..app import STORE_NAME, Services
from ..assets.index.indexer import Indexer
from ..assets.maintenance.verify import Verifier, VerifyFinding, VerifyReport
from ..background.interruption import CancelToken
from ..config import Config, exclude_patterns
from ..db import assets, files, trash
from ..errors import StoreError
from ..host.standalone import StandaloneHost
from ..ids import hash_text
from ..models import TrashFilter
from .command import PROBLEMS, Commands, add_command, add_extra_paths, add_json, show_progress
from .output import Column, ProgressBar, complain, counted, print_table, say, say_json, written_size
from .store import existing_base, extra_folders, host_on, open_library

_VERIFY_MORE = (
    "Reports damaged files (other bytes with the same size and time), unreadable files, and files that were changed or"
    " removed since the last scan. Nothing is changed. The exit status is 0 if no file is damaged or unreadable."
)
_KINDS = (Column("KIND"), Column("FILES", True), Column("SIZE", True))
# In the order in which they are printed.
_LABELS = {"damaged": "DAMAGED", "unreadable": "UNREADABLE", "changed": "changed", "missing": "missing"}


def add_to(commands: Commands) -> None:
    """Add the commands."""
    scan = add_command(
        commands,
        "scan",
        _scan,
        "index and hash the files of the library, then exit",
        ("scan", "scan --no-hash", "scan --base-directory path/to/ComfyUI --json"),
    )
    add_extra_paths(scan)
    scan.add_argument("--no-hash", action="store_true", help="index the files without reading them")
    add_json(scan)
    status = add_command(commands, "status", _status, "print what the library contains", ("status", "status --json"))
    verify = add_command(
        commands,
        "verify",
        _verify,
        "read every file again and compare its hash",
        ("verify", "verify --json"),
        more=_VERIFY_MORE,
    )
    for parser in (status, verify):
        add_json(parser)


def _scan(options: argparse.Namespace) -> int:
    base = existing_base(options)
    host = host_on(base, extra_folders(options))
    with ProgressBar(sys.stderr) as bar:
        summary = asyncio.run(_run_scan(host, not options.no_hash, bar))
    errors = int(str(summary["errors"]))
    if options.json:
        say_json(summary)
    else:
        _print_summary(summary)
    return 0 if errors == 0 else PROBLEMS


async def _run_scan(host: StandaloneHost, hash_files: bool, bar: ProgressBar) -> dict[str, object]:
    # Not scanned at the start: the scan is started below, so that its time can be measured.
    services = Services(host, Config(scan_on_start=False, hash_files=hash_files, exclude=exclude_patterns()))
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
        f"{counted(int(str(summary['files'])), 'file')} indexed in {summary['index_seconds']} s,"
        f" hashed in {summary['hash_seconds']} s, {counted(int(str(summary['errors'])), 'problem')}"
    )
    problems = summary["problems"]
    for problem in problems if isinstance(problems, list) else ():
        say(f"  {problem}")


def _status(options: argparse.Namespace) -> int:
    status = asyncio.run(_read_status(options))
    if options.json:
        say_json(status)
        return 0
    say(
        status["store"],
        ", ".join(f"{name} {version}" for name, version in status["versions"].items()),
    )
    print_table(
        _KINDS, [(name, f"{kind['files']:,}", written_size(kind["bytes"])) for name, kind in status["kinds"].items()]
    )
    say(_summary(status))
    if status["deleted"]:
        deleted, kept = counted(status["deleted"], "deleted asset"), written_size(status["trash_bytes"])
        say(f"{deleted} can be restored, with {kept} of files in the trash")
    for warning in status["warnings"]:
        complain(f"warning: {warning}")
    return 0


def _summary(status: dict[str, Any]) -> str:
    parts = [counted(status["assets"], "asset"), f"{status['missing']:,} missing"]
    if status["pending"]:
        parts.append(f"{status['pending']:,} not hashed yet ({written_size(status['pending_bytes'])})")
    return ", ".join(parts)


async def _read_status(options: argparse.Namespace) -> dict[str, Any]:
    async with open_library(options) as library:
        count, unread = await files.pending_totals(library.db)
        deleted = await trash.totals(library.db, TrashFilter(None))
        return {
            "store": str(library.host.data_directory() / STORE_NAME),
            "assets": await assets.count(library.db),
            "kinds": {kind: {"files": n, "bytes": size} for kind, n, size in await files.totals_of_kinds(library.db)},
            "missing": await files.missing_count(library.db),
            "pending": count,
            "pending_bytes": unread,
            "deleted": deleted.assets,
            "trash_bytes": deleted.size,
            "versions": _versions(),
            "warnings": advisories.warnings(),
        }


def _versions() -> dict[str, str]:
    """Return the versions of the packages of this command. A server may use others."""
    own = {"comfy-assets": VERSION, "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    return {**own, **advisories.versions()}


def _verify(options: argparse.Namespace) -> int:
    report = asyncio.run(_run_verify(options))
    return PROBLEMS if report.count("damaged") or report.count("unreadable") else 0


async def _run_verify(options: argparse.Namespace) -> VerifyReport:
    async with open_library(options) as library:
        verifier = Verifier(library.db, CancelToken())
        try:
            await show_progress(verifier.run(), lambda: {"phase": "hashing", **verifier.status()})
        finally:
            if options.json:
                say_json(_report_as_json(verifier.report))
            else:
                _print_findings(verifier.report)
        return verifier.report


def _print_findings(report: VerifyReport) -> None:
    for finding in sorted(report.findings, key=_by_severity):
        reason = f" ({finding.reason})" if finding.reason else ""
        say(f"{_LABELS[finding.problem]:>13}  {finding.path}{reason}")
    end = "" if report.complete else "; not all files were checked"
    say(
        f"{counted(report.intact, 'file')} intact, {report.count('damaged'):,} damaged,"
        f" {report.count('unreadable'):,} unreadable, {report.count('changed'):,} changed,"
        f" {report.count('missing'):,} missing{end}"
    )


def _by_severity(finding: VerifyFinding) -> tuple[int, str]:
    return list(_LABELS).index(finding.problem), finding.path


def _report_as_json(report: VerifyReport) -> dict[str, Any]:
    return {
        "complete": report.complete,
        "intact": report.intact,
        **{problem: report.count(problem) for problem in ("damaged", "unreadable", "changed", "missing")},
        "findings": [_finding_as_json(finding) for finding in sorted(report.findings, key=_by_severity)],
    }


def _finding_as_json(finding: VerifyFinding) -> dict[str, Any]:
    entry = {"path": finding.path, "problem": finding.problem, "recorded": hash_text(finding.recorded)}
    if finding.found is not None:
        entry["found"] = hash_text(finding.found)
    if finding.reason is not None:
        entry["reason"] = finding.reason
    return entry
