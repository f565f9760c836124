"""The built-in nodes, with ComfyUI's names and signatures."""

from __future__ import annotations

import mimetypes
import os
import random
import re
import string
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...fs.atomic import make_folder
from ...fs.paths import extended_path
from ...json_text import as_in_images
from ...names import WINDOWS, UnsafeName, relative_parts
from .nodes import InputTypes, Node, NodeRegistry, Result, Run
from .pixels import METHODS, load_image, resize, stack, to_image

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

    from .pixels import Floats

MAX_SIZE = 16384  # pixels on a side, as in ComfyUI
# zlib levels, as in ComfyUI: previews are written fast, as they are soon deleted.
SAVE_COMPRESSION = 4
PREVIEW_COMPRESSION = 1


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
        side = {"default": 512, "min": 1, "max": MAX_SIZE, "step": 1}
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
        side = {"default": 512, "min": 0, "max": MAX_SIZE, "step": 1}
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
        saved = save_images(run, images, self.folders.output, prefix, "output", SAVE_COMPRESSION)
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
        saved = save_images(run, images, self.folders.temp, prefix, "temp", PREVIEW_COMPRESSION)
        return Result((images,), {"images": saved})


def save_images(
    run: Run, images: Floats, root: Path, prefix: str, file_type: str, compression: int
) -> list[dict[str, str]]:
    """Write a batch below ``root``; return each file in the form of /view's query."""
    location = prepare_save(root, prefix, width=images.shape[2], height=images.shape[1])
    text = png_text(run)
    saved = []
    for index, image in enumerate(images):
        run.check()
        name = location.name(index)
        to_image(image).save(extended_path(location.folder, name), "PNG", pnginfo=text, compress_level=compression)
        saved.append({"filename": name, "subfolder": location.subfolder, "type": file_type})
    return saved


def png_text(run: Run) -> PngInfo:
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


DEFAULT_PREFIX = "ComfyUI"


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
    filled = fill_placeholders(prefix, width, height, time.localtime()) or DEFAULT_PREFIX
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
