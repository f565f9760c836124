"""Our router: one middleware that answers the requests the project owns and passes on all others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..comfy_assets.app import Services
from ._endpoint import RequestHandler


@dataclass(frozen=True)
class Route:
    """An operation: ``path`` may hold ``{name}`` for one segment; GET also answers HEAD."""

    method: str
    path: str
    operation: str
    handler: RequestHandler

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods it answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


class Router:
    """Finds the route of a request: fixed paths first, then patterns in the order given."""

    def __init__(self, routes: list[Route]) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Route]] = []
        for route in routes:
            for method in route.methods:
                if "{" not in route.path:
                    self._fixed[method, route.path] = route
                else:
                    self._patterns.append((method, _pattern(route.path), route))

    def find(self, method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route and its path parameters, or None when the request is not ours."""
        route = self._fixed.get((method, raw_path))
        if route is not None:
            return route, {}
        for wanted, pattern, candidate in self._patterns:
            if wanted == method and (match := pattern.fullmatch(raw_path)):
                return candidate, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def middleware(routes: list[Route], services: Services) -> Middleware:
    """The middleware that puts these routes in front of an application's own."""
    router = Router(routes)

    @web.middleware
    async def comfy_assets(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = router.find(request.method, request.rel_url.raw_path)
        if found is None:
            return await handler(request)
        route, parameters = found
        return await route.handler(request, parameters, services)

    return comfy_assets


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts)))
