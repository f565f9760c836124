"""What the host answers itself and well; where it would answer 500, it is told apart here what the client did wrong."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets import json_limits
from ..comfy_assets.app import Services
from ..comfy_assets.config import Config
from ..comfy_assets.errors import FileMissingError, InvalidBodyError, UnauthorizedError
from ..comfy_assets.host.base import HostFolders, UnknownUserError
from ..comfy_assets.names import FILE_TYPES, UnsafeName, check_leads_nowhere, split_annotation
from . import request_body
from ._host_form import read_form
from .context import Call, guarded, json_response
from .file_response import make_inert
from .interceptors import Check, Repair, plain_text
from .params import Ids, NoQuery, parse_body
from .request_body import STREAMED, USER_FILE
from .router import Passage, PassageHandler

SETTINGS_FILE = "comfy.settings.json"


async def _check_user(call: Call[NoQuery]) -> None:
    try:
        call.services.host.user_of(call.request)
    except UnknownUserError:
        raise UnauthorizedError("The server does not know this user.") from None


async def _check_user_file(call: Call[NoQuery]) -> None:
    """A folder is no file, which hosts find too late to say so: they would answer 403, without a word."""
    await _check_user(call)
    host, name = call.services.host, call.request.match_info.get("file", "")
    name = unquote(name)  # as hosts do, once more
    try:
        check_leads_nowhere(name)
        is_folder = await asyncio.to_thread((host.user_directory(host.user_of(call.request)) / name).is_dir)
    except (UnsafeName, OSError):
        return  # no name of a file, and refused by the host
    if is_folder:
        raise FileMissingError("There is no such file.")


async def _json_body(request: web.Request) -> Any:
    limits = request_body.json_limits()
    try:
        return await request_body.work(
            lambda raw: json_limits.decode(raw, json_limits.check(raw, limits)), await request_body.read(request)
        )
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError("The body is not valid JSON.") from error


async def _object_body(request: web.Request) -> dict[str, Any]:
    body = await _json_body(request)
    if not isinstance(body, dict):
        raise InvalidBodyError("The body must be a JSON object.")
    return body


async def _check_settings(call: Call[NoQuery]) -> None:
    await _check_user(call)
    await _object_body(call.request)


async def _check_setting(call: Call[NoQuery]) -> None:
    await _check_user(call)
    await _json_body(call.request)


async def _check_subscription(call: Call[NoQuery]) -> None:
    body = await _object_body(call.request)
    for name, kind in (("clientId", str), ("enabled", bool)):
        if not isinstance(body.get(name), kind):
            raise InvalidBodyError(f"{name} is missing or of the wrong type.", details={"field": name})


class _IdsBody(msgspec.Struct, frozen=True):
    """Ids that hosts remove from their queue or history, one after the other."""

    delete: Ids = []


async def _check_ids(call: Call[NoQuery]) -> None:
    await parse_body(_IdsBody, call.request)


async def _check_small(call: Call[NoQuery]) -> None:
    """A body that the host may take or leave: empty, or JSON."""
    if (await request_body.read(call.request)).strip():
        await _json_body(call.request)


async def _check_new_user(call: Call[NoQuery]) -> None:
    if not isinstance((await _object_body(call.request)).get("username"), str):
        raise InvalidBodyError("username must be a string.", details={"field": "username"})


async def _check_view(call: Call[NoQuery]) -> None:
    """A file named by its hash is one of the user's: to somebody who is none there is no such file."""
    if not call.request.query.get("filename", "").startswith("blake3:"):
        return
    try:
        call.services.host.user_of(call.request)
    except UnknownUserError:
        raise FileMissingError("There is no such file.") from None


