"""The ``comfy-assets`` command. Each module adds one command or group of commands."""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from .. import VERSION
from ..errors import ApiError, StoreError
from . import assets, collections, duplicates, jobs, library, login, serve, trash, workflows
from .command import CLOSED_PIPE, CommandError, new_parser
from .output import OutputClosed, complain, in_words

_EXAMPLES = (
    "serve                                          # a library to try out, on http://127.0.0.1:8188",
    "scan --base-directory path/to/ComfyUI",
    "assets search red fox --limit 5                # inside the folder of ComfyUI",
    "jobs list --status failed",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console may lack characters of a file name
    try:
        options = _parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
        return _run(options)
    except OutputClosed:
        _discard_output()
        return CLOSED_PIPE


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except CommandError as error:
        complain(f"comfy-assets: {error}")
        return error.status
    except (ApiError, StoreError, sqlite3.Error, OSError, ValueError) as error:
        complain(f"comfy-assets: {in_words(error)}")
        return 1


def _discard_output() -> None:
    """Discard buffered output: Python would report at its end that it cannot be written."""
    with suppress(OSError, ValueError):  # a stream without a file of the system
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("A fast local library for ComfyUI.", _EXAMPLES)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, library, assets, collections, jobs, workflows, duplicates, trash, login):
        module.add_to(commands)
    return parser
