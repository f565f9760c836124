"""``/view`` and ``/upload``: the files of the input, output and temp folders.

Images are opened under the limits of ``image_limits``, as many at once as there is memory for.
"""

from __future__ import annotations

import asyncio
import io
import json
import mimetypes
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from aiohttp import web

from ...errors import ApiError, BusyError
from ...fs import shared_files
from ...fs.atomic import make_folder, temp_file
from ...fs.paths import extended_path, real_path
from ...fs.shared_files import open_shared
from ...names import (
    UnsafeName,
    existing_folder_parts,
    existing_parts,
    file_name,
    folder_parts,
    relative_parts,
    split_annotation,
)
from ...store_guard import is_protected
from ..shared_file_response import SharedFileResponse
from .folders import BaseFolders
from .http import Refusal, RouteTable, json_response

if TYPE_CHECKING:
    from PIL.Image import Image

    Encode = Callable[[Image], tuple[bytes, str]]

T = TypeVar("T")

MEMORY_WAIT_S = 10.0  # the longest wait for memory that other images use
_BYTES_A_PIXEL = 12  # the decoded and the converted image, and the encoder's copy
_BLOCK = 1 << 20
_MAX_COPIES = 10_000  # of one name; each is compared with the upload
_MASKED_COMPRESSION = 4  # of zlib: as ComfyUI saves PNG files
DEFAULT_QUALITY = 90
_PREVIEW_EDGE = 512  # longer side in pixels, of previews of models
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
OPAQUE = "application/octet-stream"
# Types that browsers display without running anything; all others are sent as downloads.
_PASSIVE_FAMILIES = ("image/", "audio/", "video/")
_PASSIVE_TYPES = frozenset({"text/plain", "application/json"})
_EXTRA_TYPES = {".webp": "image/webp", ".avif": "image/avif", ".flac": "audio/flac", ".opus": "audio/ogg"}


