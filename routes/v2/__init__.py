"""Comfy API v2: the operations of the official SDKs, over the same services as the other API."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from ...comfy_assets.app import Services
from ..operations import Route
from . import assets, errors, events, jobs, mount, openapi_document

ROUTES: list[Route] = [*assets.ROUTES, *jobs.ROUTES, *events.ROUTES]
ROUTES += openapi_document.description_routes(ROUTES)
refuse_unknown = mount.refusing(ROUTES)


def error_middleware(services: Services) -> Middleware:
    """Make the middleware that gives every error below /api/v2 the form of this API."""
    return errors.middleware(services)
