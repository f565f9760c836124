"""Shared parts of the commands: parsers, options, progress, and confirmations."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ..config import BASE_DIRECTORY
from ..errors import ApiError
from ..host.standalone import EXTRA_PATHS_FILES
from .output import ProgressBar, complain, say

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # not subscriptable at run time

# Exit statuses besides 0 (done), 1 (failed or declined) and 130 (Ctrl-C, as shells have it).
USAGE, PROBLEMS = 2, 3
CLOSED_PIPE = 141  # as shells have it for a program that SIGPIPE ends
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MAX_COUNT = 1_000_000
_EXAMPLES = "examples:\n"


class CommandError(Exception):
    """The command failed; the message has the reason and a remedy."""

    status = 1


class Parser(argparse.ArgumentParser):
    """An argument parser that escapes its messages, because they repeat the arguments, and keeps lines of examples."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_HelpFormatter, **settings)
        self.color = False  # of Python 3.14: its codes would be escaped

    def _print_message(self, message: str, file: Any = None) -> None:
        say(*message.removesuffix("\n").split("\n"), to=sys.stderr if file is None else file)


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


def new_parser(description: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the options that stand before or after a command."""
    parser = Parser(prog="comfy-assets", description=description, epilog=_epilog(examples))
    _add_general_options(parser, base_directory=None, verbose=False)
    return parser


def _epilog(examples: Sequence[str]) -> str:
    return _EXAMPLES + textwrap.indent("\n".join(f"comfy-assets {each}" for each in examples), "  ")


def _add_general_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options of every command. Without a default, one that stands before the command stays."""
    parser.add_argument(
        "--base-directory",
        type=Path,
        default=defaults.get("base_directory", argparse.SUPPRESS),
        metavar="D",
        help="the folder with models, input, output and user (default: the variable"
        f" {BASE_DIRECTORY}, or the ComfyUI folder that you are in, or a folder in your user profile)",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        default=defaults.get("verbose", argparse.SUPPRESS),
        help="print log messages",
    )


def add_group(commands: Commands, name: str, help_text: str, examples: Sequence[str]) -> Commands:
    """Add a command that consists of actions, and return the parsers to add them to."""
    description = f"{help_text[0].upper()}{help_text[1:]}."
    parser = commands.add_parser(name, help=help_text, description=description, epilog=_epilog(examples))
    _add_general_options(parser)
    return parser.add_subparsers(required=True, metavar="ACTION")


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_text: str,
    examples: Sequence[str],
    *,
    more: str = "",
) -> argparse.ArgumentParser:
    """Add a command or action. Its --help prints ``more`` after the help text, and examples (without the program)."""
    description = f"{help_text[0].upper()}{help_text[1:]}. {more}".rstrip()
    parser = commands.add_parser(name, help=help_text, description=description, epilog=_epilog(examples))
    parser.set_defaults(run=run)
    _add_general_options(parser)
    return parser


def add_extra_paths(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that must know every folder of the library."""
    parser.add_argument(
        "--extra-model-paths-config",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="a file that you pass to ComfyUI with the option of this name (can be repeated);"
        f" {' or '.join(EXTRA_PATHS_FILES)} in the base directory is always read",
    )


async def show_progress(work: Awaitable[T], status: Callable[[], Mapping[str, Any]]) -> T:
    """Await the work while its progress is shown on the terminal."""
    running = asyncio.ensure_future(work)
    try:
        with ProgressBar(sys.stderr) as bar:
            while not running.done():
                await asyncio.wait([running], timeout=0.2)
                bar.show(status())
        return await running
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])  # until it has recorded its end: the store is closed next
        raise


async def restore_each(ids: Iterable[str], restore: Callable[[str], Awaitable[str]]) -> int:
    """Restore several items, print a line for each, and return the exit status: 1 if none could be restored."""
    done, failed = 0, 0
    for item_id in ids:
        try:
            say(await restore(item_id))
            done += 1
        except (ApiError, CommandError) as error:
            failed += 1
            complain(f"{item_id}: {error}")
    if not failed:
        return 0
    return PROBLEMS if done else CommandError.status


class NotConfirmed(CommandError):
    """The user declined, or could not be asked because there is no terminal."""

    def __init__(self, *, declined: bool) -> None:
        super().__init__("nothing was changed" if declined else "--yes is required if there is no terminal")
        self.status = 1 if declined else USAGE


def require_terminal_or_yes(options: argparse.Namespace) -> None:
    """Raise NotConfirmed if there is neither --yes nor a terminal to ask on."""
    if not options.yes and not (sys.stdin is not None and sys.stdin.isatty()):  # pythonw has no stdin
        raise NotConfirmed(declined=False)


def confirm(options: argparse.Namespace, question: str) -> None:
    """Ask a question unless --yes was given. Raises NotConfirmed unless the reply is yes."""
    if options.yes:
        return
    say(f"{question} [y/N] ", to=sys.stderr, end="")  # standard output may be read by a program
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(declined=True)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the option that replaces the confirmation."""
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option for machine-readable output."""
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def age_ms(text: str) -> int:
    """Parse an age such as ``12h``, ``30d`` or ``8w`` into milliseconds, for argparse."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is not an age (12h, 30d, 8w)")
    return int(match[1]) * _HOURS[match[2]] * 3_600_000


def size(text: str) -> int:
    """Parse a size such as ``500MB`` or ``20GB`` into bytes, for argparse."""
    match = re.fullmatch(r"([0-9]{1,9})([kMGT]?B)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is not a size (500MB, 20GB)")
    return int(match[1]) * _SIZES[match[2]]


def number(text: str) -> int:
    """Parse a number of up to a million, for argparse."""
    if not (text.isascii() and text.isdecimal() and int(text) <= _MAX_COUNT):
        raise argparse.ArgumentTypeError(f"{text} is not a number up to {_MAX_COUNT:,}")
    return int(text)


def positive(text: str) -> int:
    """Parse a number from 1 to a million, for argparse."""
    if number(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def add_limit(parser: argparse.ArgumentParser, noun: str, default: int = 20) -> None:
    """Add the option that limits a list."""
    parser.add_argument(
        "--limit", type=positive, default=default, metavar="N", help=f"how many {noun} (default: %(default)s)"
    )
