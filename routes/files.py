"""Files of the host's folders: ``/api/view`` with thumbnails and hashes, mask layers, facts of videos."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.assets.media import view_path
from ..comfy_assets.assets.media.mime import guess_mime
from ..comfy_assets.assets.media.thumbnail_service import Thumbnail, ThumbnailRequest
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.errors import (
    ApiError,
    FileMissingError,
    ImageTooLargeError,
    ImageUnreadableError,
    InvalidNameError,
    InvalidQueryError,
    NoThumbnailError,
    StoreUnavailableError,
    VideoUnreadableError,
)
from ..comfy_assets.host.base import Host
from ..comfy_assets.host.login_gate import IDENTITY
from ..comfy_assets.models import Plane
from ..comfy_assets.names import FileType, split_annotation
from .context import NoQuery, RequestContext, endpoint, error_response, known_user
from .file_response import INERT_IMAGE, content_response, disposition, is_held, send_inert
from .interceptors import (
    ErrorMapping,
    HostRequest,
    Interceptor,
    PictureCheck,
    StoreFileCheck,
    check_first,
    named_files,
    request_folders,
)
from .operations import (
    BINARY,
    Operation,
    Record,
    Response,
    Route,
    array,
    integer,
    is_missing_at_host,
    number,
    object_with,
    string,
)
from .params import Text, check_encoding, doc

if TYPE_CHECKING:
    from ..comfy_assets.assets.media.video import VideoFacts

log = logging.getLogger("comfy_assets.http")

_CLIPSPACE = "clipspace"
_PLAYERS = ("video", "audio")  # destinations of requests (Fetch standard, 2.2.5)
_VARY = "Sec-Fetch-Dest, Range"
# The mask editor saves up to four files with one time stamp.
_LAYER = re.compile(r"clipspace-(?:painted-masked|painted|paint|mask)-([0-9]+(?:\.[0-9]+)?)\.png", re.ASCII)
_LAYER_KINDS = ("mask", "paint", "painted", "painted_masked")
# No file has a name with a colon on Windows, so hosts refuse a hash as a name.
_REFUSES_COLONS = os.name == "nt"
_HASH = re.compile(r"blake3:([0-9a-f]{64})(?: \[(?:input|output|temp)\])?")  # pages add the folder to a picked image's
# Query value -> plane of the thumbnail: "rgb" without transparency, "a" and "alpha" the transparency alone.
_PLANES: dict[str | None, Plane] = {None: "flat", "rgb": "rgb", "a": "alpha", "alpha": "alpha"}


class ThumbnailQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Query of viewFile with ``res``; the host handles viewFile without it."""

    filename: Text = ""
    subfolder: Text = ""
    type: FileType = "output"
    res: Annotated[int, msgspec.Meta(ge=64, le=1024)]  # longer side in pixels
    channel: Literal["rgb", "a", "alpha"] | None = None


class MaskLayersQuery(msgspec.Struct, frozen=True):
    """Query of getMaskLayers."""

    filename: Annotated[Text, doc("The name of any of the files.")] = ""


class VideoQuery(msgspec.Struct, frozen=True):
    """Query of getVhsQueryVideo. Without a type the file is searched among inputs, then among outputs."""

    filename: Annotated[Text, doc("The video's name.")] = ""
    subfolder: Annotated[Text, doc("The folder inside the folder of the type.")] = ""
    type: Annotated[FileType | None, doc("The folder; if omitted, inputs are searched, then outputs.")] = None


@endpoint(query=ThumbnailQuery, allow_anonymous=True, has_more_parameters=True)  # those of the host
async def view_file(call: RequestContext[ThumbnailQuery]) -> web.Response:
    """Return a thumbnail of a picture or video (viewFile with ``res``)."""
    query = call.query
    # A name that is not UTF-8 would otherwise be looked for with its percent signs, and found missing.
    check_encoding(call.request.rel_url.raw_query_string)
    if not query.filename:
        raise InvalidQueryError("filename is missing.", details={"field": "filename"})
    await _keep_to_their_owner(call)
    wanted = ThumbnailRequest(query.type, query.subfolder, query.filename, query.res, _PLANES[query.channel])
    return await thumbnail_response(call, wanted, call.user)


