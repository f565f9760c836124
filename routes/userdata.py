"""The host's operations on files of the user: checked before, with workflow files imported into the store after."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import FileMissingError, StoreUnavailableError
from ..comfy_assets.names import UnsafeName, check_leads_nowhere
from ..comfy_assets.workflows.folder import in_userdata
from . import request_body
from .context import NoQuery, RequestContext, guarded, known_user
from .file_response import send_inert
from .interceptors import ErrorMapping, HostRequest, Interceptor, StoreFileCheck, check_user
from .operations import (
    BINARY,
    BYTES,
    PLAIN,
    TEXT,
    UNKNOWN_USER,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    integer,
    number,
    string,
)
from .params import doc
from .quotas import AdmitBody
from .request_body import USER_FILE

log = logging.getLogger("comfy_assets.workflows")

STORE_WAIT_S = 10.0  # the longest that a request of the page waits for the store to open
LOCK_WAIT_S = 60.0  # the longest that it waits for other changes of the user's workflow files


def _plain_text_error(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make the error of an operation whose errors are plain text: the message alone."""
    return web.Response(status=status, text=message)


async def _user_files(call: HostRequest) -> list[Path]:
    user = known_user(call.request, call.services)
    if user is None:
        return []
    folder, matched = call.services.host.user_directory(user), call.request.match_info
    names = [unquote(matched[each]) for each in ("file", "dest") if each in matched]
    return [folder / name for name in names if "\0" not in name]


async def _check_user_file(call: RequestContext[NoQuery]) -> None:
    """Raise FileMissingError for a folder: hosts notice it too late, and return 403 without a text."""
    await check_user(call)
    host, name = call.services.host, call.request.match_info.get("file", "")
    name = unquote(name)  # hosts decode the segment a second time
    try:
        check_leads_nowhere(name)
        is_folder = await asyncio.to_thread((host.user_directory(host.user_of(call.request)) / name).is_dir)
    except (UnsafeName, OSError):
        return  # not the name of a file: the host refuses it
    if is_folder:
        raise FileMissingError("There is no such file.")


async def sync_workflow(call: HostRequest) -> web.StreamResponse:
    """Let the host save, move or delete a workflow file, then store the change.

    The user's files are locked meanwhile, so that nothing replaces what the page writes before it is stored. If the
    lock is not available in time, the request is refused with 503 and changes nothing. Without a store nothing else
    writes the files: the request is passed on, and the next comparison with the files stores the change. Other errors
    are logged.
    """
    if not any(_workflow_paths(call.request)):
        return await call.pass_on()
    # The body is read before the files are locked, so that nobody waits for a slow client. The host finds it read.
    refusal = await call.run(_receive)
    if isinstance(refusal, web.StreamResponse):
        return refusal
    user = await call.run(_known_user)
    if isinstance(user, web.StreamResponse):
        return await call.pass_on()  # the host refuses an unknown user in its own way
    async with AsyncExitStack() as stack:
        try:
            is_locked = await _lock(stack, call.services, user)
        except asyncio.TimeoutError:
            return _plain_text_error(503, "STORE_UNAVAILABLE", "The workflow files are in use; try again.", None)
        response = await call.pass_on()
        if is_locked and 200 <= response.status < 300:
            await call.run(_import)
    return response


def _workflow_paths(request: web.Request) -> list[str | None]:
    """Return the paths of the request's files in the workflows folder, None for files elsewhere."""
    return [in_userdata(request.match_info[name]) for name in ("file", "dest") if name in request.match_info]


async def _lock(stack: AsyncExitStack, services: Services, user: str) -> bool:
    """Lock the user's workflow files until the stack ends; return False if there is no store.

    Raise TimeoutError if others keep the lock for too long.
    """
    try:
        await asyncio.wait_for(services.ready(), STORE_WAIT_S)
    except (StoreUnavailableError, asyncio.TimeoutError) as error:
        log.warning("A workflow file changes while there is no store; the next comparison stores it: %r", error)
        return False
    await stack.enter_async_context(services.workflow_sync.lock(user, LOCK_WAIT_S))
    return True


@guarded(requires_store=False)
async def _known_user(call: RequestContext[NoQuery]) -> str:
    return call.user


@guarded(requires_store=False, allow_anonymous=True, failure=_plain_text_error)
async def _receive(call: RequestContext[NoQuery]) -> None:
    await request_body.read(call.request)


@guarded()
async def _import(call: RequestContext[NoQuery]) -> None:
    paths = _workflow_paths(call.request)
    files = call.services.workflow_sync
    if len(paths) == 2 and paths[0] is not None and paths[1] is not None:
        await files.sync_move(call.user, paths[0], paths[1])
        return
    for path in paths:
        if path is not None:
            await files.sync_file(call.user, path)


class ListUserFilesQuery(msgspec.Struct):
    """Query of getUserdata."""

    dir: Annotated[str, doc("The folder, inside the user's folder.")]
    recurse: Annotated[Literal["true", "false"], doc("Whether to include folders inside it.")] = "false"
    full_info: Annotated[Literal["true", "false"], doc("Whether to include size and time.")] = "false"
    split: Annotated[Literal["true", "false"], doc("Whether to split paths into their parts.")] = "false"


