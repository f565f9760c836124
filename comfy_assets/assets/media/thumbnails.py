"""Thumbnails of files: JPEG images of the colours or the transparency of pictures, videos, sounds and 3D scenes.

For worker threads. Files may be hostile: their size is checked before they are decoded.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import struct
from functools import cache
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from PIL import Image, ImageFile

from ...background.interruption import CancelToken
from ...errors import ImageTooLargeError, ImageUnreadableError, NoThumbnailError
from ...fs.paths import ChangedWhileReading, extended, matches_record
from ...image_limits import (
    THUMBNAIL_FORMATS,
    check_size,
    image_memory,
    map_reader_errors,
    open_image,
    pixel_limit,
)
from ...models import FileStat, Plane
from . import ffmpeg, image, own_pictures, video
from .image import ImageStream, PngPixels, fit_size
from .metadata import read_contents
from .readers.base import ByteSource

JPEG_START = b"\xff\xd8"  # of all thumbnails but those of SVG images, which are the files themselves

_QUALITY = 85
_BYTES_A_PIXEL = 8  # memory for decoding: up to four channels, twice
_MAX_PROFILE = 16 << 10  # larger colour profiles would outweigh the thumbnail
_MAX_HELD = 64 << 20  # bytes of a file that its decoder reads completely
_HEAD = 4096
_PNG = b"\x89PNG\r\n\x1a\n"
_PSD, _PSD_DEEP = b"8BPS", b"\0\x10"
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
# The classes of optional packages that open a format: modules, in the order of preference, and names.
_PLUGINS = {"JXL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"), "HEIF": ("pillow_heif", "HeifImageFile")}

# SVG files are sent to browsers as they are, after a check. Nothing in them is run or followed here.
_MAX_SVG_BYTES = 8 << 20  # browsers need seconds for larger drawings
_BEFORE_ROOT = ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!DOCTYPE", b">"))
_FIRST_ELEMENT = re.compile(rb"<([^\s<>/]+)[\s>/]")
_SVG_BLOCK = 64 << 10  # parsing this much blocks other threads for a few milliseconds
_MAX_ENTITY = 256  # characters: drawing programs declare entities for the addresses of name spaces
_MAX_ENTITIES = 100


class Thumbnailer:
    """Makes thumbnails; usable from several threads. Setting the token cancels them."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token

    def make(self, path: Path, stat: FileStat, res: int, plane: Plane) -> bytes:
        """Return the thumbnail, which fits ``res`` x ``res`` and is never larger than the picture.

        It is a JPEG image, or an SVG file as it is. Raises ImageTooLargeError, ImageUnreadableError, NoThumbnailError,
        ChangedWhileReading if the file does not match ``stat`` before or after, Cancelled, and OSError if it cannot be
        opened.
        """
        with ImageStream(extended(str(path)), self._token) as stream:
            _check_unchanged(stream, stat)
            with map_reader_errors():
                body = _Source(stream, stat[0], path.name, self._token).draw(res, plane)
            _check_unchanged(stream, stat)
        return body

    def make_of(self, picture: bytes, res: int, plane: Plane) -> bytes:
        """Return the thumbnail of a picture that another file contains. Raises the exceptions of images in ``make``."""
        with map_reader_errors():
            return _inner(picture, self._token).draw(res, plane)


def _inner(picture: bytes | None, token: CancelToken) -> _Source:
    if picture is None:
        raise NoThumbnailError("The file contains no picture of itself.")
    return _Source(io.BytesIO(picture), len(picture), "", token, is_inner=True)


def _check_unchanged(stream: ImageStream, stat: FileStat) -> None:
    if not matches_record(os.fstat(stream.fileno()), *stat[:2]):
        raise ChangedWhileReading


