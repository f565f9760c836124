"""Readers of AVIF, HEIC, JPEG XL, TIFF, EXR, SVG, JPEG 2000 and bitmaps: sizes as shown, texts, damage."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract
from comfy_assets_node.comfy_assets.assets.media.readers import jpeg
from support.hostile import read_hostile
from support.picture_files import (
    BITMAPS,
    SAMPLES,
    box,
    exif_block,
    exr,
    full_box,
    heif,
    jpeg_2000,
    jpeg_xl,
    jpeg_xl_codestream,
    jpeg_xl_exif,
    movie,
    svg,
    tiff,
    user_comment,
    xmp_packet,
)

MIB = 1 << 20
MAKE, MODEL, DESCRIPTION = 0x010F, 0x0110, 0x010E
PROMPT = {"3": {"class_type": "KSampler", "inputs": {"seed": 6, "text": "größe 🎨"}}}
WORKFLOW = {"nodes": [{"id": 1, "widgets_values": ['a "quoted" {text}', 0.5]}]}
A1111 = "a cat, 猫 🎨\nNegative prompt: dog\nSteps: 20, Sampler: Euler a"
COMFYUI = {MAKE: b"workflow:" + json.dumps(WORKFLOW).encode(), MODEL: b"prompt:" + json.dumps(PROMPT).encode()}
BOTH = {"prompt": PROMPT, "workflow": WORKFLOW}
IROT = box(b"irot", b"\1")


def documents(found: FileMetadata) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in found.documents.items()}


def size(found: FileMetadata) -> tuple[Any, Any]:
    return found.facts.get("width"), found.facts.get("height")


# --- AVIF and HEIC


@pytest.mark.parametrize(
    ("brand", "brands", "name", "mime"),
    [
        (b"avif", (b"mif1", b"miaf"), "avif", "image/avif"),
        (b"avis", (b"avif", b"msf1"), "avif", "image/avif"),
        (b"mif1", (b"avif", b"miaf"), "avif", "image/avif"),
        (b"heic", (b"mif1", b"heic"), "heic", "image/heic"),
        (b"mif1", (b"heic",), "heic", "image/heic"),
        (b"mif1", (b"j2ki",), "heif", "image/heif"),
    ],
)
@pytest.mark.parametrize("in_idat", [False, True])
def test_heif_texts(brand: bytes, brands: tuple[bytes, ...], name: str, mime: str, in_idat: bool) -> None:
    data = heif(brand, (301, 207), exif_block(COMFYUI), brands=brands, in_idat=in_idat)
    found = extract("misleading.png", data)
    assert documents(found) == BOTH
    assert (found.facts["format"], found.facts["kind"], found.mime_type) == (name, "image", mime)
    assert size(found) == (301, 207)
    assert "error" not in found.facts


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ([], (30, 20)),
        ([IROT], (20, 30)),
        ([box(b"irot", b"\2")], (30, 20)),
        ([box(b"irot", b"\3"), box(b"imir", b"\1")], (20, 30)),
        ([box(b"clap", struct.pack(">8I", 16, 1, 20, 2, 0, 1, 0, 1)), IROT], (10, 16)),
        ([box(b"clap", struct.pack(">8I", 16, 0, 20, 0, 0, 1, 0, 1))], (30, 20)),
    ],
)
def test_heif_is_shown_turned(properties: list[bytes], expected: tuple[int, int]) -> None:
    """The orientation in EXIF does not count beside the properties: phones write both."""
    data = heif(b"heic", (30, 20), exif_block({}, orientation=6), properties=properties)
    assert size(extract("a.heic", data)) == expected


def test_heif_xmp() -> None:
    found = extract("a.avif", heif(xmp=xmp_packet(dc_description="a <cat> & a dog")))
    assert documents(found) == {"description": "a <cat> & a dog"}


@pytest.mark.parametrize("exif", [None, exif_block(COMFYUI)])
def test_animated_avif(exif: bytes | None) -> None:
    found = extract("a.avif", heif(b"avis", exif=exif, behind=movie(12, 1500, (30, 20))))
    assert (found.facts["frame_count"], found.facts["duration"], size(found)) == (12, 1.5, (30, 20))


def test_a_sequence_without_a_still_picture() -> None:
    data = box(b"ftyp", b"avis", bytes(4), b"msf1") + movie(12, 1500, (30, 20))
    found = extract("a.avif", data)
    assert (found.facts["frame_count"], size(found)) == (12, (30, 20))


def test_a_cut_avif_keeps_its_size() -> None:
    data = heif(exif=exif_block(COMFYUI))
    found = extract("a.avif", data[: data.index(b"mdat") + 30])
    assert (size(found), found.facts["error"]) == ((30, 20), "The file is truncated. The EXIF block is damaged.")


def test_an_avif_without_contents() -> None:
    found = extract("a.avif", box(b"ftyp", b"avif", bytes(4)))
    assert found.facts["error"] == "The file has no table of contents."


# --- JPEG XL


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [
        *[(1, 1, 0), (8, 8, 0), (256, 128, 0), (257, 8, 0), (8192, 300, 0), (300_000, 70, 0), (1 << 29, 9, 0)],
        *[(512, 512, 1), (120, 100, 2), (4000, 3000, 3), (30, 20, 4), (1920, 1080, 5), (5, 4, 6), (2048, 1024, 7)],
    ],
)
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_jpeg_xl_size(width: int, height: int, ratio: int, orientation: int) -> None:
    codestream = jpeg_xl_codestream((width, height), orientation, ratio)
    shown = (height, width) if orientation >= 5 else (width, height)
    assert size(extract("a.jxl", codestream)) == shown
    assert size(extract("a.jxl", jpeg_xl(codestream))) == shown


def test_jpeg_xl_texts() -> None:
    codestream = jpeg_xl_codestream((30, 20))
    found = extract("a", jpeg_xl(codestream, jpeg_xl_exif(exif_block(COMFYUI))))
    assert documents(found) == BOTH
    assert (found.mime_type, found.facts["format"]) == ("image/jxl", "jxl")
    found = extract("a", jpeg_xl(codestream, box(b"xml ", xmp_packet(dc_description="a cat"))))
    assert documents(found) == {"description": "a cat"}


def test_jpeg_xl_in_parts() -> None:
    parts = [box(b"jxlp", struct.pack(">I", number), part) for number, part in enumerate(_halves((3000, 20)))]
    data = jpeg_xl(b"")
    found = extract("a.jxl", data[: data.index(b"jxlc") - 4] + b"".join(parts))
    assert size(found) == (3000, 20)


def _halves(of: tuple[int, int]) -> tuple[bytes, bytes]:
    codestream = jpeg_xl_codestream(of)
    return codestream[:16], codestream[16:]


class _Packed:
    """A stand-in for the decompressor of Brotli 1.2: each byte becomes 1 MiB of text, in bounded steps."""

    def __init__(self) -> None:
        self._left = 0

    def process(self, data: bytes, output_buffer_limit: int) -> bytes:
        self._left += len(data) * MIB
        step = min(self._left, output_buffer_limit)
        self._left -= step
        return b" " * step

    def can_accept_more_data(self) -> bool:
        return not self._left


class _Brotli:
    Decompressor = _Packed
    error = ValueError


@pytest.mark.parametrize(
    ("module", "length", "omitted"), [(None, 4, ["exif"]), (_Brotli, 4, None), (_Brotli, 40, ["exif"])]
)
def test_compressed_boxes(monkeypatch: pytest.MonkeyPatch, module: Any, length: int, omitted: list[str] | None) -> None:
    """Without the library, and where the text is too large, the text is named as omitted."""
    monkeypatch.setattr(jpeg, "_brotli", lambda: module)
    found = extract("a.jxl", jpeg_xl(jpeg_xl_codestream((30, 20)), box(b"brob", b"Exif", bytes(length))))
    assert (found.facts.get("omitted"), size(found)) == (omitted, (30, 20))


# --- TIFF


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff(order: str, big: bool) -> None:
    found = extract("a.bin", tiff((300, 200), COMFYUI, user_comment(A1111), 6, order=order, big=big))
    assert documents(found) == {**BOTH, "parameters": A1111}
    assert (size(found), found.mime_type, found.facts["format"]) == ((200, 300), "image/tiff", "tiff")


def test_tiff_descriptions() -> None:
    found = extract("a.tif", tiff((3, 2), {DESCRIPTION: b"a cat\0", 700: xmp_packet(dc_title="a dog")}))
    assert documents(found)["description"].splitlines() == ["a cat", "a dog"]


def test_a_camera_file_has_the_size_of_its_picture() -> None:
    assert size(extract("a.dng", tiff((6000, 4000), small=(160, 120), orientation=8))) == (4000, 6000)


# --- OpenEXR


def test_exr() -> None:
    texts = {key: json.dumps(value).encode() for key, value in BOTH.items()}
    found = extract("a.exr", exr(texts, (-10, 5, 289, 204)))
    assert documents(found) == BOTH
    assert (size(found), found.mime_type) == ((300, 200), "image/x-exr")


def test_an_exr_text_beyond_the_file() -> None:
    data = exr({"prompt": b"{}"})
    at = data.index(b"prompt\0string\0") + 14
    found = extract("a.exr", data[:at] + struct.pack("<i", 5000) + data[at + 4 :])
    assert (size(found), found.facts["error"]) == ((30, 20), "The file is truncated.")
    found = extract("a.exr", data[:at] + struct.pack("<i", -1) + data[at + 4 :])
    assert (size(found), found.facts["error"]) == ((30, 20), "The header of the EXR file is damaged.")
    found = extract("a.exr", data[:at] + struct.pack("<i", 1 << 30) + data[at + 4 :])
    assert found.facts["omitted"] == ["prompt"]


# --- SVG


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('width="30" height="20"', (30, 20)),
        ("height='20.4px' width='30'", (30, 20)),
        ('width="1in" height="25.4mm"', (96, 96)),
        ('width="100%" height="100%" viewBox="0 0 300 200"', (300, 200)),
        ('viewBox="-5,-5,300.4,200"', (300, 200)),
        ('width="150" viewBox="0 0 300 200"', (150, 100)),
        ('width="10em" height="3e9"', (None, None)),
        ('data-width="9" stroke-width="7" width="30" height="20"', (30, 20)),
        ("", (None, None)),
    ],
)
def test_svg_size(attributes: str, expected: tuple[int | None, int | None]) -> None:
    found = extract("a.svg", svg(size=attributes))
    assert (size(found), found.mime_type, "error" in found.facts) == (expected, "image/svg+xml", False)


@pytest.mark.parametrize(
    "start",
    [
        "",
        "\ufeff",
        ' \n<?xml version="1.0" encoding="UTF-8"?>\n',
        "<!-- a --><!-- <html> -->\n",
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">',
        '<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>\n',
    ],
)
def test_svg_texts(start: str) -> None:
    found = extract("a", svg(json.dumps(BOTH, indent=2), start=start))
    assert documents(found) == BOTH
    assert (size(found), found.facts["format"]) == ((30, 20), "svg")


def test_svg_descriptions() -> None:
    data = b'<svg xmlns="http://www.w3.org/2000/svg"><title>a &lt;cat&gt;</title><desc>a dog</desc></svg>'
    assert documents(extract("a.svg", data))["description"].splitlines() == ["a <cat>", "a dog"]
    rdf = xmp_packet(dc_title="a bird")
    data = b"<svg><metadata>" + rdf[rdf.index(b"<rdf:RDF") : rdf.index(b"</x:")] + b"</metadata></svg>"
    assert documents(extract("a.svg", data)) == {"description": "a bird"}


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html><svg></svg></html>",
        b'<?xml version="1.0"?><note><svg/></note>',
        b"<svgfoo/>",
        b"<!-- <svg>",
        b"<" * 4096,
        b"<!---->" * 600,
        b"<!DOCTYPE svg [" + b"<!ENTITY a 'b'>" * 300,
    ],
)
def test_what_is_no_svg(data: bytes) -> None:
    assert extract("a.xml", data).facts.get("format") != "svg"
    assert extract("a.svg", data).facts["error"] == "This is not an SVG file."


# --- JPEG 2000 and bitmaps


def test_jpeg_2000() -> None:
    found = extract("a.jp2", jpeg_2000((300, 200), box(b"uuid", b"JpgTiffExif->JP2", exif_block(COMFYUI, None, 6))))
    assert documents(found) == BOTH
    assert (size(found), found.mime_type) == ((200, 300), "image/jp2")
    assert size(extract("a.j2k", SAMPLES["jp2"][1])) == (30, 20)


@pytest.mark.parametrize("name", sorted(BITMAPS))
def test_bitmaps(name: str) -> None:
    found = extract(f"a.{name}", BITMAPS[name])
    expected = (16, 16) if name == "ico" else (30, 20)
    assert (found.facts["format"], found.facts["kind"], size(found)) == (name, "image", expected)
    assert found.mime_type is not None and found.mime_type.startswith("image/")
    assert "error" not in found.facts
    if name != "tga":
        assert extract("renamed", BITMAPS[name]) == found


def test_a_bitmap_without_the_header_of_a_file() -> None:
    assert size(extract("a.dib", BITMAPS["bmp"][14:])) == (30, 20)


def test_icon_sizes() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 512, 256)
    entries = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 9, 38) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 9, 38)
    assert size(extract("a.ico", struct.pack("<HHH", 0, 1, 2) + entries + png)) == (512, 256)
    assert size(extract("a.ico", struct.pack("<HHH", 0, 1, 2) + entries + bytes(24))) == (256, 256)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P1\n30\t20\n0 1", (30, 20)),
        (b"P5 #x\n# y\n 30 #z\n 20 255\n", (30, 20)),
        (b"PF\n30 20\n-1.0\n", (30, 20)),
        (b"P7\nWIDTH 30\nHEIGHT 20\nDEPTH 4\nENDHDR\n", (30, 20)),
    ],
)
def test_portable_maps(data: bytes, expected: tuple[int, int]) -> None:
    assert size(extract("a", data)) == expected


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.bmp", BITMAPS["bmp"][:20], "The file is truncated."),
        ("a.bmp", b"<html>" + bytes(99), "This is not a BMP file."),
        ("a.tga", b"not a picture at all", "This is not a TGA file."),
        ("a.tga", b"", "The file is truncated."),
        ("a.ppm", b"P6\nabc", "The picture does not state its size."),
        ("a.hdr", b"#?RADIANCE\n" + b"\n" * 99, "The picture does not state its size."),
        ("a.psd", b"8BPS\0\1" + bytes(20), "The image's width or height is 0."),
        ("a.jxl", b"\xff\x0a", "The file is truncated."),
        ("a.tif", b"II*\0\x08\0\0\0", "The file is truncated."),
        ("a.exr", b"v/1\x01\x02\0\0\0", "The file is truncated."),
        ("a.jp2", jpeg_2000((0, 20)), "The image's width or height is 0."),
    ],
)
def test_broken_pictures_say_so(name: str, data: bytes, error: str) -> None:
    assert extract(name, data).facts["error"] == error


# --- hostile files


@pytest.mark.parametrize(
    "segment", [b"\xfe\0\0", b"\xfe\0\1", b"\xe1\0\x08http://ns.adobe.com/xap/1.0/\0<x/>", b"\xe1\0\x04Exif\0\0"]
)
def test_a_segment_of_a_jpeg_that_is_too_short_for_what_it_has(segment: bytes) -> None:
    contents = read_hostile("x.jpg", b"\xff\xd8\xff" + segment + bytes(64))
    assert contents.facts["error"]


def _many_items() -> bytes:
    """An AVIF with 60,000 items that all lie over one another."""
    infos = full_box(b"infe", struct.pack(">HH4s", 2, 0, b"Exif"), b"\0", version=2) * 60_000
    places = struct.pack(">HHHHII", 2, 0, 0, 1, 0, 1 << 20) * 60_000
    meta = full_box(
        b"meta",
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iloc", struct.pack(">BBH", 0x44, 0, 60_000), places, version=1),
        full_box(b"iinf", struct.pack(">H", 60_000), infos),
    )
    return box(b"ftyp", b"avif", bytes(4)) + meta + bytes(2 * MIB)


BOMBS = {
    "an AVIF of many boxes": lambda: box(b"ftyp", b"avif", bytes(4)) + box(b"free") * 1_000_000,
    "an AVIF of many items": _many_items,
    "an AVIF of many properties": lambda: heif(properties=[box(b"clap", bytes(32))] * 120, behind=box(b"free") * 99),
    "a TIFF of overlapping texts": lambda: tiff((3, 2), dict.fromkeys(range(270, 306), b"x" * 9000)) + bytes(9 * MIB),
    "an EXR of many attributes": lambda: exr({f"comment{n}": b"x" * 99 for n in range(40_000)}),
    "an EXR of large texts": lambda: exr(dict.fromkeys(("prompt", "workflow", "comment", "title"), b"x" * (6 * MIB))),
    "an SVG of many elements": lambda: svg() + b"<metadata" * MIB,
    "an SVG of many comments": lambda: b"<!---->" * MIB + svg(),
    "an SVG of many sections": lambda: svg("]]><![CDATA[" * 500_000),
    "an SVG of entities": lambda: svg("", start='<!DOCTYPE svg [<!ENTITY a "' + "x" * 3000 + '">]>') + b"&a;" * MIB,
    "XMP of entities": lambda: heif(
        xmp=b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + b"<x>&b;</x>" * 9999
    ),
    "XMP of deep elements": lambda: heif(xmp=b"<x>" * MIB),
    "XMP of many elements": lambda: heif(xmp=b"<x>" + b"<title>a</title>" * 200_000 + b"</x>"),
    "XMP of 20 MiB": lambda: heif(xmp=b"<x>" + b" " * (20 * MIB)),
    "a JPEG XL of many texts": lambda: jpeg_xl(b"", *[jpeg_xl_exif(exif_block(COMFYUI) + bytes(MIB))] * 40),
    "a map of comments": lambda: b"P6" + b"#\n" * (8 * MIB),
}


@pytest.mark.parametrize("build", BOMBS.values(), ids=BOMBS.keys())
def test_bombs(build: Any) -> None:
    data = build()
    start = time.process_time()
    found = extract("x", data)
    assert time.process_time() - start < 1
    assert len(json.dumps(found.facts)) <= 4096
    tracemalloc.start()
    try:
        extract("x", data)
        assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    finally:
        tracemalloc.stop()
