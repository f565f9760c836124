"""What the commands share: the base directory, the store, questions to the user, and how values are written."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ..app import STORE_NAME
from ..background.runner import TaskRunner
from ..background.service import TaskStore
from ..db.connection import Database
from ..errors import StoreError
from ..host.standalone import StandaloneHost
from ..host.standalone.extra_paths import FILE_NAME, ExtraFolder, read_extra_folders
from .progress_bar import ProgressBar
from .terminal import say

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # not subscriptable at run time

# Exit statuses besides 0 (done), 1 (failed, or declined) and 130 (Ctrl-C).
USAGE, PROBLEMS = 2, 3
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_MAX_LINES = 200
_UNITS = ("B", "kB", "MB", "GB", "TB")


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], help_text: str, *, more: str = ""
) -> argparse.ArgumentParser:
    """A subcommand on a base directory; ``more`` follows the help text in its own help."""
    description = f"{help_text}. {more}" if more else help_text
    parser = commands.add_parser(name, help=help_text, description=description)
    add_base_directory(parser)
    parser.set_defaults(run=run)
    return parser


def add_base_directory(parser: argparse.ArgumentParser) -> None:
    """The option that every command takes."""
    parser.add_argument(
        "--base-directory",
        type=Path,
        metavar="D",
        help="the folder with models, input, output and user (default: a folder of your own)",
    )


def add_extra_paths(parser: argparse.ArgumentParser) -> None:
    """The option of commands that must know every folder of the library."""
    parser.add_argument(
        "--extra-model-paths-config",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="the file that ComfyUI is given with the option of this name; may be given several times."
        f" {FILE_NAME} in the base directory is read anyhow",
    )


def extra_folders(options: argparse.Namespace, base: Path) -> list[ExtraFolder]:
    """The model folders in other places. Raises OSError, ValueError for files that cannot be read."""
    own = base / FILE_NAME
    named: list[Path] = options.extra_model_paths_config
    return [folder for file in ([own] if own.is_file() else []) + named for folder in read_extra_folders(file)]


def default_base_directory() -> Path:
    """The per-user folder used when none is named: the platform's place for application data."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "comfy-assets"


def base_directory(options: argparse.Namespace) -> Path:
    """The folder chosen, which need not exist."""
    return Path(options.base_directory or default_base_directory()).absolute()


def existing_base(options: argparse.Namespace) -> Path:
    """The folder chosen. Raises OSError when there is none."""
    base = base_directory(options)
    if not base.is_dir():
        raise OSError(f"there is no folder {base}")
    return base


@dataclass(frozen=True)
class Library:
    """An open store, without the services of a server around it; ``tasks`` records there what is done."""

    host: StandaloneHost
    db: Database
    tasks: TaskRunner


@asynccontextmanager
async def open_library(base: Path, extra: Sequence[ExtraFolder] = ()) -> AsyncIterator[Library]:
    """Open the store that is there; ``extra`` are model folders in other places. Raises StoreError.

    None of what a server does when it starts is done: one may be at work on the same store.
    """
    host = StandaloneHost(base, extra_folders=extra)
    path = host.data_directory() / STORE_NAME
    if not path.exists():
        raise StoreError(f"{base} has no library yet; run comfy-assets scan or serve first.")
    db = await Database.open(path)
    tasks = TaskRunner(TaskStore(db))
    try:
        yield Library(host, db, tasks)
    finally:
        await tasks.close()
        await db.close()


async def shown(work: Awaitable[T], status: Callable[[], Mapping[str, Any]]) -> T:
    """Await the work, with its progress on the terminal."""
    running = asyncio.ensure_future(work)
    try:
        with ProgressBar(sys.stderr) as bar:
            while not running.done():
                await asyncio.wait([running], timeout=0.2)
                bar.show(status())
        return await running
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])
        raise


class NotConfirmed(Exception):
    """The user said no; or, when ``unasked``, could not be asked."""

    def __init__(self, *, unasked: bool) -> None:
        super().__init__("this needs --yes where nobody can be asked" if unasked else "nothing was changed")
        self.status = USAGE if unasked else 1


def require_someone_to_ask(options: argparse.Namespace) -> None:
    """Raise NotConfirmed when there is neither --yes nor a terminal to ask on."""
    if not options.yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise NotConfirmed(unasked=True)


def confirm(options: argparse.Namespace, question: str) -> None:
    """Ask the question unless --yes was given. Raises NotConfirmed for any answer but yes."""
    if options.yes:
        return
    say(f"{question} [y/N] ", to=sys.stderr, end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(unasked=False)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """The option that spares the question."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for programs."""
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")


def age_ms(text: str) -> int:
    """Milliseconds of ``12h``, ``30d`` or ``8w``; for argparse."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no age (12h, 30d, 8w)")
    return int(match[1]) * _HOURS[match[2]] * 3_600_000


def size(text: str) -> int:
    """Bytes of ``500MB`` or ``20GB``; for argparse."""
    match = re.fullmatch(r"([0-9]{1,9})([kMGT]?B)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no size (500MB, 20GB)")
    return int(int(match[1]) * 1000 ** _UNITS.index(match[2]))


def print_some(lines: Iterable[str]) -> None:
    """Print the first lines, and how many there are beyond them."""
    rest = 0
    for number, line in enumerate(lines):
        if number < _MAX_LINES:
            say(line)
        else:
            rest += 1
    if rest:
        say(f"… and {counted(rest, 'more line')}; --json has all of them")


def written_size(count: int) -> str:
    """Bytes as people read them: ``6.46 GB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"


def written_time(milliseconds: int) -> str:
    """A time (ms since 1970) as people and programs read it: ``2026-11-24T12:00:00Z``."""
    return datetime.fromtimestamp(milliseconds // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
