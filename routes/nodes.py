"""Subgraphs and models of node packs: the subgraphs that old servers do not serve, and checks of models' names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import SubgraphNotFoundError
from ..comfy_assets.host.base import Host
from ..comfy_assets.packs import blueprints
from .context import RequestContext, endpoint
from .file_checks import StoreFileCheck
from .interceptors import ErrorMapping, Interceptor
from .params import NoQuery
from .router import Route, is_missing_at_host


@endpoint(requires_store=False, allow_anonymous=True)
async def list_subgraphs(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """List the subgraphs of node packs, without their graphs (getGlobalSubgraphs)."""
    found = await asyncio.to_thread(blueprints, call.services.host.pack_folders())
    return {each: blueprint.describe() for each, blueprint in found.items()}


@endpoint(requires_store=False, allow_anonymous=True)
async def get_subgraph(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return a subgraph with its graph (getGlobalSubgraph)."""
    found = await asyncio.to_thread(blueprints, call.services.host.pack_folders())
    blueprint = found.get(call.path["id"])
    data = None if blueprint is None else await asyncio.to_thread(blueprint.read)
    if blueprint is None or data is None:
        raise SubgraphNotFoundError("There is no such subgraph.", details={"id": call.path["id"]})
    return {**blueprint.describe(), "data": data}


@endpoint(requires_store=False, allow_anonymous=True)
async def node_replacements(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return no replacements (getNodeReplacements): packs cannot announce any to servers without the operation."""
    return {}


async def map_subgraph(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Return 404 for a subgraph that does not exist; hosts return null."""
    mapping = ErrorMapping(thing="subgraph")
    response = await mapping(request, pass_on, services)
    # ComfyUI returns null with 200 for an unknown id.
    is_null = response.status == 200 and isinstance(response, web.Response) and response.body == b"null"
    return mapping.response(404) if is_null else response


async def _described_models(request: web.Request, host: Host) -> list[Path]:
    """Return the models whose header a request may mean: a category has several folders."""
    category, name = request.match_info.get("folder_name", ""), request.query.get("filename", "")
    return [each.path / name for each in host.folders().folders if each.category == category and "\0" not in name]


_SUBGRAPH = "/api/global_subgraphs/{id}"
ROUTES = [
    Route("GET", "/api/global_subgraphs", "getGlobalSubgraphs", list_subgraphs, when=is_missing_at_host),
    Route("GET", _SUBGRAPH, "getGlobalSubgraph", get_subgraph, when=is_missing_at_host),
    Route("GET", "/api/node_replacements", "getNodeReplacements", node_replacements, when=is_missing_at_host),
]
INTERCEPTORS = [
    Interceptor("GET", _SUBGRAPH, map_subgraph),
    Interceptor("GET", "/api/experiment/models/{folder}", ErrorMapping(thing="folder")),
    Interceptor("GET", "/api/view_metadata/{folder_name}", StoreFileCheck(_described_models)),
]
