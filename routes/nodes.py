"""What node packs bring along, on servers that are too old to tell."""

from __future__ import annotations

import asyncio
from typing import Any

from ..comfy_assets.errors import SubgraphNotFoundError
from ..comfy_assets.packs import blueprints
from .context import Call, endpoint
from .params import NoQuery
from .router import Route, is_unanswered


@endpoint(is_probe=True)
async def list_subgraphs(call: Call[NoQuery]) -> dict[str, Any]:
    """The subgraphs that packs bring along, without their graphs (getGlobalSubgraphs)."""
    found = await asyncio.to_thread(blueprints, call.services.host.pack_folders())
    return {each: blueprint.describe() for each, blueprint in found.items()}


@endpoint(is_probe=True)
async def get_subgraph(call: Call[NoQuery]) -> dict[str, Any]:
    """One of them with its graph (getGlobalSubgraph)."""
    found = await asyncio.to_thread(blueprints, call.services.host.pack_folders())
    blueprint = found.get(call.path["id"])
    data = None if blueprint is None else await asyncio.to_thread(blueprint.read)
    if blueprint is None or data is None:
        raise SubgraphNotFoundError("There is no such subgraph.", details={"id": call.path["id"]})
    return {**blueprint.describe(), "data": data}


@endpoint(is_probe=True)
async def node_replacements(call: Call[NoQuery]) -> dict[str, Any]:
    """None: packs have no way to announce any to such a server (getNodeReplacements)."""
    return {}


ROUTES = [
    Route("GET", "/api/global_subgraphs", "getGlobalSubgraphs", list_subgraphs, when=is_unanswered),
    Route("GET", "/api/global_subgraphs/{id}", "getGlobalSubgraph", get_subgraph, when=is_unanswered),
    Route("GET", "/api/node_replacements", "getNodeReplacements", node_replacements, when=is_unanswered),
]
