"""Thumbnails of every kind of file: the right size and colours, else the reason; hostile files are bounded."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_assets_node.comfy_assets.assets.media import decoders, thumbnails, video
from comfy_assets_node.comfy_assets.assets.media.image import PngPixels
from comfy_assets_node.comfy_assets.assets.media.mime import guess_mime
from comfy_assets_node.comfy_assets.assets.media.thumbnails import Thumbnailer
from comfy_assets_node.comfy_assets.background.interruption import CancelToken
from comfy_assets_node.comfy_assets.errors import ApiError, ImageTooLargeError, ImageUnreadableError, NoThumbnailError
from comfy_assets_node.comfy_assets.fs.paths import file_stat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features
from support.examples import examples

SIZE = (120, 60)
Make = Callable[..., Image.Image]


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., bytes]:
    """Make the thumbnail of a file with this name and these bytes."""

    def draw(name: str, data: bytes, res: int = 64, plane: Any = "flat") -> bytes:
        path = tmp_path / name
        path.write_bytes(data)
        return Thumbnailer(CancelToken()).make(path, file_stat(os.stat(path)), res, plane)

    return draw


def halves(size: tuple[int, int] = SIZE) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (220, 30, 30))
    image.paste((30, 30, 220), (size[0] // 2, 0, *size))
    return image


def saved(kind: str, size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    buffer = io.BytesIO()
    halves(size).save(buffer, kind, **options)
    return buffer.getvalue()


def muxed(container: str, codec: str, pixels: str = "yuv420p", size: tuple[int, int] = SIZE, **options: str) -> bytes:
    """A video of three frames, in any container."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        track = output.add_stream(codec, rate=25, options=options)
        track.width, track.height, track.pix_fmt = *size, pixels
        for _ in range(3):
            output.mux(track.encode(av.VideoFrame.from_image(halves(size))))
        output.mux(track.encode())
    return buffer.getvalue()


