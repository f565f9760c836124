"""Files as large as readers accept them, valid and hostile, by a name that says what is large in them.

Made on demand: together they have hundreds of megabytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from itertools import count

from . import media_files, model_files, picture_files

MIB = 1 << 20
_TEXT = 7 * MIB + 900_000  # bytes of the largest texts
_MODEL, _COMMENT = 0x0110, 0x9286

Make = Callable[[], tuple[str, bytes]]


# Texts of some megabytes, as JSON objects.


def prompt_of(text: str, size: int) -> bytes:
    """Return a prompt with a repeated text, which is written into the JSON as it is."""
    return b'{"1":{"class_type":"A","inputs":{"text":"' + text.encode() * (size // len(text.encode())) + b'"}}}'


def _nodes(size: int) -> bytes:
    """Return a prompt of small nodes."""
    node = '"%d":{"class_type":"KSampler","inputs":{"seed":%d,"text":"word%d","model":["%d",0]}}'
    nodes: list[str] = []
    left = size - 2
    for number in count():
        nodes.append(node % (number, number, number, number))
        left -= len(nodes[-1]) + 1
        if left < 300:
            return f"{{{','.join(nodes)}}}".encode()
    raise AssertionError


def workflow(size: int, word: str = "lighthouse") -> bytes:
    """Return a workflow as the page saves it, with as many nodes as fit, and a word in the last one."""
    nodes: list[dict[str, object]] = []
    length = 200 + len(word)
    links: list[list[object]] = []
    for number in count(1):
        nodes.append(_saved_node(number))
        links.append([number, number, 0, number + 1, 0, "MODEL"])
        length += len(json.dumps(nodes[-1])) + len(json.dumps(links[-1])) + 4
        if length > size - 800:
            break
    nodes.append({"id": 0, "type": "CLIPTextEncode", "pos": [1, 2], "mode": 0, "widgets_values": [f"a {word}"]})
    value = {"last_node_id": len(nodes), "nodes": nodes, "links": links, "groups": [], "version": 0.4}
    return json.dumps(value).encode()


def _saved_node(number: int) -> dict[str, object]:
    """Return a node with what the page writes of each."""
    sockets = [
        {"localized_name": name, "name": name, "type": kind, "link": number + at}
        for at, (name, kind) in enumerate(
            (("model", "MODEL"), ("positive", "CONDITIONING"), ("latent_image", "LATENT"))
        )
    ]
    output = {"localized_name": "LATENT", "name": "LATENT", "type": "LATENT", "slot_index": 0, "links": [number]}
    return {
        "id": number, "type": "KSampler", "pos": [863.25, 186.5], "size": [315, 262], "flags": {}, "order": number,
        "mode": 0, "inputs": sockets, "outputs": [output], "properties": {"Node name for S&R": "KSampler"},
        "widgets_values": [156680208700286, "randomize", 20, 8, "euler", "normal", 1],
    }  # fmt: skip


def _text(kind: str) -> bytes:
    return {
        "words": lambda: prompt_of("a word ", _TEXT),
        "escapes": lambda: prompt_of("\\n", _TEXT),
        "quotes": lambda: prompt_of('\\"', _TEXT),
        "emoji": lambda: prompt_of("🎨", _TEXT),
        "halves": lambda: prompt_of("\\ud83d", 4 * MIB - 99),
        "numbers": lambda: b'{"1":[' + b"NaN," * ((4 * MIB - 99) // 4) + b"0]}",
        "lists": lambda: b'{"1":[' + b"[]," * (_TEXT // 3) + b"0]}",
        "depth": lambda: b'{"1":' + b"[" * 9000 + b'"' + b"\\n" * (2 * MIB - 9000) + b'"' + b"]" * 9000 + b"}",
        "nodes": lambda: _nodes(_TEXT),
        "nested": lambda: json.dumps(prompt_of("a b\\n", 3 * MIB).decode()).encode(),
        "latin": lambda: b'{"1":"' + b"\xe9" * (4 * MIB) + b'"}',
        "surrogates": lambda: b'{"1":"' + b"\xed\xa0\xbd" * (2 * MIB) + b'"}',
        "not JSON": lambda: b"{" + b"x" * _TEXT,
    }[kind]()


KINDS = ("words", "escapes", "quotes", "emoji")
REPAIRED = ("halves", "numbers", "lists", "depth", "nodes", "nested", "latin", "surrogates", "not JSON")


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in parts
    )


def _jpeg(block: bytes) -> bytes:
    """Return a JPEG whose EXIF block continues over many segments."""
    step = 65_000
    parts = [b"Exif\0\0" + block[at : at + step] for at in range(0, len(block), step)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return b"\xff\xd8" + segments + b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 20, 30) + bytes(4) + b"\xff\xd9"


def _webp(kind: bytes, block: bytes) -> bytes:
    body = media_files.chunk(b"VP8X", bytes(4) + bytes(6)) + media_files.chunk(kind, block)
    return media_files.chunk(b"RIFF", b"WEBP" + body)


def _exif(text: bytes) -> bytes:
    return picture_files.exif_block({_MODEL: b"prompt:" + text})


def _utf16(text: bytes) -> bytes:
    return picture_files.exif_block({}, b"UNICODE\0" + text.decode("utf-8", "replace").encode("utf-16-le"))


def _xmp(inner: str, size: int = 4 * MIB - 2000) -> bytes:
    return picture_files.xmp_packet(dc_description=inner * (size // len(inner.encode())))


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _tensors(entry: bytes, size: int) -> bytes:
    parts = (entry % number for number in range(size // (len(entry) + 6)))
    return _header(b"{" + b",".join(parts) + b"}")


def _pickle(body: bytes) -> bytes:
    legacy = model_files.torch_legacy({})
    return legacy[: legacy.rindex(b"\x80\x02")] + body


def _archive_of_many() -> bytes:
    """Return an archive whose list has as many entries as are read."""
    data = model_files.torch_archive({"name": "x"})
    start = struct.unpack("<I", data[-6:-2])[0]
    listed = data[start:-22]
    name = b"x"
    more = struct.pack("<4s6H3I5H2I", b"PK\1\2", 10, 10, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    number = (MIB - len(listed) - 100) // len(more)
    body = listed + more * number
    return (
        data[:start]
        + body
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number % 65536, number % 65536, len(body), start, 0)
    )


def _gguf(keys: int, body: bytes, tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + body


def _gguf_tensors(number: int) -> bytes:
    names = [b"blk.%d.%s" % (at, b"x" * 60) for at in range(number)]
    return b"".join(
        struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 9, 9, at % 30, 0)
        for at, name in enumerate(names)
    )


def _ogg(text: bytes) -> bytes:
    body = b"OpusTags" + media_files.comments({"prompt": text.decode()})
    return media_files.ogg_page(media_files.OPUS_HEADER, flags=2) + media_files.ogg_packet(body)


def _scene(members: bytes) -> bytes:
    return b'{"asset":{"version":"2.0"},' + members + b"}"


def _many(part: bytes, size: int) -> bytes:
    return part * (size // len(part))


def _of_texts() -> dict[str, Make]:
    found: dict[str, Make] = {}
    for kind in (*KINDS, *REPAIRED):
        found[f"png {kind}"] = lambda kind=kind: ("x.png", _png((b"tEXt", b"prompt\0" + _text(kind))))  # type: ignore[misc]
    for kind in KINDS:
        found[f"json {kind}"] = lambda kind=kind: ("x.json", _text(kind))  # type: ignore[misc]
        found[f"webp {kind}"] = lambda kind=kind: ("x.webp", _webp(b"EXIF", _exif(_text(kind))))  # type: ignore[misc]
    return found


LARGE: dict[str, Make] = {
    **_of_texts(),
    "png zTXt": lambda: ("x.png", _png((b"zTXt", b"prompt\0\0" + zlib.compress(_text("nodes"), 1)))),
    "png zTXt stored": lambda: ("x.png", _png((b"zTXt", b"prompt\0\0" + zlib.compress(_text("nodes"), 0)))),
    "png iTXt": lambda: ("x.png", _png((b"iTXt", b"prompt\0\0\0\0\0" + _text("emoji")))),
    "png iTXt deflated": lambda: ("x.png", _png((b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(_text("emoji"), 1)))),
    "png bomb": lambda: ("x.png", _png((b"zTXt", b"prompt\0\0" + zlib.compress(bytes(500 * MIB), 1)))),
    "png parameters": lambda: ("x.png", _png((b"tEXt", b"parameters\0" + b"\1" * (2 * MIB - 9)))),
    "png parameters emoji": lambda: ("x.png", _png((b"tEXt", b"parameters\0" + _many("🎨 ".encode(), 2 * MIB - 9)))),
    "png fields": lambda: ("x.png", _png((b"tEXt", b"Dream\0" + b'"' + b"\\n" * (128 * 1024 - 9)))),
    "png xmp": lambda: ("x.png", _png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _xmp("a 🎨")))),
    "png xmp words": lambda: ("x.png", _png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _xmp("a &amp; ")))),
    "jpeg comment": lambda: ("x.jpg", _jpeg(_utf16(prompt_of("a word ", 3 * MIB + 900_000)))),
    "jpeg comment cjk": lambda: ("x.jpg", _jpeg(_utf16(prompt_of("日本", 5 * MIB)))),
    "webp comment emoji": lambda: ("x.webp", _webp(b"EXIF", _utf16(prompt_of("🎨", 7 * MIB)))),
    "webp xmp": lambda: ("x.webp", _webp(b"XMP ", _xmp("a 🎨"))),
    "avif": lambda: ("x.avif", picture_files.heif(exif=_exif(_text("nodes")))),
    "avif comment": lambda: ("x.avif", picture_files.heif(exif=_utf16(prompt_of("日本", 5 * MIB)))),
    "jxl": lambda: (
        "x.jxl",
        picture_files.jpeg_xl(
            picture_files.jpeg_xl_codestream((64, 64)), picture_files.jpeg_xl_exif(_exif(_text("nodes")))
        ),
    ),
    "jp2": lambda: (
        "x.jp2",
        picture_files.jpeg_2000((3, 2), picture_files.box(b"uuid", b"JpgTiffExif->JP2", _exif(_text("nodes")))),
    ),
    "tiff": lambda: ("x.tif", picture_files.tiff((3, 2), {_MODEL: b"prompt:" + _text("nodes")})),
    "tiff comment": lambda: (
        "x.tif",
        picture_files.tiff((3, 2), {}, b"UNICODE\0" + prompt_of("日本", 5 * MIB).decode().encode("utf-16-le")),
    ),
    "exr": lambda: ("x.exr", picture_files.exr({"prompt": _text("nodes")})),
    "svg": lambda: ("x.svg", picture_files.svg(_text("nodes").decode())),
    "svg escaped": lambda: (
        "x.svg",
        b'<svg width="3" height="2"><metadata>' + b"&lt;" * (2 * MIB // 4 - 9) + b"</metadata></svg>",
    ),
    "sidecar": lambda: (
        "x.civitai.info",
        b'{"trainedWords":["a"],"baseModel":"Pony","x":"' + b"y" * (4 * MIB - 200) + b'"}',
    ),
    "sidecar values": lambda: (
        "x.civitai.info",
        b'{"trainedWords":["a"],"baseModel":"Pony","x":[' + b"[]," * (MIB + 200_000) + b"0]}",
    ),
    "sidecar lists": lambda: ("x.civitai.info", b'{"trainedWords":["a"],"x":[' + b'{"a":0},' * 25_000 + b"0]}"),
    "sidecar tags": lambda: ("x.civitai.info", b'{"trainedWords":[' + b'"a",' * 90_000 + b'"b"]}'),
    "safetensors tensors": lambda: (
        "x.safetensors",
        _tensors(b'"model.layers.%d.attention.to_q.weight":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}', 9 * MIB),
    ),
    "safetensors 31 MiB": lambda: (
        "x.safetensors",
        _tensors(b'"%d":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}', 31 * MIB),
    ),
    "safetensors long names": lambda: (
        "x.safetensors",
        _tensors(b'"%d' + b"x" * 900 + b'":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}', 31 * MIB),
    ),
    "safetensors shapes": lambda: (
        "x.safetensors",
        _tensors(b'"%d":{"dtype":"F16","shape":[0' + b",300" * 60 + b'],"data_offsets":[0,0]}', 31 * MIB),
    ),
    "safetensors text": lambda: ("x.safetensors", _header(b'{"__metadata__":{"a":"' + b"x" * (30 * MIB) + b'"}}')),
    "safetensors document": lambda: (
        "x.safetensors",
        _header(b'{"__metadata__":{"ss_tag_frequency":"' + b"x" * _TEXT + b'"}}'),
    ),
    "safetensors escapes": lambda: ("x.safetensors", _header(b'{"__metadata__":{"a":"' + b"\\n" * (15 * MIB) + b'"}}')),
    "safetensors pairs": lambda: ("x.safetensors", _header(b'{"__metadata__":{"":""' + b',"":""' * (5 * MIB) + b"}}")),
    "safetensors 9,000 pairs": lambda: (
        "x.safetensors",
        _header(b'{"__metadata__":{"":""' + b"".join(b',"%d":"%s"' % (at, b"y" * 800) for at in range(9_000)) + b"}}"),
    ),
    "safetensors graph": lambda: (
        "x.safetensors",
        _header(b'{"__metadata__":{"prompt":' + json.dumps(prompt_of("a\\n🎨", 2 * MIB).decode()).encode() + b"}}"),
    ),
    "safetensors picture": lambda: (
        "x.safetensors",
        _header(b'{"__metadata__":{"modelspec.thumbnail":"data:image/png;base64,' + b"A" * (7 * MIB) + b'"}}'),
    ),
    "safetensors pictures": lambda: (
        "x.safetensors",
        _header(b'{"__metadata__":{"ssmd_cover_images":"[\\"' + b"A" * (7 * MIB) + b'\\"]"}}'),
    ),
    "safetensors value": lambda: ("x.safetensors", _header(b'{"__metadata__":[' + b"0," * (15 * MIB) + b"0]}")),
    "gguf many keys": lambda: (
        "x.gguf",
        _gguf(1_000_000, (struct.pack("<Q", 1) + b"a" + struct.pack("<IB", 0, 1)) * 1_000_000),
    ),
    "gguf keys": lambda: (
        "x.gguf",
        _gguf(
            2000,
            b"".join(
                struct.pack("<Q", 1000) + b"%08d" % at + b"k" * 992 + struct.pack("<IB", 0, 1) for at in range(2000)
            ),
        ),
    ),
    "gguf strings": lambda: (
        "x.gguf",
        _gguf(1, struct.pack("<QIIQ", 0, 9, 8, 1_500_000) + (struct.pack("<Q", 1) + b"a") * 1_500_000),
    ),
    "gguf lists": lambda: (
        "x.gguf",
        _gguf(
            1,
            struct.pack("<QIIQ", 0, 9, 9, 2000) + (struct.pack("<IQ", 9, 600) + struct.pack("<IQ", 8, 0) * 600) * 2000,
        ),
    ),
    "gguf tensors": lambda: ("x.gguf", _gguf(0, _gguf_tensors(99_000), 99_000)),
    "pickle mappings": lambda: ("x.pt", _pickle(b"}" * (2 * MIB - 999) + b".")),
    "pickle lists": lambda: ("x.pt", _pickle(b"(" + b"]" * (2 * MIB - 999) + b"l.")),
    "pickle numbers": lambda: ("x.pt", _pickle(b"(" + b"M\xff\xff" * (MIB // 2) + b"l.")),
    "pickle texts": lambda: ("x.pt", _pickle(b"(" + b"\x8c\x02ab" * (MIB // 2 - 999) + b"l.")),
    "pickle emoji": lambda: ("x.pt", _pickle((b"X" + struct.pack("<I", 60_000) + "🎨".encode() * 15_000) * 33 + b".")),
    "pickle memo": lambda: (
        "x.pt",
        _pickle(b"N" + b"".join(b"r" + struct.pack("<I", at) for at in range(400_000)) + b"."),
    ),
    "pickle names": lambda: ("x.pt", _pickle((b"c" + b"a" * 2000 + b"\n" + b"b" * 2000 + b"\n") * 500 + b".")),
    "archive of many": lambda: ("x.pt", _archive_of_many()),
    "gltf lists": lambda: ("x.gltf", _scene(b'"accessors":[' + b"{}," * (2 * MIB) + b"{}]")),
    "gltf extras": lambda: (
        "x.gltf",
        b'{"asset":{"version":"2.0","extras":{"preview":[' + b"[]," * (2 * MIB) + b"0]}}}",
    ),
    "gltf images": lambda: (
        "x.gltf",
        _scene(
            b'"extensions":{"VRM":{"meta":{"texture":0}}},"textures":[{"source":0}],"images":[{}'
            + b",{}" * (2 * MIB)
            + b"]"
        ),
    ),
    "gltf meshes": lambda: ("x.gltf", _scene(b'"meshes":[' + b'{"primitives":[{},{}]},' * 12_000 + b"{}]")),
    "gltf prompt": lambda: (
        "x.gltf",
        b'{"asset":{"version":"2.0","extras":{"prompt":'
        + json.dumps(prompt_of("a\\n🎨", 2 * MIB).decode()).encode()
        + b"}}}",
    ),
}
"""Files by their name: the name under which they are read, and their bytes."""
