"""Image metadata: sizes, embedded workflows, damaged and hostile files."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract, extract_path
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
PROMPT = {"3": {"class_type": "KSampler", "inputs": {"seed": 6, "text": "größe 🎨"}}}
WORKFLOW = {"nodes": [{"id": 1, "widgets_values": ['a "quoted" {text}', 0.5]}]}
P, W = json.dumps(PROMPT), json.dumps(WORKFLOW)
BOTH = json.dumps({"prompt": P, "workflow": WORKFLOW})  # the prompt is encoded twice, as in videos
A1111 = "a cat, 猫 🎨\nNegative prompt: dog\nSteps: 20, Sampler: Euler a"
MAKE, MODEL, DESCRIPTION, EXIF_IFD, COMMENT = 0x010F, 0x0110, 0x010E, 0x8769, 0x9286


def assert_bounded(found: FileMetadata) -> None:
    assert len(msgspec.json.encode(found.facts)) <= 4096
    for document in found.documents.values():
        assert len(document) <= 16 * MIB
        json.loads(document.decode(), parse_constant=pytest.fail)


def both_of(tmp_path: Path, data: bytes) -> FileMetadata:
    """Extract from memory and from disk, and compare."""
    path = tmp_path / "file"
    path.write_bytes(data)
    found = extract("file", data)
    assert extract_path("file", path) == found
    return found


def both(tmp_path: Path, data: bytes) -> FileMetadata:
    """The same, and decode all documents."""
    found = both_of(tmp_path, data)
    assert_bounded(found)
    return found


def documents(found: FileMetadata) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in found.documents.items()}


def saved(image_format: str, size: tuple[int, int] = (30, 20), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data) if length is None else length) + kind + data + crc


def png(*chunks: bytes, behind: bytes = b"", size: tuple[int, int] = (30, 20)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + behind + chunk(b"IEND", b"")


def text(key: bytes, value: bytes) -> bytes:
    return chunk(b"tEXt", key + b"\0" + value)


def ztxt(key: bytes, value: bytes) -> bytes:
    return chunk(b"zTXt", key + b"\0\0" + zlib.compress(value, 9))


def itxt(key: bytes, value: bytes, compressed: bool = False) -> bytes:
    flags = b"\1\0" if compressed else b"\0\0"
    return chunk(b"iTXt", key + b"\0" + flags + b"en\0key\0" + (zlib.compress(value) if compressed else value))


def exif(main: dict[int, bytes], sub: dict[int, bytes] | None = None, order: str = "<") -> bytes:
    """A TIFF block with text values in its first directory and in the EXIF directory."""

    def directory(values: dict[int, bytes], start: int, extra: list[bytes]) -> bytes:
        count = len(values) + len(extra)
        position = start + 2 + 12 * count + 4
        entries, blob = b"", b""
        for tag, value in values.items():
            entries += struct.pack(order + "HHII", tag, 2, len(value), position + len(blob))
            blob += value
        return struct.pack(order + "H", count) + entries + b"".join(extra) + bytes(4) + blob

    magic = b"II*\0" if order == "<" else b"MM\0*"
    pointer = struct.pack(order + "HHII", EXIF_IFD, 4, 1, 0)
    end = 8 + len(directory(main, 8, [pointer] if sub else []))
    pointer = struct.pack(order + "HHII", EXIF_IFD, 4, 1, end)
    first = directory(main, 8, [pointer] if sub else [])
    return magic + struct.pack(order + "I", 8) + first + (directory(sub, end, []) if sub else b"")


def webp(*chunks: tuple[bytes, bytes], flags: int = 8, size: tuple[int, int] = (30, 20)) -> bytes:
    head = bytes([flags, 0, 0, 0]) + b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = b"WEBP"
    for kind, data in ((b"VP8X", head), *chunks):
        body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(*blocks: bytes, size: tuple[int, int] = (30, 20)) -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, size[1], size[0], 3) + bytes(9)
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block for block in blocks)
    return b"\xff\xd8" + segments + b"\xff\xc0" + frame + b"\xff\xda\0\x02pixels\xff\xd9"


# --- what programs write


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_size_and_type(tmp_path: Path, image_format: str) -> None:
    found = both(tmp_path, saved(image_format, (301, 207)))
    name = image_format.lower()
    assert found == FileMetadata({"format": name, "kind": "image", "width": 301, "height": 207}, {}, f"image/{name}")


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 5}, {"exif": b"Exif\0\0" + exif({MAKE: b"Canon"})}]
)
def test_webp_flavours(tmp_path: Path, options: dict[str, Any]) -> None:
    assert both(tmp_path, saved("WEBP", (301, 207), **options)).facts == {
        "format": "webp",
        "kind": "image",
        "width": 301,
        "height": 207,
    }


def test_progressive_jpeg(tmp_path: Path) -> None:
    found = both(tmp_path, saved("JPEG", (301, 207), progressive=True))
    assert (found.facts["width"], found.facts["height"]) == (301, 207)


def test_large_images_are_not_refused(tmp_path: Path) -> None:
    for data in (png(size=(60_000, 50_000)), webp(size=(16_383, 16_383)), jpeg(size=(65_000, 65_000))):
        assert both(tmp_path, data).facts["width"] >= 16_383


def test_png_as_comfyui_saves_it(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", P)
    info.add_text("workflow", W)
    found = both(tmp_path, saved("PNG", pnginfo=info))
    assert documents(found) == {"prompt": PROMPT, "workflow": WORKFLOW}
    assert found.facts["embedded"] == ["prompt", "workflow"]


def test_animated_png_as_comfyui_saves_it() -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"comf", b"prompt\0" + P.encode("latin-1"), after_idat=True)
    info.add(b"comf", b"workflow\0" + W.encode("latin-1"), after_idat=True)
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    data = saved("PNG", pnginfo=info, save_all=True, append_images=frames)
    assert documents(extract("a.png", data)) == {"prompt": PROMPT, "workflow": WORKFLOW}


def test_webp_as_comfyui_saves_it(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[MODEL], tags[MAKE], tags[DESCRIPTION] = f"prompt:{P}", f"workflow:{W}", f"other:{W}"
    frames = [Image.new("RGB", (30, 20), "red")]
    data = saved("WEBP", exif=tags, save_all=True, append_images=frames, lossless=True)
    assert documents(both(tmp_path, data)) == {"prompt": PROMPT, "workflow": WORKFLOW}


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_parameters_in_a_user_comment(tmp_path: Path, image_format: str, order: str) -> None:
    comment = b"UNICODE\0" + A1111.encode(f"utf-16-{order}")
    for block in (exif({}, {COMMENT: comment}, ">"), exif({MAKE: b"x" * 9}, {COMMENT: comment})):
        found = both(tmp_path, saved(image_format, exif=b"Exif\0\0" + block))
        assert documents(found) == {"parameters": A1111}


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (b"ASCII\0\0\0" + W.encode(), {"workflow": WORKFLOW}),
        (b"UNICODE\0" + A1111.encode("utf-16-le"), {"parameters": A1111}),
        (b"UNICODE\0\xff\xfe" + A1111.encode("utf-16-le"), {"parameters": A1111}),
        (b"UNICODE\0Steps: 20", {"parameters": "Steps: 20"}),
        (BOTH.encode(), {"prompt": PROMPT, "workflow": WORKFLOW}),
        (b"ASCII\0\0\0" + P.encode(), {"prompt": PROMPT}),
        (b'{"prompt": "a cat", "sui_image_params": {}}', {"parameters": '{"prompt": "a cat", "sui_image_params": {}}'}),
        (b'{"sui_image_params": {"prompt": "a cat"}}', {"parameters": '{"sui_image_params": {"prompt": "a cat"}}'}),
        (b'{"uc": "a dog"}', {"generation": {"uc": "a dog"}}),
        (b"Prompt: a cat", {}),
        (b"ASCII\0\0\0workflow:" + W.encode(), {"workflow": WORKFLOW}),
        (b"Workflow: " + W.encode() + b"\0", {"workflow": WORKFLOW}),
        (b"UNICODE\0" + f"prompt:{P}".encode("utf-16"), {"prompt": PROMPT}),
        (bytes(8) + b"Steps: 20", {"parameters": "Steps: 20"}),
        (b"ASCII\0\0\0Screenshot", {}),
        (bytes(64), {}),
        (b"", {}),
    ],
)
def test_user_comments(tmp_path: Path, comment: bytes, expected: dict[str, Any]) -> None:
    for data in (
        jpeg(b"Exif\0\0" + exif({}, {COMMENT: comment})),
        jpeg(b"Exif\0\0" + exif({COMMENT: comment}, order=">")),
        webp((b"VP8 ", b"odd"), (b"EXIF", exif({}, {COMMENT: comment}))),
        webp((b"EXIF", b"Exif\0\0" + exif({}, {COMMENT: comment}))),
        png(chunk(b"eXIf", exif({}, {COMMENT: comment}))),
    ):
        found = both(tmp_path, data)
        assert documents(found) == expected
        assert "error" not in found.facts


def test_exif_continues_over_jpeg_segments(tmp_path: Path) -> None:
    prompt = {"text": "x" * 150_000}
    block = exif({MODEL: b"prompt:" + json.dumps(prompt).encode()})
    parts = [b"Exif\0\0" + block[i : i + 60_000] for i in range(0, len(block), 60_000)]
    assert documents(both(tmp_path, jpeg(*parts))) == {"prompt": prompt}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([text(b"parameters", A1111.encode())], {"parameters": A1111}),
        ([text(b"parameters", "größe".encode("latin-1"))], {"parameters": "größe"}),
        ([itxt(b"parameters", A1111.encode())], {"parameters": A1111}),
        ([itxt(b"prompt", P.encode(), compressed=True)], {"prompt": PROMPT}),
        ([ztxt(b"workflow", json.dumps(WORKFLOW, ensure_ascii=False).encode())], {"workflow": WORKFLOW}),
        ([text(b"prompt", b"{}"), text(b"prompt", P.encode())], {"prompt": PROMPT}),
        ([text(b"promptx", b"{}"), text(b"promp", b"{}"), text(b"x" * 80, b"{}")], {}),
        ([text(b"Prompt", P.encode()), text(b"WORKFLOW", W.encode())], {"prompt": PROMPT, "workflow": WORKFLOW}),
        ([text(b"prompt", json.dumps(P).encode())], {"prompt": PROMPT}),
        ([text(b"prompt", json.dumps(json.dumps(P)).encode())], {"prompt": PROMPT}),
        ([text(b"workflow", b"\xef\xbb\xbf" + W.encode())], {"workflow": WORKFLOW}),
        ([text(b"prompt", b'{"text": "a garden \\ud83d"}')], {"prompt": {"text": "a garden \ufffd"}}),
        ([text(b"prompt", b'{"t": "\\ud83c\\udfa8 \\\\ud83d \\uDFA8"}')], {"prompt": {"t": "🎨 \\ud83d \ufffd"}}),
        ([text(b"prompt", b'{"text": "\xed\xa0\xbd"}')], {"prompt": {"text": "\ufffd"}}),
        ([text(b"prompt", b'{"text": "\xed\xa0\xbc\xed\xbe\xa8"}')], {"prompt": {"text": "🎨"}}),
        ([text(b"Description", b"a cat --ar 2:3")], {"description": "a cat --ar 2:3"}),
        ([text(b"Comment", b"Created with GIMP")], {}),
        ([text(b"prompt", P.encode()), chunk(b"eXIf", exif({MODEL: b"prompt:{}"}))], {"prompt": PROMPT}),
        ([text(b"prompt", b"{}" + b" " * 9000)], {"prompt": {}}),
    ],
)
def test_png_texts(tmp_path: Path, chunks: list[bytes], expected: dict[str, Any]) -> None:
    found = both(tmp_path, png(*chunks))
    assert documents(found) == expected
    assert found.facts.get("embedded", []) == sorted(expected)
    assert "error" not in found.facts


def test_text_behind_the_pixels(tmp_path: Path) -> None:
    found = both(tmp_path, png(behind=text(b"prompt", P.encode())))
    assert documents(found) == {"prompt": PROMPT}


@pytest.mark.parametrize("depth", [900, 3000])
@pytest.mark.parametrize("opened", ['{"a":', "["])
def test_deeply_nested_json_is_kept(tmp_path: Path, depth: int, opened: str) -> None:
    closed = "}" if opened.startswith("{") else "]"
    prompt = f'{{"3": {opened * depth}"x\\\\"{closed * depth}, "b": [1.5e-3, null, {{}}, []]}}'
    found = both_of(tmp_path, png(text(b"prompt", prompt.encode())))
    assert found.documents == {"prompt": prompt.encode()}
    assert "error" not in found.facts


@pytest.mark.parametrize("end", ["", "]", ",}", ":1}", " 1}", "}}", '"a":1}', "]1"])
def test_deeply_nested_text_that_is_no_json(tmp_path: Path, end: str) -> None:
    prompt = '{"a":' * 3000 + "1" + "}" * 2999 + end
    found = both_of(tmp_path, png(text(b"prompt", prompt.encode())))
    assert found.documents == {}
    assert found.facts["error"] == "The embedded prompt is not valid JSON."


@pytest.mark.parametrize("orientation", range(10))
def test_size_as_shown(tmp_path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    for image_format in ("JPEG", "PNG", "WEBP"):
        facts = both(tmp_path, saved(image_format, (30, 20), exif=tags)).facts
        assert (facts["width"], facts["height"]) == ((20, 30) if 5 <= orientation <= 8 else (30, 20))


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (P.encode(), {"prompt": PROMPT}),
        (W.encode(), {"workflow": WORKFLOW}),
        (BOTH.encode(), {"prompt": PROMPT, "workflow": WORKFLOW}),
        (A1111.encode(), {"parameters": A1111}),
        (b"a cat in a garden", {"description": "a cat in a garden"}),
        (b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90", {}),
    ],
)
def test_comments(tmp_path: Path, comment: bytes, expected: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    for data in (
        saved("JPEG", comment=comment),
        saved("GIF", comment=comment),
        saved("GIF", comment=comment, save_all=True, append_images=frames, duration=70),
    ):
        assert documents(both(tmp_path, data)) == expected


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_frames(tmp_path: Path, image_format: str) -> None:
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    facts = both(tmp_path, saved(image_format, save_all=True, append_images=frames, duration=70)).facts
    assert facts["frame_count"] == 3
    assert facts["duration"] == 0.21
    assert "frame_count" not in both(tmp_path, saved(image_format)).facts


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ('{"a": NaN, "b": [-Infinity, Infinity]}', {"a": None, "b": [None, None]}),
        (r'{"NaN": "NaN, \"NaN\" \\", "b": NaN}', {"NaN": r'NaN, "NaN" \\'.replace(r"\\", "\\"), "b": None}),
        ('{"a": "Infinity", "b": -Infinity}', {"a": "Infinity", "b": None}),
    ],
)
def test_nan_becomes_null(tmp_path: Path, claimed: str, expected: dict[str, Any]) -> None:
    found = both(tmp_path, png(text(b"workflow", claimed.encode())))
    assert documents(found) == {"workflow": expected}
    assert "error" not in found.facts


@pytest.mark.parametrize(
    "claimed",
    [
        b"[1]",
        b'{"a": NaNs}',
        b'{"a": 1} x',
        b'{"a": "\x01"}',
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100_000,
        b'{"NaN": ' + b'"' * 999_999,
    ],
)
def test_invalid_json_is_left_out(tmp_path: Path, claimed: bytes) -> None:
    found = both(tmp_path, png(ztxt(b"prompt", claimed), text(b"workflow", W.encode())))
    assert documents(found) == {"workflow": WORKFLOW}
    assert found.facts["error"] == "The embedded prompt is not valid JSON."


# --- what hostile or damaged files do


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (png()[:30], "truncated"),
        (png(text(b"prompt", P.encode()))[:-12], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(20)), "no header"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(3)) + bytes(20), "no header"),
        (png(size=(0, 9)), "is 0"),
        (png(chunk(b"tEXt", b"prompt\0{}", length=(1 << 32) - 1)), "truncated"),
        (png(chunk(b"junk", b"", length=1 << 31)), "truncated"),
        (png(chunk(b"zTXt", b"prompt\0\0not zlib")), "prompt is damaged"),
        (png(chunk(b"zTXt", b"prompt\0\0" + zlib.compress(P.encode())[:-5])), "prompt is damaged"),
        (png(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")), "EXIF block is damaged"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "truncated"),
        (jpeg()[:8], "truncated"),
        (b"\xff\xd8\xff\xe1\0\0" + jpeg()[2:], "damaged"),
        (b"\xff\xd8" + b"\xff" * 100_000, "is 0"),
        (jpeg(size=(0, 0)), "is 0"),
        (jpeg(b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), "EXIF block is damaged"),
        (png(chunk(b"\0\0\0\0", b"")), "damaged"),
        (b"RIFF\x04\0\0\0WEBP", "size"),
        (b"RIFF\xff\xff\xff\xffWEBPVP8X", "truncated"),
        (webp(flags=0)[:25], "truncated"),
        (b"RIFF\x40\0\0\0WEBPVP8L\x05\0\0\0\x00abcde", "size"),
        (webp((b"EXIF", b"MM\0*\xff\xff\xff\xff")), "EXIF block is damaged"),
        (b"GIF89a", "truncated"),
        (b"GIF89a\0\0\0\0", "truncated"),
        (b"GIF89a\0\0\0\0\0\0\0;", "is 0"),
    ],
)
def test_damaged(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for found in (extract("file", data), extract_path("file", path)):
        assert_bounded(found)
        assert found.mime_type is not None and found.mime_type.startswith("image/")
    assert words in extract("file", data).facts["error"]


def test_a_damaged_png_keeps_what_is_known() -> None:
    found = extract("a.png", png(text(b"prompt", P.encode()))[:-20])
    assert documents(found) == {"prompt": PROMPT}
    assert (found.facts["width"], found.facts["error"]) == (30, "The file is truncated.")


def test_a_damaged_jpeg_keeps_what_is_known() -> None:
    data = jpeg(b"Exif\0\0" + exif({MODEL: f"prompt:{P}".encode()}))
    found = extract("a.jpg", data[: data.index(b"\xff\xda")])
    assert documents(found) == {"prompt": PROMPT}
    assert (found.facts["width"], found.facts["error"]) == (30, "The file is truncated.")


def test_segment_lengths_that_lie_do_not_reach_back() -> None:
    for length in range(10):
        data = b"\xff\xd8\xff\xe1" + struct.pack(">H", length) + b"Exif\0\0II*\0" + bytes(99)
        assert_bounded(extract("a.jpg", data))
        data = png(chunk(b"tEXt", b"prompt\0"[:length]))
        assert_bounded(extract("a.png", data))


BOMBS = {
    "a bomb of zTXt": lambda: png(chunk(b"zTXt", b"prompt\0\0" + bomb())),
    "a bomb of iTXt": lambda: png(chunk(b"iTXt", b"workflow\0\1\0\0\0" + bomb())),
    "plain text of 20 MiB": lambda: png(text(b"prompt", b"{}" + b" " * (20 * MIB) + b"1")),
    "control characters": lambda: png(ztxt(b"parameters", b"\1" * (16 * MIB))),
    "a text of Latin-1": lambda: png(ztxt(b"prompt", b'{"a":"' + b"\xe9" * (10 * MIB) + b'"}')),
    "20 MiB of EXIF": lambda: webp((b"EXIF", exif({MODEL: b"prompt:{}"}) + bytes(20 * MIB))),
    "a text of 16 MiB in EXIF": lambda: webp((b"EXIF", exif({MODEL: b"prompt:{" + b"x" * (15 * MIB)}))),
    "a graph of 100,000 nodes": lambda: webp((b"EXIF", exif({}, {COMMENT: b"ASCII\0\0\0" + many_nodes()}))),
    "tags over one another": lambda: webp((b"EXIF", overlapping())),
    "a million chunks": lambda: png(chunk(b"tEXt", b"") * 1_000_000),
    "a million JPEG segments": lambda: b"\xff\xd8" + b"\xff\xe1\0\x02" * 1_000_000,
    "NaN upon NaN": lambda: png(ztxt(b"prompt", b'{"a":[' + b"NaN," * MIB + b"1]}")),
    "quotes": lambda: png(ztxt(b"prompt", b'{"a":NaN' + b'\\"' * (7 * MIB))),
}


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """256 KiB that inflate to 256 MiB."""
    stream = zlib.compressobj(9)
    block = bytes(16 * MIB)
    return b"".join(stream.compress(block) for _ in range(16)) + stream.flush()


def many_nodes() -> bytes:
    return b"{" + b",".join(b'"%d":{"class_type":"A","inputs":{"a":["%d",0]}}' % (i, i) for i in range(100_000)) + b"}"


def overlapping() -> bytes:
    """Many tags that all point to the same 15 MiB."""
    count = 60_000
    head = b"II*\0" + struct.pack("<IH", 8, count)
    start = 10 + 12 * count
    entries = b"".join(struct.pack("<HHII", (MODEL, COMMENT)[i % 2], 2, 15 * MIB, start) for i in range(count))
    return head + entries + b"prompt:{" + b"x" * (15 * MIB - 8)


@pytest.mark.parametrize("build", BOMBS.values(), ids=BOMBS.keys())
def test_bombs(tmp_path: Path, build: Any) -> None:
    data = build()
    tracemalloc.start()
    start = time.process_time()
    try:
        found = both_of(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 4
    assert_bounded(found)


def test_a_large_graph_in_a_comment_is_a_prompt(tmp_path: Path) -> None:
    data = webp((b"EXIF", exif({}, {COMMENT: b"ASCII\0\0\0" + many_nodes()})))
    assert list(both(tmp_path, data).documents) == ["prompt"]
    large = json.dumps({"prompt": {"1": {"class_type": "A", "inputs": {"text": "x" * MIB}}}, "workflow": WORKFLOW})
    assert sorted(both(tmp_path, webp((b"EXIF", exif({}, {COMMENT: large.encode()})))).documents) == [
        "prompt",
        "workflow",
    ]


@pytest.mark.parametrize("length", [0, 1, 65_535, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_compressed_texts_of_every_length(tmp_path: Path, length: int) -> None:
    prompt = b'{"a":"' + b"x" * length + b'"}'
    assert both(tmp_path, png(ztxt(b"prompt", prompt))).documents == {"prompt": prompt}


def test_what_is_too_large_is_named(tmp_path: Path) -> None:
    found = both(tmp_path, png(ztxt(b"prompt", b"{" + b" " * (17 * MIB) + b"}"), text(b"workflow", W.encode())))
    assert found.facts["omitted"] == ["prompt"]
    assert found.facts["embedded"] == ["workflow"]


def test_a_large_file_is_read_to_its_pixels_only(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as stream:
        stream.write(png(text(b"prompt", P.encode()))[:-12])
        stream.truncate(1 << 40)  # a hole: costs nothing on disk
    start = time.process_time()
    assert documents(extract_path("large.png", path)) == {"prompt": PROMPT}
    assert time.process_time() - start < 1


MAGICS = [
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x05\0\0\0\x05\x08\x02\0\0\0crc!",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0\x08\0\0\0",
    b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0",
    b"RIFF\x40\0\0\0WEBP",
    b"GIF89a",
    b"GGUF",
    b"PK\x03\x04",
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_any_bytes_behind_a_magic(magic: bytes, noise: bytes) -> None:
    assert_bounded(extract("x", magic + noise))


COMMENTED = exif({MODEL: f"prompt:{P}".encode()}, {COMMENT: b"UNICODE\0" + A1111.encode("utf-16-be")})
VALID = [
    png(text(b"prompt", P.encode()), ztxt(b"workflow", W.encode()), itxt(b"parameters", A1111.encode(), True)),
    png(chunk(b"eXIf", COMMENTED)),
    jpeg(b"Exif\0\0" + COMMENTED),
    webp((b"VP8 ", b"pixels"), (b"EXIF", COMMENTED)),
    saved("JPEG", comment=BOTH.encode()),
    saved("GIF", comment=BOTH.encode(), save_all=True, append_images=[Image.new("RGB", (30, 20), "red")]),
    saved("WEBP", save_all=True, append_images=[Image.new("RGB", (30, 20), "red")], exif=b"Exif\0\0" + COMMENTED),
    saved("PNG", save_all=True, append_images=[Image.new("RGB", (30, 20), "red")], exif=COMMENTED),
]


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_any_mutation(valid: bytes, data: st.DataObject) -> None:
    mutated = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    assert_bounded(extract("x", bytes(mutated)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(VALID), st.integers(0, 2000))
def test_any_cut(valid: bytes, length: int) -> None:
    assert_bounded(extract("x", valid[:length]))


def test_pillow_is_not_imported() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest;"
        "import comfy_assets_node.comfy_assets.assets.media.metadata;"
        "print([m for m in ('PIL', 'numpy', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