async def thumbnail_response(call: RequestContext[Any], wanted: ThumbnailRequest, owner: str) -> web.Response:
    """Return the thumbnail of a file that the owner can see, or 304 if the client has it."""
    return thumbnail_body(await call.services.thumbnails.get(wanted, owner, held_by(call.request)))


def held_by(request: web.Request) -> Callable[[str], bool]:
    """Return a function that tells whether the client has the thumbnail of a key."""
    return lambda key: is_held(request, _etag(key))


def thumbnail_body(thumbnail: Thumbnail) -> web.Response:
    """Make the response of a thumbnail, or 304 if the client has it."""
    headers = {
        "ETag": _etag(thumbnail.key),
        "Cache-Control": "private, no-cache",
        "Vary": _VARY,
        "X-Content-Type-Options": "nosniff",
    }
    if thumbnail.body is None:
        return web.Response(status=304, headers=headers)
    stem, content_type = PurePath(thumbnail.name).stem, "image/jpeg"
    if thumbnail.is_svg:
        content_type = "image/svg+xml"
        headers["Content-Security-Policy"] = INERT_IMAGE  # for a browser that is led to the address itself
    headers["Content-Disposition"] = disposition("inline", f"{stem}.{'svg' if thumbnail.is_svg else 'jpg'}")
    return web.Response(body=thumbnail.body, content_type=content_type, headers=headers)


def _etag(key: str) -> str:
    return f'"{key}"'


def _wants_thumbnail(request: web.Request, _: Services) -> bool:
    return "res" in request.query and not _is_player(request)


def _is_player(request: web.Request) -> bool:
    """Return whether the request is from a player of videos or sounds rather than from an image.

    ComfyUI's page gives players the ``preview_url`` of an asset, so the same address leads them to the file. Browsers
    name the destination on secure origins alone. Elsewhere players are known by the range that they ask for.
    """
    destination = request.headers.get("Sec-Fetch-Dest")
    if destination is not None:
        return destination in _PLAYERS
    mime = guess_mime(split_annotation(request.query.get("filename", ""))[0])
    return "Range" in request.headers and mime.startswith(("video/", "audio/"))


async def _send_to_player(call: HostRequest) -> web.StreamResponse:
    """Keep browsers from taking the file for the thumbnail of the same address, and the other way round."""
    response = await call.pass_on()
    is_shared = "res" in call.request.query and _is_player(call.request)
    if is_shared and not response.prepared and response.status in (200, 206):
        response.headers.update({"Vary": _VARY, "Cache-Control": "private, no-cache"})
    return response


async def view_by_hash(call: HostRequest) -> web.StreamResponse:
    """Replace a hash in a request to ``/view`` by the file's name; send a file that the host has no name for."""
    match = _HASH.fullmatch(call.request.query.get("filename", ""))
    if match is None:
        return await call.pass_on()
    found = await _file_of_hash(call, bytes.fromhex(match[1]))
    if found is None:
        return await _view_unknown_hash(call)
    path, mime = found
    named = await asyncio.to_thread(_request_name, path, request_folders(call.services.host))
    if named is None:
        return content_response(path, path.name, mime, is_inline=True)
    # The host reads the query, so it gets a request with the file's name in place of the hash.
    return await call.pass_on(call.request.clone(rel_url=call.request.rel_url.update_query(named)))


async def _file_of_hash(call: HostRequest, digest: bytes) -> tuple[Path, str] | None:
    user = known_user(call.request, call.services)
    if user is None:
        return None
    try:
        await call.services.ready()
        return await call.services.assets.file_of_hash(digest, user)
    except StoreUnavailableError:
        return None


def _request_name(path: Path, folders: dict[str, Path]) -> dict[str, str] | None:
    """Return the query that names the file, or None for a file outside the folders that requests can name."""
    for kind, root in folders.items():
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            subfolder = inside.parent.as_posix()
            return {"filename": inside.name, "subfolder": "" if subfolder == "." else subfolder, "type": kind}
    return None


async def _view_unknown_hash(call: HostRequest) -> web.StreamResponse:
    """Pass on a hash that is not in the store; return 404 if the host refuses it or fails to read its own records."""
    try:
        response = await call.pass_on()
        if response.status != 400 or not _REFUSES_COLONS:
            return response
    except web.HTTPException as refusal:
        if refusal.status != 400 or not _REFUSES_COLONS:
            raise
    except Exception:
        log.exception("The host could not look for a file by its hash")
    return error_response(404, "FILE_NOT_FOUND", "There is no such file.")


