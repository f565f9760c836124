"""Nodes, models, and what the page needs of node packs, in words."""

from __future__ import annotations

from ...comfy_assets.errors import SubgraphNotFoundError
from .operation import Answer, HostOperation, Operation
from .schema import Record, array, flag, integer, mapping, members, nullable, text

_BROKEN = {500: "Something went wrong; the server's log says what."}
_STRINGS = {"type": "string"}

_NODE = Record(
    "NodeInfo",
    "A node, as the page draws it. What packs leave open is null.",
    {
        "input": mapping(mapping(), "Its inputs: `required`, `optional` and `hidden`, by name."),
        "input_order": mapping(array(_STRINGS), "The names of its inputs in order."),
        "output": array(True, "The types of its outputs."),
        "output_is_list": array(nullable({"type": "boolean"}), "Which outputs are lists."),
        "output_name": array(nullable({"type": "string"}), "The names of its outputs."),
        "output_tooltips": nullable(array(True, "What is said of its outputs.")),
        "name": text("Its type, as graphs name it."),
        "display_name": nullable(text("Its name, as people read it.")),
        "description": nullable(text("What it does.")),
        "python_module": nullable(text("Where it comes from.")),
        "category": nullable(text("Its place in the menu.")),
        "output_node": nullable(flag("Whether it is executed for its own sake.")),
        "deprecated": nullable(flag("Whether another is to be used instead.")),
        "experimental": nullable(flag("Whether it may change.")),
        "api_node": nullable(flag("Whether it asks a service for its results.")),
    },
    optional=(
        "input_order", "output_is_list", "output_name", "output_tooltips", "display_name", "description",
        "python_module", "category", "output_node", "deprecated", "experimental", "api_node",
    ),
)  # fmt: skip
_SOURCE = members({"node_pack": text("The pack that brings it.")}, "More of where it comes from.")
_SUBGRAPH_INFO = Record(
    "GlobalSubgraphInfo",
    "A ready-made subgraph.",
    {
        "source": text("`templates` or `custom_node`."),
        "name": text("Its name."),
        "info": _SOURCE,
        "data": text("Empty here: the subgraph is asked for by its id."),
    },
    optional=("data",),
)
_SUBGRAPH = Record(
    "GlobalSubgraphData",
    "A ready-made subgraph, whole.",
    {
        "source": text("`templates` or `custom_node`."),
        "name": text("Its name."),
        "info": _SOURCE,
        "data": text("The subgraph, as JSON text."),
    },
)
_FOLDER = Record(
    "ModelFolder",
    "A category of models.",
    {"name": text("The category."), "folders": array(_STRINGS, "Where its files lie.")},
)
_MODEL = Record(
    "ModelFile",
    "A file of a model.",
    {
        "name": text("Its path below the folder."),
        "pathIndex": integer("Which of the category's folders it lies in, from 0."),
        "size": integer("Its size in bytes."),
        "modified": {"type": "number", "description": "When it was last changed, in seconds since 1970."},
        "created": {"type": "number", "description": "When it was made, in seconds since 1970."},
    },
    optional=("size", "modified", "created"),
)

# Servers that have these answer them themselves.
OPERATIONS = [
    Operation(
        "getNodeReplacements",
        "Nodes",
        "Which nodes take the place of others",
        {200: Answer("Replacements by the type of the node that is replaced.", mapping())},
        is_open=True,
    ),
    Operation(
        "getGlobalSubgraphs",
        "Nodes",
        "Ready-made subgraphs",
        {200: Answer("Subgraphs by id.", mapping(_SUBGRAPH_INFO))},
        is_open=True,
    ),
    Operation(
        "getGlobalSubgraph",
        "Nodes",
        "A ready-made subgraph",
        {200: Answer("The subgraph.", _SUBGRAPH)},
        parameters={"id": "The subgraph's id."},
        errors=(SubgraphNotFoundError,),
        is_open=True,
    ),
]

HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/object_info",
        Operation("getNodeInfo", "Nodes", "All nodes there are", {200: Answer("Nodes by type.", mapping(_NODE))}),
    ),
    HostOperation(
        "GET",
        "/api/extensions",
        Operation(
            "getExtensions",
            "Nodes",
            "The scripts that node packs bring into the page",
            {200: Answer("Their paths, from the server's root.", array(_STRINGS))},
        ),
    ),
    HostOperation(
        "GET",
        "/api/i18n",
        Operation(
            "getI18n", "Nodes", "Translations that node packs bring", {200: Answer("Texts by language.", mapping())}
        ),
    ),
    HostOperation(
        "GET",
        "/api/workflow_templates",
        Operation(
            "getWorkflowTemplates",
            "Nodes",
            "Workflows that node packs bring as examples",
            {200: Answer("Their names by pack.", mapping(array(_STRINGS)))},
        ),
    ),
    HostOperation(
        "GET",
        "/api/embeddings",
        Operation("getEmbeddings", "Models", "The embeddings on disk", {200: Answer("Their names.", array(_STRINGS))}),
    ),
    HostOperation(
        "GET",
        "/api/experiment/models",
        Operation(
            "getModelFolders", "Models", "The categories of models", {200: Answer("The categories.", array(_FOLDER))}
        ),
        _BROKEN,
    ),
    HostOperation(
        "GET",
        "/api/experiment/models/{folder}",
        Operation(
            "getModelsInFolder",
            "Models",
            "The models of a category",
            {200: Answer("The files.", array(_MODEL))},
            parameters={"folder": {"description": "The category.", "examples": ["loras"]}},
        ),
        {404: "There is no such category.", **_BROKEN},
    ),
]
