"""Still images: cancellable reading, also of damaged PNG files, and shrinking in bands of rows."""

from __future__ import annotations

import io
import math
import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image

from ...background.interruption import CancelToken
from ...fs.shared_files import open_shared_raw
from ...image_limits import BAND_PIXELS, READER_ERRORS, Convert, bands
from ...store_guard import check_found

_LARGE = 1 << 20
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
# The ancillary chunks that change how pixels look (PNG 3rd edition, 11.3), and eXIf for the orientation.
_KEPT = frozenset((b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"eXIf"))
_MAX_KEPT = 1 << 20  # bytes of such a chunk; a larger one is left out
_MAX_CHUNKS = 1 << 18  # hostile files have many tiny ones


class _TruncatedError(OSError):
    """The file ends before all pixels were read."""


class ImageStream(io.BufferedReader):
    """A file to read an image from. Reading raises Cancelled once the token is set.

    With ``is_strict`` the end of the file is an error, even if another pack has set ``LOAD_TRUNCATED_IMAGES``.
    """

    is_strict = False

    def __init__(self, path: Path | str, token: CancelToken) -> None:
        check_found(str(path))
        super().__init__(open_shared_raw(path))
        self._token = token

    def read(self, size: int | None = -1, /) -> bytes:
        self._token.check()
        data = super().read(self._at_most(size))
        # The last block of a file may be short; a block of almost nothing means that pixels are missing.
        if self.is_strict and size is not None and len(data) < min(size, 8):
            raise _TruncatedError("the file is truncated")
        return data

    def _at_most(self, size: int | None) -> int | None:
        """Return ``size``, or the bytes that are left: memory for all of it is allocated before anything is read."""
        if size is None or size < _LARGE:
            return size
        return min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))


def fit_size(size: tuple[int, int], res: int) -> tuple[int, int]:
    """Return the largest size of the same shape within ``res`` x ``res``, but not above the original size."""
    scale = min(1.0, res / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrink(picture: Image.Image, size: tuple[int, int], convert: Convert) -> Image.Image:
    """Return the image after ``convert``, scaled to ``size``.

    It is converted and averaged in bands of rows, so that only the decoded image itself is in memory completely and
    other threads run in between.
    """
    across = _factor(picture.width, size[0])
    down = _factor(picture.height, size[1])
    small = _reduce_in_bands(picture, across, down, convert)
    return small.resize(size, Image.Resampling.HAMMING) if small.size != size else small


def _factor(length: int, target: int) -> int:
    """Return the number of pixels to average: all of them if their number is whole, which takes a tenth of the time.

    Otherwise at least twice the target is left for the filter, which no eye tells from filtering all pixels.
    """
    return length // target if length % target == 0 else max(1, length // (2 * target))


def _reduce_in_bands(picture: Image.Image, across: int, down: int, convert: Convert) -> Image.Image:
    width, height = picture.size
    rows = max(1, BAND_PIXELS // (width * down)) * down
    if rows >= height:
        whole = convert(picture)
        return whole.reduce((across, down)) if across > 1 or down > 1 else whole
    small: Image.Image | None = None
    for top, band in bands(picture, rows):
        part = convert(band).reduce((across, down))
        if small is None:
            small = Image.new(part.mode, (math.ceil(width / across), math.ceil(height / down)))
        small.paste(part, (0, top // down))
    if small is None:
        raise ValueError("an image without pixels")
    return small


def plain_converter(picture: Image.Image) -> Convert:
    """Return a function that converts bands of the image to mode L or RGB, or to RGBA if it has transparency."""
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        factor = 1 / 257 if mode.startswith("I;") else _byte_factor(float(picture.getextrema()[1]))  # type: ignore[arg-type]
        return lambda band: _to_bytes(band, factor)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return lambda band: band.convert("RGBA")
    if mode in ("L", "RGB"):
        return lambda band: band
    return lambda band: band.convert("L" if mode == "1" else "RGB")


def _byte_factor(highest: float) -> float:
    """Return the factor from samples to bytes; the highest sample shows their range (1, 255, 65535 or any other)."""
    for ceiling in (1.0, 255.0, 65535.0):
        if highest <= ceiling:
            return 255.0 / ceiling
    return 255.0 / highest if math.isfinite(highest) else 1.0


def _to_bytes(band: Image.Image, factor: float) -> Image.Image:
    import numpy as np

    samples = np.nan_to_num(np.asarray(band).astype(np.float32) * factor, nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(np.clip(samples, 0, 255).astype(np.uint8))


def apply_orientation(picture: Image.Image, source: Image.Image) -> Image.Image:
    """Return the image turned by the EXIF orientation of its source; unchanged if that cannot be read."""
    if source.format in ("TIFF", "JXL", "HEIF"):
        return picture  # turned while loading
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION, 1))
    except READER_ERRORS:
        return picture
    return picture.transpose(turn) if turn is not None else picture


class _Part(NamedTuple):
    """Bytes of the file from ``start`` on, shown at ``offset``."""

    offset: int
    start: int
    length: int


class PngPixels(io.BufferedIOBase):
    """The PNG file in a stream, up to the last chunk of pixels. Reading it reads the stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._parts: list[_Part] = []
        self._length = 0
        self._end = b""
        self._position = 0
        stream.seek(0)
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            raise ValueError("not a PNG file")
        self._add(0, len(_SIGNATURE))
        self._add_chunks()

    def _add_chunks(self) -> None:
        place, has_pixels = len(_SIGNATURE), False
        for _ in range(_MAX_CHUNKS):
            self._stream.seek(place)
            head = self._stream.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if len(head) < 8 or (kind == b"IDAT") < has_pixels:
                # What follows the pixels is left out, so it cannot be damaged.
                self._end = _END if len(head) == 8 else b""
                return
            has_pixels = kind == b"IDAT"
            is_critical = not kind[0] & 0x20
            if is_critical or (kind in _KEPT and self._is_whole(kind, length)):
                self._add(place, 12 + length)
            place += 12 + length
        raise ValueError("too many chunks")

    def _is_whole(self, kind: bytes, length: int) -> bool:
        """Return whether the body that follows in the stream is small and as its checksum says."""
        if length > _MAX_KEPT:
            return False
        body, checksum = self._stream.read(length), self._stream.read(4)
        return zlib.crc32(kind + body).to_bytes(4, "big") == checksum

    def _add(self, start: int, length: int) -> None:
        last = self._parts[-1] if self._parts else None
        if last is not None and last.start + last.length == start:
            self._parts[-1] = last._replace(length=last.length + length)
        else:
            self._parts.append(_Part(self._length, start, length))
        self._length += length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, self._length + len(self._end))
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._length + len(self._end) - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        blocks = []
        while wanted > 0:
            block = self._block(wanted)
            if not block:
                break
            blocks.append(block)
            self._position += len(block)
            wanted -= len(block)
        return b"".join(blocks)

    def _block(self, wanted: int) -> bytes:
        """Return the bytes at the position, at most to the end of the part that holds it."""
        for part in self._parts:
            inside = self._position - part.offset
            if inside < part.length:
                self._stream.seek(part.start + inside)
                return self._stream.read(min(wanted, part.length - inside))
        inside = self._position - self._length
        return self._end[inside : inside + wanted]