class ViewRoute:
    """The route /view."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders

    def routes(self) -> RouteTable:
        return [("GET", "/view", self._show)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
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
            subfolder = existing_folder_parts(query.get("subfolder", ""))
        except UnsafeName as error:
            raise Refusal(f"The subfolder is refused: {error}.", status=403) from error
        try:
            return folder.joinpath(*subfolder, *existing_parts(name))
        except UnsafeName as error:
            raise Refusal(f"The file's name is refused: {error}.") from error


class ModelPreviewRoute:
    """The route /experiment/models/preview: the picture beside a model."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders

    def routes(self) -> RouteTable:
        return [("GET", "/experiment/models/preview/{folder}/{path_index}/{file:.+}", self._show)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        """Send the picture as WebP. The file's name is the model's; any suffix will do."""
        category, index = request.match_info["folder"], request.match_info["path_index"]
        if category not in self._folders.categories():
            raise Refusal("There is no such folder.", status=404)
        if not (index.isascii() and index.isdecimal() and len(index) <= 4):
            raise Refusal("path_index must be a number.")
        roots = self._folders.category_paths(category)
        try:
            parts = relative_parts(request.match_info["file"])
        except UnsafeName as error:
            raise Refusal(f"The file's name is refused: {error}.") from error
        path = None
        if int(index) < len(roots):
            path = await asyncio.to_thread(picture_beside, roots[int(index)].joinpath(*parts))
        if path is None:
            raise Refusal("There is no preview of this model.", status=404)
        return await _picture(path, _small_preview)


def picture_beside(model: Path) -> Path | None:
    """Return the picture with a model's name, NAME.preview.png rather than NAME.png, or None. Blocks."""
    names = (stem + suffix for stem in (f"{model.stem}.preview", model.stem) for suffix in _PICTURES)
    paths = (model.with_name(name) for name in names)
    return next((path for path in paths if _may_be_sent(path) and _is_inside(path, model.parent)), None)


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file is really in the folder, rather than a link to another place."""
    return real_path(path).is_relative_to(real_path(folder))


def _small_preview(image: Image) -> tuple[bytes, str]:
    image.thumbnail((_PREVIEW_EDGE, _PREVIEW_EDGE))
    return _encode_preview(image, "webp", "")


def _may_be_sent(path: Path) -> bool:
    return extended_path(path).is_file() and not is_protected(path)


def passive_type(name: str) -> str:
    """Return the content type of a file, an opaque one for types that browsers might run."""
    guessed = _EXTRA_TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or OPAQUE
    if guessed in _PASSIVE_TYPES:
        return guessed
    # SVG is XML that can contain scripts.
    return guessed if guessed.startswith(_PASSIVE_FAMILIES) and "xml" not in guessed else OPAQUE


def disposition(kind: str, name: str) -> str:
    """Make a Content-Disposition header for any file name, including quotes and other alphabets."""
    ascii_name = name.encode("ascii", "replace").decode()
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in ascii_name)  # no line breaks in headers
    header = f'{kind}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def _file(path: Path) -> SharedFileResponse:
    content_type = passive_type(path.name)
    kind = "attachment" if content_type == OPAQUE else "inline"
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": disposition(kind, path.name),
        "X-Content-Type-Options": "nosniff",
    }
    return SharedFileResponse(path, headers)


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


@dataclass(frozen=True)
class UploadForm:
    """A received form: the file and its target."""

    fields: Mapping[str, object]
    source: IO[bytes]
    folder: Path
    name: str
    subfolder: str
    file_type: str
    overwrite: bool

    async def store(self, source: IO[bytes]) -> web.Response:
        """Store the file, or the image made from it, and return its name."""
        name = await asyncio.to_thread(store_upload, source, self.folder, self.name, overwrite=self.overwrite)
        return json_response({"name": name, "subfolder": self.subfolder, "type": self.file_type})


class UploadRoutes:
    """The routes /upload/image and /upload/mask."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders

    def routes(self) -> RouteTable:
        return [("POST", "/upload/image", self._receive_image), ("POST", "/upload/mask", self._receive_mask)]

    async def _receive_image(self, request: web.Request) -> web.Response:
        """Store an image. Fields: image (the file), type, subfolder, overwrite ("true" or "1")."""
        upload = await self._receive(request)
        return await upload.store(upload.source)

    async def _receive_mask(self, request: web.Request) -> web.Response:
        """Store the image ``original_ref`` with the alpha channel of the received mask. Other fields as above."""
        upload = await self._receive(request)
        original = self._original(form_text(upload.fields.get("original_ref"), "original_ref"))
        if not await asyncio.to_thread(extended_path(original).is_file):
            raise Refusal("The original image does not exist.")
        made = await run_image_work([original, upload.source], lambda: apply_mask(original, upload.source))
        return await upload.store(made)

    async def _receive(self, request: web.Request) -> UploadForm:
        fields = await _read_form(request)
        image = fields.get("image")
        if not isinstance(image, web.FileField) or not image.filename:
            raise Refusal("The field image must be a file with a name.")
        file_type = form_text(fields.get("type"), "type") or "input"
        subfolder = form_text(fields.get("subfolder"), "subfolder")
        root = self._folders.of_type(file_type)
        if root is None:
            raise Refusal("type must be input, output or temp.")
        try:
            folder = root.joinpath(*folder_parts(subfolder))
            wanted = file_name(image.filename)
        except UnsafeName as error:
            raise Refusal(f"The file's name or subfolder is refused: {error}.") from error
        overwrite = form_text(fields.get("overwrite"), "overwrite") in ("true", "1")
        return UploadForm(fields, image.file, folder, wanted, subfolder, file_type, overwrite)

    def _original(self, text: str) -> Path:
        """Return the image that ``{"filename", "subfolder", "type"}`` names. Raise Refusal."""
        try:
            return referenced_picture(self._folders, json.loads(text))
        except (ValueError, RecursionError) as error:  # UnsafeName is one
            raise Refusal(f"original_ref does not name a picture: {error}.") from error


def store_upload(source: IO[bytes], folder: Path, wanted: str, *, overwrite: bool) -> str:
    """Write the file and return its name. Blocks; raise Refusal if the system cannot store it.

    Without ``overwrite`` an existing file of the same name and content is used. If its content differs, the new file
    is called ``name (1).png``, ``name (2).png`` and so on.
    """
    try:
        make_folder(folder)
        if overwrite:
            with temp_file(folder / wanted) as temporary:
                with temporary.open("xb") as target:
                    _copy(source, target)
                shared_files.replace(temporary, folder / wanted)
            return wanted
        return _store_beside(source, folder, wanted)
    except OSError as error:
        raise Refusal(f"The file cannot be stored: {error.strerror or error}.") from error


def _store_beside(source: IO[bytes], folder: Path, wanted: str) -> str:
    stem, suffix = os.path.splitext(wanted)  # noqa: PTH122  the suffix of a name, not of a path
    for copy in range(_MAX_COPIES):
        name = wanted if copy == 0 else f"{stem} ({copy}){suffix}"
        path = extended_path(folder, name)
        try:
            target = path.open("xb")  # claims the name, so that two uploads at once cannot use the same
        except FileExistsError:
            if same_content(source, path):
                return name
            continue
        with target:
            _copy_or_remove(source, target, path)
        return name
    raise Refusal("There are too many files of this name.")


def same_content(source: IO[bytes], path: Path) -> bool:
    """Return whether a file has the same content."""
    if not extended_path(path).is_file():
        return False
    source.seek(0)
    with open_shared(path) as existing:
        while True:
            block = source.read(_BLOCK)
            if block != existing.read(_BLOCK):
                return False
            if not block:
                return True


def _copy_or_remove(source: IO[bytes], target: IO[bytes], path: Path) -> None:
    try:
        _copy(source, target)
    except OSError:
        target.close()  # Windows removes no open file
        shared_files.remove(path, missing_ok=True)
        raise


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    source.seek(0)  # it has been read if it was compared with a file
    shutil.copyfileobj(source, target, _BLOCK)


async def _read_form(request: web.Request) -> dict[str, object]:
    try:
        return dict(await request.post())
    # A broken multipart body or an unknown charset; aiohttp 3.9 asserts on a body that ends early.
    except (ValueError, LookupError, RuntimeError, AssertionError) as error:
        raise Refusal("The request's body is not a readable form.") from error


def form_text(value: object, name: str) -> str:
    """Return a text field of a form, "" if it is absent. Raise Refusal."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal(f"The field {name} must be text.")
    return value


def referenced_picture(folders: BaseFolders, reference: Any) -> Path:
    """Return the file of ``{"filename", "subfolder", "type"}``, which need not exist. Raise UnsafeName."""
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


def apply_mask(original: Path, mask: IO[bytes]) -> IO[bytes]:
    """Return the original as a PNG file with the mask's alpha channel. Its texts, such as the workflow, are kept.

    Raise ImageTooLargeError, ImageUnreadableError, Refusal.
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
        opaque.save(result, "PNG", compress_level=_MASKED_COMPRESSION, pnginfo=texts)
    return result
