"""Thumbnails: formats, modes, orientations and transparency; bombs, truncated, damaged and foreign files."""

from __future__ import annotations

import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comfy_assets_node.comfy_assets import image_limits
from comfy_assets_node.comfy_assets.assets.media import image as raster
from comfy_assets_node.comfy_assets.assets.media.ffmpeg import tolerance_of
from comfy_assets_node.comfy_assets.assets.media.image import fit_size
from comfy_assets_node.comfy_assets.assets.media.thumbnails import Thumbnailer
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken
from comfy_assets_node.comfy_assets.errors import ImageTooLargeError, ImageUnreadableError, NoThumbnailError
from comfy_assets_node.comfy_assets.fs.paths import ChangedWhileReading, file_stat
from comfy_assets_node.comfy_assets.image_limits import MAX_PIXELS, MAX_PIXELS_AT_ONCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, features
from support.examples import examples

Make = Callable[..., Image.Image]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make the thumbnail of a file with these bytes, and decode it."""

    def make(data: bytes, res: int = 64, plane: Any = "flat", token: CancelToken | None = None) -> Image.Image:
        path = tmp_path / "picture"
        path.write_bytes(data)
        body = Thumbnailer(token or CancelToken()).make(path, file_stat(os.stat(path)), res, plane)
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(body))  # not opened, which Image.MAX_IMAGE_PIXELS may forbid
        image.load()
        return image

    return make


def colours(width: int = 300, height: int = 200) -> Image.Image:
    """Red on the left, green on the right, brighter downwards, so that any turn is visible."""
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.dstack([255 - across, across, down]).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(image: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of samples (0 to 255), after conversion to the same mode and size."""
    wanted = np.asarray(other.convert(image.mode).resize(image.size, Image.Resampling.LANCZOS), np.int32)
    return float(np.abs(np.asarray(image, np.int32) - wanted).mean())


def gray16() -> Image.Image:
    return Image.fromarray(np.asarray(colours().convert("L"), np.uint16) * 257)


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(colours(), *profiles, outputMode="LAB")
    assert converted is not None
    return converted


def floats(highest: float) -> Image.Image:
    return Image.fromarray(np.asarray(colours().convert("L"), np.float32) * (highest / 255))


READABLE = [
    ("PNG", lambda: colours(), {}),
    ("PNG", lambda: colours().convert("RGBA"), {}),
    ("PNG", lambda: colours().convert("L"), {}),
    ("PNG", lambda: colours().convert("LA"), {}),
    ("PNG", lambda: colours().quantize(200), {}),
    ("PNG", lambda: colours().quantize(4), {"bits": 2}),
    ("PNG", lambda: colours().convert("1"), {}),
    ("PNG", gray16, {}),
    ("JPEG", lambda: colours(), {}),
    ("JPEG", lambda: colours(), {"progressive": True, "subsampling": 0}),
    ("JPEG", lambda: colours(4000, 2600), {}),
    ("JPEG", lambda: colours().convert("L"), {}),
    ("JPEG", lambda: colours().convert("CMYK"), {}),
    ("MPO", lambda: colours(), {}),
    ("WEBP", lambda: colours(), {}),
    ("WEBP", lambda: colours().convert("RGBA"), {"lossless": True}),
    ("GIF", lambda: colours(), {}),
    ("GIF", lambda: colours().convert("L"), {"interlace": 1}),
    ("BMP", lambda: colours(), {}),
    ("BMP", lambda: colours().quantize(16), {}),
    ("TIFF", lambda: colours(), {}),
    ("TIFF", lambda: colours(), {"compression": "tiff_lzw"}),
    ("TIFF", lambda: colours(), {"compression": "jpeg"}),
    ("TIFF", lambda: colours().convert("CMYK"), {}),
    ("TIFF", lab, {}),
    ("TIFF", gray16, {}),
    ("TIFF", lambda: colours().convert("L").convert("I"), {}),
    ("TIFF", lambda: floats(1), {}),
    ("TIFF", lambda: floats(255), {}),
    ("TIFF", lambda: floats(65535), {}),
]