class ListUserEntriesQuery(msgspec.Struct):
    """Query of listUserdataEntries."""

    path: Annotated[str, doc("The folder, inside the user's folder; all files if omitted.")] = ""


class StoreUserFileQuery(msgspec.Struct):
    """Query of postUserdataFile and moveUserdataFile."""

    overwrite: Annotated[Literal["true", "false"], doc("Whether to replace a file of this name.")] = "true"
    full_info: Annotated[Literal["true", "false"], doc("Whether the response includes size and time.")] = "false"


_INFO = {
    "path": string("The file's path inside the requested folder."),
    "size": integer("Its size in bytes."),
    "modified": integer("Time of its last change, in milliseconds since 1970.", format="int64"),
}
_FILE = Record("UserDataResponseFull", "A file of the user.", _INFO, optional=tuple(_INFO))
_ONE_OF_LIST = Record("GetUserDataResponseFullFile", "A file in a list.", _INFO, optional=tuple(_INFO))
_FILES = {
    "description": "Paths; with `full_info` also size and time; with `split` lists of a path and its parts.",
    "anyOf": [
        array(_ONE_OF_LIST),
        array({"type": "string"}),
        array(array({"type": "string"})),
    ],
}
_STORED = {"description": "The path; with `full_info` also size and time.", "anyOf": [_FILE, {"type": "string"}]}
_PATHS = {
    "file": "The file's path inside the user's folder, with percent-encoded slashes.",
    "dest": "The new path, in the same form.",
}
# ComfyUI itself sends no text with most of these.
_BROKEN = {500: "An unexpected error."}
_NO_FILE = {404: "There is no such file."}
_BAD_PATH = {400: "The path is missing, or leads out of the user's folder."}
_OUTSIDE = {403: "The path leads out of the user's folder."}
_PATH_ERRORS = _BAD_PATH | UNKNOWN_USER | _OUTSIDE | _BROKEN
_QUOTA = {
    411: "The user's space is limited, and the request does not say how large the file is.",
    413: "The file is too large, or the user's files would take more space than they may.",
}
_TAKEN = {409: "A file of this name exists, and `overwrite` is false."}
_file_operation = partial(Operation, error_media=TEXT, error_schema=PLAIN)
_ENTRY = Record(
    "UserDataEntry",
    "A file or folder of the user.",
    {
        "name": string("Its name."),
        "path": string("Its path."),
        "type": string("Its type.", enum=["file", "directory"]),
        "size": integer("The size of a file in bytes."),
        "modified": number("Time of its last change, in milliseconds since 1970."),
        "created": number("Time of its creation, in milliseconds since 1970."),
    },
    optional=("size", "modified", "created"),
)

_ONE = "/api/userdata/{file}"
_MOVE = "/api/userdata/{file}/move/{dest}"
_STORE_CHECK = StoreFileCheck(_user_files, _plain_text_error)
_ERRORS = ErrorMapping(check_user, fail=_plain_text_error)
INTERCEPTORS = [
    Interceptor("GET", "/api/userdata", _ERRORS),
    Interceptor("GET", "/api/v2/userdata", _ERRORS),
    Interceptor("GET", _ONE, _STORE_CHECK),
    Interceptor("GET", _ONE, ErrorMapping(_check_user_file, fail=_plain_text_error)),
    Interceptor("GET", _ONE, send_inert),
    Interceptor("POST", _ONE, AdmitBody(_plain_text_error)),
    *(
        interceptor
        for method, path in (("POST", _ONE), ("DELETE", _ONE), ("POST", _MOVE))
        for interceptor in (
            Interceptor(method, path, _STORE_CHECK),
            Interceptor(method, path, sync_workflow, USER_FILE),
            Interceptor(method, path, _ERRORS),
        )
    ),
]
HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/v2/userdata",
        _file_operation(
            "listUserdataEntries",
            "Users",
            "List files and folders of the user",
            {200: Response("The content of the folder.", array(_ENTRY))},
            query=ListUserEntriesQuery,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        "/api/userdata",
        _file_operation(
            "getUserdata",
            "Users",
            "List the user's files",
            {200: Response("The files of the folder.", _FILES)},
            query=ListUserFilesQuery,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        _ONE,
        _file_operation(
            "getUserdataFile",
            "Users",
            "Get a file of the user",
            {200: Response("Its content.", BINARY, BYTES)},
            parameters=_PATHS,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "POST",
        _ONE,
        _file_operation(
            "postUserdataFile",
            "Users",
            "Store a file of the user",
            {200: Response("The file is stored.", _STORED)},
            "A file in `workflows/` is the workflow of that name; its content becomes the next version.",
            parameters=_PATHS,
            query=StoreUserFileQuery,
            body=RequestBody(BINARY, BYTES),
        ),
        _PATH_ERRORS | _TAKEN,
    ),
    HostOperation(
        "DELETE",
        _ONE,
        _file_operation(
            "deleteUserdataFile",
            "Users",
            "Delete a file of the user",
            {204: Response("The file is deleted.")},
            parameters=_PATHS,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "POST",
        _MOVE,
        _file_operation(
            "moveUserdataFile",
            "Users",
            "Move a file of the user",
            {200: Response("The file is moved.", _STORED)},
            parameters=_PATHS,
            query=StoreUserFileQuery,
        ),
        _PATH_ERRORS | _NO_FILE | _TAKEN,
    ),
]
