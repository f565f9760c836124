"""Paths of requests: decoded as aiohttp decodes them, and those of user files, which aiohttp does not always match."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from ..comfy_assets.app import Services
from ..comfy_assets.names import UnsafeName, check_leads_nowhere
from .context import known_user
from .operations import is_missing_at_host
from .request_body import has_body

# These stay encoded: an encoded slash is part of its segment and does not end it.
_KEPT = re.compile(r"(%2f|%25)", re.IGNORECASE | re.ASCII)
_PREFIXES = ("/api/userdata/", "/userdata/")
_MOVE = "/move/"
_PUBLISH = "/publish"


def matched_path(url: URL) -> str:
    """Return the path with everything decoded but slashes and percent signs, as aiohttp compares it with its routes.

    Older versions of aiohttp compare the path as it was sent, and refuse what they do not find in another spelling.
    """
    parts = _KEPT.split(url.raw_path)
    return "".join(part.upper() if i % 2 else unquote(part) for i, part in enumerate(parts))


def segment_value(segment: str) -> str:
    """Return the decoded value of a segment of a matched path."""
    return segment.replace("%2F", "/").replace("%25", "%")


def escape_published_file(path: str) -> str:
    """Encode the slashes of the file name in a ``publish`` path, so that it is one segment again."""
    prefix = next((each for each in _PREFIXES if path.startswith(each)), None)
    name = path.removeprefix(prefix or "").removesuffix(_PUBLISH)
    if prefix is None or not path.endswith(_PUBLISH) or "/" not in name:
        return path
    return f"{prefix}{name.replace('/', '%2F')}{_PUBLISH}"


async def find_user_file_route(
    request: web.Request, path: str, handler: Handler, services: Services
) -> tuple[str, Handler]:
    """Return the path and handler of the host's route for a user file that aiohttp did not match.

    The pattern ``{file}`` of hosts takes one segment without braces. A path to a file with braces in its name, or with
    slashes that a proxy has decoded, would end in 405 although the handler accepts the name. The route's parameters
    are put into the request's ``match_info``, where handlers look for them. Return the arguments unchanged for every
    other request.
    """
    prefix = next((each for each in _PREFIXES if path.startswith(each)), None)
    if prefix is None or not (is_missing_at_host(request, services) or await _is_stored_in_folder(request, services)):
        return path, handler
    names = await _names(request, path.removeprefix(prefix), services)
    if not all(names):
        return path, handler
    simple = URL(prefix + _MOVE.join("x" for _ in names), encoded=True)
    # Not a clone of the request: aiohttp refuses one after another pack's middleware has read the body.
    asked = SimpleNamespace(method=request.method, rel_url=simple, headers=request.headers)
    match = await request.app.router.resolve(cast(web.Request, asked))
    if match.http_exception is not None or list(match) != ["file", "dest"][: len(names)]:
        return path, handler
    request.match_info.clear()
    request.match_info.update(zip(match, names, strict=True))
    return prefix + _MOVE.join(quote(name, safe="") for name in names), match.handler


async def _is_stored_in_folder(request: web.Request, services: Services) -> bool:
    """Return whether the request stores ``notes/move/a.txt``, whose decoded path also reads as a move of ``notes``.

    Only a request that stores a file has a body.
    """
    if "dest" not in request.match_info or not has_body(request):
        return False
    folder = _folder(request, services)
    return folder is not None and await asyncio.to_thread(_holds, folder, request.match_info["file"], Path.is_dir)


async def _names(request: web.Request, rest: str, services: Services) -> list[str]:
    """Return the file, and for a move also the destination. A folder may be called ``move`` too."""
    if request.method != "POST" or _MOVE not in rest or has_body(request):
        return [segment_value(rest)]
    positions = [i for i in range(len(rest)) if rest.startswith(_MOVE, i)]
    splits = [(segment_value(rest[:i]), segment_value(rest[i + len(_MOVE) :])) for i in positions]
    folder = _folder(request, services)
    if len(splits) > 1 and folder is not None:
        # Several readings: the source must exist, so the first that names a file is meant.
        splits = await asyncio.to_thread(_with_files, folder, splits) or splits
    return list(splits[0])


def _folder(request: web.Request, services: Services) -> Path | None:
    user = known_user(request, services)
    return None if user is None else services.host.user_directory(user)


def _with_files(folder: Path, splits: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [split for split in splits if _holds(folder, split[0], Path.is_file)]


def _holds(folder: Path, name: str, is_kind: Callable[[Path], bool]) -> bool:
    """Return whether a folder has something of a kind, ``Path.is_file`` or ``Path.is_dir``. Blocks."""
    try:
        check_leads_nowhere(name)
        return is_kind(folder / name)
    except (UnsafeName, OSError, ValueError):
        return False
