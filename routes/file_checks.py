"""Requests to the host that name a file of the library's store, by whatever link, do not reach it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets import json_limits
from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, FileMissingError, InvalidNameError
from ..comfy_assets.host.base import Host, UnknownUserError
from ..comfy_assets.names import FILE_TYPES, split_annotation
from ..comfy_assets.store_guard import is_protected
from . import request_body
from ._host_form import read_form
from .context import Failure, error_response, json_response
from .interceptors import plain_text
from .router import Passage

_MAX_NAME = 4096
_READING = ("GET", "HEAD")

Paths = Callable[[web.Request, Host], Awaitable[list[Path]]]


class Refusing:
    """The handler of a passage: ``paths`` are those that the host would open for a request.

    If they ``are_written``, folders that are not part of the library are refused as well: the users' own and those of
    programs. A link inside the library to any other place is the user's own arrangement.
    """

    def __init__(self, paths: Paths, fail: Failure = error_response, *, are_written: bool = False) -> None:
        self._paths = paths
        self._fail = fail
        self._are_written = are_written

    async def __call__(self, request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        try:
            paths = await self._paths(request, services.host)
            await asyncio.to_thread(_check, paths, request.method)
            if self._are_written:
                await asyncio.to_thread(_check_written, paths, services.host)
        except ApiError as error:
            return self._fail(error.status, error.code, error.message, error.details)
        return await pass_on(request)


def _check(paths: list[Path], method: str) -> None:
    """Raise FileMissingError where a store file would be read, InvalidNameError where one would be written."""
    if any(is_protected(path) for path in paths):
        if method in _READING:
            raise FileMissingError("There is no such file.")
        raise InvalidNameError("The name leads into the library's store.")


def _check_written(paths: list[Path], host: Host) -> None:
    """Raise InvalidNameError for a path that leads by a link into what is not part of the library."""
    folders = host.folders()
    real = [Path(os.path.realpath(path)) for path in paths]
    temp = Path(os.path.realpath(folders.temp)) if folders.temp is not None else None
    for excluded in map(Path, map(os.path.realpath, folders.excluded)):
        if excluded != temp and any(path.is_relative_to(excluded) for path in real):
            raise InvalidNameError("The name leads to a folder that nothing is uploaded to.")


def roots(host: Host) -> dict[str, Path]:
    """The folders that requests name by a type."""
    folders = host.folders()
    found: dict[str, Path] = {}
    for folder in folders.folders:
        if folder.kind in FILE_TYPES:
            found.setdefault(folder.kind, folder.path)
    return found if folders.temp is None else {**found, "temp": folders.temp}


def named(host: Host, name: Any, subfolder: Any, file_type: Any) -> list[Path]:
    """The files that a name may mean: hosts take a name with slashes whole, or its last part."""
    if not all(isinstance(each, str) for each in (name, subfolder, file_type)) or len(name) > _MAX_NAME:
        return []
    bare, annotated = split_annotation(name)
    root = roots(host).get(annotated or file_type)
    if root is None or "\0" in bare or "\0" in subfolder:
        return []
    return [root / subfolder / bare, root / subfolder / os.path.basename(bare)]  # noqa: PTH119


async def _viewed(request: web.Request, host: Host) -> list[Path]:
    query = request.query
    return named(host, query.get("filename", ""), query.get("subfolder", ""), query.get("type", "output"))


async def _uploaded(request: web.Request, host: Host) -> list[Path]:
    """Where an upload would be written, and the picture that a mask belongs to."""
    form = await read_form(request)
    image = form.get("image")
    name = image.filename if isinstance(image, web.FileField) else ""
    paths = named(host, name, form.get("subfolder", ""), form.get("type", "input"))
    return paths + _original(host, form.get("original_ref"))


def _original(host: Host, text: Any) -> list[Path]:
    try:
        reference = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return []
    if not isinstance(reference, dict):
        return []
    return named(host, reference.get("filename"), reference.get("subfolder") or "", reference.get("type") or "output")


async def _of_user(request: web.Request, host: Host) -> list[Path]:
    try:
        folder = host.user_directory(host.user_of(request))
    except UnknownUserError:
        return []
    names = [unquote(request.match_info[each]) for each in ("file", "dest") if each in request.match_info]
    return [folder / name for name in names if "\0" not in name]


async def _described(request: web.Request, host: Host) -> list[Path]:
    """The model whose header is asked for."""
    category, name = request.match_info.get("folder_name", ""), request.query.get("filename", "")
    return [each.path / name for each in host.folders().folders if each.category == category and "\0" not in name]


async def _in_prompt(request: web.Request, host: Host) -> list[Path]:
    """The files that a prompt's nodes may open by name, as far as they exist."""
    return await asyncio.to_thread(_existing, await request_body.read(request), [*roots(host).values()])


def _existing(raw: bytes, bases: list[Path]) -> list[Path]:
    try:
        body = json_limits.decode(raw)
    except (ValueError, RecursionError):
        return []  # it is the host's to refuse
    prompt = body.get("prompt") if isinstance(body, dict) else None
    found = []
    for text in {each for each in _texts(prompt) if each and len(each) <= _MAX_NAME and "\0" not in each}:
        bare = split_annotation(text)[0]
        found += [base / bare for base in bases if os.path.exists(os.path.join(base, bare))]  # noqa: PTH110, PTH118
    return found


def _texts(value: Any) -> Iterator[str]:
    """Every text in the inputs of a prompt, whatever the node makes of it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _prompt_failure(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """A refusal in the shape that hosts give to refused prompts."""
    error = {"type": code.lower(), "message": message, "details": "", "extra_info": details or {}}
    return json_response({"error": error, "node_errors": {}}, status)


_UPLOAD = Refusing(_uploaded, are_written=True)
_USERDATA = Refusing(_of_user, plain_text)
PASSAGES = [
    Passage("GET", "/api/view", Refusing(_viewed)),
    Passage("POST", "/api/upload/image", _UPLOAD),
    Passage("POST", "/api/upload/mask", _UPLOAD),
    Passage("GET", "/api/userdata/{file}", _USERDATA),
    Passage("POST", "/api/userdata/{file}", _USERDATA),
    Passage("DELETE", "/api/userdata/{file}", _USERDATA),
    Passage("POST", "/api/userdata/{file}/move/{dest}", _USERDATA),
    Passage("GET", "/api/view_metadata/{folder_name}", Refusing(_described)),
    Passage("POST", "/api/prompt", Refusing(_in_prompt, _prompt_failure)),
]
