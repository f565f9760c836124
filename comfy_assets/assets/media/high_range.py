"""Pictures of high dynamic range, EXR and Radiance HDR, decoded by PyAV and mapped to the range of screens."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from PIL import Image

from ...errors import ImageUnreadableError
from ...image_limits import MAX_PIXELS_AT_ONCE, check_size
from .image import fit_size
from .video import map_ffmpeg_errors, open_container, require_pyav

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

EXR, HDR = b"\x76\x2f\x31\x01", (b"#?RADIANCE", b"#?RGBE")
BYTES_A_PIXEL = 40  # memory for decoding: four channels of 32 bits, in the frame and twice in between
_FORMATS = {"gbrpf32le": "f4", "gbrapf32le": "f4", "gbrpf16le": "f2", "gbrapf16le": "f2", "grayf32le": "f4"}
_MAX_HEADER = 1 << 20  # bytes of an EXR header without its texts, or of a Radiance header
_MAX_ATTRIBUTES = 1000
_WHITE_PERCENTILE = 99.5  # highlights above are clipped: single bright pixels would darken everything else
_Planes = list["Samples"]


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the format for the first bytes of a file, or None for another one."""
    if head.startswith(EXR):
        return "exr_pipe"
    return "hdr_pipe" if head.startswith(HDR) else None


def declared_size(stream: IO[bytes], head: bytes) -> tuple[int, int]:
    """Return width and height from the header, before anything is decoded. Raises ImageUnreadableError."""
    size = _exr_size(stream) if head.startswith(EXR) else _hdr_size(stream)
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


def draw(stream: IO[bytes], container: str, res: int) -> Image.Image:
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

    kind = _FORMATS.get(frame.format.name)
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


def _reduced(rows: Any, factor: int) -> Samples:
    import numpy as np

    # A factor larger than a side would leave nothing of it.
    down, across = min(factor, rows.shape[0]), min(factor, rows.shape[1])
    height, width = rows.shape[0] // down, rows.shape[1] // across
    whole = rows[: height * down, : width * across].astype(np.float32)
    np.nan_to_num(whole, copy=False, nan=0.0, posinf=65504.0, neginf=0.0)
    np.clip(whole, 0.0, 1e9, out=whole)
    means: Samples = whole.reshape(height, down, width, across).mean((1, 3), dtype=np.float32)
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
