"""Pictures as arrays: reading every kind of file, and resizing as ComfyUI does it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_assets_node.comfy_assets.host.standalone.pixels import load_image, resize, stack, to_image
from PIL import Image

RED = (200, 0, 0)


def row(*values: float) -> Any:
    """One picture of one row and one channel."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


@pytest.mark.parametrize(
    ("method", "values", "width", "expected"),
    [
        # expected values are what torch.nn.functional.interpolate gives
        ("nearest-exact", (0, 1, 2), 6, (0, 0, 1, 1, 2, 2)),
        ("nearest-exact", (0, 1, 2, 3, 4), 2, (1, 3)),
        ("bilinear", (0, 1), 4, (0, 0.25, 0.75, 1)),
        ("bilinear", (0, 1, 2, 3), 2, (0.5, 2.5)),
        ("bicubic", (0, 1), 4, (-0.1055, 0.2266, 0.7734, 1.1055)),
        ("area", (0, 1, 2, 3), 2, (0.5, 2.5)),
        ("area", (0, 3, 6), 2, (1.5, 4.5)),
        ("area", (0, 6), 3, (0, 3, 6)),
        ("area", (5,), 3, (5, 5, 5)),
    ],
)
def test_resampling(method: str, values: Any, width: int, expected: Any) -> None:
    result = resize(row(*values), width, 1, method, "disabled")
    assert result.dtype == np.float32 and result.shape == (1, 1, width, 1)
    assert np.allclose(result.ravel(), expected, atol=1e-3), result.ravel()


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "bicubic", "area", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (5, 4), (50, 2), (3, 40)])
@pytest.mark.parametrize("crop", ["disabled", "center"])
def test_a_flat_picture_stays_flat(method: str, width: int, height: int, crop: str) -> None:
    flat = np.full((2, 4, 5, 3), 0.2, np.float32)
    result = resize(flat, width, height, method, crop)
    assert result.shape == (2, height, width, 3) and result.dtype == np.float32
    assert np.allclose(result, 0.2, atol=1e-6)


def test_center_crop_keeps_the_middle() -> None:
    wide = row(0, 1, 2, 3)
    assert resize(wide, 1, 1, "area", "center").ravel().tolist() == [1.5]
    assert resize(row(9, 1, 2, 9), 2, 1, "nearest-exact", "center").ravel().tolist() == [1, 2]
    tall = np.swapaxes(row(9, 1, 2, 9), 1, 2)
    assert resize(tall, 1, 2, "nearest-exact", "center").ravel().tolist() == [1, 2]


def test_stacking_fits_size_and_channels() -> None:
    first, second = np.zeros((1, 2, 2, 3), np.float32), np.full((2, 4, 8, 4), 0.5, np.float32)
    both = stack(first, second)
    assert both.shape == (3, 2, 2, 4)
    assert both[0, ..., 3].tolist() == [[1, 1], [1, 1]] and np.allclose(both[1:], 0.5)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_to_image_cuts_levels_off(channels: int, mode: str) -> None:
    image = to_image(np.full((2, 3, channels), 0.999, np.float32))
    assert (image.mode, image.size) == (mode, (3, 2))
    assert np.asarray(image).max() == 254
    assert np.asarray(to_image(np.full((1, 1, 3), 7, np.float32))).max() == 255
    assert np.asarray(to_image(np.full((1, 1, 3), -7, np.float32))).max() == 0


def store(path: Path, image: Image.Image, kind: str, **options: Any) -> Path:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    path.write_bytes(buffer.getvalue())
    return path


def test_files_of_every_mode_become_pictures(tmp_path: Path) -> None:
    rgb = Image.new("RGB", (3, 2), RED)
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        image = Image.new(mode, (3, 2), 51400) if mode == "I;16" else rgb.convert(mode)
        picture, mask = load_image(store(tmp_path / "x", image, kind))
        assert picture.shape == (1, 2, 3, 3) and picture.dtype == np.float32, mode
        assert picture.min() >= 0 and picture.max() <= 1
        assert mask.shape == ((1, 2, 3) if "A" in mode else (1, 64, 64)) and mask.max() == 0, mode
        if mode == "I;16":
            assert np.allclose(picture, 200 / 255)


def test_transparency_becomes_the_mask(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (2, 1), (*RED, 51))
    _, mask = load_image(store(tmp_path / "rgba", rgba, "PNG"))
    assert np.allclose(mask, 0.8) and mask.shape == (1, 1, 2)
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    _, mask = load_image(store(tmp_path / "palette", palette, "PNG", transparency=1))
    assert mask.tolist() == [[[0, 1]]]


def test_the_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    picture, _ = load_image(store(tmp_path / "x", image, "PNG", exif=exif))
    assert picture.shape == (1, 2, 1, 3)
    assert picture[0, :, 0, 0].tolist() == [np.float32(200 / 255), 0]


def test_frames_become_a_batch(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 2), (level, level, level)) for level in (0, 100, 200)]
    options = {"save_all": True, "append_images": frames[1:]}
    for kind, lossless in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        picture, mask = load_image(store(tmp_path / kind, frames[0], kind, **options, **lossless))
        assert picture.shape == (3, 2, 3, 3) and len(mask) == 3, kind
        assert np.allclose(picture[:, 0, 0, 0] * 255, [0, 100, 200], atol=1), kind
