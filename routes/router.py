"""The router: one middleware that handles the project's routes and passes every other request on to the host.

aiohttp lets no pack replace a route that the server already has, but a middleware runs before all routes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..comfy_assets.app import Services
from ..comfy_assets.errors import LengthRequiredError, StorageQuotaError, UnsupportedContentError
from . import quotas
from .context import call, error_of, parameters_of
from .interceptors import Interceptor, intercept
from .operations import Route, is_missing_at_host
from .request_body import body_limit, check_body_type, drain
from .request_paths import escape_published_file, find_user_file_route, matched_path, segment_value

log = logging.getLogger("comfy_assets.http")

_MAX_REPORTED = 200  # unknown parameters: pairs of an operation and a name
_MAX_PARAMETER = 80  # characters of a name

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
