"""The scopes that a request needs while the login is on.

Reading is permitted by a list of what is known to read: a route of another node pack may change anything, whatever its
method. Operations of the project are found as the router finds them, all others by the route that aiohttp matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from aiohttp import web

from ..comfy_assets.login.store import Scope
from .operations import Route
from .router import Router, escape_published_file, matched_path

Scopes = frozenset[Scope]

NOTHING: Scopes = frozenset()
"""For whoever is signed in."""
READ: Scopes = frozenset({"read"})
WRITE: Scopes = frozenset({"write"})
RUN: Scopes = frozenset({"run"})
ADMIN: Scopes = frozenset({"admin"})
UNKNOWN: Scopes = frozenset({"write", "run"})
"""For routes of other packs, of which nothing is known."""

_READING = ("GET", "HEAD")
# Routes of the server under the names that aiohttp has for them, each with and without /api.
# These show nothing of any user: a guest on a server for one user reads these.
_SERVER_PUBLIC = frozenset(
    {
        "/",
        "/embeddings",
        "/experiment/models",
        "/experiment/models/preview/{folder}/{path_index}/{filename}",
        "/experiment/models/{folder}",
        "/extensions",
        "/features",
        "/i18n",
        "/models",
        "/models/{folder}",
        "/node_replacements",
        "/prompt",
        "/system_stats",
        "/templates/{path}",
        "/users",
        "/view_metadata/{folder_name}",
        "/workflow_templates",
        "/workflow_templates/{pack}/{file}",
        "/ws",
    }
)
_SERVER_READS = _SERVER_PUBLIC | frozenset(
    {
        "/global_subgraphs",
        "/global_subgraphs/{id}",
        "/history",
        "/history/{prompt_id}",
        "/jobs",
        "/jobs/{job_id}",
        "/object_info",
        "/object_info/{node_class}",
        "/queue",
        "/settings",
        "/settings/{id}",
        "/userdata",
        "/userdata/{file}",
        "/v2/userdata",
        "/view",
    }
)
_SERVER_CHANGES: dict[tuple[str, str], Scopes] = {
    ("POST", "/free"): RUN,
    ("POST", "/history"): RUN,
    ("POST", "/interrupt"): RUN,
    ("POST", "/jobs/cancel"): RUN,
    ("POST", "/jobs/{job_id}/cancel"): RUN,
    ("POST", "/prompt"): RUN,
    ("POST", "/queue"): RUN,
    ("POST", "/settings"): WRITE,
    ("POST", "/settings/{id}"): WRITE,
    ("POST", "/upload/image"): WRITE,
    ("POST", "/upload/mask"): WRITE,
    ("POST", "/userdata/{file}"): WRITE,
    ("POST", "/userdata/{file}/move/{dest}"): WRITE,
    ("DELETE", "/userdata/{file}"): WRITE,
    ("POST", "/users"): ADMIN,
    ("POST", "/v2/jobs"): RUN,
    ("POST", "/v2/jobs/{id}/cancel"): RUN,
}
_OWN_PUBLIC = frozenset(
    {
        "getApiPage",
        "getHealth",
        "getNodeReplacements",
        "getOpenApiDocument",
        "getOpenApiV2Document",
        "getPublishedAssetContent",
        "getPublishedWorkflow",
        "getUser",
    }
)
_INTERNAL_READS = "/internal/files/{directory_type}"
_INTERNAL = "/internal/"
# The Manager installs programs, even with GET.
_FOR_ADMINISTRATORS = ("manager", "comfyui_manager", "customnode", "externalmodel", "snapshot")


class RoutePermissions:
    """The permissions of requests, by the project's routes and by those that aiohttp matched. See ``Permissions``."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._own = Router(list(routes))

    def needed(self, request: web.Request) -> Scopes:
        """Return the scopes of a request, all of which it needs."""
        own = self._find(request)
        return _of_server(request) if own is None else _of_own(request.method, own.path)

    def is_public(self, request: web.Request) -> bool:
        """Return whether a request shows nothing of any user but what is shared."""
        own = self._find(request)
        if own is not None:
            return own.operation.id in _OWN_PUBLIC or _of_own(request.method, own.path) == NOTHING
        resource = request.match_info.route.resource
        if resource is None or request.method not in _READING:
            return False
        return isinstance(resource, web.StaticResource) or _plain(resource) in _SERVER_PUBLIC

    def is_known(self, request: web.Request) -> bool:
        """Return whether a request is for an operation of the project or of the server, and for none of a pack."""
        if self._find(request) is not None:
            return True
        resource = request.match_info.route.resource
        if resource is None:
            return False
        plain = _plain(resource)
        return plain in _SERVER_READS or (request.method, plain) in _SERVER_CHANGES

    def _find(self, request: web.Request) -> Route | None:
        found = self._own.find(request.method, escape_published_file(matched_path(request.rel_url)))
        return None if found is None else found[0]


def _plain(resource: web.AbstractResource) -> str:
    return resource.canonical.removeprefix("/api") or "/"


def _of_own(method: str, path: str) -> Scopes:
    if path.startswith("/api/login/users"):
        return ADMIN
    if path in ("/login", "/oauth/authorize") or path.startswith("/api/login"):
        return NOTHING  # what signed-in users do with their own sessions; the handlers check the rest
    if method in _READING:
        return READ
    return _SERVER_CHANGES.get((method, path.removeprefix("/api")), WRITE)


def _of_server(request: web.Request) -> Scopes:
    match = request.match_info
    resource = match.route.resource
    if match.http_exception is not None or resource is None:
        return UNKNOWN  # no route of the server: 404 or 405, unless a middleware of a pack responds
    if isinstance(resource, web.StaticResource):
        return READ if request.method in _READING and _is_file(resource, match) else UNKNOWN
    name = resource.canonical
    if name.startswith(_INTERNAL):
        return READ if request.method in _READING and name == _INTERNAL_READS else ADMIN
    plain = _plain(resource)
    if request.method in _READING:
        if plain in _SERVER_READS:
            return READ
    elif (known := _SERVER_CHANGES.get((request.method, plain))) is not None:
        return known
    return ADMIN if _is_for_administrators(plain) else UNKNOWN


def _is_file(resource: web.StaticResource, match: Mapping[str, str]) -> bool:
    """Return whether a static route has a file. That of the page matches every path, also those of middlewares."""
    try:
        return Path(resource.get_info()["directory"], match.get("filename", "")).is_file()
    except (OSError, ValueError):
        return False


def _is_for_administrators(path: str) -> bool:
    words = path.removeprefix("/v2").split("/")
    return len(words) > 1 and words[1] in _FOR_ADMINISTRATORS
