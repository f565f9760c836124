"""Interceptors: what requests for the host's own operations pass through, and the mapping of the host's errors."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import (
    ApiError,
    FileMissingError,
    InvalidNameError,
    UnauthorizedError,
    UnsupportedContentError,
)
from ..comfy_assets.fs.paths import extended_path, real_path
from ..comfy_assets.host.base import Host
from ..comfy_assets.names import FILE_TYPES, split_annotation
from ..comfy_assets.store_guard import is_protected
from .context import Failure, NoQuery, RequestContext, RequestHandler, error_of, error_response, guarded, known_user
from .request_body import HOSTS_SMALL, BodyLimit, BodyType, body_limit, check_host_body_type

T = TypeVar("T")


@dataclass(frozen=True)
class HostRequest:
    """A request for one of the host's operations, on its way through the interceptors of the path."""

    request: web.Request
    services: Services
    next: Handler

    async def pass_on(self, request: web.Request | None = None) -> web.StreamResponse:
        """Return the response of the next interceptor or of the host, to another request if one is given."""
        return await self.next(self.request if request is None else request)

    async def run(
        self,
        step: Callable[[web.Request, Mapping[str, str], Services], Awaitable[T]],
        path: Mapping[str, str] | None = None,
    ) -> T:
        """Return the result of an ``endpoint``, or of a ``guarded`` function, for the request."""
        return await step(self.request, path or {}, self.services)


# Passes the request on to the host and may change its response, or responds in its place.
InterceptorHandler = Callable[[HostRequest], Awaitable[web.StreamResponse]]
Check = Callable[[RequestContext[NoQuery]], Awaitable[None]]

_ERRORS = {
    400: ("INVALID_REQUEST", "The server cannot process the request."),
    401: ("UNAUTHORIZED", "The server does not know this user."),
    403: ("FORBIDDEN", "The server does not allow this."),
    413: ("BODY_TOO_LARGE", "The body is too large."),
}
# Errors of the operating system that are caused by a name from the client, not by the state of the disk.
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSED = frozenset({errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP})

MAX_NAME_LENGTH = 4096  # the longest path of Linux
_READING = ("GET", "HEAD")

# Returns the paths, or the pictures, that the host would open for a request.
PathsOf = Callable[[HostRequest], Awaitable[list[Path]]]
PicturesOf = Callable[[HostRequest], Awaitable[Sequence[Path | IO[bytes]]]]


@dataclass(frozen=True)
class Interceptor:
    """A handler in front of one of the host's paths, which has the form of ``Route.path``; GET includes HEAD.

    Several interceptors of a path run in the order of the list. ``body`` and ``media`` bound what the host receives;
    the first interceptor of a path that sets one decides for the whole path.
    """

    method: str
    path: str
    handler: InterceptorHandler
    body: BodyLimit = HOSTS_SMALL
    media: BodyType = "any"

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods that are intercepted."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


async def intercept(
    request: web.Request, interceptors: list[Interceptor], handler: Handler, services: Services
) -> web.StreamResponse:
    """Call the host's handler through these interceptors; refuse a body of a wrong type."""
    media: BodyType = next((each.media for each in interceptors if each.media != "any"), "any")
    try:
        check_host_body_type(request, media)
    except UnsupportedContentError as error:
        return error_of(error)
    # From the innermost outwards, so that the first of the list is called first.
    for interceptor in reversed(interceptors):
        handler = _wrap(interceptor, handler, services)
    limit = next((each.body for each in interceptors if each.body is not HOSTS_SMALL), HOSTS_SMALL)
    with body_limit(limit, services.config):
        return await handler(request)


def _wrap(interceptor: Interceptor, handler: Handler, services: Services) -> Handler:
    async def wrapped(request: web.Request) -> web.StreamResponse:
        return await interceptor.handler(HostRequest(request, services, handler))

    return wrapped


def with_plain_paths(interceptors: list[Interceptor]) -> list[Interceptor]:
    """Add to each interceptor below ``/api`` one for the same path without it: hosts serve both."""
    known = [(each.method, each.path, each.handler) for each in interceptors]
    twins = [
        replace(each, path=each.path.removeprefix("/api")) for each in interceptors if each.path.startswith("/api/")
    ]
    return [*interceptors, *(twin for twin in twins if (twin.method, twin.path, twin.handler) not in known)]


async def check_user(call: RequestContext[NoQuery]) -> None:
    """Raise UnauthorizedError if the host does not know the request's user."""
    if known_user(call.request, call.services) is None:
        raise UnauthorizedError("The server does not know this user.")


def check_first(check: Check) -> InterceptorHandler:
    """Make an interceptor's handler that refuses a request if the check raises ApiError, and changes nothing else."""
    guard = guarded(requires_store=False, allow_anonymous=True)(check)

    async def handler(call: HostRequest) -> web.StreamResponse:
        refusal: web.StreamResponse | None = await call.run(guard)
        # Compared with None: responses of old versions of aiohttp are falsy.
        return await call.pass_on() if refusal is None else refusal

    return handler