async def _viewed_files(call: HostRequest) -> list[Path]:
    """Return the files that a request to ``/view`` may mean."""
    return _named_in(call.request, call.services.host)


def _named_in(request: web.Request, host: Host) -> list[Path]:
    query = request.query
    return named_files(host, query.get("filename", ""), query.get("subfolder", ""), query.get("type", "output"))


async def _decoded_views(call: HostRequest) -> list[Path]:
    """Return the pictures that the host decodes for a request to ``/view``; most it sends as they are."""
    query = call.request.query
    if "preview" not in query and query.get("channel") not in ("rgb", "a"):
        return []
    return await _viewed_files(call)


async def _keep_to_their_owner(call: RequestContext[Any]) -> None:
    """Raise FileMissingError for another user's file, if the login says who asks: images come without a header."""
    services = call.services
    if IDENTITY not in call.request or not services.host.is_multi_user():
        return
    await services.ready()
    user = known_user(call.request, services) or ""
    for path in _named_in(call.request, services.host):
        if await services.host_uploads.is_anothers(user, path):
            raise FileMissingError("There is no such file.")


async def _check_view(call: RequestContext[NoQuery]) -> None:
    """Raise FileMissingError if an unknown user asks for a file by its hash: such files belong to users."""
    if not call.request.query.get("filename", "").startswith("blake3:"):
        return
    if known_user(call.request, call.services) is None:
        raise FileMissingError("There is no such file.")


