"""Our router: one middleware that answers the requests the project owns and passes on all others."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..comfy_assets.app import Services
from . import _media, request_paths
from ._media import Media
from ._paths import matched_path, segment_value
from .context import RequestHandler
from .request_body import HOSTS_SMALL, SMALL, BodyLimit, declared, drain

# What a request that is the host's goes through on its way: it answers what the host's handler (the second argument)
# does, or answers in its place.
PassageHandler = Callable[[web.Request, Handler, Services], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """An operation: ``path`` may hold ``{name}`` for one segment; GET also answers HEAD.

    A request for which ``when`` is false is left to the host. ``body`` is the largest body that it takes, ``media`` the
    type of its bodies.
    """

    method: str
    path: str
    operation: str
    handler: RequestHandler
    when: Callable[[web.Request, Services], bool] | None = None
    body: BodyLimit = SMALL
    media: Media = "json"

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods it answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


@dataclass(frozen=True)
class Passage:
    """A path, of the same form, that stays the host's, and what its requests go through on their way there.

    Through several they go in the order of the list. Those with GET take HEAD as well. ``body`` is the largest body
    that the host gets; where it reads JSON, ``media`` says so. What one passage declares counts for its whole path.
    """

    method: str
    path: str
    handler: PassageHandler
    body: BodyLimit = HOSTS_SMALL
    media: Media = "any"

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods that go through."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


Entry = TypeVar("Entry", Route, Passage)


class Router(Generic[Entry]):
    """Finds the route, or passage, of a request: fixed paths first, then patterns in the order given."""

    def __init__(self, routes: list[Entry]) -> None:
        self._fixed: dict[tuple[str, str], list[Entry]] = {}
        self._patterns: dict[str, list[tuple[re.Pattern[str], Entry]]] = {}
        for route in routes:
            for method in route.methods:
                if "{" not in route.path:
                    self._fixed.setdefault((method, route.path), []).append(route)
                else:
                    self._patterns.setdefault(method, []).append((_pattern(route.path), route))

    def find(self, method: str, path: str) -> tuple[Entry, Mapping[str, str]] | None:
        """The route and its path parameters, or None when the request is not ours. ``path`` is as aiohttp matches."""
        return next(self.all(method, path), None)

    def all(self, method: str, path: str) -> Iterator[tuple[Entry, Mapping[str, str]]]:
        """Everything that a request matches, and the path parameters."""
        for entry in self._fixed.get((method, path), ()):
            yield entry, {}
        for pattern, candidate in self._patterns.get(method, ()):
            if match := pattern.fullmatch(path):
                yield candidate, {name: segment_value(value) for name, value in match.groupdict().items()}


def middleware(routes: list[Route], passages: list[Passage], services: Services) -> Middleware:
    """The middleware that puts these routes, and these passages, in front of an application's own."""
    router, through = Router(routes), Router(passages)

    @web.middleware
    async def comfy_assets(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await answered(request, handler)
        finally:
            await drain(request)

    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        method, path = request.method, request_paths.with_one_segment(matched_path(request.rel_url))
        found = router.find(method, path)
        if found is not None:
            route, parameters = found
            if route.when is None or route.when(request, services):
                refused = _media.refusal(request, route.media)  # responses of old versions of aiohttp are falsy
                if refused is not None:
                    return refused
                with declared(route.body, services.config), _reading(route, request, services):
                    return await route.handler(request, parameters, services)
        path, handler = await request_paths.repaired(request, path, handler, services)
        return await _pass_on([passage for passage, _ in through.all(method, path)], request, handler, services)

    return comfy_assets


async def _pass_on(
    passages: list[Passage], request: web.Request, handler: Handler, services: Services
) -> web.StreamResponse:
    """Pass a request on to the host, through all passages of its path."""
    media: Media = next((each.media for each in passages if each.media != "any"), "any")
    refused = _media.refusal_for_host(request, media)
    if refused is not None:
        return refused
    for passage in reversed(passages):
        handler = _through(passage, handler, services)
    limit = next((each.body for each in passages if each.body is not HOSTS_SMALL), HOSTS_SMALL)
    with declared(limit, services.config):
        return await handler(request)


def _reading(route: Route, request: web.Request, services: Services) -> AbstractContextManager[None]:
    """End operations that only read when the client is gone; those that write go on."""

    def is_gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    return services.reading(is_gone) if route.method in ("GET", "HEAD") else nullcontext()


def is_unanswered(request: web.Request, _: Services) -> bool:
    """Whether the host has no route of its own for a request; the page's files, which may be anywhere, are none."""
    match = request.match_info
    return match.http_exception is not None or isinstance(match.route.resource, web.StaticResource)


def _through(passage: Passage, handler: Handler, services: Services) -> Handler:
    async def pass_through(request: web.Request) -> web.StreamResponse:
        return await passage.handler(request, handler, services)

    return pass_through


def with_plain_paths(passages: list[Passage]) -> list[Passage]:
    """The passages, and each below ``/api`` for its path without that: hosts have every operation under both."""
    known = [(passage.method, passage.path, passage.handler) for passage in passages]
    twins = [replace(each, path=each.path.removeprefix("/api")) for each in passages if each.path.startswith("/api/")]
    return [*passages, *(twin for twin in twins if (twin.method, twin.path, twin.handler) not in known)]


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts)))
