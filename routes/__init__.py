"""HTTP: one module per noun, handlers that parse, call and answer."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from ..comfy_assets.app import Services
from . import (
    _dispatch,
    assets,
    docs,
    editing,
    files,
    history,
    jobs,
    media,
    packs,
    picture_files,
    prompts,
    queue,
    shared_queue,
    shares,
    stock,
    store_files,
    system,
    tags,
    tasks,
    uploads,
    user_uploads,
    users,
    view_by_hash,
    workflow_files,
    workflows,
)

ROUTES: list[_dispatch.Route] = [
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
    *packs.ROUTES,
    *tasks.ROUTES,
    *users.ROUTES,
    *media.ROUTES,
    *system.ROUTES,
]
ROUTES += docs.routes_for(ROUTES)
PASSAGES: list[_dispatch.Passage] = [
    *view_by_hash.PASSAGES,
    *prompts.PASSAGES,
    # Files of the store are refused before anything opens them.
    *store_files.PASSAGES,
    *picture_files.PASSAGES,
    *history.PASSAGES,
    *shared_queue.PASSAGES,
    *workflow_files.PASSAGES,
    *stock.PASSAGES,
    *user_uploads.PASSAGES,
    *system.PASSAGES,
]
PASSAGES = _dispatch.with_plain_paths(PASSAGES)


def middleware(services: Services) -> Middleware:
    """The middleware that answers every operation of the project, and through which prompts go to the host."""
    return _dispatch.middleware(ROUTES, PASSAGES, services)