def _not_found(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make an error of getMaskLayers, which returns 404 for a name that cannot be a layer's."""
    return error_response(404 if status == 400 else status, code, message, details)


def _bad_request(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make an error of getVhsQueryVideo, which returns 400 for a missing file."""
    return error_response(400 if status == 404 else status, code, message, details)


@endpoint(query=MaskLayersQuery, failure=_not_found)
async def mask_layers(call: RequestContext[MaskLayersQuery]) -> dict[str, str]:
    """List the files that the mask editor saved together with a file (getMaskLayers)."""
    roots = Roots(call.services.host.folders())
    return await asyncio.to_thread(_find_layers, roots, call.query.filename)


def _find_layers(roots: Roots, filename: str) -> dict[str, str]:
    """Return the names of the existing layers of the same time stamp as the named one, by kind. Blocks.

    The name may have the folder and the suffix ``[input]`` that nodes use. Raise FileMissingError if the file does
    not exist or is not a layer.
    """
    bare, annotated = split_annotation(filename)
    name = bare.replace("\\", "/").removeprefix(f"{_CLIPSPACE}/")
    match = _LAYER.fullmatch(name)
    if match is None or annotated not in (None, "input") or not _layer_exists(roots, name):
        raise FileMissingError("There is no such layer of a mask.")
    layers = {kind: f"clipspace-{kind.replace('_', '-')}-{match[1]}.png" for kind in _LAYER_KINDS}
    return {kind: layer for kind, layer in layers.items() if _layer_exists(roots, layer)}


def _layer_exists(roots: Roots, name: str) -> bool:
    try:
        view_path.find(roots, view_path.parse(roots, "input", _CLIPSPACE, name))
    except ApiError:
        return False
    return True


@endpoint(query=VideoQuery, failure=_bad_request, has_more_parameters=True)  # all widgets of the node
async def query_video(call: RequestContext[VideoQuery]) -> dict[str, Any]:
    """Return a video's size, frame rate, length and number of frames (getVhsQueryVideo)."""
    if not call.query.filename:
        raise InvalidQueryError("filename is missing.", details={"field": "filename"})
    facts = await asyncio.to_thread(_video_facts, Roots(call.services.host.folders()), call.query)
    size = [facts.width, facts.height]
    return {"source": {"size": size, "fps": facts.fps, "frames": facts.frames, "duration": facts.duration}}


def _video_facts(roots: Roots, query: VideoQuery) -> VideoFacts:
    from ..comfy_assets.assets.media.video import video_facts  # in the thread: it imports PyAV and Pillow

    types: tuple[FileType, ...] = (query.type,) if query.type is not None else ("input", "output")
    for file_type in types:
        place = view_path.parse(roots, file_type, query.subfolder, query.filename)
        try:
            view_path.find(roots, place)
            return video_facts(place.path)
        except (FileMissingError, OSError):
            continue
    raise FileMissingError("There is no such file.", details={"field": "filename"})


_UNUSED = doc("Accepted and ignored, as on the stock server.")


class ViewQuery(msgspec.Struct):
    """Query of viewFile, with the parameters of the project and of the host."""

    # For the document alone: requests with ``res`` are parsed as ThumbnailQuery, the others by the host.

    filename: Annotated[str, doc("The file's name, which may end in ` [input]` and the like, or the hash of an asset.")]
    subfolder: Annotated[str, doc("The folder inside the folder of the type.")] = ""
    type: Annotated[Literal["input", "output", "temp"], doc("The folder.")] = "output"
    res: Annotated[
        Annotated[int, msgspec.Meta(ge=64, le=1024)] | None, doc("Longer side of the thumbnail, in pixels.")
    ] = None
    channel: Annotated[
        Literal["rgba", "rgb", "a", "alpha"] | None, doc("The colours without transparency, or the transparency alone.")
    ] = None
    preview: Annotated[
        str | None, doc("Format and quality of a preview, such as `webp;90`, made by the server around the project.")
    ] = None
    fullpath: Annotated[str | None, _UNUSED] = None
    format: Annotated[str | None, _UNUSED] = None
    frame_rate: Annotated[int | None, _UNUSED] = None
    workflow: Annotated[str | None, _UNUSED] = None
    timestamp: Annotated[int | None, _UNUSED] = None


_LAYERS = Record(
    "MaskLayers",
    "The files that the mask editor saved for one mask. Missing files are omitted.",
    {
        "mask": string("The mask."),
        "paint": string("The painted strokes."),
        "painted": string("The image with the painted strokes."),
        "painted_masked": string("The same image with the mask."),
    },
    optional=("mask", "paint", "painted", "painted_masked"),
)
_VIDEO = Record(
    "VideoInfo",
    "Facts of a video.",
    {
        "source": object_with(
            {
                "size": array({"type": "integer"}, "Width and height.", minItems=2, maxItems=2),
                "fps": number("Frames per second."),
                "frames": integer("Number of frames."),
                "duration": number("Duration in seconds."),
            },
            "The facts.",
        )
    },
)

ROUTES = [
    Route(
        "GET",
        "/api/view",
        view_file,
        Operation(
            "viewFile",
            "Files",
            "Get a file or its thumbnail",
            {
                200: Response(
                    "The file; with `res` a JPEG, or an SVG image itself.",
                    BINARY,
                    "*/*",
                    {"ETag": "With `res`: entity tag of the thumbnail."},
                ),
                206: Response("The part that the request's `Range` selects.", BINARY, "*/*"),
                304: Response("The client's copy is up to date."),
            },
            "The project handles requests with `res`, except those of players, which get the file; the server around "
            "it handles the others.",
            query=ViewQuery,
            errors=(InvalidNameError, FileMissingError, NoThumbnailError, ImageTooLargeError, ImageUnreadableError),
            is_open=True,
        ),
        when=_wants_thumbnail,
    ),
    Route(
        "GET",
        "/api/files/mask-layers",
        mask_layers,
        Operation(
            "getMaskLayers",
            "Files",
            "List the files that the mask editor saved together",
            {200: Response("Their names.", _LAYERS)},
            errors=(FileMissingError,),
            statuses={400: 404},
        ),
    ),
    Route(
        "GET",
        "/api/vhs/queryvideo",
        query_video,
        Operation(
            "getVhsQueryVideo",
            "Files",
            "Get the size, duration and frame rate of a video",
            {200: Response("The facts.", _VIDEO)},
            "A node pack that has the operation keeps it.",
            errors=(InvalidNameError, FileMissingError, VideoUnreadableError),
            statuses={404: 400},
        ),
        when=is_missing_at_host,
    ),
]
INTERCEPTORS = [
    # The hash comes first: the checks need the file's name.
    Interceptor("GET", "/api/view", view_by_hash),
    Interceptor("GET", "/api/view", StoreFileCheck(_viewed_files)),
    Interceptor("GET", "/api/view", check_first(_keep_to_their_owner)),
    Interceptor("GET", "/api/view", PictureCheck(_decoded_views)),
    Interceptor("GET", "/api/view", ErrorMapping(_check_view, statuses={403: 400})),
    Interceptor("GET", "/api/view", _send_to_player),
    Interceptor("GET", "/api/view", send_inert),
]
