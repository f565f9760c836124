"""Make a thumbnail of a file: a JPEG picture of its colours or of its transparency.

Synchronous; for worker threads. Files may be hostile: their size is looked at before they are decoded.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageFile

from ...background.cancel import CancelToken
from ...errors import NoThumbnailError
from ...fs.paths import extended
from ...fs.stat import ChangedWhileReading, matches_record
from ...models import FileStat, Plane
from ...pictures import broken_as_unreadable, memory, open_picture
from . import image
from .image import ImageStream, fitted
from .video import container_of, first_frame

_QUALITY = 85
_BYTES_A_PIXEL = 8
_MAX_PROFILE = 16 << 10
_HEAD = 16


class Thumbnailer:
    """Makes thumbnails in several threads; setting the token ends the work."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token

    def make(self, path: Path, stat: FileStat, res: int, plane: Plane) -> bytes:
        """The thumbnail, no larger than ``res`` x ``res`` and than the picture itself.

        Raises ImageTooLargeError, ImageUnreadableError, NoThumbnailError; ChangedWhileReading when the file is not, or
        does not stay, what ``stat`` says; Cancelled, and OSError when the file cannot be opened.
        """
        with ImageStream(extended(str(path)), self._token) as stream:
            _check_unchanged(stream, stat)
            picture, profile = self._picture(stream, stat[0], res, plane)
            _check_unchanged(stream, stat)
        return _encode(picture, profile)

    def _picture(self, stream: ImageStream, size: int, res: int, plane: Plane) -> tuple[Image.Image, bytes]:
        with broken_as_unreadable():
            source = open_picture(stream, size)
            if source is None:
                return _of_video(stream, res, plane), b""
            with memory.hold(_memory_of(source, size), self._token.check):
                return _of_picture(source, stream, res, plane), _profile(source)


def _memory_of(source: ImageFile.ImageFile, size: int) -> int:
    """About how many bytes it takes to decode the picture; where the format wants it, the file lies in memory, too."""
    return source.width * source.height * _BYTES_A_PIXEL + size


def _check_unchanged(stream: ImageStream, stat: FileStat) -> None:
    if not matches_record(os.fstat(stream.fileno()), *stat[:2]):
        raise ChangedWhileReading


def _of_picture(source: ImageFile.ImageFile, stream: ImageStream, res: int, plane: Plane) -> Image.Image:
    whole = source.size
    size = fitted(whole, res)
    source.draft(None, (2 * size[0], 2 * size[1]))  # JPEG can be decoded at an eighth of its size
    is_draft = source.size != whole
    stream.is_strict = True
    source.load()
    if not is_draft:
        size = fitted(source.size, res)  # some Pillows turn TIFF files only now
    convert = image.to_plain(source)
    small = image.shrunk(source, size, lambda band: _plane_of(convert(band), plane))
    return image.upright(_flattened(small), source)


def _of_video(stream: ImageStream, res: int, plane: Plane) -> Image.Image:
    stream.seek(0)
    container = container_of(stream.read(_HEAD))
    if container is None:
        raise NoThumbnailError("The file is neither a picture nor a video that thumbnails are made of.")
    stream.seek(0)
    return _flattened(_plane_of(first_frame(stream, container, res), plane))


def _plane_of(picture: Image.Image, plane: Plane) -> Image.Image:
    """What the plane shows of a picture in L, RGB or RGBA; in RGBA only where it has to be laid over white."""
    if plane == "alpha":
        return picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
    if plane == "rgb" and picture.mode == "RGBA":
        return picture.convert("RGB")
    return picture


def _flattened(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def _profile(source: Image.Image) -> bytes:
    """The colour profile, where it describes RGB colours and is small beside a thumbnail."""
    profile = source.info.get("icc_profile") or b""
    return profile if profile[16:20] == b"RGB " and len(profile) <= _MAX_PROFILE else b""


def _encode(picture: Image.Image, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    kept = profile if picture.mode == "RGB" else b""
    picture.save(buffer, "JPEG", quality=_QUALITY, icc_profile=kept, comment=b"", exif=b"")
    return buffer.getvalue()
