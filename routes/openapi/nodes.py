"""Descriptions of the operations on nodes, models and the files of node packs."""

from __future__ import annotations

from ...comfy_assets.errors import SubgraphNotFoundError
from ..operations import (
    HostOperation,
    Operation,
    Record,
    Response,
    array,
    boolean,
    integer,
    mapping,
    nullable,
    object_with,
    string,
)

_BROKEN = {500: "An unexpected error; the server's log has the details."}
_STRINGS = {"type": "string"}

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
_SUBGRAPH = Record(
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
        "modified": {"type": "number", "description": "Time of its last change, in seconds since 1970."},
        "created": {"type": "number", "description": "Time of its creation, in seconds since 1970."},
    },
    optional=("size", "modified", "created"),
)

# Servers that have these operations keep them.
OPERATIONS = [
    Operation(
        "getNodeReplacements",
        "Nodes",
        "List replacements of nodes",
        {200: Response("Replacements by the replaced node type.", mapping())},
        is_open=True,
    ),
    Operation(
        "getGlobalSubgraphs",
        "Nodes",
        "List ready-made subgraphs",
        {200: Response("Subgraphs by id.", mapping(_SUBGRAPH_INFO))},
        is_open=True,
    ),
    Operation(
        "getGlobalSubgraph",
        "Nodes",
        "Get a ready-made subgraph",
        {200: Response("The subgraph.", _SUBGRAPH)},
        parameters={"id": "The subgraph's id."},
        errors=(SubgraphNotFoundError,),
        is_open=True,
    ),
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
        _BROKEN,
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
        {404: "There is no such category.", **_BROKEN},
    ),
]
