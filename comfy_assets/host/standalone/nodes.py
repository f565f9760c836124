"""The nodes: their base class, the registry and the routes that describe them, and the built-in nodes.

The built-in nodes load, create, change and save images, with ComfyUI's names and signatures.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import random
import re
import string
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from ...fs.atomic import make_folder
from ...fs.paths import extended_path
from ...json_text import as_in_images
from ...names import WINDOWS, UnsafeName, relative_parts
from .folders import BaseFolders
from .http import RouteTable, json_response
from .pixels import METHODS, load_image, resize, stack, to_image

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

    from .pixels import Floats

# "required" | "optional" | "hidden" -> input name -> (type, options), as in /object_info. A list as the type is a
# choice. Hidden inputs are a word only ("PROMPT"): nodes find their values in the Run.
InputTypes = Mapping[str, Mapping[str, Any]]

_MAX_SIZE = 16384  # pixels on a side, as in ComfyUI
# zlib levels, as in ComfyUI: previews are written fast, as they are soon deleted.
_SAVE_COMPRESSION = 4
_PREVIEW_COMPRESSION = 1
_DEFAULT_PREFIX = "ComfyUI"


class ExecutionInterrupted(Exception):
    """Raised in a node when the running prompt is interrupted."""


@dataclass(frozen=True)
class Run:
    """The prompt that a node is executed in, and the reporting of its progress. ``show`` receives previews."""

    node_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    interrupted: threading.Event
    report: Callable[[float, float], None]
    show: Callable[[Any], None]

    def check(self) -> None:
        """Raise ExecutionInterrupted if the prompt has been interrupted. Call it inside loops."""
        if self.interrupted.is_set():
            raise ExecutionInterrupted

    def progress(self, value: float, total: float) -> None:
        """Report the node's progress to pages; also calls ``check``."""
        self.check()
        self.report(value, total)

    def preview(self, picture: Any) -> None:
        """Report an image of Pillow that shows unfinished work."""
        self.show(picture)


@dataclass(frozen=True)
class Result:
    """The result of a node: a value for each output, and the data that pages display."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] = field(default_factory=dict)


class Node(ABC):
    """A node type. To add one: subclass, then ``registry.register("ItsClassType", ItsClass)``.

    One instance serves every graph, on the worker thread, so it keeps no state between calls. Images are
    float32 arrays [batch, height, width, channels] from 0 to 1 that nodes share: never change one in place.
    """

    display_name: ClassVar[str] = ""
    category: ClassVar[str] = ""
    description: ClassVar[str] = ""
    search_aliases: ClassVar[tuple[str, ...]] = ()
    essentials_category: ClassVar[str | None] = None
    returns: ClassVar[tuple[str, ...]] = ()
    return_names: ClassVar[tuple[str, ...] | None] = None
    output_node: ClassVar[bool] = False
    deprecated: ClassVar[bool] = False
    # Choices that ``check`` judges itself; the list that is shown need not contain them.
    open_choices: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folders: BaseFolders) -> None:
        self.folders = folders

    @abstractmethod
    def input_types(self) -> InputTypes:
        """Return the inputs. Choices may depend on the existing files."""

    def check(self, literals: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the problems of the values, by input name. Called when a prompt is submitted."""
        return {}

    def fingerprint(self, literals: Mapping[str, Any]) -> str:
        """Return a text that changes if the same values would have another result. May raise OSError."""
        return ""

    @abstractmethod
    def execute(self, run: Run, **inputs: Any) -> Result:
        """Execute the node. Any exception is reported as its error."""