@pytest.mark.parametrize(
    ("kind", "image", "options"), READABLE, ids=[f"{number}-{row[0]}" for number, row in enumerate(READABLE)]
)
def test_what_is_readable(make: Make, kind: str, image: Callable[[], Image.Image], options: dict[str, Any]) -> None:
    source = image()
    thumbnail = make(saved(source, kind, **options))
    assert thumbnail.size == fit_size(source.size, 64)
    is_gray = source.mode in ("L", "1", "I", "F", "I;16")
    assert thumbnail.mode == ("L" if is_gray and kind != "GIF" else "RGB")
    if source.mode in ("I", "F", "I;16", "LAB"):
        assert difference(thumbnail, colours()) < 10
    else:
        assert difference(thumbnail, source.convert("L") if source.mode == "LA" else source.convert("RGB")) < 10


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif(make: Make) -> None:
    assert difference(make(saved(colours(), "AVIF")), colours()) < 10


def test_samples_of_any_range(make: Make) -> None:
    thumbnail = make(saved(floats(1e6), "TIFF"))
    assert thumbnail.getextrema()[1] >= 250  # type: ignore[operator]  # the brightest sample is white
    assert make(saved(floats(0), "TIFF")).getextrema() == (0, 0)


def test_samples_that_are_no_numbers(make: Make) -> None:
    samples = np.asarray(floats(1)).copy()
    samples[:50] = np.nan
    samples[50:100] = np.inf
    assert make(saved(Image.fromarray(samples), "TIFF")).size == (64, 43)


@given(
    st.tuples(st.integers(1, 70000), st.integers(1, 70000)),
    st.integers(64, 1024),
)
def test_it_fits_and_is_never_enlarged(size: tuple[int, int], res: int) -> None:
    width, height = fit_size(size, res)
    assert 1 <= width <= min(res, size[0]) and 1 <= height <= min(res, size[1])
    assert max(width, height) == min(res, max(size))
    assert abs(width - size[0] * max(width, height) / max(size)) <= 1


