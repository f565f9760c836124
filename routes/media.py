"""What files of pictures and videos say of themselves, over HTTP."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ..comfy_assets.assets.media import view_path
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.errors import ApiError, FileMissingError, InvalidQueryError
from ..comfy_assets.names import FileType, split_annotation
from .context import Call, endpoint, error_response
from .params import Text
from .router import Route, is_unanswered

if TYPE_CHECKING:
    from ..comfy_assets.assets.media.video import VideoFacts


_CLIPSPACE = "clipspace"
# The mask editor saves up to four files with one time stamp.
_LAYER = re.compile(r"clipspace-(?:painted-masked|painted|paint|mask)-([0-9]+(?:\.[0-9]+)?)\.png", re.ASCII)
_LAYER_KINDS = ("mask", "paint", "painted", "painted_masked")


class MaskLayersQuery(msgspec.Struct, frozen=True):
    """Query of getMaskLayers."""

    filename: Text = ""


class QueryVideo(msgspec.Struct, frozen=True):
    """Query of getVhsQueryVideo. Without a type the file is looked for among inputs, then among outputs."""

    filename: Text = ""
    subfolder: Text = ""
    type: FileType | None = None


def _not_found(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """What is no name of a layer is not found either."""
    return error_response(404 if status == 400 else status, code, message, details)


def _bad_request(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """A file that is not there is a wrong parameter here."""
    return error_response(400 if status == 404 else status, code, message, details)


@endpoint(query=MaskLayersQuery, failure=_not_found)
async def mask_layers(call: Call[MaskLayersQuery]) -> dict[str, str]:
    """The files that the mask editor has saved together with the one named (getMaskLayers)."""
    roots = Roots(call.services.host.folders())
    return await asyncio.to_thread(_find_layers, roots, call.query.filename)


def _find_layers(roots: Roots, filename: str) -> dict[str, str]:
    """Return the names of the existing layers of the same time stamp as the named one, by kind. Blocks.

    The name may have the folder and the suffix ``[input]`` that nodes use. Raises FileMissingError if the file does
    not exist or is not a layer.
    """
    bare, annotated = split_annotation(filename)
    name = bare.replace("\\", "/").removeprefix(f"{_CLIPSPACE}/")
    match = _LAYER.fullmatch(name)
    if match is None or annotated not in (None, "input") or not _is_there(roots, name):
        raise FileMissingError("There is no such layer of a mask.")
    layers = {kind: f"clipspace-{kind.replace('_', '-')}-{match[1]}.png" for kind in _LAYER_KINDS}
    return {kind: layer for kind, layer in layers.items() if _is_there(roots, layer)}


def _is_there(roots: Roots, name: str) -> bool:
    try:
        view_path.find(roots, view_path.named(roots, "input", _CLIPSPACE, name))
    except ApiError:
        return False
    return True


@endpoint(query=QueryVideo, failure=_bad_request)
async def query_video(call: Call[QueryVideo]) -> dict[str, Any]:
    """A video's size, rate, length and number of frames (getVhsQueryVideo)."""
    if not call.query.filename:
        raise InvalidQueryError("filename is missing.", details={"field": "filename"})
    facts = await asyncio.to_thread(_facts, Roots(call.services.host.folders()), call.query)
    size = [facts.width, facts.height]
    return {"source": {"size": size, "fps": facts.fps, "frames": facts.frames, "duration": facts.duration}}


def _facts(roots: Roots, query: QueryVideo) -> VideoFacts:
    """Runs in a thread, where importing what reads pictures holds nobody up."""
    from ..comfy_assets.assets.media.video import video_facts

    types: tuple[FileType, ...] = (query.type,) if query.type is not None else ("input", "output")
    for file_type in types:
        place = view_path.named(roots, file_type, query.subfolder, query.filename)
        try:
            view_path.find(roots, place)
            return video_facts(place.path)
        except (FileMissingError, OSError):
            continue
    raise FileMissingError("There is no such file.", details={"field": "filename"})


ROUTES = [
    Route("GET", "/api/files/mask-layers", "getMaskLayers", mask_layers),
    Route("GET", "/api/vhs/queryvideo", "getVhsQueryVideo", query_video, when=is_unanswered),
]
