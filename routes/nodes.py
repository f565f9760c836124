"""Subgraphs and models of node packs: the subgraphs that old servers do not serve, and checks of models' names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from ..comfy_assets.errors import SubgraphNotFoundError
from ..comfy_assets.packs import blueprints
from .context import NoQuery, RequestContext, endpoint
from .interceptors import ErrorMapping, HostRequest, Interceptor, StoreFileCheck
from .operations import (
    UNEXPECTED_ERROR,
    HostOperation,
    Operation,
    Record,
    Response,
    Route,
    array,
    boolean,
    integer,
    is_missing_at_host,
    mapping,
    nullable,
    object_with,
    string,
)


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


async def map_subgraph(call: HostRequest) -> web.StreamResponse:
    """Return 404 for a subgraph that does not exist; hosts return null."""
    mapping = ErrorMapping(thing="subgraph")
    response = await mapping(call)
    # ComfyUI returns null with 200 for an unknown id.
    is_null = response.status == 200 and isinstance(response, web.Response) and response.body == b"null"
    return mapping.response(404) if is_null else response


async def _described_models(call: HostRequest) -> list[Path]:
    """Return the models whose header a request may mean: a category has several folders."""
    category, name = call.request.match_info.get("folder_name", ""), call.request.query.get("filename", "")
    folders = call.services.host.folders().folders
    return [each.path / name for each in folders if each.category == category and "\0" not in name]


_STRINGS = {"type": "string"}
# Packs define nodes in Python and may set most of these to None.
_NODE = Record(
    "NodeInfo",
    "A node type. Values that a pack does not set are null.",
    {
        "input": mapping(mapping(), "Its inputs, in `required`, `optional` and `hidden`, by name."),
        "input_order": mapping(array(_STRINGS), "The names of its inputs in order."),
        "output": array(True, "The types of its outputs."),
        "output_is_list": array(nullable({"type": "boolean"}), "Which outputs are lists."),
        "output_name": array(nullable({"type": "string"}), "The names of its outputs."),
        "output_tooltips": nullable(array(True, "Tooltips of its outputs.")),
        "name": string("Its type, as graphs name it."),
        "display_name": nullable(string("Its displayed name.")),
        "description": nullable(string("Its description.")),
        "python_module": nullable(string("The Python module that it is defined in.")),
        "category": nullable(string("Its menu path.")),
        "output_node": nullable(boolean("Whether it is an output node.")),
        "deprecated": nullable(boolean("Whether it is deprecated.")),
        "experimental": nullable(boolean("Whether it is experimental.")),
        "api_node": nullable(boolean("Whether it calls an online service.")),
    },
    optional=(
        "input_order", "output_is_list", "output_name", "output_tooltips", "display_name", "description",
        "python_module", "category", "output_node", "deprecated", "experimental", "api_node",
    ),
)  # fmt: skip
_SOURCE = object_with({"node_pack": string("The node pack.")}, "Its origin.")
_SUBGRAPH_INFO = Record(
    "GlobalSubgraphInfo",
    "A ready-made subgraph.",
    {
        "source": string("`templates` or `custom_node`."),
        "name": string("Its name."),
        "info": _SOURCE,
        "data": string("Empty in lists: get the subgraph by its id."),
    },
    optional=("data",),
)
_SUBGRAPH_DATA = Record(
    "GlobalSubgraphData",
    "A ready-made subgraph with its graph.",
    {
        "source": string("`templates` or `custom_node`."),
        "name": string("Its name."),
        "info": _SOURCE,
        "data": string("The subgraph, as JSON text."),
    },
)
_FOLDER = Record(
    "ModelFolder",
    "A category of models.",
    {"name": string("The category."), "folders": array(_STRINGS, "Its folders.")},
)
_MODEL = Record(
    "ModelFile",
    "A file of a model.",
    {
        "name": string("Its path inside the folder."),
        "pathIndex": integer("Index of its folder among the category's folders, from 0."),
        "size": integer("Its size in bytes."),
        # In seconds, as ComfyUI sends them; times of user files are in milliseconds.
        "modified": {"type": "number", "description": "Time of its last change, in seconds since 1970."},
        "created": {"type": "number", "description": "Time of its creation, in seconds since 1970."},
    },
    optional=("size", "modified", "created"),
)

_SUBGRAPH = "/api/global_subgraphs/{id}"
# Servers that have these operations keep them.
ROUTES = [
    Route(
        "GET",
        "/api/global_subgraphs",
        list_subgraphs,
        Operation(
            "getGlobalSubgraphs",
            "Nodes",
            "List ready-made subgraphs",
            {200: Response("Subgraphs by id.", mapping(_SUBGRAPH_INFO))},
            is_open=True,
        ),
        when=is_missing_at_host,
    ),
    Route(
        "GET",
        _SUBGRAPH,
        get_subgraph,
        Operation(
            "getGlobalSubgraph",
            "Nodes",
            "Get a ready-made subgraph",
            {200: Response("The subgraph.", _SUBGRAPH_DATA)},
            parameters={"id": "The subgraph's id."},
            errors=(SubgraphNotFoundError,),
            is_open=True,
        ),
        when=is_missing_at_host,
    ),
    Route(
        "GET",
        "/api/node_replacements",
        node_replacements,
        Operation(
            "getNodeReplacements",
            "Nodes",
            "List replacements of nodes",
            {200: Response("Replacements by the replaced node type.", mapping())},
            is_open=True,
        ),
        when=is_missing_at_host,
    ),
]
INTERCEPTORS = [
    Interceptor("GET", _SUBGRAPH, map_subgraph),
    Interceptor("GET", "/api/experiment/models/{folder}", ErrorMapping(thing="folder")),
    Interceptor("GET", "/api/view_metadata/{folder_name}", StoreFileCheck(_described_models)),
]
HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/object_info",
        Operation("getNodeInfo", "Nodes", "List all node types", {200: Response("Nodes by type.", mapping(_NODE))}),
    ),
    HostOperation(
        "GET",
        "/api/extensions",
        Operation(
            "getExtensions",
            "Nodes",
            "List the scripts that node packs add to the page",
            {200: Response("Their URLs, relative to the server's root.", array(_STRINGS))},
        ),
    ),
    HostOperation(
        "GET",
        "/api/i18n",
        Operation(
            "getI18n", "Nodes", "Get the translations of node packs", {200: Response("Texts by language.", mapping())}
        ),
    ),
    HostOperation(
        "GET",
        "/api/workflow_templates",
        Operation(
            "getWorkflowTemplates",
            "Nodes",
            "List the example workflows of node packs",
            {200: Response("Their names by pack.", mapping(array(_STRINGS)))},
        ),
    ),
    HostOperation(
        "GET",
        "/api/embeddings",
        Operation(
            "getEmbeddings", "Models", "List the embeddings on disk", {200: Response("Their names.", array(_STRINGS))}
        ),
    ),
    HostOperation(
        "GET",
        "/api/experiment/models",
        Operation(
            "getModelFolders",
            "Models",
            "List the categories of models",
            {200: Response("The categories.", array(_FOLDER))},
        ),
        UNEXPECTED_ERROR,
    ),
    HostOperation(
        "GET",
        "/api/experiment/models/{folder}",
        Operation(
            "getModelsInFolder",
            "Models",
            "List the models of a category",
            {200: Response("The files.", array(_MODEL))},
            parameters={"folder": {"description": "The category.", "examples": ["loras"]}},
        ),
        {404: "There is no such category.", **UNEXPECTED_ERROR},
    ),
]
