"""Still pictures: opened so that hostile ones do no harm, and made smaller without more memory than they need.

Pillow's guards are global and other packs change them, so the ones here stand on their own: the formats, the number
of pixels, and the end of the file.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile

from ..errors import ImageTooLargeError, ImageUnreadableError
from ..store_guard import check_found
from ..tasks.cancel import CancelToken
from .metadata_images import read_image

MAX_PIXELS = 1 << 27  # 16384 x 8192
# Of formats that Pillow decodes at once: all pixels lie in memory twice, and handing them over holds up every other
# thread of the process, the server's own among them, for 1.4 ms a million pixels. 7680 x 4320 fits.
MAX_PIXELS_AT_ONCE = 1 << 25
MAX_BYTES = 512 << 20

# Not those for which Pillow runs other programs (EPS), nor those that hold pictures of a size of their own (ICO).
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_DECODED_AT_ONCE = ("WEBP", "AVIF")
_PREFIX = 16
_BAND_PIXELS = 1 << 20
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What readers of broken files raise, Pillow's own and those of the libraries under it.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

Convert = Callable[[Image.Image], Image.Image]


class _Truncated(OSError):
    """The file ends where there should be pixels."""


class PictureStream(io.BufferedReader):
    """A file to read a picture from: reading raises Cancelled once the token is set.

    With ``is_strict`` the end of the file is an error, also where another pack has told Pillow to put up with it.
    """

    is_strict = False

    def __init__(self, path: Path | str, token: CancelToken) -> None:
        check_found(str(path))
        super().__init__(io.FileIO(path))
        self._token = token

    def read(self, size: int | None = -1, /) -> bytes:
        self._token.check()
        data = super().read(size)
        if self.is_strict and size is not None and len(data) < min(size, 8):
            raise _Truncated("the file is truncated")
        return data


@contextmanager
def broken_as_unreadable() -> Iterator[None]:
    """Raise ImageUnreadableError for whatever a broken file makes its reader raise, and ImageTooLargeError."""
    try:
        yield
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLargeError("The picture is too large for a thumbnail.") from error
    except _BROKEN as error:
        reason = "It is truncated." if "truncated" in str(error).lower() else "It is damaged, or not what it says."
        raise ImageUnreadableError(f"The picture cannot be read. {reason}") from error


def open_picture(stream: PictureStream, size: int) -> ImageFile.ImageFile | None:
    """The picture in a file of so many bytes, with its header read; None for what is none of the formats.

    Not by way of ``Image.open``, which refuses by ``Image.MAX_IMAGE_PIXELS`` and warns of pictures half as large.
    """
    prefix = stream.read(_PREFIX)
    Image.init()
    for name in _FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        if size > MAX_BYTES:
            raise ImageTooLargeError("The file is too large for a thumbnail.", details={"size": size})
        limit = MAX_PIXELS_AT_ONCE if name in _DECODED_AT_ONCE else MAX_PIXELS
        if name == "WEBP":
            _check_webp(stream, size, limit)
        stream.seek(0)
        picture = factory(stream, "")
        check_size(*picture.size, limit)
        if name == "TIFF":
            _check_tiles(picture)
        return picture
    return None


def _check_webp(stream: PictureStream, size: int, limit: int) -> None:
    """Raise ImageTooLargeError before Pillow makes room for all the pixels, which it does at once for WebP."""

    def read(offset: int, length: int) -> bytes:
        stream.seek(offset)
        return stream.read(length)

    facts, _ = read_image("webp", read, size, whole=False)
    check_size(facts.get("width", 0), facts.get("height", 0), limit)


def _check_tiles(picture: ImageFile.ImageFile) -> None:
    """Raise ImageTooLargeError for a TIFF whose tiles are too large, however small it is itself."""
    tags = getattr(picture, "tag_v2", {})
    check_size(int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_LENGTH, 0)))


def check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    """Raise ImageTooLargeError for a picture of too many pixels."""
    if width * height > limit:
        raise ImageTooLargeError(
            f"The picture has {width} x {height} pixels, too many for a thumbnail.",
            details={"width": width, "height": height, "max_pixels": limit},
        )


def fitted(size: tuple[int, int], res: int) -> tuple[int, int]:
    """The largest size of the same shape inside ``res`` x ``res``, at least one pixel each way; never a larger one."""
    scale = min(1.0, res / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk(picture: Image.Image, size: tuple[int, int], convert: Convert) -> Image.Image:
    """The picture after ``convert``, in this size or a smaller one of its own.

    Converted and averaged in bands of rows, so that only what was decoded lies in memory as a whole.
    """
    across = max(1, picture.width // (2 * size[0]))
    down = max(1, picture.height // (2 * size[1]))
    small = _averaged(picture, across, down, convert)
    return small.resize(size, Image.Resampling.LANCZOS) if small.size != size else small


def _averaged(picture: Image.Image, across: int, down: int, convert: Convert) -> Image.Image:
    width, height = picture.size
    rows = max(1, _BAND_PIXELS // (width * down)) * down
    if rows >= height:
        whole = convert(picture)
        return whole.reduce((across, down)) if across > 1 or down > 1 else whole
    small: Image.Image | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # Unlike ``crop``, this asks nothing of ``Image.MAX_IMAGE_PIXELS``.
        band = picture.resize((width, bottom - top), Image.Resampling.NEAREST, box=(0, top, width, bottom))
        part = convert(band).reduce((across, down))
        if small is None:
            small = Image.new(part.mode, (math.ceil(width / across), math.ceil(height / down)))
        small.paste(part, (0, top // down))
    if small is None:
        raise ValueError("a picture without pixels")
    return small


def to_plain(picture: Image.Image) -> Convert:
    """What brings bands of the picture to one of the modes L, RGB and, where some of it is transparent, RGBA."""
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        factor = 1 / 257 if mode.startswith("I;") else _to_bytes(float(picture.getextrema()[1]))  # type: ignore[arg-type]
        return lambda band: _eight_bits(band, factor)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return lambda band: band.convert("RGBA")
    return lambda band: band.convert("L" if mode in ("L", "1") else "RGB")


def _to_bytes(highest: float) -> float:
    """What to multiply samples by whose range is only told by the highest of them: 1, 255, 65535 or any."""
    for ceiling in (1.0, 255.0, 65535.0):
        if highest <= ceiling:
            return 255.0 / ceiling
    return 255.0 / highest if math.isfinite(highest) else 1.0


def _eight_bits(band: Image.Image, factor: float) -> Image.Image:
    import numpy as np

    samples = np.nan_to_num(np.asarray(band).astype(np.float32) * factor, nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(np.clip(samples, 0, 255).astype(np.uint8))


def upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """The picture turned as its source's EXIF data says; as it is where that cannot be read."""
    if source.format == "TIFF":
        return picture  # Pillow has turned it while loading
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        return picture
    return picture.transpose(turn) if turn is not None else picture