@pytest.mark.parametrize(
    ("size", "res", "expected"),
    [
        ((300, 200), 64, (64, 43)),
        ((200, 300), 64, (43, 64)),
        ((64, 64), 64, (64, 64)),
        ((10, 7), 1024, (10, 7)),
        ((1, 1), 64, (1, 1)),
        ((5000, 1), 64, (64, 1)),
        ((1, 5000), 64, (1, 64)),
        ((3000, 20), 1024, (1024, 7)),
    ],
)
def test_sizes(make: Make, size: tuple[int, int], res: int, expected: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG"):
        assert make(saved(Image.new("RGB", size, "red"), kind), res).size == expected


def half_transparent() -> Image.Image:
    """Opaque red on the left, fully transparent blue on the right."""
    image = Image.new("RGBA", (200, 100), (255, 0, 0, 255))
    image.paste((0, 0, 255, 0), (100, 0, 200, 100))
    return image


def palette_with_transparency() -> bytes:
    image = Image.new("P", (200, 100), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (100, 0, 200, 100))
    return saved(image, "PNG", transparency=1)


def gray_alpha() -> bytes:
    image = Image.new("LA", (200, 100), (76, 255))
    image.paste((29, 0), (100, 0, 200, 100))
    return saved(image, "PNG")


TRANSPARENT = [
    ("RGBA in PNG", lambda: saved(half_transparent(), "PNG")),
    ("RGBA in WebP", lambda: saved(half_transparent(), "WEBP", lossless=True, exact=True)),
    ("RGBA in TIFF", lambda: saved(half_transparent(), "TIFF")),
    ("palette in PNG", palette_with_transparency),
    ("palette in GIF", lambda: saved(Image.open(io.BytesIO(palette_with_transparency())), "GIF", transparency=1)),
    ("colour key in PNG", lambda: saved(half_transparent().convert("RGB"), "PNG", transparency=(0, 0, 255))),
    ("gray and alpha in PNG", gray_alpha),
]
PLANES = [("flat", 255, (255, 255, 255)), ("rgb", 255, (0, 0, 255)), ("alpha", 255, 0)]


@pytest.mark.parametrize(("plane", "left", "right"), PLANES)
@pytest.mark.parametrize(("name", "data"), TRANSPARENT, ids=[name for name, _ in TRANSPARENT])
def test_planes(make: Make, name: str, data: Callable[[], bytes], plane: str, left: Any, right: Any) -> None:
    thumbnail = make(data(), 128, plane)
    seen = thumbnail.getpixel((10, 30)), thumbnail.getpixel((118, 30))
    if plane == "alpha":
        wanted: Any = left, right
    elif name == "gray and alpha in PNG":
        wanted = (76, 76, 76), right if plane == "flat" else (29, 29, 29)
    else:
        wanted = (255, 0, 0), right
    assert np.abs(np.subtract(seen[0], wanted[0])).max() <= 4  # type: ignore[arg-type]
    assert np.abs(np.subtract(seen[1], wanted[1])).max() <= 4  # type: ignore[arg-type]
    assert (thumbnail.mode == "L") == (plane == "alpha")


def test_the_alpha_plane_of_what_is_opaque_is_white(make: Make) -> None:
    for kind in ("PNG", "JPEG", "GIF"):
        thumbnail = make(saved(colours(), kind), 64, "alpha")
        assert (thumbnail.mode, thumbnail.getextrema()) == ("L", (255, 255))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(make: Make, kind: str, orientation: int) -> None:
    undo = {value: value for value in (1, 2, 3, 4, 5, 7)} | {6: 8, 8: 6}
    turn = raster._TURNS.get(undo[orientation])
    stored = colours() if turn is None else colours().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    thumbnail = make(saved(stored, kind, exif=exif))
    assert thumbnail.size == (64, 43)
    assert difference(thumbnail, colours()) < 10
    assert thumbnail.getexif().get(0x0112) is None


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0nothing of the kind",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0high\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_that_cannot_be_read_is_none(make: Make, kind: str, exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert difference(make(saved(colours(), kind, exif=exif)), colours()) < 10


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_stands_for_an_animation(make: Make, kind: str) -> None:
    more = [Image.new("RGB", (300, 200), colour) for colour in ("blue", "lime")]
    red = Image.new("RGB", (300, 200), "red")
    thumbnail = make(saved(red, kind, save_all=True, append_images=more, duration=100))
    assert np.abs(np.subtract(thumbnail.getpixel((30, 20)), (255, 0, 0))).max() < 12  # type: ignore[arg-type]


def test_bands_make_no_difference(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [colours(1501, 997).convert("RGBA"), gray16().resize((1501, 997)), colours(1501, 997).quantize(99)]
    for data in [saved(image, "PNG") for image in images]:
        whole = make(data)
        monkeypatch.setattr(raster, "BAND_PIXELS", 20_000)
        assert difference(make(data), whole) == 0
        monkeypatch.undo()


def test_what_a_picture_carries_along_stays_behind(make: Make) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    for kind, more in (("JPEG", {"comment": "a secret"}), ("PNG", {}), ("WEBP", {"xmp": b"a secret"})):
        thumbnail = make(saved(colours(), kind, exif=exif, **more))
        assert not {"comment", "exif", "xmp"} & set(thumbnail.info)


def test_a_small_colour_profile_is_kept(make: Make) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(colours(), "PNG", icc_profile=profile)
    assert make(data).info["icc_profile"] == profile
    assert "icc_profile" not in make(data, plane="alpha").info
    for other in (profile + bytes(20 << 10), profile[:16] + b"CMYK" + profile[20:], b"short"):
        assert "icc_profile" not in make(saved(colours(), "PNG", icc_profile=other)).info


def png_of(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG file whose header declares any size, without as many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(saved(colours(), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_of(width: int, height: int) -> bytes:
    data = bytearray(saved(colours(), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    data = bytearray(saved(colours(), "WEBP", exif=b"Exif\0\0 "))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def bmp_of(width: int, height: int) -> bytes:
    data = bytearray(saved(colours(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def tiff_of(width: int, height: int, tile: int | None = None) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 5), (262, 3, 1), (277, 3, 1)]
    if tile is None:
        entries += [(273, 4, 8), (278, 4, height), (279, 4, 100)]
    else:
        entries += [(322, 4, tile), (323, 4, tile), (324, 4, 8), (325, 4, 100)]
    rows = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in entries)
    return struct.pack("<2sHI", b"II", 42, 108) + bytes(100) + struct.pack("<H", len(entries)) + rows + bytes(4)


BOMBS = {
    "PNG": lambda: png_of(50_000, 50_000),
    "PNG, wide": lambda: png_of(2**31 - 1, 1),
    "JPEG": lambda: jpeg_of(65_000, 65_000),
    "GIF": lambda: gif_of(65_535, 65_535),
    "WebP": lambda: webp_of(16_384, 16_384),
    "BMP": lambda: bmp_of(100_000, 100_000),
    "TIFF": lambda: tiff_of(100_000, 100_000),
    "TIFF of large tiles": lambda: tiff_of(1, 1, 65_520),
}


@pytest.mark.parametrize("pillow_limit", [None, 1, 2**62], ids=["Pillow: none", "Pillow: 1", "Pillow: huge"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_by_its_header(
    make: Make, monkeypatch: pytest.MonkeyPatch, bomb: str, pillow_limit: int | None
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageTooLargeError) as raised:
        make(BOMBS[bomb]())
    details = raised.value.details
    assert details is not None and details["width"] * details["height"] > details["max_pixels"]


def test_the_limit_of_pixels_is_ours_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    monkeypatch.setattr(raster, "BAND_PIXELS", 20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("PNG", "JPEG", "BMP"):  # Pillow's readers of GIF, TIFF and WebP look themselves
            assert make(saved(colours(1200, 800), kind)).size == (64, 43)


def test_a_picture_at_the_limit_is_decoded(make: Make) -> None:
    width = 1 << 17
    image = Image.new("1", (width, MAX_PIXELS // width))
    assert make(saved(image, "PNG", compress_level=1)).size == (64, 1)
    with pytest.raises(ImageTooLargeError):
        make(png_of(width, MAX_PIXELS // width + 1))


def test_formats_that_are_decoded_at_once_have_a_limit_of_their_own(make: Make) -> None:
    with pytest.raises(ImageTooLargeError) as raised:
        make(webp_of(7681, 4369))
    assert raised.value.details == {"width": 7681, "height": 4369, "max_pixels": MAX_PIXELS_AT_ONCE}
    with pytest.raises(ImageUnreadableError):  # it is decoded, and is not what its header says
        make(webp_of(7680, 4320))


def test_a_file_of_too_many_bytes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_limits, "MAX_BYTES", 1000)
    with pytest.raises(ImageTooLargeError):
        make(saved(colours(), "BMP"))


CUT = {
    "PNG": lambda: saved(colours(), "PNG"),
    "PNG, interlaced by none": lambda: saved(gray16(), "PNG"),
    "JPEG": lambda: saved(colours(), "JPEG"),
    "progressive JPEG": lambda: saved(colours(), "JPEG", progressive=True),
    "GIF": lambda: saved(colours(), "GIF"),
    "WebP": lambda: saved(colours(), "WEBP"),
    "lossless WebP": lambda: saved(colours(), "WEBP", lossless=True),
    "BMP": lambda: saved(colours(), "BMP"),
    "TIFF": lambda: saved(colours(), "TIFF"),
    "LZW TIFF": lambda: saved(colours(), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("tolerant", [False, True], ids=["Pillow: strict", "Pillow: tolerant"])
@pytest.mark.parametrize("kind", CUT)
def test_a_truncated_picture_is_an_error_or_complete(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: str, tolerant: bool
) -> None:
    warnings.simplefilter("ignore")  # what Pillow says of damaged EXIF data
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = CUT[kind]()
    whole = make(data)
    places = {*range(0, 40), *range(40, len(data), max(1, len(data) // 60)), *range(len(data) - 30, len(data))}
    outcomes: list[Any] = []
    for place in sorted(place for place in places if 0 <= place < len(data)):
        try:
            thumbnail = make(data[:place])
        except (ImageUnreadableError, NoThumbnailError) as error:
            outcomes.append(type(error))
            assert "." in error.message and (str(error.__cause__) or "-") not in error.message
        else:
            assert difference(thumbnail, whole) == 0, place
            outcomes.append(None)
    assert outcomes.count(ImageUnreadableError) > len(outcomes) // 2
    assert None not in outcomes[: len(outcomes) * 2 // 3]


SAMPLES = {
    "PNG": saved(colours(60, 40), "PNG"),
    "palette PNG": saved(colours(60, 40).quantize(20), "PNG"),
    "JPEG": saved(colours(60, 40), "JPEG"),
    "GIF": saved(colours(60, 40), "GIF"),
    "WebP": saved(colours(60, 40), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "BMP": saved(colours(60, 40), "BMP"),
    "TIFF": saved(colours(60, 40), "TIFF", compression="tiff_lzw"),
}


@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12),
    st.booleans(),
)
@settings(
    max_examples=examples(150, 400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_picture_never_breaks_more_than_itself(
    make: Make, kind: str, changes: list[tuple[int, int]], in_head: bool
) -> None:
    data = bytearray(SAMPLES[kind])
    for place, value in changes:
        data[place % (min(len(data), 200) if in_head else len(data))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ImageUnreadableError, ImageTooLargeError, NoThumbnailError):
            assert max(make(bytes(data)).size) <= 64


FOREIGN: dict[str, Any] = {
    "empty": b"",
    "text": b"not a picture",
    "zip": b"PK\x03\x04" + bytes(100),
    "eps, which Pillow would have Ghostscript run": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concatenation": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "html": b"<!DOCTYPE html><html><svg></svg></html>",
    "midi": b"MThd\0\0\0\x06\0\x01\0\x01\x01\xe0",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_picture(make: Make, name: str) -> None:
    data = FOREIGN[name]
    with pytest.raises(NoThumbnailError):
        make(data if isinstance(data, bytes) else data())


def test_a_file_that_is_not_what_was_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(colours(), "PNG"))
    size, mtime, inode = file_stat(os.stat(path))
    for stat in ((size + 1, mtime, inode), (size, mtime + 1, inode)):
        with pytest.raises(ChangedWhileReading):
            Thumbnailer(CancelToken()).make(path, stat, 64, "flat")
    with pytest.raises(FileNotFoundError):
        Thumbnailer(CancelToken()).make(tmp_path / "b.png", (1, 2, 3), 64, "flat")


@pytest.mark.parametrize("size", [(256, 128), (512, 256), (640, 320), (700, 350), (1000, 504)])
def test_fine_patterns_become_their_average(size: tuple[int, int]) -> None:
    """Lines of one pixel: a filter that leaves pixels out would show stripes."""
    width, height = size
    lines = Image.fromarray((np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8))
    small = np.asarray(raster.shrink(lines, fit_size(size, 128), raster.plain_converter(lines)), np.int32)
    assert small.shape == (64 if width != 1000 else 65, 128)
    assert np.abs(small[2:-2, 2:-2] - 127).max() <= 12


def test_a_whole_factor_gives_the_mean_of_its_pixels() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 192, 3), np.uint8))
    small = np.asarray(raster.shrink(noise, (64, 32), raster.plain_converter(noise)), np.float64)
    means = np.asarray(noise, np.float64).reshape(32, 3, 64, 3, 3).mean((1, 3))
    assert np.abs(small - means).max() <= 1


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(colours(), "PNG"))
    stat = file_stat(os.stat(path))
    real = raster.shrink

    def meanwhile(*arguments: Any) -> Image.Image:
        os.utime(path, (1, 1))
        return real(*arguments)

    monkeypatch.setattr(raster, "shrink", meanwhile)
    with pytest.raises(ChangedWhileReading):
        Thumbnailer(CancelToken()).make(path, stat, 64, "flat")


@pytest.mark.parametrize(("error", "is_logged"), [(TypeError("no argument x"), True), (OSError("truncated"), False)])
def test_a_fault_that_may_be_of_the_program_is_logged_once(
    error: Exception, is_logged: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_limits, "_logged", set())
    for _ in range(3):
        with pytest.raises(ImageUnreadableError), image_limits.map_reader_errors():
            raise error
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error] * is_logged


def test_work_ends_when_it_is_cancelled(make: Make) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        make(saved(colours(), "PNG"), token=token)


def video(kind: str, codec: str, size: tuple[int, int] = (320, 180), rotation: int = 0, frames: int = 5) -> bytes:
    """A video with colours in its first frame and black frames after it."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=5, options={"b": "2M"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        images = [colours(*size), *([Image.new("RGB", size)] * (frames - 1))]
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return buffer.getvalue()


VIDEOS = [("mp4", "mpeg4"), ("mov", "mpeg4"), ("webm", "libvpx-vp9"), ("matroska", "mpeg4"), ("avi", "mpeg4")]


@pytest.mark.parametrize(("kind", "codec"), VIDEOS)
def test_the_first_frame_of_a_video(make: Make, kind: str, codec: str) -> None:
    data = video(kind, codec)
    thumbnail = make(data)
    assert thumbnail.size == (64, 36)
    assert difference(thumbnail, colours(320, 180)) < 12
    assert make(data, 64, "alpha").getextrema() == (255, 255)
    assert make(data, 1024).size == (320, 180)


@pytest.mark.parametrize(
    ("rotation", "turn"),
    [(90, Image.Transpose.ROTATE_90), (180, Image.Transpose.ROTATE_180), (-90, Image.Transpose.ROTATE_270)],
)
def test_a_video_is_shown_upright(make: Make, rotation: int, turn: Image.Transpose) -> None:
    thumbnail = make(video("mp4", "mpeg4", rotation=rotation))
    expected = colours(320, 180).transpose(turn)
    assert (thumbnail.width < thumbnail.height) == (expected.width < expected.height)
    assert difference(thumbnail, expected) < 12


@pytest.mark.parametrize(("version", "is_asked"), [("14.0.0", True), ("18.1.0", True), ("19.0.2", False)])
def test_releases_of_pyav_get_only_arguments_that_they_have(version: str, is_asked: bool) -> None:
    release = ModuleType("av")
    release.__version__ = version  # type: ignore[attr-defined]
    assert ("metadata_errors" in tolerance_of(release)) == is_asked


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "avi", "mpegts"])
def test_a_video_with_a_tag_that_is_not_utf8(make: Make, kind: str) -> None:
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        container.metadata["service_name" if kind == "mpegts" else "title"] = "Cafeteria Z"
        stream = container.add_stream("mpeg2video" if kind == "mpegts" else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_image(colours(320, 180))))
        container.mux(stream.encode())
    data = buffer.getvalue()
    assert b"Cafeteria Z" in data
    latin = data.replace(b"Cafeteria Z", "Caf\xe9teri\xe1 Z".encode("latin-1"))
    assert make(latin).size == (64, 36)


def test_a_video_without_a_picture_is_a_sound(make: Make) -> None:
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert make(buffer.getvalue()).size == (64, 32)
    with pytest.raises(ImageUnreadableError):
        make(buffer.getvalue()[:40])


def test_a_truncated_video(make: Make) -> None:
    for kind, codec in VIDEOS:
        data = video(kind, codec)
        for share in range(1, 10):
            try:
                thumbnail = make(data[: len(data) * share // 10])
            except (ImageUnreadableError, NoThumbnailError):
                continue
            assert thumbnail.size == (64, 36)
        with pytest.raises(ImageUnreadableError):
            make(data[:60])


@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_video(make: Make, changes: list[tuple[int, int]]) -> None:
    data = bytearray(_video_sample())
    for place, value in changes:
        data[place % len(data)] = value
    with suppress(ImageUnreadableError, ImageTooLargeError, NoThumbnailError):
        assert max(make(bytes(data)).size) <= 64


_samples: dict[str, bytes] = {}


def _video_sample() -> bytes:
    if "video" not in _samples:
        _samples["video"] = video("mp4", "mpeg4", (64, 48), frames=2)
    return _samples["video"]


def test_a_server_without_pyav_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NoThumbnailError, match="PyAV"):
        make(b"\0\0\0\x18ftypmp42" + bytes(100))
