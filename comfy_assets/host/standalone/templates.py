"""The example workflows in the page's dialog of templates: graphs that the built-in nodes can run.

Those of ComfyUI's own package need models and nodes that this server lacks. The page asks for these paths without
``/api``: an index, and for each template its graph and a picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from .folders import BaseFolders
from .http import Refusal, RouteTable, json_response
from .nodes import Node, NodeRegistry, image_names

# The page opens it where ComfyUI has a default workflow; ``web/standalone/default_workflow.mjs`` names it too.
DEFAULT_TEMPLATE = "plain_picture"

_COLUMN, _ROW = 340, 320  # pixels between nodes on the canvas
_WIDTH = 300
_DATE = "2026-11-28"  # templates are sorted by it


class TemplateNode(msgspec.Struct, frozen=True):
    """A node of a template: the values of its widgets, and the number of the node behind each linked input.

    ``place`` is its column and row on the canvas. Nodes are numbered from 1.
    """

    class_type: str
    place: tuple[int, int]
    values: tuple[Any, ...] = ()
    links: Mapping[str, int] = {}


class Template(msgspec.Struct, frozen=True):
    """An example workflow. ``picture`` is the inside of an SVG of 400 x 300 pixels."""

    name: str
    title: str
    description: str
    nodes: tuple[TemplateNode, ...]
    picture: str

    @property
    def needs_input(self) -> bool:
        """True if it opens a file of the input folder."""
        return any(node.class_type == "LoadImage" for node in self.nodes)


_BLUE = 0x3A6EA5
_HILLS = (
    '<rect width="400" height="300" fill="#f2c57c"/><circle cx="290" cy="90" r="42" fill="#fff3d6"/>'
    '<path d="M0 220 130 110 240 230 310 170 400 240V300H0Z" fill="#7f4f6b"/>'
)
TEMPLATES = (
    Template(
        DEFAULT_TEMPLATE,
        "Plain picture",
        "Creates a picture of one colour and saves it in the output folder.",
        (
            TemplateNode("EmptyImage", (0, 0), (512, 512, 1, _BLUE)),
            TemplateNode("SaveImage", (1, 0), ("plain",), {"images": 1}),
        ),
        '<rect width="400" height="300" fill="#22272e"/><rect x="100" y="50" width="200" height="200" rx="6"'
        ' fill="#3a6ea5"/>',
    ),
    Template(
        "resized_picture",
        "Resized picture",
        "Scales a picture, crops it to the new shape and saves it.",
        (
            TemplateNode("EmptyImage", (0, 0), (512, 512, 1, 0xC8553D)),
            TemplateNode("ImageScale", (1, 0), ("lanczos", 960, 540, "center"), {"image": 1}),
            TemplateNode("SaveImage", (2, 0), ("resized",), {"images": 2}),
        ),
        '<rect width="400" height="300" fill="#22272e"/><rect x="40" y="110" width="80" height="80" fill="#c8553d"/>'
        '<path d="M140 150h50m-14-12 14 12-14 12" fill="none" stroke="#ddd" stroke-width="5"/>'
        '<rect x="210" y="104" width="160" height="92" fill="#c8553d"/>',
    ),
    Template(
        "inverted_pair",
        "Inverted pair",
        "Shows a picture beside its negative, without saving either.",
        (
            TemplateNode("EmptyImage", (0, 0), (512, 512, 1, 0x2A9D8F)),
            TemplateNode("ImageInvert", (1, 1), (), {"image": 1}),
            TemplateNode("ImageBatch", (2, 0), (), {"image1": 1, "image2": 2}),
            TemplateNode("PreviewImage", (3, 0), (), {"images": 3}),
        ),
        '<rect width="200" height="300" fill="#2a9d8f"/><rect x="200" width="200" height="300" fill="#d56270"/>',
    ),
    Template(
        "your_picture",
        "Your picture, inverted and scaled",
        "Opens a picture of the input folder, inverts its colours, scales it to a width of 768 pixels and saves it.",
        (
            TemplateNode("LoadImage", (0, 0), ("", "image")),
            TemplateNode("ImageInvert", (1, 0), (), {"image": 1}),
            TemplateNode("ImageScale", (2, 0), ("lanczos", 768, 0, "disabled"), {"image": 2}),
            TemplateNode("SaveImage", (3, 0), ("inverted",), {"images": 3}),
        ),
        _HILLS + f'<svg x="200" width="200" height="300" viewBox="200 0 200 300"><g style="filter:invert(1)">{_HILLS}'
        "</g></svg>",
    ),
)


def workflow(template: Template, registry: NodeRegistry, picture: str = "") -> dict[str, Any]:
    """Return the graph of a template as the page saves it. LoadImage opens the ``picture``."""
    links: list[list[Any]] = []
    nodes = []
    for number, step in enumerate(template.nodes, 1):
        node = registry[step.class_type]
        inputs: list[dict[str, Any]] = []
        for name, source in step.links.items():
            kind = _links_of(node)[name]
            slot = list(registry[template.nodes[source - 1].class_type].returns).index(kind)
            links.append([len(links) + 1, source, slot, number, len(inputs), kind])
            inputs.append({"name": name, "type": kind, "link": len(links)})
        values = (picture, *step.values[1:]) if step.class_type == "LoadImage" else step.values
        nodes.append(_page_node(number, step, node, inputs, values))
    for node_body in nodes:
        for slot, output in enumerate(node_body["outputs"]):
            output["links"] = [link[0] for link in links if link[1:3] == [node_body["id"], slot]]
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _links_of(node: Node) -> dict[str, str]:
    """Return the type of each input of a node that is a link, not a widget."""
    required = node.input_types()["required"]
    return {name: spec[0] for name, spec in required.items() if spec[0] in ("IMAGE", "MASK")}


def _page_node(
    number: int, step: TemplateNode, node: Node, inputs: list[dict[str, Any]], values: Sequence[Any]
) -> dict[str, Any]:
    column, row = step.place
    names = node.return_names or node.returns
    return {
        "id": number,
        "type": step.class_type,
        "pos": [60 + _COLUMN * column, 140 + _ROW * row],
        "size": [_WIDTH, 90 + 26 * len(values)],  # the page makes room for pictures itself
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": [
            {"name": name, "type": kind, "links": [], "slot_index": slot}
            for slot, (name, kind) in enumerate(zip(names, node.returns, strict=True))
        ],
        "properties": {"Node name for S&R": step.class_type},
        "widgets_values": list(values),
    }


class TemplateRoutes:
    """The routes below /templates."""

    def __init__(self, folders: BaseFolders, nodes: NodeRegistry) -> None:
        self._folders = folders
        self._nodes = nodes

    def routes(self) -> RouteTable:
        return [
            ("GET", "/templates/index.json", self._index),
            ("GET", "/templates/index_logo.json", self._logos),
            ("GET", "/templates/{name}.json", self._graph),
            ("GET", "/templates/{name}-1.svg", self._picture),
        ]

    async def _index(self, request: web.Request) -> web.Response:
        """List the templates that can be run: one that opens a picture needs a picture in the input folder."""
        shown = [each for each in TEMPLATES if not each.needs_input or await self._input_picture()]
        entries = [
            {
                "name": each.name,
                "title": each.title,
                "description": each.description,
                "mediaType": "image",
                "mediaSubtype": "svg",
                "tags": ["Image"],
                "date": _DATE,
                "openSource": True,
            }
            for each in shown
        ]
        # The dialog opens at the essential category of this title, on pages before 1.53 even if there is none.
        category = {"moduleName": "default", "title": "Getting Started", "type": "image", "isEssential": True}
        return json_response([{**category, "templates": entries}])

    async def _logos(self, request: web.Request) -> web.Response:
        return json_response({})  # of the makers of models: there are none

    async def _graph(self, request: web.Request) -> web.Response:
        template = _named(request)
        picture = await self._input_picture() if template.needs_input else ""
        return json_response(workflow(template, self._nodes, picture))

    async def _picture(self, request: web.Request) -> web.Response:
        inside = _named(request).picture
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 300" width="400" height="300">{inside}</svg>'
        return web.Response(text=text, content_type="image/svg+xml", headers={"X-Content-Type-Options": "nosniff"})

    async def _input_picture(self) -> str:
        """Return the name of the first picture in the input folder, "" if there is none."""
        names = await asyncio.to_thread(image_names, self._folders.input)
        return names[0] if names else ""


def _named(request: web.Request) -> Template:
    found = next((each for each in TEMPLATES if each.name == request.match_info["name"]), None)
    if found is None:
        raise Refusal("There is no such template.", status=404)
    return found
