"""The layers that the page's mask editor saves for a picture: four files of one stamp in ``input/clipspace``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import ApiError, FileMissingError
from ...names import split_annotation
from ..roots import Roots
from . import view_path

FOLDER = "clipspace"
_LAYER = re.compile(r"clipspace-(?:painted-masked|painted|paint|mask)-([0-9]+(?:\.[0-9]+)?)\.png", re.ASCII)


@dataclass(frozen=True)
class MaskLayers:
    """The names of the layers that are there: of the mask, the strokes, the painted picture, and of all in one."""

    mask: str | None
    paint: str | None
    painted: str | None
    painted_masked: str | None


def find_layers(roots: Roots, filename: str) -> MaskLayers:
    """The layers that belong together with the one named, which may be named as a node does. Blocks.

    Raises FileMissingError for a file that is not there or is no layer.
    """
    bare, annotated = split_annotation(filename)
    name = bare.replace("\\", "/").removeprefix(f"{FOLDER}/")
    match = _LAYER.fullmatch(name)
    if match is None or annotated not in (None, "input") or not _is_there(roots, name):
        raise FileMissingError("There is no such layer of a mask.")

    def there(kind: str) -> str | None:
        layer = f"clipspace-{kind}-{match[1]}.png"
        return layer if _is_there(roots, layer) else None

    return MaskLayers(there("mask"), there("paint"), there("painted"), there("painted-masked"))


def _is_there(roots: Roots, name: str) -> bool:
    try:
        view_path.find(roots, view_path.named(roots, "input", FOLDER, name))
    except ApiError:
        return False
    return True