class NodeRegistry:
    """The node types by name."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders
        self._nodes: dict[str, Node] = {}

    def register(self, class_type: str, node: type[Node]) -> None:
        """Add a node type, or replace the one of that name."""
        self._nodes[class_type] = node(self._folders)

    def get(self, class_type: str) -> Node | None:
        return self._nodes.get(class_type)

    def __getitem__(self, class_type: str) -> Node:
        return self._nodes[class_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)


def describe(class_type: str, node: Node) -> dict[str, Any]:
    """Return the entry of a node type in /object_info."""
    inputs = node.input_types()
    info: dict[str, Any] = {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "is_input_list": False,
        "output": list(node.returns),
        "output_is_list": [False] * len(node.returns),
        "output_name": list(node.return_names or node.returns),
        "name": class_type,
        "display_name": node.display_name or class_type,
        "description": node.description,
        "python_module": "nodes",
        "category": node.category,
        "output_node": node.output_node,
        "has_intermediate_output": False,
        "search_aliases": list(node.search_aliases),
    }
    if node.deprecated:
        info["deprecated"] = True
    if node.essentials_category is not None:
        info["essentials_category"] = node.essentials_category
    return info


class NodeRoutes:
    """The routes /object_info and /node_replacements."""

    def __init__(self, registry: NodeRegistry) -> None:
        self._registry = registry

    def routes(self) -> RouteTable:
        return [
            ("GET", "/object_info", self._describe_all),
            ("GET", "/object_info/{class_type}", self._describe_one),
            ("GET", "/node_replacements", self._list_replacements),
        ]

    async def _describe_all(self, request: web.Request) -> web.Response:
        names = list(self._registry)
        # In a thread: nodes list folders for their choices.
        return json_response(
            await asyncio.to_thread(lambda: {name: describe(name, self._registry[name]) for name in names})
        )

    async def _describe_one(self, request: web.Request) -> web.Response:
        name = request.match_info["class_type"]
        node = self._registry.get(name)
        return json_response({} if node is None else {name: await asyncio.to_thread(describe, name, node)})

    async def _list_replacements(self, request: web.Request) -> web.Response:
        """Return no replacements: packs register them when they are loaded, and no pack is loaded here."""
        return json_response({})


if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

    from .pixels import Floats


def register_image_nodes(registry: NodeRegistry) -> None:
    """Add every built-in node."""
    for node in (SaveImage, PreviewImage, LoadImage, ImageScale, ImageInvert, ImageBatch, EmptyImage):
        registry.register(node.__name__, node)


class EmptyImage(Node):
    display_name = "Empty Image"
    category = "image"
    description = "Creates images of one colour."
    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        side = {"default": 512, "min": 1, "max": _MAX_SIZE, "step": 1}
        colour = {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}
        return {
            "required": {
                "width": ("INT", side),
                "height": ("INT", side),
                "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
                "color": ("INT", colour),
            }
        }

    def execute(self, run: Run, **inputs: Any) -> Result:
        import numpy as np

        levels = [(inputs["color"] >> shift & 0xFF) / 0xFF for shift in (16, 8, 0)]
        shape = (inputs["batch_size"], inputs["height"], inputs["width"], 3)
        # One pixel in memory, whatever the size: nodes never change an image in place.
        return Result((np.broadcast_to(np.array(levels, np.float32), shape),))


class LoadImage(Node):
    display_name = "Load Image"
    category = "image"
    description = "Loads an image, and its transparency as a mask."
    search_aliases = ("open image", "upload image", "read image")
    essentials_category = "Basics"
    returns = ("IMAGE", "MASK")
    open_choices = frozenset({"image"})

    def input_types(self) -> InputTypes:
        return {"required": {"image": (image_names(self.folders.input), {"image_upload": True})}}

    def check(self, literals: Mapping[str, Any]) -> Mapping[str, str]:
        name = literals.get("image")
        if name is None:
            return {}
        return {} if self._exists(name) else {"image": f"there is no such image file: {name!s:.200}"}

    def fingerprint(self, literals: Mapping[str, Any]) -> str:
        path = self.folders.annotated(str(literals["image"]))
        stat = extended_path(path).stat()  # not a hash: it is taken for every prompt
        return f"{stat.st_mtime_ns}:{stat.st_size}"

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result(load_image(self.folders.annotated(inputs["image"]), run.check))

    def _exists(self, name: object) -> bool:
        try:
            return isinstance(name, str) and extended_path(self.folders.annotated(name)).is_file()
        except UnsafeName:
            return False


class ImageInvert(Node):
    display_name = "Invert Image Colors"
    category = "image/color"
    description = "Inverts the colours."
    search_aliases = ("negative",)
    essentials_category = "Image Tools"
    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result((1 - inputs["image"],))


class ImageScale(Node):
    display_name = "Upscale Image"
    category = "image/upscaling"
    description = "Resizes images. A width or height of 0 is computed from the other."
    search_aliases = ("resize image", "scale image", "change size")
    essentials_category = "Image Tools"
    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        side = {"default": 512, "min": 0, "max": _MAX_SIZE, "step": 1}
        return {
            "required": {
                "image": ("IMAGE",),
                "upscale_method": (list(METHODS),),
                "width": ("INT", side),
                "height": ("INT", side),
                "crop": (["disabled", "center"],),
            }
        }

    def execute(self, run: Run, **inputs: Any) -> Result:
        image: Floats = inputs["image"]
        width, height = inputs["width"], inputs["height"]
        if width == 0 and height == 0:
            return Result((image,))
        old_height, old_width = image.shape[1:3]
        width = width or max(1, round(old_width * height / old_height))
        height = height or max(1, round(old_height * width / old_width))
        return Result((resize(image, width, height, inputs["upscale_method"], inputs["crop"]),))


class ImageBatch(Node):
    display_name = "Batch Images (DEPRECATED)"
    category = "image/batch"
    description = "Combines two batches of images in the size of the first."
    search_aliases = ("combine images", "merge images")
    returns = ("IMAGE",)
    deprecated = True

    def input_types(self) -> InputTypes:
        return {"required": {"image1": ("IMAGE",), "image2": ("IMAGE",)}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result((stack(inputs["image1"], inputs["image2"]),))


class SaveImage(Node):
    display_name = "Save Image"
    category = "image"
    description = "Saves images as PNG files in the output folder, with the workflow inside."
    search_aliases = ("export image", "write image", "download")
    essentials_category = "Basics"
    returns = ("IMAGE",)
    return_names = ("images",)
    output_node = True

    def input_types(self) -> InputTypes:
        prefix = {
            "default": "ComfyUI",
            "tooltip": "Beginning of the file names. May contain a subfolder and %width%, %height%, %year% …",
        }
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The images to save."}),
                "filename_prefix": ("STRING", prefix),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def execute(self, run: Run, **inputs: Any) -> Result:
        images: Floats = inputs["images"]
        prefix = inputs["filename_prefix"]
        saved = _save_images(run, images, self.folders.output, prefix, "output", _SAVE_COMPRESSION)
        return Result((images,), {"images": saved})


class PreviewImage(Node):
    display_name = "Preview Image"
    category = "image"
    description = "Shows images without keeping them: they are deleted at the next start."
    search_aliases = ("show image", "view image")
    essentials_category = "Basics"
    returns = ("IMAGE",)
    return_names = ("images",)
    output_node = True

    def input_types(self) -> InputTypes:
        return {
            "required": {"images": ("IMAGE",)},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def execute(self, run: Run, **inputs: Any) -> Result:
        images: Floats = inputs["images"]
        prefix = "ComfyUI_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))
        saved = _save_images(run, images, self.folders.temp, prefix, "temp", _PREVIEW_COMPRESSION)
        return Result((images,), {"images": saved})


def _save_images(
    run: Run, images: Floats, root: Path, prefix: str, file_type: str, compression: int
) -> list[dict[str, str]]:
    """Write a batch below ``root``; return each file in the form of /view's query."""
    location = prepare_save(root, prefix, width=images.shape[2], height=images.shape[1])
    text = _png_text(run)
    saved = []
    for index, image in enumerate(images):
        run.check()
        name = location.name(index)
        to_image(image).save(extended_path(location.folder, name), "PNG", pnginfo=text, compress_level=compression)
        saved.append({"filename": name, "subfolder": location.subfolder, "type": file_type})
    return saved


