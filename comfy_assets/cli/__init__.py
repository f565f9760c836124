"""The ``comfy-assets`` command; each group of subcommands is a module."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from .. import VERSION
from ..errors import ApiError, StoreError
from . import bundles, duplicates, jobs, library, serve, trash, verify, workflows
from .command import NotConfirmed
from .terminal import Parser, complain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console may not have a file name's letters
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
    parser.add_argument("--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (serve, library, jobs, duplicates, verify, trash, workflows, bundles):
        group.add_to(commands)
    return parser
