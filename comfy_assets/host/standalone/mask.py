"""A picture with the transparency that a mask editor has drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

from ...names import UnsafeName, folder_parts, relative_parts, split_annotation
from ...store_guard import is_protected
from .folders import BaseFolders
from .http import Refusal

COMPRESSION = 4


def named_picture(folders: BaseFolders, reference: Any) -> Path:
    """The file of ``{"filename", "subfolder", "type"}``, which need not exist. Raises UnsafeName, a ValueError."""
    if not isinstance(reference, dict):
        raise UnsafeName("a JSON object is expected")
    name, subfolder, file_type = (reference.get(key) or "" for key in ("filename", "subfolder", "type"))
    if not all(isinstance(each, str) for each in (name, subfolder, file_type)):
        raise UnsafeName("filename, subfolder and type must be strings")
    bare, annotated = split_annotation(name)
    folder = folders.of_type(annotated or file_type or "output")
    if folder is None:
        raise UnsafeName("type must be input, output or temp")
    path = folder.joinpath(*folder_parts(subfolder), *relative_parts(bare))
    if is_protected(path):
        raise UnsafeName("the file belongs to the library's store")
    return path


def masked(original: Path, mask: IO[bytes]) -> IO[bytes]:
    """The original as a PNG file with the mask's alpha; its texts, such as the workflow, are kept.

    Raises ImageTooLargeError, ImageUnreadableError, Refusal.
    """
    from PIL.PngImagePlugin import PngInfo

    from ...image_limits import convert_in_bands, open_untrusted

    result = io.BytesIO()
    with open_untrusted(original) as picture, open_untrusted(mask) as drawn:
        if picture.size != drawn.size:
            raise Refusal("The sizes of the mask and the original differ.")
        picture.load()
        texts = PngInfo()
        for name, text in getattr(picture, "text", {}).items():
            texts.add_text(name, text)
        opaque = convert_in_bands(picture, "RGBA", lambda band: band.convert("RGBA"))
        drawn.load()
        opaque.putalpha(convert_in_bands(drawn, "L", lambda band: band.convert("RGBA").getchannel("A")))
        opaque.save(result, "PNG", compress_level=COMPRESSION, pnginfo=texts)
    return result
