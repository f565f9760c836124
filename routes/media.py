"""What files of pictures and videos say of themselves, over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ..comfy_assets.assets.media import view_path
from ..comfy_assets.assets.media.mask_layers import find_layers
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.errors import FileMissingError, InvalidQueryError
from ..comfy_assets.names import FileType
from .context import Call, endpoint, error_response
from .params import Text
from .router import Route, is_unanswered

if TYPE_CHECKING:
    from ..comfy_assets.assets.media.video_facts import VideoFacts


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
    found = await asyncio.to_thread(find_layers, roots, call.query.filename)
    return {name: file for name in found.__dataclass_fields__ if (file := getattr(found, name)) is not None}


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
    from ..comfy_assets.assets.media.video_facts import video_facts

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
