"""The router: one middleware that handles the project's routes and passes every other request on to the host.

aiohttp lets no pack replace a route that the server already has, but a middleware runs before all routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, UnsupportedContentError
from .context import RequestHandler, call, error_of
from .interceptors import Interceptor, intercept
from .request_body import SMALL, BodyLimit, BodyType, body_limit, check_body_type, drain
from .request_paths import escape_published_file, find_user_file_route, is_unmatched, matched_path, segment_value


@dataclass(frozen=True)
class Route:
    """An operation of the project. ``{name}`` in ``path`` stands for one segment; GET includes HEAD.

    A request for which ``when`` returns False is left to the host. A request that fails with one of the ``shared``
    errors is passed on to the host as well, if it has a route of its own for it: the id may be one of the host's. Such
    an operation reads no body. ``body`` bounds the request's body, ``media`` is its type.
    """

    method: str
    path: str
    operation: str
    handler: RequestHandler
    when: Callable[[web.Request, Services], bool] | None = None
    body: BodyLimit = SMALL
    media: BodyType = "json"
    shared: tuple[type[ApiError], ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods of the operation."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


Entry = TypeVar("Entry", Route, Interceptor)


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


def middleware(routes: list[Route], interceptors: list[Interceptor], services: Services) -> Middleware:
    """Make the middleware that puts these routes and interceptors in front of an application's own routes."""
    own, intercepted = Router(routes), Router(interceptors)

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
                try:
                    check_body_type(request, route.media)
                except UnsupportedContentError as error:
                    return error_of(error)
                with body_limit(route.body, services.config), _end_with_client(route, request, services):
                    response, failure = await call(route.handler, request, parameters, services)
                if not isinstance(failure, route.shared) or is_unmatched(request):
                    return response
                theirs = await _hosts_response(request, handler)
                # Compared with None: responses of old versions of aiohttp are falsy.
                return response if theirs is None else theirs
        # Only now: our own routes for user files match every spelling of a name.
        path, handler = await find_user_file_route(request, path, handler, services)
        chain = [interceptor for interceptor, _ in intercepted.all(method, path)]
        return await intercept(request, chain, handler, services)

    return comfy_assets


# Statuses with which a host says that it does not know the id either, or that the feature is off.
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


def is_missing_at_host(request: web.Request, _: Services) -> bool:
    """Return whether the host has no route of its own for a request (a condition for ``Route.when``)."""
    return is_unmatched(request)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)  # names are at the odd indexes
    return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts)))
