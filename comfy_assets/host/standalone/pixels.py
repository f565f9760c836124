"""Images as float arrays: conversion from and to Pillow, resizing. numpy and Pillow are imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.float32]

MASK_SIZE = 64  # pixels on a side of the mask of an opaque image, as in ComfyUI
_BYTES_A_PIXEL = 24  # the decoded image, and its floats
METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
BICUBIC_SHARPNESS = -0.75  # as in PyTorch


def load_image(path: Path, check: Callable[[], None] = lambda: None) -> tuple[Floats, Floats]:
    """Return the frames of a file as [frames, height, width, 3], and their masks [frames, height, width].

    A mask is 1 for transparent pixels; an image without transparency has a small black mask. Frames of another size
    than the first are left out. ``check`` may raise to cancel. Raise ImageUnreadableError, and ImageTooLargeError if
    all frames together have too many pixels.
    """
    from ...image_limits import check_size, image_memory, open_untrusted

    with open_untrusted(path) as file:
        count = int(getattr(file, "n_frames", 1))
        check_size(file.width, file.height * count)
        with image_memory.hold(file.width * file.height * count * _BYTES_A_PIXEL, check):
            return _frames(file, check)


def _frames(file: Image, check: Callable[[], None]) -> tuple[Floats, Floats]:
    import numpy as np
    from PIL import ImageOps, ImageSequence

    pictures: list[Floats] = []
    masks: list[Floats] = []
    size = file.size
    for raw in ImageSequence.Iterator(file):
        check()
        if raw.size != size:  # skipped before it is decoded: it may be of any size
            continue
        frame = _plain(ImageOps.exif_transpose(raw))
        picture = _floats(frame.convert("RGB"))
        if pictures and picture.shape != pictures[0].shape:
            continue
        pictures.append(picture)
        masks.append(_mask(frame))
    if len({mask.shape for mask in masks}) > 1:  # only some frames are transparent: the others get a full-size mask
        height, width = pictures[0].shape[:2]
        masks = [m if m.shape == (height, width) else np.zeros((height, width), np.float32) for m in masks]
    if len(pictures) == 1:  # without the copy that ``stack`` makes
        return pictures[0][np.newaxis], masks[0][np.newaxis]
    return np.stack(pictures), np.stack(masks)


def to_image(picture: Floats) -> Image:
    """Convert one image [height, width, channels] to an 8-bit Pillow image."""
    import numpy as np
    from PIL import Image

    levels = np.clip(picture * np.float32(255), 0, 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def resize(pictures: Floats, width: int, height: int, method: str, crop: str) -> Floats:
    """Resize [batch, height, width, channels]; ``crop`` "center" cuts to the new proportions first."""
    if crop == "center":
        pictures = _cut_to_proportions(pictures, width, height)
    if method == "lanczos":
        return _resize_with_pillow(pictures, width, height)
    rows = _resample(pictures, height, 1, method)
    return _resample(rows, width, 2, method)


def stack(first: Floats, second: Floats) -> Floats:
    """Combine two batches in the size of the first. If one has alpha, it is added to the other."""
    import numpy as np

    channels = max(first.shape[3], second.shape[3])
    first, second = (_with_channels(each, channels) for each in (first, second))
    if first.shape[1:3] != second.shape[1:3]:
        second = resize(second, first.shape[2], first.shape[1], "bilinear", "center")
    return np.concatenate((first, second))


def _with_channels(pictures: Floats, channels: int) -> Floats:
    import numpy as np

    missing = channels - pictures.shape[3]
    padding = ((0, 0), (0, 0), (0, 0), (0, missing))
    return np.pad(pictures, padding, constant_values=1.0) if missing else pictures


def _floats(image: Image) -> Floats:
    import numpy as np

    floats: Floats = np.asarray(image, dtype=np.float32) / np.float32(255)
    return floats


def _plain(image: Image) -> Image:
    """Convert transparency to a channel, and 16-bit greys to 8 bits, which Pillow would clip."""
    import numpy as np
    from PIL import Image

    if "transparency" in image.info:
        return image.convert("RGBA")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 257).astype(np.uint8))


def _mask(frame: Image) -> Floats:
    import numpy as np

    if "A" not in frame.getbands():
        return np.zeros((MASK_SIZE, MASK_SIZE), np.float32)
    mask: Floats = np.float32(1) - _floats(frame.getchannel("A"))
    return mask


def _cut_to_proportions(pictures: Floats, width: int, height: int) -> Floats:
    old_height, old_width = pictures.shape[1:3]
    wanted, present = width / height, old_width / old_height
    left = round((old_width - old_width * wanted / present) / 2) if present > wanted else 0
    top = round((old_height - old_height * present / wanted) / 2) if present < wanted else 0
    left, top = min(left, (old_width - 1) // 2), min(top, (old_height - 1) // 2)  # keep at least one pixel
    return pictures[:, top : old_height - top, left : old_width - left]


def _resize_with_pillow(pictures: Floats, width: int, height: int) -> Floats:
    import numpy as np
    from PIL import Image

    resized = [to_image(each).resize((width, height), Image.Resampling.LANCZOS) for each in pictures]
    return np.stack([_floats(each).reshape(height, width, -1) for each in resized])


def _resample(pictures: Floats, size: int, axis: int, method: str) -> Floats:
    """Resize along one axis, with pixel centres as in PyTorch's interpolation."""
    import numpy as np

    old = pictures.shape[axis]
    if old == size:
        return pictures
    if method == "area":
        return _mean_of_areas(pictures, size, axis)
    centres = (np.arange(size) + 0.5) * (old / size)
    if method == "nearest-exact":
        nearest = np.minimum(centres.astype(np.intp), old - 1)
        taken: Floats = np.take(pictures, nearest, axis)
        return taken
    return _weigh(pictures, axis, *_taps(centres - 0.5, old, method))