def high_range(container: str, pixels: str, light: float, size: tuple[int, int] = SIZE) -> bytes:
    """An EXR or HDR file of linear samples, ``light`` times as bright as the screen's white where there is colour."""
    av = pytest.importorskip("av")
    samples = np.asarray(halves(size).convert("RGB"), np.float32) / 255
    linear = np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4) * light
    frame = av.VideoFrame(*size, pixels)
    for plane, channel in zip(frame.planes, (1, 2, 0), strict=False):  # green, blue, red
        rows = np.zeros((size[1], plane.line_size // 4), np.float32)
        rows[:, : size[0]] = linear[..., channel]
        plane.update(rows.tobytes())
    if len(frame.planes) == 4:
        frame.planes[3].update(np.full((size[1], frame.planes[3].line_size // 4), 1, np.float32).tobytes())
    encoder = av.CodecContext.create("exr" if container == "exr" else "hdr", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, pixels, Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def photoshop(bits: int = 8) -> bytes:
    """A PSD file with the composite that Photoshop writes for other programs."""
    pixels = np.asarray(halves()).transpose(2, 0, 1)
    deep = (pixels.astype(">u2") * 257) if bits == 16 else pixels
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, SIZE[1], SIZE[0], bits, 3)
    return head + bytes(12) + b"\0\0" + deep.tobytes()


def scene(picture: bytes, version: int) -> bytes:
    """A VRM avatar, a glTF file in binary form, with a picture of itself."""
    extensions = {1: {"VRMC_vrm": {"meta": {"thumbnailImage": 1}}}, 0: {"VRM": {"meta": {"texture": 0}}}}
    document = {
        "asset": {"version": "2.0"},
        "extensions": extensions[version],
        "textures": [{"source": 1}],
        "images": [{"uri": "https://elsewhere.example/x.png"}, {"bufferView": 0, "mimeType": "image/png"}],
        "bufferViews": [{"buffer": 0, "byteOffset": 4, "byteLength": len(picture)}],
        "buffers": [{"byteLength": len(picture) + 4}],
    }
    return binary_scene(document, b"\0\0\0\0" + picture)


def binary_scene(document: dict[str, Any], buffer: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(buffer), 0x004E4942) + buffer
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def model(field: str, value: str) -> bytes:
    """A safetensors file with this field in its header, after a description that mentions it."""
    metadata = {"description": f'its "{field}":"is a picture"', field: value}
    header = json.dumps({"__metadata__": metadata, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"x"


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def scene_with_extras(key: str) -> bytes:
    uri = "data:image/png;base64," + base64.b64encode(saved("PNG")).decode()
    return json.dumps({"asset": {"version": "2.0", "extras": {key: uri}}}).encode()


def heif() -> bytes:
    """An image that FFmpeg decodes in a HEIC file, though it is an AV1 image: nothing here encodes others."""
    data = saved("AVIF", quality=90)
    return data.replace(b"ftypavif", b"ftypheic", 1)


PICTURES: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: saved("PNG"),
    "a.jpg": lambda: saved("JPEG"),
    "a.webp": lambda: saved("WEBP"),
    "a.gif": lambda: saved("GIF"),
    "a.bmp": lambda: saved("BMP"),
    "a.tiff": lambda: saved("TIFF"),
    "a.tga": lambda: saved("TGA"),
    "b.tga": lambda: saved("TGA", compression="tga_rle"),
    "a.ppm": lambda: saved("PPM"),
    "a.psd": photoshop,
    "deep.psd": lambda: photoshop(16),
    "a.ico": lambda: saved("ICO", sizes=[SIZE]),
    "b.ico": lambda: saved("ICO", sizes=[SIZE], bitmap_format="bmp"),
    "a.exr": lambda: high_range("exr", "gbrpf32le", 1),
    "alpha.exr": lambda: high_range("exr", "gbrapf32le", 1),
    "a.hdr": lambda: high_range("hdr", "gbrpf32le", 1),
    "a.vrm": lambda: scene(saved("PNG"), 1),
    "b.vrm": lambda: scene(saved("JPEG"), 0),
    "a.gltf": lambda: scene_with_extras("thumbnail"),
    "b.gltf": lambda: scene_with_extras("preview"),
    "a.safetensors": lambda: model("modelspec.thumbnail", "data:image/jpeg;base64," + encoded(saved("JPEG"))),
    "b.safetensors": lambda: model("ssmd_cover_images", json.dumps([encoded(saved("PNG"))])),
    "c.safetensors": lambda: model("thumbnail", encoded(saved("WEBP"))),
    "a.mp4": lambda: muxed("mp4", "mpeg4"),
    "a.mov": lambda: muxed("mov", "mpeg4"),
    "a.mkv": lambda: muxed("matroska", "mpeg4"),
    "a.webm": lambda: muxed("webm", "libvpx"),
    "a.avi": lambda: muxed("avi", "mpeg4"),
    "a.ogv": lambda: muxed("ogg", "libvpx"),
    "a.mpg": lambda: muxed("mpeg", "mpeg1video"),
    "a.m2v": lambda: muxed("mpeg2video", "mpeg2video"),
    "a.ts": lambda: muxed("mpegts", "mpeg4"),
    "joined.ts": lambda: muxed("mpegts", "mpeg2video") + muxed("mpegts", "mpeg4"),
    "a.m2ts": lambda: muxed("mpegts", "mpeg2video", mpegts_m2ts_mode="1"),
    "a.flv": lambda: muxed("flv", "flv1"),
    "a.wmv": lambda: muxed("asf", "wmv2"),
    "a.3gp": lambda: muxed("3gp", "mpeg4"),
    "a.mxf": lambda: muxed("mxf", "mpeg2video"),
}
if features.check("jpg_2000"):
    PICTURES |= {"a.jp2": lambda: saved("JPEG2000"), "a.j2k": lambda: saved("JPEG2000", no_jp2=True)}
if features.check("avif"):
    PICTURES |= {"a.avif": lambda: saved("AVIF"), "a.heif": heif}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(draw: Callable[..., bytes], name: str) -> None:
    data = PICTURES[name]()
    body = draw(name, data)
    found = Image.open(io.BytesIO(body))
    assert (found.format, found.size) == ("JPEG", (64, 32))
    image = found.convert("RGB")
    for place, colour in (((10, 16), (220, 30, 30)), ((54, 16), (30, 30, 220))):
        assert np.abs(np.subtract(image.getpixel(place), colour)).max() < 40, place  # type: ignore[arg-type]
    only_some = name.endswith((".vrm", ".gltf", ".safetensors"))  # a fact of the file says that it has a picture
    assert decoders.has_thumbnail(guess_mime(name)) is not only_some


def sound(container: str, codec: str, seconds: float = 2.0, rate: int = 48000, samples: str = "flt") -> bytes:
    """A tone that is loud in its second half alone."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        track = output.add_stream(codec, rate=rate, layout="mono")
        track.bit_rate = 128_000
        times = np.arange(int(seconds * rate))
        wave = np.sin(times / 20) * np.where(times < len(times) / 2, 0.01, 0.9)
        for start in range(0, len(wave), rate):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + rate].astype(np.float32), "flt", "mono")
            frame.sample_rate, frame.pts = rate, start
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return buffer.getvalue()


SOUNDS: dict[str, Callable[[], bytes]] = {
    "a.flac": lambda: sound("flac", "flac"),
    "a.mp3": lambda: sound("mp3", "libmp3lame"),
    "a.opus": lambda: sound("opus", "libopus"),
    "a.wav": lambda: sound("wav", "pcm_s16le"),
    "float.wav": lambda: sound("wav", "pcm_f32le"),
    "bytes.wav": lambda: sound("wav", "pcm_u8"),
    "a.m4a": lambda: sound("ipod", "aac"),
    "a.aac": lambda: sound("adts", "aac"),
    "a.aiff": lambda: sound("aiff", "pcm_s16be"),
    "a.wma": lambda: sound("asf", "wmav2"),
    "a.mka": lambda: sound("matroska", "flac"),
    "long.flac": lambda: sound("flac", "flac", 150, 8000),
    "long.wav": lambda: sound("wav", "pcm_s16le", 150, 8000),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds(draw: Callable[..., bytes], name: str) -> None:
    """Bars over the length of the sound, higher where it is louder."""
    image = Image.open(io.BytesIO(draw(name, SOUNDS[name](), 256)))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 128))
    is_bar = np.asarray(image.convert("L"), np.int32) > 120
    heights = is_bar.sum(axis=0)
    quiet, loud = heights[20:110].max(), heights[150:236].max()
    assert 2 <= quiet < 40 < 90 < loud
    assert decoders.has_thumbnail(guess_mime(name))


def test_a_long_sound_is_decoded_at_moments(draw: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = video._peaks
    monkeypatch.setattr(video, "_peaks", lambda frame: decoded.append(frame.samples) or real(frame))
    draw("long.flac", SOUNDS["long.flac"](), 256)
    assert sum(decoded) < 150 * 8000 / 2


def test_silence_is_a_flat_line(draw: Callable[..., bytes]) -> None:
    data = b"RIFF" + struct.pack("<I", 36 + 16000) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    image = Image.open(io.BytesIO(draw("a.wav", data + b"data" + struct.pack("<I", 16000) + bytes(16000), 256)))
    assert (np.asarray(image.convert("L"), np.int32) > 120).sum(axis=0).max() <= 8


def test_highlights_are_compressed(draw: Callable[..., bytes]) -> None:
    """A picture a hundred times as bright as a screen is no white area."""
    image = Image.open(io.BytesIO(draw("a.exr", high_range("exr", "gbrpf32le", 100)))).convert("RGB")
    red, _, blue = image.getpixel((10, 16))  # type: ignore[misc]
    assert red > 150 > 100 > blue


def test_a_long_text_in_an_exr_file_is_passed_over(draw: Callable[..., bytes]) -> None:
    data = high_range("exr", "gbrpf32le", 1)
    attribute = b"workflow\0string\0" + struct.pack("<I", 2 << 20) + b"x" * (2 << 20)
    # The offsets of the rows follow the header, and count from the start of the file.
    with suppress(ImageUnreadableError):
        draw("a.exr", data[:8] + attribute + data[8:])


# PNG files whose pixels are whole


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", right if checksum is None else checksum)


LONG = b"prompt\0\0" + zlib.compress(b'{"a": "' + b"x" * (3 << 20) + b'"}')
ADDITIONS = {
    "a text with a wrong checksum": chunk(b"tEXt", b"prompt\0{}", 1),
    "a compressed text that is damaged": chunk(b"zTXt", b"prompt\0\0not zlib"),
    "a compressed text of 3 MiB": chunk(b"zTXt", LONG),
    "an international text with a wrong checksum": chunk(b"iTXt", b"workflow\0\0\0\0\0{}", 2),
    "EXIF data with a wrong checksum": chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0", 3),
    "a profile with a wrong checksum": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"profile"), 4),
    "a chunk that nobody knows": chunk(b"coMf", b"prompt\0{}", 5),
}


@pytest.mark.parametrize("where", ["before the pixels", "after the pixels"])
@pytest.mark.parametrize("name", ADDITIONS)
def test_additions_to_a_png_file_do_not_prevent_its_thumbnail(
    draw: Callable[..., bytes], name: str, where: str
) -> None:
    data = saved("PNG")
    place = 33 if where == "before the pixels" else len(data) - 12
    image = Image.open(io.BytesIO(draw("a.png", data[:place] + ADDITIONS[name] + data[place:])))
    assert image.size == (64, 32)


def test_the_pixels_of_a_png_file_are_the_file_itself() -> None:
    """Without additions nothing is left out, and any part can be read."""
    data = saved("PNG")
    pixels = PngPixels(io.BytesIO(data[:33] + ADDITIONS["a text with a wrong checksum"] + data[33:]))
    assert pixels.read() == data
    for start in range(0, len(data), 7):
        pixels.seek(start)
        assert pixels.read(20) == data[start : start + 20]
        assert pixels.tell() == min(len(data), start + 20)
    assert pixels.seek(-12, io.SEEK_END) == len(data) - 12


# SVG

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>x</text></svg>'
DRAWINGS = {
    "plain": SVG,
    "with a declaration": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- a > b --><!DOCTYPE svg>\n' + SVG,
    "with a mark of its encoding": b"\xef\xbb\xbf" + SVG,
    "UTF-16": ('<?xml version="1.0" encoding="UTF-16"?>' + SVG.decode()).encode("utf-16"),
    "with a prefix": b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>',
    "with entities of a drawing program": b'<!DOCTYPE svg [ <!ENTITY ns "http://ns.example/"> ]>\n'
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="&ns;"/>',
    "as SaveSVGNode has it": b'<svg xmlns="http://www.w3.org/2000/svg"><metadata><![CDATA[{"prompt":{}}]]></metadata></svg>',
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_are_sent_as_they_are(draw: Callable[..., bytes], name: str) -> None:
    assert draw("a.svg", DRAWINGS[name]) == DRAWINGS[name]
    with pytest.raises(NoThumbnailError):
        draw("a.svg", DRAWINGS[name], plane="alpha")


def entities(count: int, value: bytes) -> bytes:
    declared = b"".join(b'<!ENTITY e%d "%s">' % (number, value) for number in range(count))
    return b"<!DOCTYPE svg [" + declared + b"]>" + SVG


NO_DRAWINGS: dict[str, tuple[bytes, type[ApiError]]] = {
    "cut off": (SVG[:40], ImageUnreadableError),
    "no XML": (SVG.replace(b"</text>", b""), ImageUnreadableError),
    "HTML": (b"<!DOCTYPE html><html><svg></svg></html>", NoThumbnailError),
    "entities in entities": (entities(3, b"&e0;&e0;"), ImageUnreadableError),
    "a long entity": (entities(1, b"x" * 300), ImageUnreadableError),
    "many entities": (entities(200, b"x"), ImageUnreadableError),
    "too large": (SVG + b" " * (8 << 20), ImageTooLargeError),
    "another root in the name space": (b"<!-- <svg --><x:svgs xmlns:x='y'/>", NoThumbnailError),
}


@pytest.mark.parametrize("name", NO_DRAWINGS)
def test_what_is_no_drawing(draw: Callable[..., bytes], name: str) -> None:
    data, expected = NO_DRAWINGS[name]
    with pytest.raises(expected):
        draw("a.svg", data)


# What has no thumbnail, and the reason


def huge_exr() -> bytes:
    return b"v/1\x01\x02\0\0\0dataWindow\0box2i\0\x10\0\0\0" + struct.pack("<4i", 0, 0, 99_999, 99_999) + b"\0"


def png_of(width: int, height: int) -> bytes:
    """A PNG file that declares any size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def icon_of(body: bytes) -> bytes:
    return b"\0\0\x01\0\x01\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(body), 22) + body


REASONS: dict[str, tuple[bytes, type[ApiError]]] = {
    "a.exr": (huge_exr(), ImageTooLargeError),
    "none.exr": (b"v/1\x01\x02\0\0\0", ImageUnreadableError),
    "a.hdr": (b"#?RADIANCE\n\n-Y 99999 +X 99999\n", ImageTooLargeError),
    "b.hdr": (b"#?RADIANCE\nno size", ImageUnreadableError),
    "a.psd": (b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 60_000, 60_000, 16, 3), ImageTooLargeError),
    "b.psd": (b"8BPS\0\1" + bytes(20), ImageUnreadableError),
    "a.tga": (b"not a picture at all", ImageUnreadableError),
    "a.ico": (icon_of(b"\x28\0\0\0" + struct.pack("<ii", 50_000, 50_000) + bytes(40)), NoThumbnailError),
    "b.ico": (
        icon_of(saved("PNG")[:16] + struct.pack(">II", 50_000, 50_000) + saved("PNG")[24:]),
        ImageUnreadableError,
    ),
    "a.glb": (binary_scene({"asset": {"version": "2.0"}}), NoThumbnailError),
    "out.glb": (
        binary_scene(
            {
                "asset": {"extras": {"thumbnail": "file:///etc/passwd"}},
                "extensions": {"VRMC_vrm": {"meta": {"thumbnailImage": 0}}},
                "images": [{"bufferView": 0}],
                "bufferViews": [{"byteLength": 1 << 40}],
            }
        ),
        NoThumbnailError,
    ),
    "in itself.glb": (scene(scene(saved("PNG"), 1), 1), NoThumbnailError),
    "a.safetensors": (model("modelspec.title", "x"), NoThumbnailError),
    "b.safetensors": (model("modelspec.thumbnail", "https://elsewhere.example/x.png"), NoThumbnailError),
    "c.safetensors": (model("modelspec.thumbnail", encoded(b"no picture")), NoThumbnailError),
    "a.jxl": (b"\xff\x0a" + bytes(60), NoThumbnailError),
    "a.mp4": (b"\0\0\0\x18ftypmp42" + bytes(100), ImageUnreadableError),
    "a.flac": (b"fLaC" + bytes(100), ImageUnreadableError),
    "a.obj": (b"v 0 0 0\n", NoThumbnailError),
    "a.ppm": (b"P3 9000 9000 255\n", ImageTooLargeError),  # decoded by Python, number by number
}


@pytest.mark.parametrize("name", REASONS)
def test_what_has_no_thumbnail(draw: Callable[..., bytes], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_plugin", lambda _: None)  # what is installed here
    data, expected = REASONS[name]
    with pytest.raises(expected):
        draw(name, data)


@pytest.mark.parametrize(("size", "expected"), [(None, ImageUnreadableError), ((9000, 9000), ImageTooLargeError)])
def test_a_plugin_opens_no_file_of_unknown_size(
    draw: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, size: Any, expected: type[ApiError]
) -> None:
    """Some decode a file when they open it."""
    monkeypatch.setattr(thumbnails, "_plugin", lambda _: lambda *_: pytest.fail("it was opened"))
    monkeypatch.setattr(thumbnails._Source, "_declared_size", lambda _: size)
    with pytest.raises(expected):
        draw("a.jxl", b"\xff\x0a" + bytes(60))


def test_a_picture_of_a_plugin(draw: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_plugin", lambda _: lambda *_: halves())
    monkeypatch.setattr(thumbnails._Source, "_declared_size", lambda _: SIZE)
    for name, data in (("a.jxl", b"\xff\x0a" + bytes(60)), ("a.heic", b"\0\0\0\x18ftypheic" + bytes(60))):
        assert Image.open(io.BytesIO(draw(name, data))).size == (64, 32)


def test_the_tile_of_an_image_is_not_the_image(draw: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg has the tiles of large HEIC images as tracks of their own."""
    if not features.check("avif"):
        pytest.skip("this Pillow makes no AVIF")
    monkeypatch.setattr(thumbnails, "_plugin", lambda _: None)
    monkeypatch.setattr(thumbnails._Source, "_declared_size", lambda _: (480, 240))
    with pytest.raises(NoThumbnailError, match="pillow-heif"):
        draw("a.heif", heif())


# Hostile files

HOSTILE: tuple[str, ...] = (
    "a.exr",
    "a.hdr",
    "a.psd",
    "deep.psd",
    "a.ico",
    "b.ico",
    "a.vrm",
    "a.gltf",
    "a.safetensors",
    "a.tga",
    "a.ppm",
    "a.ts",
    "joined.ts",
    "a.flv",
)
HOSTILE += ("a.mpg", "a.wmv", "a.mxf", "a.wav", "a.flac", "a.mp3", "a.aiff", "a.wma", "a.svg", "a.png", "a.jp2")


@cache
def sample(name: str) -> bytes:
    if name == "a.svg":
        return DRAWINGS["with entities of a drawing program"]
    return (PICTURES.get(name) or SOUNDS.get(name) or PICTURES["a.png"])()


@given(
    name=st.sampled_from(HOSTILE),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4)), max_size=6),
    length=st.integers(0, 1 << 17),
    in_head=st.booleans(),
)
@settings(max_examples=examples(60, 20_000), deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files(
    draw: Callable[..., bytes], name: str, changes: list[tuple[int, bytes]], length: int, in_head: bool
) -> None:
    data = bytearray(sample(name))
    for place, value in changes:
        at = place % (min(300, len(data)) if in_head else len(data))
        data[at : at + len(value)] = value
    with suppress(ImageUnreadableError, ImageTooLargeError, NoThumbnailError):
        body = draw(name, bytes(data[: max(1, length)]))
        assert body == bytes(data[: max(1, length)]) or max(Image.open(io.BytesIO(body)).size) <= 64
