"""HTTP: a module for each subject, whose handlers parse a request, call a service and return its result."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from ..comfy_assets.app import Services
from . import (
    asset_counts,
    assets,
    batches,
    bundles,
    collections,
    downloads,
    exports,
    files,
    history,
    host_uploads,
    jobs,
    login,
    login_users,
    nodes,
    oauth,
    prompts,
    queue,
    router,
    saved_searches,
    scans,
    server,
    shares,
    tasks,
    trash,
    uploads,
    userdata,
    users,
    v2,
    workflow_requirements,
    workflows,
)
from .interceptors import Interceptor, with_plain_paths
from .operations import HostOperation, Route
from .permissions import RoutePermissions

ROUTES: list[Route] = [
    *asset_counts.ROUTES,  # before assets, one of which could have the id "folders", or "batches"
    *batches.ROUTES,
    *assets.ROUTES,
    *trash.ROUTES,
    *collections.ROUTES,
    *saved_searches.ROUTES,
    *uploads.ROUTES,
    *downloads.ROUTES,
    *exports.ROUTES,
    *scans.ROUTES,
    *files.ROUTES,
    *jobs.ROUTES,
    *queue.ROUTES,
    *history.ROUTES,
    *shares.ROUTES,
    *bundles.ROUTES,
    *workflow_requirements.ROUTES,
    *workflows.ROUTES,
    *nodes.ROUTES,
    *tasks.ROUTES,
    *users.ROUTES,
    *login.ROUTES,
    *login_users.ROUTES,
    *oauth.ROUTES,
    *server.ROUTES,
]
HOST_OPERATIONS: list[HostOperation] = [
    *host_uploads.HOST_OPERATIONS,
    *prompts.HOST_OPERATIONS,
    *nodes.HOST_OPERATIONS,
    *userdata.HOST_OPERATIONS,
    *users.HOST_OPERATIONS,
    *server.HOST_OPERATIONS,
]
# The document describes its own two operations as well, so they are made last.
ROUTES += server.description_routes(ROUTES, HOST_OPERATIONS)
# All interceptors of a path stand in one module, which gives their order.
INTERCEPTORS: list[Interceptor] = with_plain_paths(
    [
        *files.INTERCEPTORS,
        *host_uploads.INTERCEPTORS,
        *prompts.INTERCEPTORS,
        *queue.INTERCEPTORS,
        *history.INTERCEPTORS,
        *nodes.INTERCEPTORS,
        *userdata.INTERCEPTORS,
        *users.INTERCEPTORS,
        *server.INTERCEPTORS,
    ]
)


def middleware(services: Services) -> Middleware:
    """Make the middleware that handles the project's operations and intercepts the host's."""
    return router.middleware([*ROUTES, *v2.ROUTES], INTERCEPTORS, services, v2.refuse_unknown)


def outer_middleware(services: Services) -> Middleware:
    """Make the middleware around the access checks and everything else."""
    return v2.error_middleware(services)


def permissions() -> RoutePermissions:
    """Return the permissions of requests."""
    return RoutePermissions([*ROUTES, *v2.ROUTES])
