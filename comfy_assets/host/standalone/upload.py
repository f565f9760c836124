"""``POST /upload/…``: store an image, or an image with a mask, in a folder under a free name."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiohttp import web

from ...names import UnsafeName, file_name, folder_parts, relative_parts, split_annotation
from ...store_guard import is_protected
from .files import run_image_work
from .folders import BaseFolders
from .http import Refusal, json_response

BLOCK = 1024 * 1024
MAX_COPIES = 10_000  # each is compared with the upload


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

    async def receive_image(self, request: web.Request) -> web.Response:
        """Store an image. Fields: image (the file), type, subfolder, overwrite ("true" or "1")."""
        upload = await self._receive(request)
        return await upload.store(upload.source)

    async def receive_mask(self, request: web.Request) -> web.Response:
        """Store the image ``original_ref`` with the alpha channel of the received mask. Other fields as above."""
        upload = await self._receive(request)
        original = self._original(form_text(upload.fields.get("original_ref"), "original_ref"))
        if not await asyncio.to_thread(original.is_file):
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
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            with _draft(source, folder) as draft:
                draft.replace(folder / wanted)
            return wanted
        return _store_beside(source, folder, wanted)
    except OSError as error:
        raise Refusal(f"The file cannot be stored: {error.strerror or error}.") from error


def _store_beside(source: IO[bytes], folder: Path, wanted: str) -> str:
    stem, suffix = os.path.splitext(wanted)  # noqa: PTH122  the suffix of a name, not of a path
    for copy in range(MAX_COPIES):
        name = wanted if copy == 0 else f"{stem} ({copy}){suffix}"
        path = folder / name
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
    if not path.is_file():
        return False
    source.seek(0)
    with path.open("rb") as existing:
        while True:
            block = source.read(BLOCK)
            if block != existing.read(BLOCK):
                return False
            if not block:
                return True


def _copy_or_remove(source: IO[bytes], target: IO[bytes], path: Path) -> None:
    try:
        source.seek(0)
        shutil.copyfileobj(source, target, BLOCK)
    except OSError:
        target.close()
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _draft(source: IO[bytes], folder: Path) -> Iterator[Path]:
    """Write the upload under a temporary name in its folder; remove it at the end unless it has been moved."""
    path = folder / f".upload-{uuid.uuid4().hex}"
    try:
        with path.open("xb") as target:
            source.seek(0)
            shutil.copyfileobj(source, target, BLOCK)
        yield path
    finally:
        path.unlink(missing_ok=True)


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


COMPRESSION = 4  # of zlib: as ComfyUI saves PNG files


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
        opaque.save(result, "PNG", compress_level=COMPRESSION, pnginfo=texts)
    return result
