"""Paths of user files that aiohttp does not match: names with braces, and slashes that a proxy has decoded.

The pattern ``{file}`` of the hosts' routes takes one segment without braces. For any other name such a path leads to
405, though the host's handler would take the name.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from ..comfy_assets.app import Services
from ..comfy_assets.host.base import UnknownUserError
from ..comfy_assets.names import UnsafeName, check_leads_nowhere
from ._media import has_body
from ._paths import segment_value

_PREFIXES = ("/api/userdata/", "/userdata/")
_MOVE = "/move/"
_PUBLISH = "/publish"


def with_one_segment(path: str) -> str:
    """The path of an operation on a user file of which a proxy has decoded the slashes, as our own routes match it."""
    prefix = next((each for each in _PREFIXES if path.startswith(each)), None)
    name = path.removeprefix(prefix or "").removesuffix(_PUBLISH)
    if prefix is None or not path.endswith(_PUBLISH) or "/" not in name:
        return path
    return f"{prefix}{name.replace('/', '%2F')}{_PUBLISH}"


async def repaired(request: web.Request, path: str, handler: Handler, services: Services) -> tuple[str, Handler]:
    """The path and the handler of the host's route for a user file that was not matched; else those given.

    The parameters of the route are put into the request's ``match_info``, where handlers look.
    """
    prefix = next((each for each in _PREFIXES if path.startswith(each)), None)
    if prefix is None or not (_is_unmatched(request) or await _is_stored_in_folder(request, services)):
        return path, handler
    names = await _names(request, path.removeprefix(prefix), services)
    if not all(names):
        return path, handler
    simple = URL(prefix + _MOVE.join("x" for _ in names), encoded=True)
    # No clone of the request, as there can be none once a middleware of another pack has read the body.
    asked = SimpleNamespace(method=request.method, rel_url=simple, headers=request.headers)
    match = await request.app.router.resolve(cast(web.Request, asked))
    if match.http_exception is not None or list(match) != ["file", "dest"][: len(names)]:
        return path, handler
    request.match_info.clear()
    request.match_info.update(zip(match, names, strict=True))
    return prefix + _MOVE.join(quote(name, safe="") for name in names), match.handler


def _is_unmatched(request: web.Request) -> bool:
    match = request.match_info
    return match.http_exception is not None or isinstance(match.route.resource, web.StaticResource)


async def _is_stored_in_folder(request: web.Request, services: Services) -> bool:
    """Return whether a file is stored as ``notes/move/a.txt``: its decoded path equals that of moving ``notes``.

    Only storing has a body.
    """
    if "dest" not in request.match_info or not has_body(request):
        return False
    folder = _folder(request, services)
    return folder is not None and await asyncio.to_thread(_is_folder, folder, request.match_info["file"])


async def _names(request: web.Request, rest: str, services: Services) -> list[str]:
    """The file, and for a move also where to. ``move`` may be the name of a folder as well."""
    if request.method != "POST" or _MOVE not in rest or has_body(request):
        return [segment_value(rest)]
    places = [i for i in range(len(rest)) if rest.startswith(_MOVE, i)]
    splits = [(segment_value(rest[:i]), segment_value(rest[i + len(_MOVE) :])) for i in places]
    folder = _folder(request, services)
    if len(splits) > 1 and folder is not None:
        splits = await asyncio.to_thread(_with_files, folder, splits) or splits
    return list(splits[0])


def _folder(request: web.Request, services: Services) -> Path | None:
    try:
        return services.host.user_directory(services.host.user_of(request))
    except UnknownUserError:
        return None


def _with_files(folder: Path, splits: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [split for split in splits if _is_file(folder, split[0])]


def _is_folder(folder: Path, name: str) -> bool:
    try:
        check_leads_nowhere(name)
        return (folder / name).is_dir()
    except (UnsafeName, OSError, ValueError):
        return False


def _is_file(folder: Path, name: str) -> bool:
    try:
        check_leads_nowhere(name)
        return (folder / name).is_file()
    except (UnsafeName, OSError, ValueError):
        return False