def for_several_users(operation: RequestHandler) -> InterceptorHandler:
    """Make an interceptor's handler that replaces the host's operation if several users share the host."""

    async def handler(call: HostRequest) -> web.StreamResponse:
        return await (call.run(operation) if call.services.host.is_multi_user() else call.pass_on())

    return handler


@dataclass(frozen=True)
class ErrorMapping:
    """An interceptor's handler that checks the request and gives the host's errors the form of the contract.

    ``check`` raises ApiError for a request that must not reach the host. ``fail`` makes error responses: JSON by
    default. The host's JSON errors are kept as they are, and so is its text if ``fail`` is not the default.
    ``statuses`` replaces statuses of the host; ``thing`` is what a 404 says is missing.
    """

    check: Check | None = None
    fail: Failure = error_response
    statuses: Mapping[int, int] = field(default_factory=dict)
    thing: str = "file"

    async def __call__(self, call: HostRequest) -> web.StreamResponse:
        if self.check is not None:
            guard = guarded(requires_store=False, allow_anonymous=True, failure=self.fail)
            refusal: web.StreamResponse | None = await call.run(guard(self.check))
            if refusal is not None:
                return refusal
        try:
            return self._map(await call.pass_on())
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return self.response(error.status)
        except _host_faults() as error:
            status = _status_of(error, call.request.method)
            if status is None:
                raise
            return self.response(status)

    def _map(self, response: web.StreamResponse) -> web.StreamResponse:
        if response.status < 400:
            return response
        if response.status in self.statuses:
            return self.response(response.status)
        if self.fail is not error_response:
            return self._with_text(response)
        return response if response.content_type == "application/json" else self.response(response.status)

    def _with_text(self, response: web.StreamResponse) -> web.StreamResponse:
        """Give an error without a body a text: the host's own reason phrase if it has one, or ours."""
        if isinstance(response, web.Response) and not response.body:
            is_own = response.reason != web.Response(status=response.status).reason
            response.content_type = "text/plain"
            response.text = response.reason if is_own else self._code_and_message(response.status)[1]
        return response

    def response(self, status: int) -> web.Response:
        """Make the error response for a status of the host."""
        status = self.statuses.get(status, status)
        return self.fail(status, *self._code_and_message(status), None)

    def _code_and_message(self, status: int) -> tuple[str, str]:
        if status == 404:
            return "NOT_FOUND", f"There is no such {self.thing}."
        code = "INTERNAL_ERROR" if status >= 500 else "INVALID_REQUEST"
        return _ERRORS.get(status, (code, f"The server returned {status} {web.Response(status=status).reason}."))


@cache
def _host_faults() -> tuple[type[Exception], ...]:
    """Return the exceptions that hosts' handlers let through for bad names and broken pictures."""
    from PIL.Image import DecompressionBombError  # on the first error: importing Pillow slows the server's start

    return (OSError, ValueError, SyntaxError, DecompressionBombError)


def _status_of(error: Exception, method: str) -> int | None:
    """Return the status for an exception of a host's handler, or None if the client is not to blame."""
    if isinstance(error, ConnectionError):
        return None
    number = error.errno if isinstance(error, OSError) else None  # Pillow's own errors have none
    if number in _MISSING:
        return 400 if method == "POST" else 404
    return 400 if number is None or number in _REFUSED else None


class StoreFileCheck:
    """An interceptor's handler that refuses a request if the host would open a file of the store for it.

    With ``are_written`` it also refuses links into folders that are not part of the library: those of users and of
    programs. A link inside the library to any other place is the user's own arrangement.
    """

    def __init__(self, paths_of: PathsOf, fail: Failure = error_response, *, are_written: bool = False) -> None:
        self._paths_of = paths_of
        self._fail = fail
        self._are_written = are_written

    async def __call__(self, call: HostRequest) -> web.StreamResponse:
        try:
            paths = await self._paths_of(call)
            await check_protected(paths, call.request.method)
            if paths and self._are_written:
                await asyncio.to_thread(_check_written, paths, call.services.host)
        except ApiError as error:
            return error_of(error, self._fail)
        return await call.pass_on()


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
    real = [real_path(path) for path in paths]
    # No part of the library, but a folder that requests may name and write to.
    temp = real_path(folders.temp) if folders.temp is not None else None
    for excluded in map(real_path, folders.excluded):
        if excluded != temp and any(path.is_relative_to(excluded) for path in real):
            raise InvalidNameError("The name leads to a folder that accepts no uploads.")


class PictureCheck:
    """An interceptor's handler that refuses a request if a picture that the host would decode is too large."""

    def __init__(self, pictures_of: PicturesOf) -> None:
        self._pictures_of = pictures_of

    async def __call__(self, call: HostRequest) -> web.StreamResponse:
        try:
            for picture in await self._pictures_of(call):
                await asyncio.to_thread(_measure, picture)
        except ApiError as error:
            return error_of(error)
        return await call.pass_on()


def _measure(picture: Path | IO[bytes]) -> None:
    """Raise ImageTooLargeError, ImageUnreadableError. A missing file is left to the host."""
    from ..comfy_assets.image_limits import open_untrusted  # in the thread: importing Pillow slows the server's start

    if isinstance(picture, Path) and not extended_path(picture).is_file():
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
