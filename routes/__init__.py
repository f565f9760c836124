"""HTTP: one module per noun, handlers that parse, call and answer."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from ..comfy_assets.app import Services
from . import (
    assets,
    docs,
    editing,
    file_checks,
    files,
    history,
    host_uploads,
    jobs,
    media,
    nodes,
    picture_files,
    prompts,
    queue,
    router,
    server,
    shared_queue,
    shares,
    stock,
    tags,
    tasks,
    uploads,
    userdata,
    users,
    view_by_hash,
    workflows,
)

ROUTES: list[router.Route] = [
    *assets.ROUTES,
    *uploads.ROUTES,
    *editing.ROUTES,
    *tags.ROUTES,
    *files.ROUTES,
    *jobs.ROUTES,
    *queue.ROUTES,
    *history.ROUTES,
    *shares.ROUTES,
    *workflows.ROUTES,
    *nodes.ROUTES,
    *tasks.ROUTES,
    *users.ROUTES,
    *media.ROUTES,
    *server.ROUTES,
]
ROUTES += docs.routes_for(ROUTES)
PASSAGES: list[router.Passage] = [
    *view_by_hash.PASSAGES,
    *prompts.PASSAGES,
    # Files of the store are refused before anything opens them.
    *file_checks.PASSAGES,
    *picture_files.PASSAGES,
    *history.PASSAGES,
    *shared_queue.PASSAGES,
    *userdata.PASSAGES,
    *stock.PASSAGES,
    *host_uploads.PASSAGES,
    *server.PASSAGES,
]
PASSAGES = router.with_plain_paths(PASSAGES)


def middleware(services: Services) -> Middleware:
    """The middleware that answers every operation of the project, and through which prompts go to the host."""
    return router.middleware(ROUTES, PASSAGES, services)
