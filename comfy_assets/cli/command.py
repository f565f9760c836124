"""Shared parts of the commands: options, the store, confirmations, output, and the formats of values.

Control characters are escaped in all output, so that a file name cannot control the terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeAlias, TypeVar

from ..app import STORE_NAME
from ..background.tasks import TaskRunner, TaskStore
from ..config import exclude_patterns
from ..db.connection import Database
from ..errors import ApiError, StoreError
from ..host.standalone import (
    EXTRA_PATHS_FILES,
    ExtraFolder,
    ExtraPaths,
    StandaloneHost,
    WebFiles,
    read_base_paths,
    read_extra_folders,
)
from ..ignored_files import ExcludePatterns
from ..logs import escaped

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # not subscriptable at run time

# Exit statuses besides 0 (done), 1 (failed or declined) and 130 (Ctrl-C, as shells have it).
USAGE, PROBLEMS = 2, 3
UNNAMED = "(unnamed)"
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_MAX_LINES = 200  # of a list on a terminal
_UNITS = ("B", "kB", "MB", "GB", "TB")
_BAR_WIDTH = 24
_CLEAR_LINE = "\r\x1b[K"


def add_group(commands: Commands, name: str, help_text: str) -> Commands:
    """Add a command that consists of actions, and return the parsers to add them to."""
    parser = commands.add_parser(name, help=help_text, description=help_text)
    return parser.add_subparsers(required=True, metavar="ACTION")


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], help_text: str, *, more: str = ""
) -> argparse.ArgumentParser:
    """Add a command or action. ``more`` is printed after the help text by its --help."""
    description = f"{help_text[0].upper()}{help_text[1:]}. {more}".rstrip()
    parser = commands.add_parser(name, help=help_text, description=description)
    parser.set_defaults(run=run)
    parser.add_argument(
        "--base-directory",
        type=Path,
        metavar="D",
        help="the folder with models, input, output and user (default: a folder in your user profile)",
    )
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


def extra_folders(options: argparse.Namespace) -> list[ExtraFolder]:
    """Return the model folders of the files that are named. Raises OSError, ValueError for unreadable files."""
    return [folder for file in options.extra_model_paths_config for folder in read_extra_folders(file)]


def host_on(
    base: Path,
    extra: Sequence[ExtraFolder] | None = None,
    *,
    multi_user: bool = False,
    web_files: WebFiles | None = None,
) -> StandaloneHost:
    """Return a host on a base directory, with the folders that the file of paths in it names, and ``extra`` ones.

    With None the command needs no model folders, only the store, which an old file of paths cannot move: that file is
    not read. Raises OSError, ValueError if the file is unreadable.
    """
    is_read = extra is not None or (base / EXTRA_PATHS_FILES[0]).is_file()
    # ComfyUI reads the file beside its main.py, which is usually this one.
    paths = read_base_paths(base) if is_read else ExtraPaths()
    host = StandaloneHost(
        base,
        multi_user=multi_user,
        extra_folders=[*paths.folders, *(extra or ())],
        directories=paths.directories,
        web_files=web_files,
    )
    host.exclude(ExcludePatterns(exclude_patterns()))
    return host


def default_base_directory() -> Path:
    """Return the base directory if none is given: the folder for application data of the platform."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "comfy-assets"


def base_directory(options: argparse.Namespace) -> Path:
    """Return the base directory, which need not exist."""
    return Path(options.base_directory or default_base_directory()).absolute()


def existing_base(options: argparse.Namespace) -> Path:
    """Return the base directory. Raises OSError if it does not exist."""
    base = base_directory(options)
    if not base.is_dir():
        raise OSError(f"the folder {base} does not exist")
    return base


def say(*lines: object, to: TextIO | None = None, end: str = "\n") -> None:
    """Print lines with control characters escaped. Commands print with this function only."""
    out = sys.stdout if to is None else to
    for line in lines:
        print(escaped(str(line)), end=end, file=out, flush=True)


def complain(*lines: object) -> None:
    """Print lines to standard error."""
    say(*lines, to=sys.stderr)


class Parser(argparse.ArgumentParser):
    """An argument parser that escapes its messages, because they repeat the arguments."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message("\n".join(map(escaped, message.split("\n"))), file)


class ProgressBar:
    """A line of progress on a terminal, cleared at the end. Shows nothing if ``out`` is no terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._enabled = out.isatty()
        self._shown = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._out.write(_CLEAR_LINE)
            self._out.flush()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status with the members that ``Indexer.status`` returns."""
        if self._enabled:
            # A full line would wrap, and the next one could not replace it.
            columns = shutil.get_terminal_size().columns
            self._out.write(_CLEAR_LINE + progress_line(status)[: columns - 1])
            self._out.flush()
            self._shown = True


def progress_line(status: Mapping[str, Any]) -> str:
    """Return a status as one line."""
    if status.get("phase") != "hashing":
        return f"Listing: {status.get('scanned', 0):,} files"
    done, total = status.get("bytes_hashed", 0), status.get("bytes_total", 0)
    share = done / total if total else 1.0
    filled = round(min(share, 1.0) * _BAR_WIDTH)  # a file that grows meanwhile can make the share exceed 1
    rate = status.get("bytes_per_second", 0)
    left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
    pause = " (paused: a prompt is running)" if status.get("paused") else ""
    return (
        f"Reading [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {share:4.0%}"
        f" {status.get('hashed', 0):,}/{status.get('total', 0):,} files,"
        f" {rate / 1e6:,.0f} MB/s{left}{pause}"
    )


@dataclass(frozen=True)
class Library:
    """An open store without the services of a server. ``tasks`` records tasks in it."""

    host: StandaloneHost
    db: Database
    tasks: TaskRunner


@asynccontextmanager
async def open_library(base: Path, extra: Sequence[ExtraFolder] | None = None) -> AsyncIterator[Library]:
    """Open the store of a base directory. ``extra``: see ``host_on``. Raises StoreError if there is none.

    Does not recover or clean up as a server does when it starts, because a server may be using the same store.
    """
    host = host_on(base, extra)
    path = host.data_directory() / STORE_NAME
    if not path.exists():  # opening it would create an empty store in a folder that may be the wrong one
        raise StoreError(f"{base} has no library yet. Run comfy-assets scan or serve first.")
    db = await Database.open(path)
    tasks = TaskRunner(TaskStore(db))
    try:
        yield Library(host, db, tasks)
    finally:
        await tasks.close()
        await db.close()


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
    """Restore several items, print a line for each, and return the number of those that could not be restored."""
    failed = 0
    for item_id in ids:
        try:
            say(await restore(item_id))
        except ApiError as error:
            failed += 1
            complain(f"{item_id}: {error.message}")
    return failed


class NotConfirmed(Exception):
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
    return int(int(match[1]) * 1000 ** _UNITS.index(match[2]))


def print_some(lines: Iterable[str]) -> None:
    """Print the first lines and the number of the others."""
    rest = 0
    for number, line in enumerate(lines):
        if number < _MAX_LINES:
            say(line)
        else:
            rest += 1
    if rest:
        say(f"… and {counted(rest, 'more line')} (--json prints all)")


def written_size(count: int) -> str:
    """Format a number of bytes as in ``6.46 GB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"


def written_time(milliseconds: int) -> str:
    """Format a time (ms since 1970) as in ``2026-11-24T12:00:00Z``."""
    return datetime.fromtimestamp(milliseconds // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a number with a noun, as in ``1 file`` or ``2,000 files``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
