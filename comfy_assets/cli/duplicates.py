"""``comfy-assets duplicates``: list files with equal content, and replace copies by hard links."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from ..assets.maintenance.duplicates import DuplicateCopy, DuplicateGroup, DuplicateReport, Duplicates, LinkOutcome
from ..assets.maintenance.hardlinks import LinkedCopy, LinkLogError, read_log
from ..background.interruption import CancelToken
from ..ids import hash_text
from .command import PROBLEMS, Commands, add_command, add_json, add_yes, confirm, require_terminal_or_yes, show_progress
from .output import complain, counted, say, say_json, written_size, written_time
from .store import existing_base, open_library

_EXAMPLES = (
    "duplicates",
    "duplicates --link",
    "duplicates --undo user/__comfy_assets/duplicates-20261124-120000.jsonl",
)
_MORE = (
    "With --link, copies on the same volume are replaced by hard links to the oldest of them, which frees their space"
    " and keeps all names. Note that linked files are one file with several names: a program that writes into one of"
    " them changes all of them; a program that saves a new file in its place does not."
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "duplicates", _run, "list files with equal content", _EXAMPLES, more=_MORE)
    add_json(parser)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--link", action="store_true", help="replace copies by hard links after comparing them")
    action.add_argument("--undo", type=Path, metavar="LOG", help="replace the links of an earlier run by copies")
    add_yes(parser)


def _run(options: argparse.Namespace) -> int:
    existing_base(options)  # refuses another folder before the question
    if options.link or options.undo is not None:
        require_terminal_or_yes(options)  # before the search, which can take long
    if options.undo is not None:
        return _undo(options)
    report = asyncio.run(_find(options))
    if options.link:
        return _link(report, options)
    if options.json:
        say_json(_report_as_json(report))
    else:
        _print_report(report)
    return 0


async def _find(options: argparse.Namespace) -> DuplicateReport:
    async with open_library(options) as library:
        return await Duplicates(library.db, library.host.data_directory(), CancelToken()).find()


def _link(report: DuplicateReport, options: argparse.Namespace) -> int:
    surplus = report.surplus
    if surplus:
        copies, size = counted(len(surplus), "copy", "copies"), written_size(report.reclaimable)
        # Also in the help, but it must have been seen before the files are linked.
        complain("A program that writes into one of the linked files changes all of them.")
        confirm(options, f"Replace {copies} by hard links and free {size}?")
    return asyncio.run(_change(options, "linked", lambda duplicates: duplicates.link(surplus)))


def _undo(options: argparse.Namespace) -> int:
    entries: list[LinkedCopy] = read_log(options.undo)
    if entries:
        size = written_size(sum(entry.size for entry in entries))
        confirm(options, f"Replace up to {counted(len(entries), 'link')} by copies, which needs up to {size}?")
    return asyncio.run(_change(options, "parted", lambda duplicates: duplicates.undo(entries)))


async def _change(options: argparse.Namespace, verb: str, work: Callable[[Duplicates], Awaitable[object]]) -> int:
    """Do the work and print its outcome, even if it is interrupted."""
    async with open_library(options) as library:
        duplicates = Duplicates(library.db, library.host.data_directory(), CancelToken())
        try:
            await show_progress(work(duplicates), lambda: {"phase": "hashing", **duplicates.status()})
        except LinkLogError as error:
            raise OSError(str(error)) from error
        finally:
            if options.json:
                say_json(_outcome_as_json(verb, duplicates.outcome))
            else:
                _print_outcome(verb, duplicates.outcome)
    return PROBLEMS if duplicates.outcome.skipped else 0


def _print_report(report: DuplicateReport) -> None:
    for group in report.groups:
        where = "" if group.surplus else ", on different volumes or with names outside the library"
        copies = counted(len(group.kept) + len(group.surplus), "copy", "copies")
        say(f"{written_size(group.reclaimable):>8}  {copies} of {written_size(group.size)}{where}")
        for mark, copy in _marked(group):
            for file in copy.files:
                say(f"          {mark}  {Path(file.folder, file.name)}")
                mark = "same"  # further names of one file, which share its space already
    total, groups = written_size(report.reclaimable), counted(len(report.groups), "group")
    say(f"{total} can be freed by linking {counted(len(report.surplus), 'copy', 'copies')} in {groups}")
    if report.unread or report.outdated:
        say(
            f"Not compared: {counted(report.unread, 'file')} not hashed yet, {report.outdated:,} changed or removed."
            " Run comfy-assets scan to update the library."
        )


def _marked(group: DuplicateGroup) -> Iterator[tuple[str, DuplicateCopy]]:
    """Yield the copies, each one to keep followed by those that can become links to it."""
    for kept in group.kept:
        yield "keep", kept
        yield from (("copy", each.copy) for each in group.surplus if each.kept == kept)


def _report_as_json(report: DuplicateReport) -> dict[str, Any]:
    return {
        "groups": [_group_as_json(group) for group in report.groups],
        "surplus_copies": len(report.surplus),
        "reclaimable": report.reclaimable,
        "unread": report.unread,
        "outdated": report.outdated,
    }


def _group_as_json(group: DuplicateGroup) -> dict[str, Any]:
    return {
        "hash": hash_text(group.hash),
        "size": group.size,
        "reclaimable": group.reclaimable,
        "copies": [_copy_as_json(copy, mark == "keep") for mark, copy in _marked(group)],
    }


def _copy_as_json(copy: DuplicateCopy, keep: bool) -> dict[str, Any]:
    return {
        "paths": [str(Path(file.folder, file.name)) for file in copy.files],
        "keep": keep,
        "modified": written_time(copy.mtime_ns // 1_000_000),
    }


def _print_outcome(verb: str, outcome: LinkOutcome) -> None:
    size = written_size(outcome.bytes)
    if verb == "parted":
        say(f"{counted(outcome.done, 'link')} replaced by copies, {size} used")
    else:
        say(f"{counted(outcome.done, 'copy', 'copies')} replaced by links, {size} freed")
    if outcome.unchanged:
        say(f"{counted(outcome.unchanged, 'file')} already separate")
    for skipped in outcome.skipped:
        say(f"  skipped: {skipped.path}: {skipped.reason}")
    if outcome.log is not None:
        say(f"To undo: comfy-assets duplicates --undo {outcome.log}")


def _outcome_as_json(verb: str, outcome: LinkOutcome) -> dict[str, Any]:
    answer: dict[str, Any] = {
        verb: outcome.done,
        "bytes": outcome.bytes,
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in outcome.skipped],
    }
    if verb == "parted":
        answer["unchanged"] = outcome.unchanged
    else:
        answer["log"] = str(outcome.log) if outcome.log is not None else None
    return answer
