"""How large pictures may be that pages upload, where the user has set it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from ...config import Config
from ...errors import ImageTooLargeError


def check_image(source: IO[bytes] | Path, config: Config, field: str) -> None:
    """Raise ImageTooLargeError, which names the limit, for a file over one. What is no picture has no edges. Blocks."""
    size = _size(source)
    if config.max_image_size is not None and size > config.max_image_size:
        raise _over(field, "max_bytes", config.max_image_size)
    edges = _edges(source) if config.max_image_edge or config.max_image_pixels else None
    if edges is None:
        return
    if config.max_image_edge is not None and max(edges) > config.max_image_edge:
        raise _over(field, "max_edge", config.max_image_edge)
    if config.max_image_pixels is not None and edges[0] * edges[1] > config.max_image_pixels:
        raise _over(field, "max_pixels", config.max_image_pixels)


def _over(field: str, limit: str, value: int) -> ImageTooLargeError:
    details = {"field": field, limit: value}
    return ImageTooLargeError("The picture is larger than this server takes.", details=details)


def _size(source: IO[bytes] | Path) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


def _edges(source: IO[bytes] | Path) -> tuple[int, int] | None:
    """Width and height as the header says; None for what is no picture."""
    from PIL import Image

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