def _png_text(run: Run) -> PngInfo:
    """Make the text chunks of a saved PNG: the prompt, and the client's ``extra_pnginfo``."""
    from PIL.PngImagePlugin import PngInfo

    # Large values are encoded in steps: one call of ``json`` would hold up the event loop until it is done.
    text = PngInfo()
    text.add_text("prompt", as_in_images(run.graph))
    extra = run.extra_data.get("extra_pnginfo")
    for key, value in extra.items() if isinstance(extra, dict) else ():
        text.add_text(key, as_in_images(value))
    return text


def image_names(folder: Path) -> list[str]:
    """List the images directly in a folder, sorted, without names that are not Unicode."""
    try:
        names = [entry.name for entry in os.scandir(extended_path(folder)) if entry.is_file()]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if _is_image_name(name))


def _is_image_name(name: str) -> bool:
    if not name.isprintable():  # undecodable bytes become lone surrogates, which JSON clients cannot read
        return False
    return name.lower().endswith(".webp") or (mimetypes.guess_type(name)[0] or "").startswith("image/")


@dataclass(frozen=True)
class SaveLocation:
    """The folder and names of new files. ``subfolder`` is its path below the root, with forward slashes."""

    folder: Path
    subfolder: str
    stem: str
    first: int

    def name(self, index: int) -> str:
        """Return the name of the new file with this index, from 0."""
        stem = self.stem.replace("%batch_num%", str(index))
        return f"{stem}_{self.first + index:05}_.png"


def prepare_save(root: Path, prefix: str, width: int, height: int) -> SaveLocation:
    """Create the folder of a prefix such as ``portraits/%year%`` and return the location of its files.

    Raise UnsafeName, a ValueError, for a prefix that could lead outside ``root``.
    """
    filled = fill_placeholders(prefix, width, height, time.localtime()) or _DEFAULT_PREFIX
    if WINDOWS:
        filled = filled.replace("\\", "/")
    tidy = re.sub(r"/(\./|/)*", "/", filled).rstrip("/") or "/"
    try:
        *folders, stem = relative_parts(tidy.removeprefix("./"))
    except UnsafeName as error:
        raise UnsafeName(f"filename_prefix is refused: {error}") from error
    folder = root.joinpath(*folders)
    make_folder(folder)
    names = os.listdir(extended_path(folder))  # noqa: PTH208
    return SaveLocation(folder, "/".join(folders), stem, next_counter(names, stem))


def fill_placeholders(prefix: str, width: int, height: int, now: time.struct_time) -> str:
    """Replace ``%width%``, ``%height%``, ``%year%`` … ``%second%`` in a prefix."""
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(r"%(\w+)%", lambda found: values.get(found[1], found[0]), prefix)


def next_counter(existing: Iterable[str], stem: str) -> int:
    """Return one more than the highest counter of files named ``<stem>_<counter>_…``."""
    pattern = re.compile(re.escape(os.path.normcase(stem)) + r"_(\d{1,18})[_.]")
    found = (pattern.match(os.path.normcase(name)) for name in existing)
    return max((int(match[1]) for match in found if match), default=0) + 1
