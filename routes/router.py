"""The router: one middleware that handles the project's routes and passes every other request on to the host.

aiohttp lets no pack replace a route that the server already has, but a middleware runs before all routes.
Paths are decoded as aiohttp decodes them; those of user files, which aiohttp does not always match, are matched here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Generic, TypeVar, cast
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from ..comfy_assets.app import Services
from ..comfy_assets.errors import LengthRequiredError, StorageQuotaError, UnsupportedContentError
from ..comfy_assets.names import UnsafeName, check_leads_nowhere
from . import quotas
from .context import call, error_of, known_user, parameters_of
from .interceptors import Interceptor, intercept
from .operations import Route, is_missing_at_host
from .request_body import body_limit, check_body_type, drain, has_body

log = logging.getLogger("comfy_assets.http")

_MAX_REPORTED = 200  # unknown parameters: pairs of an operation and a name
_MAX_PARAMETER = 80  # characters of a name
# These stay encoded: an encoded slash is part of its segment and does not end it.
_KEPT = re.compile(r"(%2f|%25)", re.IGNORECASE | re.ASCII)
_USER_FILES = ("/api/userdata/", "/userdata/")
_MOVE = "/move/"
_PUBLISH = "/publish"

Entry = TypeVar("Entry", Route, Interceptor)
RefuseUnknown = Callable[[web.Request, Services], web.Response | None]


class Router(Generic[Entry]):
    """Finds the routes or interceptors of a request: fixed paths first, then patterns in the order given."""

    def __init__(self, entries: list[Entry]) -> None:
        self._fixed: dict[tuple[str, str], list[Entry]] = {}
        self._patterns: dict[str, list[tuple[re.Pattern[str], Entry]]] = {}
        for entry in entries:
            for method in entry.methods:
                if "{" not in entry.path:
                    self._fixed.setdefault((method, entry.path), []).append(entry)
                else:
                    self._patterns.setdefault(method, []).append((_pattern(entry.path), entry))

    def find(self, method: str, path: str) -> tuple[Entry, Mapping[str, str]] | None:
        """Return the first match and its path parameters, or None. ``path`` has the form of ``matched_path``."""
        return next(self.all(method, path), None)

    def all(self, method: str, path: str) -> Iterator[tuple[Entry, Mapping[str, str]]]:
        """Yield every match with its path parameters."""
        for entry in self._fixed.get((method, path), ()):
            yield entry, {}
        for pattern, candidate in self._patterns.get(method, ()):
            if match := pattern.fullmatch(path):
                yield candidate, {name: segment_value(value) for name, value in match.groupdict().items()}


class UnknownParameters:
    """Logs each query parameter that an operation does not have once, without its value, which may be secret.

    They are ignored: a newer client with a new filter gets an unfiltered list, and the log says why.
    """

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()

    def report(self, operation: str, names: Iterable[str], known: frozenset[str]) -> None:
        """Log those of the names that are not known and were not reported for this operation."""
        for name in dict.fromkeys(names):
            entry = (operation, name[:_MAX_PARAMETER])
            if name in known or entry in self._reported or len(self._reported) >= _MAX_REPORTED:
                continue
            self._reported.add(entry)
            log.warning("%s has no query parameter %r: it is ignored", *entry)
            if len(self._reported) == _MAX_REPORTED:
                log.warning("Further unknown query parameters are not reported")


def middleware(
    routes: list[Route], interceptors: list[Interceptor], services: Services, refuse: RefuseUnknown | None = None
) -> Middleware:
    """Make the middleware that puts these routes and interceptors in front of an application's own routes.

    ``refuse`` returns the response to a request without a route that must not be passed on to the host, else None.
    """
    own, intercepted, unknown = Router(routes), Router(interceptors), UnknownParameters()

    @web.middleware
    async def comfy_assets(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await respond(request, handler)
        finally:
            await drain(request)

    async def respond(request: web.Request, handler: Handler) -> web.StreamResponse:
        method, path = request.method, escape_published_file(matched_path(request.rel_url))
        found = own.find(method, path)
        if found is not None:
            route, parameters = found
            if route.when is None or route.when(request, services):
                if request.query_string and (known := parameters_of(route.handler)) is not None:
                    unknown.report(route.operation.id, request.query, known)
                try:
                    check_body_type(request, route.media)
                    async with quotas.admitted(route, request, services):
                        with body_limit(route.body, services.config), _end_with_client(route, request, services):
                            response, failure = await call(route.handler, request, parameters, services)
                except (UnsupportedContentError, StorageQuotaError, LengthRequiredError) as error:
                    return error_of(error)
                if not isinstance(failure, route.shared) or is_missing_at_host(request, services):
                    return response
                theirs = await _hosts_response(request, handler)
                # Compared with None: responses of old versions of aiohttp are falsy.
                return response if theirs is None else theirs
        if refuse is not None and (refusal := refuse(request, services)) is not None:
            return refusal
        # Only now: our own routes for user files match every spelling of a name.
        path, handler = await find_user_file_route(request, path, handler, services)
        chain = [interceptor for interceptor, _ in intercepted.all(method, path)]
        return await intercept(request, chain, handler, services)

    return comfy_assets


# Statuses of a host that does not know the id either, or whose feature is off.
_UNKNOWN_TO_HOST = frozenset({404, 405, 501, 503})


async def _hosts_response(request: web.Request, handler: Handler) -> web.StreamResponse | None:
    """Return the host's response to a request for an id that is not ours, or None if it does not know the id."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status in _UNKNOWN_TO_HOST:
            return None
        raise
    return response if response.prepared or response.status not in _UNKNOWN_TO_HOST else None


def _end_with_client(route: Route, request: web.Request, services: Services) -> AbstractContextManager[None]:
    """End the queries of an operation that only reads when the client disconnects. Operations that write go on."""

    def is_gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    return services.reading(is_gone) if route.method in ("GET", "HEAD") else nullcontext()


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)  # names are at the odd indexes
    return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts)))


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
    prefix = next((each for each in _USER_FILES if path.startswith(each)), None)
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
    prefix = next((each for each in _USER_FILES if path.startswith(each)), None)
    if prefix is None or not (is_missing_at_host(request, services) or await _is_stored_in_folder(request, services)):
        return path, handler
    names = await _file_names(request, path.removeprefix(prefix), services)
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
    folder = _user_folder(request, services)
    return folder is not None and await asyncio.to_thread(_holds, folder, request.match_info["file"], Path.is_dir)


async def _file_names(request: web.Request, rest: str, services: Services) -> list[str]:
    """Return the file, and for a move also the destination. A folder may be called ``move`` too."""
    if request.method != "POST" or _MOVE not in rest or has_body(request):
        return [segment_value(rest)]
    positions = [i for i in range(len(rest)) if rest.startswith(_MOVE, i)]
    splits = [(segment_value(rest[:i]), segment_value(rest[i + len(_MOVE) :])) for i in positions]
    folder = _user_folder(request, services)
    if len(splits) > 1 and folder is not None:
        # Several readings: the source must exist, so the first that names a file is meant.
        splits = await asyncio.to_thread(_with_files, folder, splits) or splits
    return list(splits[0])


def _user_folder(request: web.Request, services: Services) -> Path | None:
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
