"""Still images: cancellable reading, also of damaged PNG files, and shrinking in bands of rows.

Pictures of high dynamic range, EXR and Radiance HDR, are decoded by PyAV and mapped to the range of screens.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from ...background.interruption import CancelToken
from ...errors import ImageUnreadableError
from ...fs.shared_files import open_shared_raw
from ...image_limits import BAND_PIXELS, MAX_PIXELS_AT_ONCE, READER_ERRORS, Convert, bands, check_size
from ...store_guard import check_found
from .ffmpeg import map_ffmpeg_errors, open_container, require_pyav

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Samples = NDArray[np.float32]

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

# Pictures of high dynamic range: EXR and Radiance HDR.
_EXR, _HDR = b"\x76\x2f\x31\x01", (b"#?RADIANCE", b"#?RGBE")
HIGH_RANGE_BYTES_A_PIXEL = 40  # memory for decoding: four channels of 32 bits, in the frame and twice in between
_SAMPLE_FORMATS = {"gbrpf32le": "f4", "gbrapf32le": "f4", "gbrpf16le": "f2", "gbrapf16le": "f2", "grayf32le": "f4"}
_MAX_HEADER = 1 << 20  # bytes of an EXR header without its texts, or of a Radiance header
_MAX_ATTRIBUTES = 1000
_WHITE_PERCENTILE = 99.5  # highlights above are clipped: single bright pixels would darken everything else
_Planes = list["_Samples"]


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


def high_range_container(head: bytes) -> str | None:
    """Return FFmpeg's name of the format for the first bytes of a file, or None for another one."""
    if head.startswith(_EXR):
        return "exr_pipe"
    return "hdr_pipe" if head.startswith(_HDR) else None


def high_range_size(stream: IO[bytes], head: bytes) -> tuple[int, int]:
    """Return width and height from the header, before anything is decoded. Raises ImageUnreadableError."""
    size = _exr_size(stream) if head.startswith(_EXR) else _hdr_size(stream)
    if size is None or min(size) <= 0:
        raise ImageUnreadableError("The image cannot be read. Its header has no size.")
    check_size(*size, MAX_PIXELS_AT_ONCE)
    return size


def _exr_size(stream: IO[bytes]) -> tuple[int, int] | None:
    """Read the attribute ``dataWindow`` (OpenEXR file layout): name, type, size and value of each attribute."""
    stream.seek(8)
    for _ in range(_MAX_ATTRIBUTES):
        name, _kind = _zero_ended(stream), _zero_ended(stream)
        length = int.from_bytes(stream.read(4), "little")
        if not name:
            return None
        if name == b"dataWindow":
            left, top, right, bottom = (int.from_bytes(stream.read(4), "little", signed=True) for _ in range(4))
            return right - left + 1, bottom - top + 1
        stream.seek(length, 1)  # a text may be a workflow of megabytes
    return None


def _zero_ended(stream: IO[bytes]) -> bytes:
    place = stream.tell()
    text, found, _ = stream.read(256).partition(b"\0")
    stream.seek(place + len(text) + 1)
    return text if found else b""


def _hdr_size(stream: IO[bytes]) -> tuple[int, int] | None:
    """Read the line with the resolution, such as ``-Y 480 +X 640``: the first one after an empty line."""
    stream.seek(0)
    header = stream.read(_MAX_HEADER).replace(b"\r\n", b"\n")
    words = header.partition(b"\n\n")[2].partition(b"\n")[0].split()
    if len(words) != 4 or not all(word.isdigit() and len(word) < 8 for word in (words[1], words[3])):
        return None
    first, second = int(words[1]), int(words[3])
    return (second, first) if words[0][1:] == b"Y" else (first, second)


def draw_high_range(stream: IO[bytes], container: str, res: int) -> Image.Image:
    """Return the picture in RGBA, or RGB without transparency, scaled to fit ``res`` x ``res``.

    Raises NoThumbnailError without PyAV, ImageUnreadableError.
    """
    av = require_pyav()
    stream.seek(0)
    with map_ffmpeg_errors(av), open_container(av, stream, container) as source:
        for frame in source.decode(video=0):
            size = fit_size((frame.width, frame.height), res)
            return _mapped(_planes(frame, size)).resize(size, Image.Resampling.LANCZOS)
    raise ImageUnreadableError("The image cannot be read. It has no pixels.")


def _planes(frame: Any, size: tuple[int, int]) -> _Planes:
    """Return the samples of red, green, blue and, if there is one, alpha, averaged to at least ``size``."""
    import numpy as np

    kind = _SAMPLE_FORMATS.get(frame.format.name)
    if kind is None:
        raise ImageUnreadableError(f"Images of the format {frame.format.name} are not supported.")
    factor = max(1, min(frame.width // size[0], frame.height // size[1]))
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype=f"<{kind}").reshape(frame.height, -1)[:, : frame.width]
        planes.append(_reduced(rows, factor))
    if len(planes) < 3:
        return [planes[0]] * 3
    green, blue, red, *alpha = planes
    return [red, green, blue, *alpha]


def _reduced(rows: Any, factor: int) -> _Samples:
    import numpy as np

    # A factor larger than a side would leave nothing of it.
    down, across = min(factor, rows.shape[0]), min(factor, rows.shape[1])
    height, width = rows.shape[0] // down, rows.shape[1] // across
    whole = rows[: height * down, : width * across].astype(np.float32)
    np.nan_to_num(whole, copy=False, nan=0.0, posinf=65504.0, neginf=0.0)
    np.clip(whole, 0.0, 1e9, out=whole)
    means: _Samples = whole.reshape(height, down, width, across).mean((1, 3), dtype=np.float32)
    return means


def _mapped(planes: _Planes) -> Image.Image:
    """Compress highlights (Reinhard's operator with a white point), and encode linear light as sRGB."""
    import numpy as np

    red, green, blue, *alpha = planes
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    white = float(np.percentile(light, _WHITE_PERCENTILE))
    colours = np.stack([red, green, blue], axis=-1)
    if alpha:  # colours of EXR files are multiplied by alpha
        colours /= np.maximum(alpha[0], 1e-6)[..., None]
    if white > 1.0:  # otherwise the picture is one for screens already
        scale = (1.0 + light / white**2) / (1.0 + light)
        colours *= scale[..., None]
    np.clip(colours, 0.0, 1.0, out=colours)
    encoded = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours ** (1 / 2.4) - 0.055)
    channels = encoded if not alpha else np.dstack([encoded, np.clip(alpha[0], 0.0, 1.0)])
    return Image.fromarray(np.rint(channels * 255).astype(np.uint8))
