"""Pictures that the host decodes for a request are measured before: their format, and how many pixels they have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError
from ..comfy_assets.host.base import Host
from ._host_form import read_form
from .context import error_response
from .file_checks import named
from .router import Passage

Sources = Callable[[web.Request, Host], Awaitable[list[Path | IO[bytes]]]]


class Measuring:
    """The handler of a passage: ``sources`` are the pictures that the host will decode."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def __call__(self, request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        try:
            for source in await self._sources(request, services.host):
                await asyncio.to_thread(_measure, source)
        except ApiError as error:
            return error_response(error.status, error.code, error.message, error.details)
        return await pass_on(request)


def _measure(source: Path | IO[bytes]) -> None:
    """Raise ImageTooLargeError, ImageUnreadableError. What is not there is the host's to tell."""
    from ..comfy_assets.pictures import opened

    if isinstance(source, Path) and not source.is_file():
        return
    with opened(source):
        pass


async def _viewed(request: web.Request, host: Host) -> list[Path | IO[bytes]]:
    query = request.query
    if "preview" not in query and query.get("channel") not in ("rgb", "a"):
        return []  # sent as it is
    return [*named(host, query.get("filename", ""), query.get("subfolder", ""), query.get("type", "output"))]


async def _masked(request: web.Request, host: Host) -> list[Path | IO[bytes]]:
    """The mask and the picture that it belongs to."""
    form = await read_form(request)
    try:
        reference = json.loads(str(form.get("original_ref")))
    except (ValueError, RecursionError):
        return []  # it is the host's to refuse
    image = form.get("image")
    sources: list[Path | IO[bytes]] = [image.file] if isinstance(image, web.FileField) else []
    if isinstance(reference, dict):
        place = (reference.get("filename"), reference.get("subfolder") or "", reference.get("type") or "output")
        sources += named(host, *place)
    return sources


PASSAGES = [
    Passage("GET", "/api/view", Measuring(_viewed)),
    Passage("POST", "/api/upload/mask", Measuring(_masked)),
]
