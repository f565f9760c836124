"""Safe opening of untrusted images: few formats, a limit of pixels, and one memory limit for all requests together.

Pillow's own limits are global, and other packs change them, so none of these functions depends on them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile

from .config import Config
from .errors import ImageTooLargeError, ImageUnreadableError
from .fs.paths import extended_path
from .fs.shared_files import open_shared
from .store_guard import check

log = logging.getLogger("comfy_assets.library")

MAX_PIXELS = 1 << 27  # 16384 x 8192
# Pillow decodes WebP and AVIF at once: all pixels are in memory twice, and copying them blocks every other thread of
# the process, the event loop's included, for 1.4 ms per million pixels. 7680 x 4320 fits.
MAX_PIXELS_AT_ONCE = 1 << 25
MAX_BYTES = 512 << 20
MEMORY = 1 << 30  # bytes for the images of all requests together; a larger image is decoded alone

# Without EPS, for which Pillow runs other programs, and ICO, whose embedded images have sizes of their own.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
BAND_PIXELS = 1 << 20  # converting this many blocks other threads for a few milliseconds
# Formats that are read for thumbnails alone.
THUMBNAIL_FORMATS = (*FORMATS, "PSD", "JPEG2000", "PPM")
_DECODED_AT_ONCE = ("WEBP", "AVIF", "JPEG2000", "HEIF", "JXL")
_SLOW_DECODERS = ("ppm", "ppm_plain")  # written in Python, one sample after the other
_MAX_PIXELS_SLOW = 1 << 22
_PREFIX = 32  # bytes that identify a format, and hold the size in the header of a WebP file
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags
_POLL_S = 0.02  # threads are notified earlier, but must check whether they are cancelled; coroutines only poll
# Exceptions that Pillow and the libraries below it raise for damaged files.
READER_ERRORS = (
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
    SystemError,  # the JPEG 2000 decoder, when its stream raises an exception
    struct.error,
    zlib.error,
)

Convert = Callable[[Image.Image], Image.Image]


class ImageMemory:
    """A memory limit shared by all images, granted first come, first served. A larger image waits to be alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait for ``amount`` bytes and hold them; for worker threads. ``check`` may raise to stop waiting."""
        with self._queued(amount) as is_granted:
            while not is_granted():
                with self._changed:
                    self._changed.wait(_POLL_S)
                check()
            yield

    @asynccontextmanager
    async def reserve(self, amount: int, patience_s: float) -> AsyncIterator[None]:
        """Like ``hold``, for the event loop. Raises TimeoutError if the memory is not free in time."""
        deadline = time.monotonic() + patience_s
        with self._queued(amount) as is_granted:
            while not is_granted():
                if time.monotonic() > deadline:
                    raise TimeoutError
                await asyncio.sleep(_POLL_S)
            yield

    @contextmanager
    def _queued(self, amount: int) -> Iterator[Callable[[], bool]]:
        """Queue for memory, and give it back at the end of the block, or leave the queue without it.

        Yields a function that returns whether the memory is granted, to be called until it is.
        """
        amount, ticket = min(amount, self._limit), object()
        is_held = False

        def is_granted() -> bool:
            nonlocal is_held
            with self._changed:
                # Only the first in the queue: smaller images would keep a large one waiting for ever.
                if not is_held and self._waiting[0] is ticket and self._used + amount <= self._limit:
                    self._waiting.popleft()
                    self._used += amount
                    is_held = True
                    self._changed.notify_all()
            return is_held

        with self._changed:
            self._waiting.append(ticket)
        try:
            yield is_granted
        finally:
            with self._changed:
                if is_held:
                    self._used -= amount
                else:
                    self._waiting.remove(ticket)
                self._changed.notify_all()


image_memory = ImageMemory(MEMORY)
# Damaged files cause these seldom. A release of a library that is used wrongly raises them for every file.
_PERHAPS_OURS = (TypeError, AttributeError, AssertionError)
_MAX_LOGGED = 20
_logged: set[str] = set()


@contextmanager
def map_reader_errors() -> Iterator[None]:
    """Turn the exceptions of readers of damaged files into ImageUnreadableError or ImageTooLargeError."""
    try:
        yield
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLargeError("The image is too large to be decoded.") from error
    except READER_ERRORS as error:
        if isinstance(error, _PERHAPS_OURS):
            _log_once(error)
        reason = "It is truncated." if "truncated" in str(error).lower() else "It is damaged or of another format."
        raise ImageUnreadableError(f"The image cannot be read. {reason}") from error


def _log_once(error: Exception) -> None:
    """Log an error with its traceback, once for each text and at most ``_MAX_LOGGED`` in all."""
    text = f"{type(error).__name__}: {error}"[:200]
    if text not in _logged and len(_logged) < _MAX_LOGGED:
        _logged.add(text)
        log.warning("A file was taken as damaged because its reader raised %s", text, exc_info=error)


def open_image(stream: IO[bytes], size: int, formats: tuple[str, ...] = FORMATS) -> ImageFile.ImageFile | None:
    """Open an image file of ``size`` bytes and read its header; return None if it has none of the formats.

    ``Image.open`` is not used, because it applies ``Image.MAX_IMAGE_PIXELS`` and warns about images half as large.
    """
    prefix = stream.read(_PREFIX)
    Image.init()
    for name in formats:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        if size > MAX_BYTES:
            raise ImageTooLargeError("The file is too large for an image.", details={"size": size})
        limit = pixel_limit(name)
        if name == "WEBP":
            # Before Pillow opens the file, which allocates memory for all pixels.
            check_size(*_webp_size(prefix), limit)
        stream.seek(0)
        picture = factory(stream, "")
        check_size(*picture.size, limit)
        if name == "TIFF":
            _check_tiles(picture)
        if any(tile[0] in _SLOW_DECODERS for tile in picture.tile):
            check_size(*picture.size, _MAX_PIXELS_SLOW)
        return picture
    return None


def pixel_limit(name: str) -> int:
    """Return the number of pixels up to which images of a format are decoded."""
    return MAX_PIXELS_AT_ONCE if name in _DECODED_AT_ONCE else MAX_PIXELS


@contextmanager
def open_untrusted(source: Path | IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """Open an image for the duration of the block; a stream is rewound at the end.

    Raises ImageTooLargeError, and ImageUnreadableError for another format or a damaged file, also for exceptions
    inside the block.
    """
    with ExitStack() as stack, map_reader_errors():
        if isinstance(source, Path):
            check(source)
            stream: IO[bytes] = stack.enter_context(open_shared(source))
        else:
            stream = source
            stack.callback(stream.seek, 0)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        picture = open_image(stream, size)
        if picture is None:
            raise ImageUnreadableError("The file is not an image of a supported format.")
        yield picture


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk, or zeros for a malformed header, which Pillow rejects then."""
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X" and len(data) >= 10:
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _check_tiles(picture: ImageFile.ImageFile) -> None:
    """Raise ImageTooLargeError for a TIFF with large tiles: they are decoded completely even for a small image."""
    tags = getattr(picture, "tag_v2", {})
    check_size(int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_LENGTH, 0)))


