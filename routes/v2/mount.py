"""The choice of requests below /api/v2 to serve: those of Comfy API v2, unless the server has that API itself.

ComfyUI and its manager have other routes below the same prefix, such as /api/v2/userdata, which stay theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from ...comfy_assets.app import Services
from ..context import error_response
from ..operations import Route
from ..request_paths import matched_path

PREFIX = "/api/v2/"
_OURS = frozenset({"assets", "jobs", "openapi.json"})
# Routes are complete when a server begins to accept requests, so the first request reads them.
_host_segments: WeakKeyDictionary[web.Application, frozenset[str]] = WeakKeyDictionary()


def request_key(name: str, kind: type) -> Any:
    """Return a key of requests. Newer versions of aiohttp warn of keys that are texts, older ones have no others."""
    return web.RequestKey(name, kind) if hasattr(web, "RequestKey") else name


def is_served(request: web.Request, services: Services) -> bool:
    """Return whether this project serves Comfy API v2 (a condition for ``Route.when``).

    By default it does unless the server, or another node pack, has routes of that API. The setting decides otherwise.
    """
    if services.config.api_v2 is not None:
        return services.config.api_v2
    return not any(each in _OURS or each.startswith("{") or not each for each in _segments(request.app))


def is_below(request: web.Request, services: Services) -> bool:
    """Return whether a request is for Comfy API v2 as this project serves it, even if it has no such path."""
    path = request.path
    if not path.startswith(PREFIX):
        return False
    segment = path.removeprefix(PREFIX).partition("/")[0]
    return is_served(request, services) and (segment in _OURS or segment not in _segments(request.app))


def refusing(routes: Iterable[Route]) -> Callable[[web.Request, Services], web.Response | None]:
    """Make the function that refuses requests below the prefix for which there is no route.

    They are not passed on: the server looks for a file of its page at every path.
    """
    paths: dict[re.Pattern[str], set[str]] = {}
    for route in routes:
        pattern = re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", route.path))))
        paths.setdefault(pattern, set()).update(route.methods)

    def refuse(request: web.Request, services: Services) -> web.Response | None:
        if not is_below(request, services):
            return None
        path = matched_path(request.rel_url)
        allowed = sorted({name for pattern, methods in paths.items() if pattern.fullmatch(path) for name in methods})
        if not allowed:
            return error_response(404, "NOT_FOUND", "Comfy API v2 has no such path.")
        text = f"{request.method} is not a method of this path."
        response = error_response(405, "METHOD_NOT_ALLOWED", text, {"allowed": allowed})
        response.headers[hdrs.ALLOW] = ", ".join(allowed)
        return response

    return refuse


def _segments(app: web.Application) -> frozenset[str]:
    """Return the first segments below the prefix for which a server has routes; "" stands for all of them."""
    found = _host_segments.get(app)
    if found is None:
        paths = [resource.canonical for resource in app.router.resources()]
        below = [f"{path}/".removeprefix(PREFIX) for path in paths if f"{path}/".startswith(PREFIX)]
        found = _host_segments[app] = frozenset(path.partition("/")[0] for path in below)
    return found
