"""Pictures of strangers, opened so that they do no harm: few formats, a limit of pixels, and one of memory for all.

Pillow's guards are global and other packs change them, so the ones here stand on their own.
"""

from __future__ import annotations

import asyncio
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
from .store_guard import check

MAX_PIXELS = 1 << 27  # 16384 x 8192
# Of formats that Pillow decodes at once: all pixels lie in memory twice, and handing them over holds up every other
# thread of the process, the server's own among them, for 1.4 ms a million pixels. 7680 x 4320 fits.
MAX_PIXELS_AT_ONCE = 1 << 25
MAX_BYTES = 512 << 20
MEMORY = 1 << 30  # bytes that the pictures of all requests may take together; a larger one is alone

# Not those for which Pillow runs other programs (EPS), nor those that hold pictures of a size of their own (ICO).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_DECODED_AT_ONCE = ("WEBP", "AVIF")
_PREFIX = 32
_BAND_PIXELS = 1 << 20
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_POLL_S = 0.02
# What readers of broken files raise, Pillow's own and those of the libraries under it.
BROKEN = (
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


class ImageMemory:
    """Memory that pictures share. Whoever asks first is served first; what is larger than all of it is served alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold so many bytes, waiting for them; for worker threads. ``check`` may raise to give up."""
        amount, ticket = min(amount, self._limit), self._queue()
        try:
            with self._changed:
                while not self._take(ticket, amount):
                    self._changed.wait(_POLL_S)
                    check()
        except BaseException:
            self._leave(ticket)
            raise
        try:
            yield
        finally:
            self._give_back(amount)

    @asynccontextmanager
    async def reserve(self, amount: int, patience_s: float) -> AsyncIterator[None]:
        """The same for the event loop. Raises TimeoutError when the memory is not free within that time."""
        amount, ticket = min(amount, self._limit), self._queue()
        deadline = time.monotonic() + patience_s
        try:
            while not self._try(ticket, amount):
                if time.monotonic() > deadline:
                    raise TimeoutError
                await asyncio.sleep(_POLL_S)
        except BaseException:
            self._leave(ticket)
            raise
        try:
            yield
        finally:
            self._give_back(amount)

    def _queue(self) -> object:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        return ticket

    def _try(self, ticket: object, amount: int) -> bool:
        with self._changed:
            return self._take(ticket, amount)

    def _take(self, ticket: object, amount: int) -> bool:
        if self._waiting[0] is not ticket or self._used + amount > self._limit:
            return False
        self._waiting.popleft()
        self._used += amount
        self._changed.notify_all()
        return True

    def _leave(self, ticket: object) -> None:
        with self._changed:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def _give_back(self, amount: int) -> None:
        with self._changed:
            self._used -= amount
            self._changed.notify_all()


memory = ImageMemory(MEMORY)


@contextmanager
def broken_as_unreadable() -> Iterator[None]:
    """Raise ImageUnreadableError for whatever a broken file makes its reader raise, and ImageTooLargeError."""
    try:
        yield
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLargeError("The picture is too large to be decoded.") from error
    except BROKEN as error:
        reason = "It is truncated." if "truncated" in str(error).lower() else "It is damaged, or not what it says."
        raise ImageUnreadableError(f"The picture cannot be read. {reason}") from error


def open_picture(stream: IO[bytes], size: int) -> ImageFile.ImageFile | None:
    """The picture in a file of so many bytes, with its header read; None for what is none of the formats.

    Not by way of ``Image.open``, which refuses by ``Image.MAX_IMAGE_PIXELS`` and warns of pictures half as large.
    """
    prefix = stream.read(_PREFIX)
    Image.init()
    for name in FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        if size > MAX_BYTES:
            raise ImageTooLargeError("The file is too large for a picture.", details={"size": size})
        limit = MAX_PIXELS_AT_ONCE if name in _DECODED_AT_ONCE else MAX_PIXELS
        if name == "WEBP":
            # Before Pillow makes room for all the pixels, which it does at once.
            check_size(*_webp_size(prefix), limit)
        stream.seek(0)
        picture = factory(stream, "")
        check_size(*picture.size, limit)
        if name == "TIFF":
            _check_tiles(picture)
        return picture
    return None


@contextmanager
def opened(source: Path | IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """The picture in a file, for as long as it is worked on; a file that was open is left at its beginning.

    Raises ImageTooLargeError, and ImageUnreadableError for what is none of the formats or damaged, also while it is
    worked on.
    """
    with ExitStack() as stack, broken_as_unreadable():
        if isinstance(source, Path):
            check(source)
            stream: IO[bytes] = stack.enter_context(source.open("rb"))
        else:
            stream = source
            stack.callback(stream.seek, 0)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        picture = open_picture(stream, size)
        if picture is None:
            raise ImageUnreadableError("The file is not a picture that can be read.")
        yield picture


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height as the first chunk says; nothing for a head that is none, which Pillow then refuses."""
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
    """Raise ImageTooLargeError for a TIFF whose tiles are too large, however small it is itself."""
    tags = getattr(picture, "tag_v2", {})
    check_size(int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_LENGTH, 0)))


def check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    """Raise ImageTooLargeError for a picture of too many pixels."""
    if width * height > limit:
        raise ImageTooLargeError(
            f"The picture has {width} x {height} pixels, too many to be decoded.",
            details={"width": width, "height": height, "max_pixels": limit},
        )


def in_bands(picture: Image.Image, mode: str, convert: Convert) -> Image.Image:
    """The picture after ``convert``, which gives pictures of this mode.

    Band by band, as converting holds up every other thread of the process.
    """
    width, height = picture.size
    rows = max(1, _BAND_PIXELS // width)
    if rows >= height:
        return convert(picture)
    whole = Image.new(mode, picture.size)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # Unlike ``crop``, this asks nothing of ``Image.MAX_IMAGE_PIXELS``.
        band = picture.resize((width, bottom - top), Image.Resampling.NEAREST, box=(0, top, width, bottom))
        whole.paste(convert(band), (0, top))
    return whole


def check_image(source: IO[bytes] | Path, config: Config, field: str) -> None:
    """Raise ImageTooLargeError, which names the limit, for a file over one. What is no picture has no edges. Blocks."""
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
    return ImageTooLargeError("The picture is larger than this server takes.", details=details)


def _byte_count(source: IO[bytes] | Path) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


def _edges(source: IO[bytes] | Path) -> tuple[int, int] | None:
    """Width and height as the header says; None for what is no picture."""
    try:
        with Image.open(source) as image:
            width, height = image.size
            return int(width), int(height)
    except Image.DecompressionBombError:  # so many pixels that Pillow will not even count them
        raise ImageTooLargeError("The picture is too large to be read.") from None
    except (OSError, ValueError, SyntaxError):
        return None
    finally:
        if not isinstance(source, Path):
            source.seek(0)
