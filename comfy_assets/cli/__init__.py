"""The ``comfy-assets`` command. Each module adds one command or group of commands."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from .. import VERSION
from ..errors import ApiError, StoreError
from . import duplicates, jobs, library, serve, trash, workflows
from .command import NotConfirmed, Parser, complain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console may lack characters of a file name
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except NotConfirmed as error:
        complain(f"comfy-assets: {error}")
        return error.status
    except (ApiError, StoreError, sqlite3.Error, OSError, ValueError) as error:
        complain(f"comfy-assets: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="comfy-assets", description="A fast local library for ComfyUI.")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--verbose", action="store_true", help="print log messages")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, library, jobs, duplicates, trash, workflows):
        module.add_to(commands)
    return parser