def _taps(positions: NDArray[np.float64], old: int, method: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the source pixels of each position and their weights: two for bilinear, four for bicubic."""
    import numpy as np

    if method == "bilinear":
        positions = np.maximum(positions, 0)
    base = np.floor(positions)
    offsets = (0, 1) if method == "bilinear" else (-1, 0, 1, 2)
    kernel = _triangle if method == "bilinear" else _cubic
    indexes = [np.clip(base + offset, 0, old - 1).astype(np.intp) for offset in offsets]
    return indexes, [kernel(np.abs(positions - base - offset)) for offset in offsets]


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - distance


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    a, d = BICUBIC_SHARPNESS, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


def _weigh(pictures: Floats, axis: int, indexes: Sequence[Any], weights: Sequence[Any]) -> Floats:
    import numpy as np

    shape = [1] * pictures.ndim
    shape[axis] = -1
    terms = (
        np.take(pictures, index, axis) * weight.astype(np.float32).reshape(shape)
        for index, weight in zip(indexes, weights, strict=True)
    )
    total: Floats = next(terms)
    for term in terms:
        total += term
    return total


def _mean_of_areas(pictures: Floats, size: int, axis: int) -> Floats:
    """Return the mean of the source pixels that each new pixel covers, including pixels that it covers in part."""
    import numpy as np

    old = pictures.shape[axis]
    starts = np.arange(size) * old // size
    ends = -(-(np.arange(size) + 1) * old // size)
    shape = [1] * pictures.ndim
    shape[axis] = -1
    sums = np.cumsum(pictures, axis=axis, dtype=np.float64)
    before = np.where((starts > 0).reshape(shape), np.take(sums, np.maximum(starts - 1, 0), axis), 0)
    means = (np.take(sums, ends - 1, axis) - before) / (ends - starts).reshape(shape)
    floats: Floats = means.astype(np.float32)
    return floats