async def _change_settings(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Change several; hosts that answer nothing are made to answer all settings, as the contract has it."""
    answer = await Repair(_check_settings)(request, pass_on, services)
    if not _is_empty(answer):
        return answer
    file = services.host.user_directory(services.host.user_of(request)) / SETTINGS_FILE
    return json_response(await asyncio.to_thread(_settings, file))


async def _change_setting(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Change one; hosts that answer nothing are made to answer the value."""
    answer = await Repair(_check_setting)(request, pass_on, services)
    return json_response({"value": await _json_body(request)}) if _is_empty(answer) else answer


def _is_empty(answer: web.StreamResponse) -> bool:
    return answer.status == 200 and isinstance(answer, web.Response) and not answer.body


def _settings(file: Path) -> dict[str, Any]:
    """What the host has just written; nothing should another program have removed it."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


async def _check_image(call: Call[NoQuery]) -> None:
    form = await read_form(call.request)
    image = form.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        raise _wrong("image", "must be a file with a name")
    if form.get("type", "input") not in FILE_TYPES:
        raise _wrong("type", "must be input, output or temp")
    if not isinstance(form.get("subfolder", ""), str):
        raise _wrong("subfolder", "must be text")
    await asyncio.to_thread(_check_limits, image.file, call.services.config, "image")


def _check_limits(source: IO[bytes] | Path, config: Config, field: str) -> None:
    """Raise ImageTooLargeError for a file over a limit of the settings; runs in a thread."""
    from ..comfy_assets.pictures import check_image  # imports Pillow, which takes a while

    check_image(source, config, field)


async def _check_mask(call: Call[NoQuery]) -> None:
    await _check_image(call)
    text = (await read_form(call.request)).get("original_ref")
    original = _original(text, call.services.host.folders())
    if not await asyncio.to_thread(original.is_file):
        raise _wrong("original_ref", "names a picture that is not there")
    await asyncio.to_thread(_check_limits, original, call.services.config, "original_ref")


def _original(text: Any, folders: HostFolders) -> Path:
    """The picture that ``{"filename", "subfolder", "type"}`` names. Raises InvalidBodyError."""
    try:
        reference = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong("original_ref", "must be a JSON object") from error
    name = reference.get("filename") if isinstance(reference, dict) else None
    if not isinstance(name, str) or not name:
        raise _wrong("original_ref", "must name a file")
    subfolder, file_type = reference.get("subfolder", ""), reference.get("type", "output")
    bare, annotated = split_annotation(name)
    root = _roots(folders).get(annotated or file_type) if isinstance(file_type, str) else None
    if root is None or not isinstance(subfolder, str):
        raise _wrong("original_ref", "must name a folder: input, output or temp")
    try:
        check_leads_nowhere(bare)
        if subfolder:
            check_leads_nowhere(subfolder)
    except UnsafeName as error:
        raise _wrong("original_ref", f"is refused: {error}") from error
    return root / subfolder / bare


def _roots(folders: HostFolders) -> dict[str, Path]:
    roots: dict[str, Path] = {folder.kind: folder.path for folder in folders.folders if folder.kind in FILE_TYPES}
    return roots if folders.temp is None else {**roots, "temp": folders.temp}


def _wrong(name: str, reason: str) -> InvalidBodyError:
    return InvalidBodyError(f"The field {name} {reason}.", details={"field": name})


async def _subgraph(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Hosts answer null for one they do not have."""
    repair = Repair(thing="subgraph")
    answer = await repair(request, pass_on, services)
    is_null = answer.status == 200 and isinstance(answer, web.Response) and answer.body == b"null"
    return repair.told(404) if is_null else answer


def _bounded(check: Check) -> PassageHandler:
    """A passage that refuses what does not pass the check, and changes nothing of what the host returns."""
    refuse = guarded(is_probe=True)(check)

    async def handler(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        refused: web.StreamResponse | None = await refuse(request, {}, services)
        return await pass_on(request) if refused is None else refused

    return handler


async def inert(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Send a user's file so that nothing in it runs: older hosts show SVG and HTML in the page's own origin."""
    response = await pass_on(request)
    name = unquote(request.match_info.get("file", "")) or split_annotation(request.query.get("filename", ""))[0]
    make_inert(response, PurePath(name.replace("\\", "/")).name)
    return response


_of_user = partial(Repair, _check_user)
_USERDATA = _of_user(fail=plain_text)

PASSAGES = [
    Passage("GET", "/api/settings", _of_user()),
    Passage("GET", "/api/settings/{id}", _of_user()),
    Passage("POST", "/api/settings", _change_settings),
    Passage("POST", "/api/settings/{id}", _change_setting),
    Passage("GET", "/api/userdata", _USERDATA),
    Passage("GET", "/api/userdata/{file}", Repair(_check_user_file, fail=plain_text)),
    Passage("POST", "/api/userdata/{file}", _USERDATA, USER_FILE),
    Passage("DELETE", "/api/userdata/{file}", _USERDATA),
    Passage("POST", "/api/userdata/{file}/move/{dest}", _USERDATA),
    Passage("GET", "/api/v2/userdata", _USERDATA),
    Passage("POST", "/api/upload/image", Repair(_check_image), STREAMED),
    Passage("POST", "/api/upload/mask", Repair(_check_mask), STREAMED),
    # Those of our own operations that hosts have without /api as well.
    Passage("POST", "/queue", _bounded(_check_ids), media="json"),
    Passage("POST", "/history", _bounded(_check_ids), media="json"),
    Passage("POST", "/interrupt", _bounded(_check_small), media="json"),
    Passage("POST", "/free", _bounded(_check_small), media="json"),
    Passage("POST", "/api/users", Repair(_check_new_user), media="json"),
    Passage("GET", "/api/view", Repair(_check_view, statuses={403: 400})),
    *(Passage("GET", path, inert) for path in ("/api/view", "/api/userdata/{file}")),
    Passage("GET", "/api/experiment/models/{folder}", Repair(thing="folder")),
    Passage("GET", "/api/global_subgraphs/{id}", _subgraph),
    Passage("PATCH", "/internal/logs/subscribe", Repair(_check_subscription), media="json"),
]
