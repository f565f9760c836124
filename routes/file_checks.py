"""Checks of the files that the host would open for a request: files of the library's store, and pictures too large.

A store file is refused by whatever link it is named. A picture that the host would decode is measured first.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, FileMissingError, InvalidNameError
from ..comfy_assets.host.base import Host
from ..comfy_assets.names import FILE_TYPES, split_annotation
from ..comfy_assets.store_guard import is_protected
from .context import Failure, error_of, error_response
from .forms import read_host_form

MAX_NAME_LENGTH = 4096  # the longest path of Linux
_READING = ("GET", "HEAD")

# Returns the paths, or the pictures, that the host would open for a request.
PathsOf = Callable[[web.Request, Host], Awaitable[list[Path]]]
PicturesOf = Callable[[web.Request, Host], Awaitable[Sequence[Path | IO[bytes]]]]


class StoreFileCheck:
    """An interceptor's handler that refuses a request if the host would open a file of the store for it.

    With ``are_written`` it also refuses links into folders that are not part of the library: those of users and of
    programs. A link inside the library to any other place is the user's own arrangement.
    """

    def __init__(self, paths_of: PathsOf, fail: Failure = error_response, *, are_written: bool = False) -> None:
        self._paths_of = paths_of
        self._fail = fail
        self._are_written = are_written

    async def __call__(self, request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        try:
            paths = await self._paths_of(request, services.host)
            await check_protected(paths, request.method)
            if paths and self._are_written:
                await asyncio.to_thread(_check_written, paths, services.host)
        except ApiError as error:
            return error_of(error, self._fail)
        return await pass_on(request)


async def check_protected(paths: list[Path], method: str) -> None:
    """Raise FileMissingError if a store file would be read, InvalidNameError if one would be written."""
    if not paths:  # a hop to a thread costs more than the rest of the check, and most prompts name no files
        return
    if await asyncio.to_thread(_any_protected, paths):
        if method in _READING:
            raise FileMissingError("There is no such file.")  # its existence is not revealed
        raise InvalidNameError("The name leads into the library's store.")


def _any_protected(paths: Sequence[Path]) -> bool:
    return any(is_protected(path) for path in paths)


def _check_written(paths: list[Path], host: Host) -> None:
    """Raise InvalidNameError if a link in the path leads to a folder that is not part of the library."""
    folders = host.folders()
    real = [Path(os.path.realpath(path)) for path in paths]
    temp = Path(os.path.realpath(folders.temp)) if folders.temp is not None else None
    for excluded in map(Path, map(os.path.realpath, folders.excluded)):
        if excluded != temp and any(path.is_relative_to(excluded) for path in real):
            raise InvalidNameError("The name leads to a folder that accepts no uploads.")


class PictureCheck:
    """An interceptor's handler that refuses a request if a picture that the host would decode is too large."""

    def __init__(self, pictures_of: PicturesOf) -> None:
        self._pictures_of = pictures_of

    async def __call__(self, request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        try:
            for picture in await self._pictures_of(request, services.host):
                await asyncio.to_thread(_measure, picture)
        except ApiError as error:
            return error_of(error)
        return await pass_on(request)


def _measure(picture: Path | IO[bytes]) -> None:
    """Raise ImageTooLargeError, ImageUnreadableError. A missing file is left to the host."""
    from ..comfy_assets.image_limits import open_untrusted  # in the thread: importing Pillow slows the server's start

    if isinstance(picture, Path) and not picture.is_file():
        return
    with open_untrusted(picture):
        pass


def request_folders(host: Host) -> dict[str, Path]:
    """Return the folders that requests name by a type, ``input``, ``output`` and ``temp``, by that type."""
    folders = host.folders()
    found: dict[str, Path] = {}
    for folder in folders.folders:
        if folder.kind in FILE_TYPES:
            found.setdefault(folder.kind, folder.path)
    return found if folders.temp is None else {**found, "temp": folders.temp}


def named_files(host: Host, name: Any, subfolder: Any, file_type: Any) -> list[Path]:
    """Return the files that a name may mean. Hosts differ: they use a name with slashes whole, or its last part."""
    if not all(isinstance(each, str) for each in (name, subfolder, file_type)) or len(name) > MAX_NAME_LENGTH:
        return []
    bare, annotated = split_annotation(name)
    root = request_folders(host).get(annotated or file_type)
    if root is None or "\0" in bare or "\0" in subfolder:
        return []
    return [root / subfolder / bare, root / subfolder / os.path.basename(bare)]  # noqa: PTH119


async def viewed_files(request: web.Request, host: Host) -> list[Path]:
    """Return the files that a request to ``/view`` may mean."""
    query = request.query
    return named_files(host, query.get("filename", ""), query.get("subfolder", ""), query.get("type", "output"))


async def decoded_views(request: web.Request, host: Host) -> list[Path]:
    """Return the pictures that the host decodes for a request to ``/view``; most it sends as they are."""
    if "preview" not in request.query and request.query.get("channel") not in ("rgb", "a"):
        return []
    return await viewed_files(request, host)


async def uploaded_files(request: web.Request, host: Host) -> list[Path]:
    """Return the paths that an upload would be written to, and the original picture of a mask."""
    form = await read_host_form(request)
    image = form.get("image")
    name = image.filename if isinstance(image, web.FileField) else ""
    paths = named_files(host, name, form.get("subfolder", ""), form.get("type", "input"))
    return paths + _original(host, form.get("original_ref"))


async def mask_pictures(request: web.Request, host: Host) -> Sequence[Path | IO[bytes]]:
    """Return the mask in an upload and its original picture."""
    form = await read_host_form(request)
    try:
        reference = json.loads(str(form.get("original_ref")))
    except (ValueError, RecursionError):
        return []  # malformed: left to the host
    image = form.get("image")
    mask: list[Path | IO[bytes]] = [image.file] if isinstance(image, web.FileField) else []
    return [*mask, *_referenced(host, reference)]


def _original(host: Host, text: Any) -> list[Path]:
    try:
        return _referenced(host, json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return []


def _referenced(host: Host, reference: Any) -> list[Path]:
    if not isinstance(reference, dict):
        return []
    return named_files(
        host, reference.get("filename"), reference.get("subfolder") or "", reference.get("type") or "output"
    )
