"""Thumbnails of images and videos: JPEG images of their colours or of their transparency.

For worker threads. Files may be hostile: their size is checked before they are decoded.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageFile

from ...background.cancel import CancelToken
from ...errors import NoThumbnailError
from ...fs.paths import ChangedWhileReading, extended, matches_record
from ...image_limits import image_memory, map_reader_errors, open_image
from ...models import FileStat, Plane
from . import image
from .image import ImageStream, fit_size
from .video import container_of, first_frame

_QUALITY = 85
_BYTES_A_PIXEL = 8  # memory for decoding: up to four channels, twice
_MAX_PROFILE = 16 << 10  # larger colour profiles would outweigh the thumbnail
_HEAD = 16


class Thumbnailer:
    """Makes thumbnails; usable from several threads. Setting the token cancels them."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token

    def make(self, path: Path, stat: FileStat, res: int, plane: Plane) -> bytes:
        """Return the thumbnail, which fits ``res`` x ``res`` and is never larger than the image.

        Raises ImageTooLargeError, ImageUnreadableError, NoThumbnailError, ChangedWhileReading if the file does not
        match ``stat`` before or after, Cancelled, and OSError if it cannot be opened.
        """
        with ImageStream(extended(str(path)), self._token) as stream:
            _check_unchanged(stream, stat)
            picture, profile = self._picture(stream, stat[0], res, plane)
            _check_unchanged(stream, stat)
        return _encode(picture, profile)

    def _picture(self, stream: ImageStream, size: int, res: int, plane: Plane) -> tuple[Image.Image, bytes]:
        with map_reader_errors():
            source = open_image(stream, size)
            if source is None:
                return _of_video(stream, res, plane), b""
            with image_memory.hold(_memory_of(source, size), self._token.check):
                return _of_picture(source, stream, res, plane), _profile(source)


def _memory_of(source: ImageFile.ImageFile, size: int) -> int:
    """Estimate the bytes for decoding the image; some formats also keep the whole file in memory."""
    return source.width * source.height * _BYTES_A_PIXEL + size


def _check_unchanged(stream: ImageStream, stat: FileStat) -> None:
    if not matches_record(os.fstat(stream.fileno()), *stat[:2]):
        raise ChangedWhileReading


def _of_picture(source: ImageFile.ImageFile, stream: ImageStream, res: int, plane: Plane) -> Image.Image:
    whole = source.size
    size = fit_size(whole, res)
    source.draft(None, (2 * size[0], 2 * size[1]))  # decodes a JPEG at down to an eighth of its size
    is_draft = source.size != whole
    stream.is_strict = True
    source.load()
    if not is_draft:
        size = fit_size(source.size, res)  # some versions of Pillow turn a TIFF only while loading
    convert = image.plain_converter(source)
    small = image.shrink(source, size, lambda band: _plane_of(convert(band), plane))
    return image.apply_orientation(_on_white(small), source)


def _of_video(stream: ImageStream, res: int, plane: Plane) -> Image.Image:
    stream.seek(0)
    container = container_of(stream.read(_HEAD))
    if container is None:
        raise NoThumbnailError("The file is not an image or a video of a kind that has thumbnails.")
    stream.seek(0)
    return _on_white(_plane_of(first_frame(stream, container, res), plane))


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


def _encode(picture: Image.Image, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    kept = profile if picture.mode == "RGB" else b""
    picture.save(buffer, "JPEG", quality=_QUALITY, icc_profile=kept, comment=b"", exif=b"")
    return buffer.getvalue()
