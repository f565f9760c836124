"""``GET /view``: a file of the input, output or temp folder, whole or as a preview or channel of an image."""

from __future__ import annotations

import asyncio
import io
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import quote

from aiohttp import web

from ...errors import ApiError, BusyError
from ...names import UnsafeName, folder_parts, relative_parts, split_annotation
from ...store_guard import is_protected
from .folders import BaseFolders
from .http import Refusal

if TYPE_CHECKING:
    from PIL.Image import Image

    Encode = Callable[[Image], tuple[bytes, str]]

DEFAULT_QUALITY = 90
OPAQUE = "application/octet-stream"
# Types that browsers display without running anything; all others are sent as downloads.
_PASSIVE_FAMILIES = ("image/", "audio/", "video/")
_PASSIVE_TYPES = frozenset({"text/plain", "application/json"})
_EXTRA_TYPES = {".webp": "image/webp", ".avif": "image/avif", ".flac": "audio/flac", ".opus": "audio/ogg"}


class ViewRoute:
    """The route /view."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders

    async def show(self, request: web.Request) -> web.StreamResponse:
        path = self._path(request)
        if not await asyncio.to_thread(_may_be_sent, path):
            raise Refusal("There is no such file.", status=404)
        preview, channel = request.query.get("preview"), request.query.get("channel", "")
        if preview is not None:
            return await _picture(path, lambda image: _encode_preview(image, preview, channel))
        if channel == "rgb":
            return await _picture(path, lambda image: _png(_in_mode(image, "RGB")))
        if channel == "a":
            return await _picture(path, lambda image: _png(_alpha_of(image)))
        return _file(path)

    def _path(self, request: web.Request) -> Path:
        """Return the requested file. Raise Refusal."""
        query = request.query
        if not query.get("filename"):
            raise Refusal("filename is missing.", status=404)  # ComfyUI's status
        name, annotated = split_annotation(query["filename"])
        folder = self._folders.of_type(annotated or query.get("type", "output"))
        if folder is None:
            raise Refusal("type must be input, output or temp.")
        try:
            subfolder = folder_parts(query.get("subfolder", ""))
        except UnsafeName as error:
            raise Refusal(f"The subfolder is refused: {error}.", status=403) from error
        try:
            return folder.joinpath(*subfolder, *relative_parts(name))
        except UnsafeName as error:
            raise Refusal(f"The file's name is refused: {error}.") from error


def _may_be_sent(path: Path) -> bool:
    return path.is_file() and not is_protected(path)


def passive_type(name: str) -> str:
    """Return the content type of a file, an opaque one for types that browsers might run."""
    guessed = _EXTRA_TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or OPAQUE
    if guessed in _PASSIVE_TYPES:
        return guessed
    # SVG is XML that can contain scripts.
    return guessed if guessed.startswith(_PASSIVE_FAMILIES) and "xml" not in guessed else OPAQUE


def disposition(kind: str, name: str) -> str:
    """Make a Content-Disposition header for any file name, including quotes and other alphabets."""
    plain = name.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_")
    header = f'{kind}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def _file(path: Path) -> web.FileResponse:
    content_type = passive_type(path.name)
    kind = "attachment" if content_type == OPAQUE else "inline"
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": disposition(kind, path.name),
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(path, headers=headers)


async def _picture(path: Path, encode: Encode) -> web.Response:
    """Return an image made from the file. Raise Refusal if it is unreadable or too large."""
    body, content_type = await run_image_work([path], lambda: _encode_file(path, encode))
    headers = {"Content-Disposition": disposition("inline", path.name), "X-Content-Type-Options": "nosniff"}
    return web.Response(body=body, content_type=content_type, headers=headers)


def _encode_file(path: Path, encode: Encode) -> tuple[bytes, str]:
    from ...image_limits import open_untrusted

    with open_untrusted(path) as image:
        image.load()
        return encode(image)


def _encode_preview(image: Image, wanted: str, channel: str) -> tuple[bytes, str]:
    """Encode a preview: ``webp;90`` or ``jpeg;75``. JPEG has no alpha, so the channel ``a`` is sent as WebP."""
    words = wanted.split(";")
    kind = "jpeg" if words[0] == "jpeg" and "a" not in channel else "webp"
    digits = words[-1]
    quality = min(int(digits), 100) if digits.isdecimal() and len(digits) <= 3 else DEFAULT_QUALITY
    if kind == "jpeg" or channel == "rgb" or image.mode not in ("RGB", "RGBA"):
        transparent = "A" in image.getbands() or "transparency" in image.info
        image = _in_mode(image, "RGBA" if transparent and kind == "webp" and channel != "rgb" else "RGB")
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue(), f"image/{kind}"


def _alpha_of(image: Image) -> Image:
    """Return a black image with the alpha channel of this one, opaque if it has none."""
    from PIL import Image

    from ...image_limits import convert_in_bands

    alpha = convert_in_bands(image, "L", lambda band: band.convert("RGBA").getchannel("A"))
    black = Image.new("RGBA", image.size)
    black.putalpha(alpha)
    return black


def _in_mode(image: Image, mode: str) -> Image:
    from ...image_limits import convert_in_bands

    return convert_in_bands(image, mode, lambda band: band.convert(mode))


def _png(image: Image) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), "image/png"


T = TypeVar("T")

MEMORY_WAIT_S = 10.0  # the longest wait for memory that other images use
_BYTES_A_PIXEL = 12  # the decoded and the converted image, and the encoder's copy


@contextmanager
def as_refusal() -> Iterator[None]:
    """Turn the errors of an image into Refusals."""
    try:
        yield
    except ApiError as error:
        raise Refusal(error.message, error.status, code=error.code) from error


async def run_image_work(sources: list[Path | IO[bytes]], work: Callable[[], T]) -> T:
    """Run work in a thread once there is memory for these images. Raise Refusal."""
    from ...image_limits import image_memory

    with as_refusal():
        amount = await asyncio.to_thread(lambda: sum(map(_memory_of, sources)))
        try:
            async with image_memory.reserve(amount, MEMORY_WAIT_S):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            raise BusyError("The server is busy with other images; try again.") from error


def _memory_of(source: Path | IO[bytes]) -> int:
    """Estimate the memory for an image in bytes. Raise ImageTooLargeError, ImageUnreadableError."""
    from ...image_limits import open_untrusted

    with open_untrusted(source) as picture:
        return picture.width * picture.height * _BYTES_A_PIXEL
