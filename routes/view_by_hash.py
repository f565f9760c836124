"""Files viewed by the hash of their content: found here, for hosts that cannot or that have no record of it."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import StoreUnavailableError
from ..comfy_assets.host.base import UnknownUserError
from .context import error_response
from .file_checks import roots
from .file_response import content_response
from .router import Passage

log = logging.getLogger("comfy_assets.http")

_HASH = re.compile(r"blake3:([0-9a-f]{64})")


async def by_hash(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Pass the request on with the file's name in place of its hash; send a file that the host has no name for."""
    match = _HASH.fullmatch(request.query.get("filename", ""))
    if match is None:
        return await pass_on(request)
    found = await _file(request, bytes.fromhex(match[1]), services)
    if found is None:
        return await _of_host(request, pass_on)
    path, mime = found
    named = await asyncio.to_thread(_named, path, roots(services.host))
    if named is None:
        return content_response(path, path.name, mime, is_inline=True)
    return await pass_on(request.clone(rel_url=request.rel_url.update_query(named)))


async def _file(request: web.Request, digest: bytes, services: Services) -> tuple[Path, str] | None:
    try:
        await services.ready()
        return await services.assets.file_of_hash(digest, services.host.user_of(request))
    except (StoreUnavailableError, UnknownUserError):
        return None


def _named(path: Path, places: dict[str, Path]) -> dict[str, str] | None:
    """Return the name of the file in requests; None for one outside the folders of requests."""
    for kind, root in places.items():
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            subfolder = inside.parent.as_posix()
            return {"filename": inside.name, "subfolder": "" if subfolder == "." else subfolder, "type": kind}
    return None


async def _of_host(request: web.Request, pass_on: Handler) -> web.StreamResponse:
    """Pass on a hash that is not in our store; 404 if the host cannot read its own records."""
    try:
        return await pass_on(request)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("The host could not look for a file by its hash")
        return error_response(404, "FILE_NOT_FOUND", "There is no such file.")


PASSAGES = [Passage("GET", "/api/view", by_hash)]
