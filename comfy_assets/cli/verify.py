"""``comfy-assets verify``: check that the files still have the content that was recorded."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from ..assets.maintenance.verify import Verifier, VerifyFinding, VerifyReport
from ..background.cancel import CancelToken
from ..ids import hash_text
from .command import PROBLEMS, Commands, add_command, add_json, counted, existing_base, open_library, show_progress
from .terminal import say

_MORE = (
    "Reports damaged files (other bytes with the same size and time), unreadable files, and files that were changed or"
    " removed since the last scan. Nothing is changed. The exit status is 0 if no file is damaged or unreadable."
)
# In the order in which they are printed.
_LABELS = {"damaged": "DAMAGED", "unreadable": "UNREADABLE", "changed": "changed", "missing": "missing"}


def add_to(commands: Commands) -> None:
    """Add the command."""
    add_json(add_command(commands, "verify", _run, "read every file again and compare its hash", more=_MORE))


def _run(options: argparse.Namespace) -> int:
    report = asyncio.run(_verify(existing_base(options), options))
    return PROBLEMS if report.count("damaged") or report.count("unreadable") else 0


async def _verify(base: Path, options: argparse.Namespace) -> VerifyReport:
    async with open_library(base) as library:
        verifier = Verifier(library.db, CancelToken())
        try:
            await show_progress(verifier.run(), lambda: {"phase": "hashing", **verifier.status()})
        finally:
            if options.json:
                say(json.dumps(_as_json(verifier.report)))
            else:
                _print_report(verifier.report)
        return verifier.report


def _print_report(report: VerifyReport) -> None:
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


def _as_json(report: VerifyReport) -> dict[str, Any]:
    return {
        "complete": report.complete,
        "intact": report.intact,
        **{problem: report.count(problem) for problem in ("damaged", "unreadable", "changed", "missing")},
        "findings": [_finding_as_json(finding) for finding in sorted(report.findings, key=_by_severity)],
    }


def _finding_as_json(finding: VerifyFinding) -> dict[str, Any]:
    answer = {"path": finding.path, "problem": finding.problem, "recorded": hash_text(finding.recorded)}
    if finding.found is not None:
        answer["found"] = hash_text(finding.found)
    if finding.reason is not None:
        answer["reason"] = finding.reason
    return answer
