"""The ``comfy-assets`` command: serve, scan, status."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from . import VERSION
from .app import STORE_NAME, Services
from .assets.indexer import Indexer
from .config import Config
from .db import assets, files
from .errors import StoreError
from .host.standalone import StandaloneHost
from .plugin import attach
from .progress_bar import ProgressBar
from .sample import make_sample_library


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except (StoreError, OSError, ValueError) as error:
        print(f"comfy-assets: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="comfy-assets", description="A fast local library for ComfyUI.")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _command(commands, "serve", _serve, "run the API without ComfyUI")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    serve.add_argument("--port", type=_port, default=8188, help="the port (default 8188)")
    serve.add_argument("--multi-user", action="store_true", help="keep users apart, as ComfyUI does")
    scan = _command(commands, "scan", _scan, "index and hash the library, then end")
    scan.add_argument("--no-hash", action="store_true", help="list the files without reading them")
    scan.add_argument("--json", action="store_true", help="end with one line of JSON")
    status = _command(commands, "status", _status, "say what the library holds")
    status.add_argument("--json", action="store_true", help="answer with one line of JSON")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text)
    parser.add_argument(
        "--base-directory",
        type=Path,
        metavar="D",
        help="the folder with models, input, output and user (default: a folder of your own)",
    )
    parser.set_defaults(run=run)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port (0 to 65535)")
    return int(text)


def default_base_directory() -> Path:
    """The per-user folder used when none is named: the platform's place for application data."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "comfy-assets"


def _base_directory(options: argparse.Namespace) -> Path:
    return (options.base_directory or default_base_directory()).absolute()


def _serve(options: argparse.Namespace) -> int:
    base = _base_directory(options)
    if options.base_directory is None and not base.exists():
        make_sample_library(base)
        print(f"A small sample library was put into {base}; name your own with --base-directory.")
    host = StandaloneHost(base, multi_user=options.multi_user)
    attach(host)

    def ready(url: str) -> None:
        print(f"Serving {base} on {url} (Ctrl-C ends)", flush=True)

    with suppress(KeyboardInterrupt):
        asyncio.run(host.serve(options.host, options.port, on_ready=ready))
    return 0


def _scan(options: argparse.Namespace) -> int:
    base = _existing_base(options)
    with ProgressBar(sys.stderr) as bar:
        summary = asyncio.run(_run_scan(base, not options.no_hash, bar))
    errors = int(str(summary["errors"]))
    if options.json:
        print(json.dumps(summary))
    else:
        _print_summary(summary, sys.stdout)
    return 0 if errors == 0 else 3


def _existing_base(options: argparse.Namespace) -> Path:
    base = _base_directory(options)
    if not base.is_dir():
        raise OSError(f"there is no folder {base}")
    return base


async def _run_scan(base: Path, hash_files: bool, bar: ProgressBar) -> dict[str, object]:
    services = await _open(base, Config(scan_on_start=False, hash_files=hash_files))
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


def _print_summary(summary: dict[str, object], out: TextIO) -> None:
    print(
        f"{summary['files']} files listed in {summary['index_seconds']} s,"
        f" read in {summary['hash_seconds']} s, {summary['errors']} problems",
        file=out,
    )
    problems = summary["problems"]
    for problem in problems if isinstance(problems, list) else ():
        print(f"  {problem}", file=out)


def _status(options: argparse.Namespace) -> int:
    base = _existing_base(options)
    answer = asyncio.run(_read_status(base))
    if options.json:
        print(json.dumps(answer))
    else:
        print(
            f"{answer['store']}\n{answer['assets']} assets, {answer['missing']} missing,"
            f" {answer['pending']} still to be read ({answer['pending_bytes']} bytes)"
        )
    return 0


async def _read_status(base: Path) -> dict[str, object]:
    services = await _open(base, Config(scan_on_start=False), create=False)
    try:
        count, size = await files.pending_totals(services.db)
        return {
            "store": str(services.host.data_directory() / STORE_NAME),
            "assets": await assets.count(services.db),
            "missing": await files.missing_count(services.db),
            "pending": count,
            "pending_bytes": size,
        }
    finally:
        await services.stop()


async def _open(base: Path, config: Config, *, create: bool = True) -> Services:
    services = Services(StandaloneHost(base), config)
    if not create and not (services.host.data_directory() / STORE_NAME).exists():
        raise StoreError(f"{base} has no library yet; run comfy-assets scan or serve first.")
    await services.start()
    if services.problem:
        raise StoreError(services.problem)
    return services
