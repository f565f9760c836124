"""``comfy-assets serve``: run the standalone server."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from ..host.standalone import StandaloneHost, WebFiles, installed_page
from ..plugin import attach
from ..sample import make_sample_library
from .command import Commands, add_command, add_extra_paths, base_directory, extra_folders, say

_PACKS = {"comfy-assets": Path(__file__).resolve().parents[2]}


def add_to(commands: Commands) -> None:
    """Add the command."""
    serve = add_command(commands, "serve", _serve, "run the API without ComfyUI")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on, or several separated by commas (default: %(default)s, only this machine)",
    )
    serve.add_argument("--port", type=_port, default=8188, help="the port (default: %(default)s)")
    add_extra_paths(serve)
    serve.add_argument(
        "--own-page", action="store_true", help="serve the small built-in page even if ComfyUI's frontend is installed"
    )
    serve.add_argument("--multi-user", action="store_true", help="separate users, like ComfyUI's option of this name")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    base = base_directory(options)
    # Never into a folder that the user has chosen, or has used before.
    if options.base_directory is None and not base.exists():
        make_sample_library(base)
        say(f"Created a small sample library in {base}. Use --base-directory for your own.")
    host = StandaloneHost(
        base,
        multi_user=options.multi_user,
        extra_folders=extra_folders(options, base),
        web_files=WebFiles(None if options.own_page else installed_page(), _PACKS),
    )
    attach(host)

    def ready(url: str) -> None:
        say(f"Serving {base} on {url} (press Ctrl-C to stop)")

    with suppress(KeyboardInterrupt):
        asyncio.run(host.serve(options.host, options.port, on_ready=ready))
    return 0