def check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    """Raise ImageTooLargeError for an image of too many pixels."""
    if width * height > limit:
        raise ImageTooLargeError(
            f"The image has {width} x {height} pixels, too many to be decoded.",
            details={"width": width, "height": height, "max_pixels": limit},
        )


def convert_in_bands(picture: Image.Image, mode: str, convert: Convert) -> Image.Image:
    """Return the image after ``convert``, which returns images of mode ``mode``.

    It is converted in bands of rows, because each conversion blocks every other thread of the process.
    """
    width, height = picture.size
    rows = max(1, BAND_PIXELS // width)
    if rows >= height:
        return convert(picture)
    whole = Image.new(mode, picture.size)
    for top, band in bands(picture, rows):
        whole.paste(convert(band), (0, top))
    return whole


def bands(picture: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the image in bands of ``rows`` rows, each with its first row's number."""
    width, height = picture.size
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # Unlike ``crop``, this does not check ``Image.MAX_IMAGE_PIXELS``, which other packs change.
        yield top, picture.resize((width, bottom - top), Image.Resampling.NEAREST, box=(0, top, width, bottom))


def check_upload(source: IO[bytes] | Path, config: Config, field: str) -> None:
    """Check an uploaded file against the limits in the settings. Blocks.

    Raises ImageTooLargeError, whose details name the limit. Only the limit in bytes applies to other files.
    """
    size = _byte_count(source)
    if config.max_image_size is not None and size > config.max_image_size:
        raise _limit_error(field, "max_bytes", config.max_image_size)
    edges = _edges(source) if config.max_image_edge or config.max_image_pixels else None
    if edges is None:
        return
    if config.max_image_edge is not None and max(edges) > config.max_image_edge:
        raise _limit_error(field, "max_edge", config.max_image_edge)
    if config.max_image_pixels is not None and edges[0] * edges[1] > config.max_image_pixels:
        raise _limit_error(field, "max_pixels", config.max_image_pixels)


def _limit_error(field: str, limit: str, value: int) -> ImageTooLargeError:
    details = {"field": field, limit: value}
    return ImageTooLargeError("The image is larger than this server accepts.", details=details)


def _byte_count(source: IO[bytes] | Path) -> int:
    if isinstance(source, Path):
        return extended_path(source).stat().st_size
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


def _edges(source: IO[bytes] | Path) -> tuple[int, int] | None:
    """Return width and height from the header, or None if the file is not an image."""
    try:
        with Image.open(source) as image:
            width, height = image.size
            return int(width), int(height)
    except Image.DecompressionBombError:  # raised before the size can be read
        raise ImageTooLargeError("The image is too large to be read.") from None
    except (OSError, ValueError, SyntaxError):
        return None
    finally:
        if not isinstance(source, Path):
            source.seek(0)
