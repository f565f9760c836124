"""HTTP: one module per noun, handlers that parse, call and answer."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from ..comfy_assets.app import Services
from . import _dispatch, assets, editing, system, tags, uploads

ROUTES: list[_dispatch.Route] = [
    *assets.ROUTES,
    *uploads.ROUTES,
    *editing.ROUTES,
    *tags.ROUTES,
    *system.ROUTES,
]


def middleware(services: Services) -> Middleware:
    """The middleware that answers every operation of the project."""
    return _dispatch.middleware(ROUTES, services)