class _Source:
    """A file, or with ``is_inner`` a picture from inside one, and the choice of its decoder by the content."""

    def __init__(self, stream: IO[bytes], size: int, name: str, token: CancelToken, *, is_inner: bool = False) -> None:
        self._stream = stream
        self._size = size
        self._name = name
        self._token = token
        self._is_inner = is_inner
        self._head = self._read(0, _HEAD)

    def _read(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(max(0, min(length, self._size - offset)))

    def draw(self, res: int, plane: Plane) -> bytes:
        """Return the thumbnail as a file."""
        head = self._head
        if is_svg(head):
            if plane != "flat":
                raise NoThumbnailError("SVG images are sent as they are, so there is no image of a channel.")
            return read_svg(self._stream, self._size)
        if head.startswith(_JXL):
            return self._by_plugin("JXL", res, plane)
        if self._is_heif and _plugin("HEIF") is not None:
            return self._by_plugin("HEIF", res, plane)
        container = image.high_range_container(head)
        if container is not None:
            return self._high_range(container, res, plane)
        if not self._is_inner and (picture := self._own_picture()) is not None:
            return picture.draw(res, plane)
        opened = self._opened()
        return self._still(opened, res, plane) if opened is not None else self._stream_or_targa(res, plane)

    @property
    def _is_heif(self) -> bool:
        return self._head[4:8] == b"ftyp" and self._head[8:12] in _HEIF_BRANDS

    def _own_picture(self) -> _Source | None:
        """Return the picture inside the file; None for a file of another kind. Raises NoThumbnailError."""
        if own_pictures.is_icon(self._head):
            return _inner(own_pictures.icon_picture(self._read, self._size), self._token)
        if own_pictures.is_gltf(self._head):
            return _inner(own_pictures.gltf_picture(self._read, self._size), self._token)
        if own_pictures.is_safetensors(self._head, self._size):
            return _inner(own_pictures.header_picture(self._read, self._size), self._token)
        return None

    def _opened(self) -> ImageFile.ImageFile | None:
        if self._head.startswith(_PSD) and self._head[22:24] == _PSD_DEEP:
            check_size(*struct.unpack(">II", self._head[14:22]))
            return None  # FFmpeg reads samples of 16 bits, Pillow does not
        self._stream.seek(0)
        stream: Any = PngPixels(self._stream) if self._head.startswith(_PNG) else self._stream
        stream.seek(0)
        return open_image(stream, self._size, (*THUMBNAIL_FORMATS, "ICO") if self._is_inner else THUMBNAIL_FORMATS)

    def _stream_or_targa(self, res: int, plane: Plane) -> bytes:
        """Draw a video or a sound, or an image whose format only its name shows."""
        container = "psd_pipe" if self._head.startswith(_PSD) else ffmpeg.container_of(self._head)
        container = None if self._is_inner else container
        if container is not None:
            return _encode(_on_white(_plane_of(self._frame(container, res), plane)))
        if self._name.lower().endswith(".tga"):
            from PIL.TgaImagePlugin import TgaImageFile

            self._stream.seek(0)
            picture = TgaImageFile(self._stream, "")
            check_size(*picture.size)
            return self._still(picture, res, plane)
        raise NoThumbnailError("The file is not of a kind that has thumbnails.")

    def _frame(self, container: str, res: int) -> Image.Image:
        av = ffmpeg.require_pyav()
        self._stream.seek(0)
        with ffmpeg.map_ffmpeg_errors(av), ffmpeg.open_container(av, self._stream, container) as source:
            track = video.video_track(source)
            if track is None:
                return video.draw_waveform(av, source, res)
            return video.first_frame(source, track, res, self._declared_size() if self._is_heif else None)

    def _declared_size(self) -> tuple[int, int] | None:
        """Return width and height as the file's header states them, or None."""
        facts = read_contents("", ByteSource(self._read, self._size, False)).facts
        width, height = facts.get("width"), facts.get("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None

    def _high_range(self, container: str, res: int, plane: Plane) -> bytes:
        width, height = image.high_range_size(self._stream, self._head)
        with image_memory.hold(width * height * image.HIGH_RANGE_BYTES_A_PIXEL, self._token.check):
            picture = image.draw_high_range(self._stream, container, res)
        return _encode(_on_white(_plane_of(picture, plane)))

    def _by_plugin(self, name: str, res: int, plane: Plane) -> bytes:
        opener = _plugin(name)
        if opener is None:
            package = _PLUGINS[name][0].partition(".")[0].replace("_", "-")
            raise NoThumbnailError(f"Thumbnails of files of this type need {package}, which is not installed.")
        if self._size > _MAX_HELD:
            raise ImageTooLargeError("The file is too large for an image.", details={"size": self._size})
        size = self._declared_size()
        if size is None:  # it may be decoded when it is opened
            raise ImageUnreadableError("The image cannot be read. Its header has no size.")
        check_size(*size, pixel_limit(name))
        self._stream.seek(0)
        with image_memory.hold(size[0] * size[1] * _BYTES_A_PIXEL + self._size, self._token.check):
            picture = opener(self._stream, "")
            check_size(picture.width, picture.height, pixel_limit(name))
            return _encode(self._shrunk(picture, res, plane), _profile(picture))

    def _still(self, source: ImageFile.ImageFile, res: int, plane: Plane) -> bytes:
        # Some formats also keep the whole file in memory.
        memory = source.width * source.height * _BYTES_A_PIXEL + self._size
        with image_memory.hold(memory, self._token.check):
            return _encode(self._shrunk(source, res, plane), _profile(source))

    def _shrunk(self, source: ImageFile.ImageFile, res: int, plane: Plane) -> Image.Image:
        whole = source.size
        size = fit_size(whole, res)
        source.draft(None, (2 * size[0], 2 * size[1]))  # decodes a JPEG at down to an eighth of its size
        is_draft = source.size != whole
        if isinstance(self._stream, ImageStream):
            self._stream.is_strict = (
                source.format != "JPEG2000"
            )  # whose decoder reads on at the end, and complains itself
        source.load()
        if not is_draft:
            size = fit_size(source.size, res)  # some versions of Pillow turn a TIFF only while loading
        convert = image.plain_converter(source)
        small = image.shrink(source, size, lambda band: _plane_of(convert(band), plane))
        return image.apply_orientation(_on_white(small), source)


@cache
def _plugin(name: str) -> Any:
    """Return the class that opens a format with an optional package, or None if that is not installed."""
    module, class_name = _PLUGINS[name]
    try:
        return getattr(importlib.import_module(module), class_name, None)
    except ImportError:
        return None


def _plane_of(picture: Image.Image, plane: Plane) -> Image.Image:
    """Return the plane of an image in mode L, RGB or RGBA. A result in RGBA has to be put on white."""
    if plane == "alpha":
        return picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
    if plane == "rgb" and picture.mode == "RGBA":
        return picture.convert("RGB")
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def _profile(source: Image.Image) -> bytes:
    """Return the colour profile if it is for RGB and small."""
    profile = source.info.get("icc_profile") or b""
    return profile if profile[16:20] == b"RGB " and len(profile) <= _MAX_PROFILE else b""


def _encode(picture: Image.Image, profile: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    kept = profile if picture.mode == "RGB" else b""
    picture.save(buffer, "JPEG", quality=_QUALITY, icc_profile=kept, comment=b"", exif=b"")
    return buffer.getvalue()


def is_svg(head: bytes) -> bool:
    """Return whether a file with these first bytes is SVG: XML whose first element is ``svg``, in any encoding."""
    text = head[:_HEAD].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")  # also UTF-16
    while True:
        text = text.lstrip()
        end = next((end for start, end in _BEFORE_ROOT if text.startswith(start)), None)
        if end is None:
            break
        declared, found, text = text.partition(end)
        if end == b">" and b"[" in declared:  # a document type with declarations of its own
            text = (declared + found + text).partition(b"]")[2].partition(b">")[2]
    name = _FIRST_ELEMENT.match(text)
    return name is not None and name[1].rpartition(b":")[2] == b"svg"


def read_svg(stream: IO[bytes], size: int) -> bytes:
    """Return the whole file. Raises ImageTooLargeError, and ImageUnreadableError if browsers cannot show it."""
    if size > _MAX_SVG_BYTES:
        raise ImageTooLargeError("The drawing is too large.", details={"size": size})
    stream.seek(0)
    body = stream.read(size)
    try:
        _check_svg(body)
    except expat.ExpatError as error:
        raise ImageUnreadableError("The image cannot be read. Its XML is damaged.") from error
    return body


def _check_svg(body: bytes) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    root = _SvgRoot()
    parser.StartElementHandler = root.start
    parser.EntityDeclHandler = root.declare
    # With this handler, entities in texts are not expanded.
    parser.DefaultHandler = _ignore_text
    for start in range(0, len(body), _SVG_BLOCK):
        parser.Parse(body[start : start + _SVG_BLOCK], False)
    parser.Parse(b"", True)


def _ignore_text(_: str) -> None:
    pass


class _SvgRoot:
    """Handlers of the parser: the first element must be ``svg``, and entities must be small."""

    def __init__(self) -> None:
        self._is_known = False
        self._entities = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        if not self._is_known and name.rpartition(" ")[2] != "svg":
            raise ImageUnreadableError("The file is not an SVG image.")
        self._is_known = True

    def declare(self, _name: str, _is_parameter: bool, value: str | None, *_: Any) -> None:
        self._entities += 1
        # Entities in entities, or long ones, could grow to any size in attributes.
        is_large = value is not None and (len(value) > _MAX_ENTITY or "&" in value or "%" in value)
        if is_large or self._entities > _MAX_ENTITIES:
            raise ImageUnreadableError("The image cannot be read. It declares large entities.")
