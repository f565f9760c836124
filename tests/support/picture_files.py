"""Pictures of many formats, byte by byte: small files as the formats' writers make them, without their libraries."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

EXIF_POINTER, USER_COMMENT = 0x8769, 0x9286


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box of an ISO base media file."""
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def full_box(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def exif_block(
    texts: Mapping[int, bytes], comment: bytes | None = None, orientation: int = 0, order: str = "<"
) -> bytes:
    """Return an EXIF block: texts of the first directory, a UserComment of the EXIF directory, an orientation."""
    entries = {tag: (2, value) for tag, value in texts.items()}
    if orientation:
        entries[0x0112] = 3, struct.pack(order + "HH", orientation, 0)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "I", 8)
    if comment is None:
        return head + _directory(entries, 8, order)
    # The length of a directory does not depend on the values of its numbers.
    length = len(_directory({**entries, EXIF_POINTER: (4, struct.pack(order + "I", 0))}, 8, order))
    entries[EXIF_POINTER] = 4, struct.pack(order + "I", 8 + length)
    return head + _directory(entries, 8, order) + _directory({USER_COMMENT: (7, comment)}, 8 + length, order)


def _directory(entries: Mapping[int, tuple[int, bytes]], start: int, order: str) -> bytes:
    data_start = start + 2 + 12 * len(entries) + 4
    table, data = b"", b""
    for tag, (kind, value) in sorted(entries.items()):
        count = len(value) // {3: 2, 4: 4}.get(kind, 1) or 1
        if kind == 3:
            count = 1
        if len(value) <= 4:
            table += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        else:
            table += struct.pack(order + "HHII", tag, kind, count, data_start + len(data))
            data += value
    return struct.pack(order + "H", len(entries)) + table + bytes(4) + data


def user_comment(text: str) -> bytes:
    """Return the value of a UserComment as A1111 and most others write it."""
    return b"UNICODE\0" + text.encode("utf-16-be")


def xmp_packet(**properties: str) -> bytes:
    """Return an XMP packet with texts such as ``dc_description`` and ``exif_UserComment``, in their longer form."""
    inner = "".join(
        f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{_escaped(text)}</rdf:li></rdf:Alt></{name}>'
        for name, text in ((name.replace("_", ":", 1), text) for name, text in properties.items())
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/">'
        f"{inner}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def heif(
    brand: bytes = b"avif",
    size: tuple[int, int] = (30, 20),
    exif: bytes | None = None,
    xmp: bytes | None = None,
    properties: Sequence[bytes] = (),
    in_idat: bool = False,
    brands: Sequence[bytes] = (b"mif1", b"miaf"),
    behind: bytes = b"",
) -> bytes:
    """Return an AVIF or HEIC: a primary picture without pixels, EXIF and XMP items, further properties in order."""
    payloads = {2: None if exif is None else struct.pack(">I", 6) + b"Exif\0\0" + exif, 3: xmp}
    items = {item: data for item, data in payloads.items() if data is not None}
    infos = [_item_info(1, b"av01" if brand.startswith(b"av") else b"hvc1")]
    infos += [_item_info(item, b"Exif" if item == 2 else b"mime") for item in items]
    ipco = box(b"ipco", full_box(b"ispe", struct.pack(">II", *size)), *properties)
    numbers = bytes(0x80 | number for number in range(1, len(properties) + 2))
    ipma = full_box(b"ipma", struct.pack(">IHB", 1, 1, len(numbers)), numbers)
    ftyp = box(b"ftyp", brand, bytes(4), *brands)

    def meta(start: int) -> bytes:
        locations, at = b"", 0 if in_idat else start
        for item, data in items.items():
            locations += struct.pack(">HHHHII", item, 1 if in_idat else 0, 0, 1, at, len(data))
            at += len(data)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)), locations, version=1),
            full_box(b"iinf", struct.pack(">H", len(infos)), *infos),
            box(b"iprp", ipco, ipma),
            box(b"idat", *items.values()) if in_idat else b"",
        )

    start = len(ftyp) + len(meta(0)) + 8
    data = b"" if in_idat else b"".join(items.values())
    return ftyp + meta(start) + box(b"mdat", data, b"pixels") + behind


def _item_info(item: int, kind: bytes) -> bytes:
    content_type = b"application/rdf+xml\0" if kind == b"mime" else b""
    return full_box(b"infe", struct.pack(">HH4s", item, 0, kind), b"\0", content_type, version=2)


def movie(frames: int, milliseconds: int, size: tuple[int, int]) -> bytes:
    """Return a ``moov`` box of one track, as animated AVIFs have."""
    tkhd = full_box(b"tkhd", bytes(72), struct.pack(">II", size[0] << 16, size[1] << 16))
    mdhd = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, milliseconds, 0, 0))
    stsz = full_box(b"stsz", struct.pack(">II", 0, frames), bytes(4 * frames))
    return box(b"moov", box(b"trak", tkhd, box(b"mdia", mdhd, box(b"minf", box(b"stbl", stsz)))))


class BitWriter:
    """Writes the fields of a JPEG XL header, the lowest bit of each byte first."""

    def __init__(self) -> None:
        self._value = 0
        self._length = 0

    def add(self, value: int, width: int) -> BitWriter:
        self._value |= value << self._length
        self._length += width
        return self

    def bytes(self) -> bytes:
        return self._value.to_bytes((self._length + 7) // 8, "little") + bytes(16)


def jpeg_xl_codestream(size: tuple[int, int], orientation: int = 1, ratio: int = 0) -> bytes:
    """Return the beginning of a codestream; ``ratio`` states the width by the height as libjxl does (1 is square)."""
    bits, (width, height) = BitWriter(), size
    is_small = all(side % 8 == 0 and side <= 256 for side in ((height,) if ratio else size))
    bits.add(is_small, 1)
    _add_side(bits, height, is_small)
    bits.add(ratio, 3)
    if not ratio:
        _add_side(bits, width, is_small)
    if orientation == 1:
        bits.add(1, 1)  # all fields are the default
    else:
        bits.add(0, 1).add(1, 1).add(orientation - 1, 3)
    return b"\xff\x0a" + bits.bytes()


def _add_side(bits: BitWriter, side: int, is_small: bool) -> None:
    if is_small:
        bits.add(side // 8 - 1, 5)
        return
    choice = next(number for number, width in enumerate((9, 13, 18, 30)) if side <= 1 << width)
    bits.add(choice, 2).add(side - 1, (9, 13, 18, 30)[choice])


def jpeg_xl(codestream: bytes, *boxes: bytes) -> bytes:
    """Return a container: boxes before the codestream, as libjxl writes EXIF and XMP behind it."""
    return (
        bytes.fromhex("0000000c4a584c200d0a870a")
        + box(b"ftyp", b"jxl \0\0\0\0jxl ")
        + b"".join(boxes)
        + box(b"jxlc", codestream)
    )


def jpeg_xl_exif(block: bytes) -> bytes:
    """Return the EXIF box of a JPEG XL."""
    return box(b"Exif", bytes(4), block)


def jpeg_2000(size: tuple[int, int], *boxes: bytes) -> bytes:
    header = box(b"ihdr", struct.pack(">IIHBBBB", size[1], size[0], 3, 7, 7, 0, 0))
    start = bytes.fromhex("0000000c6a5020200d0a870a") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header) + b"".join(boxes) + box(b"jp2c", b"\xff\x4f\xff\x51pixels")


def tiff(
    size: tuple[int, int],
    texts: Mapping[int, bytes] | None = None,
    comment: bytes | None = None,
    orientation: int = 0,
    order: str = "<",
    big: bool = False,
    small: tuple[int, int] | None = None,
) -> bytes:
    """Return a TIFF without pixels, with the directory behind them as most writers put it.

    With ``small`` the first picture is a reduced one, and the picture of ``size`` is in a sub-directory, as in the
    files of cameras.
    """
    writer = _TiffWriter(order, big)
    sub = []
    if small is not None:
        sub.append((330, 13, writer.directory(_size_entries(size, 0), at=4096)))
    if comment is not None:
        sub.append((EXIF_POINTER, 4, writer.directory([(USER_COMMENT, 7, comment)], at=8192)))
    entries = _size_entries(small or size, 0 if small is None else 1)
    entries += [(tag, 2, value) for tag, value in (texts or {}).items()]
    entries += [(0x0112, 3, orientation)] if orientation else []
    first = writer.directory(sorted([*entries, *sub], key=lambda entry: entry[0]), at=12288)
    return writer.file(first)


_TiffEntry = tuple[int, int, "bytes | int"]


def _size_entries(size: tuple[int, int], subfile: int) -> list[_TiffEntry]:
    return [(254, 4, subfile), (256, 3, size[0]), (257, 4, size[1])]


class _TiffWriter:
    """Collects the directories of a TIFF or BigTIFF at fixed places."""

    def __init__(self, order: str, big: bool) -> None:
        self._order = order
        self._big = big
        self._parts: dict[int, bytes] = {}

    def directory(self, entries: Sequence[_TiffEntry], at: int) -> int:
        """Put a directory and its values at an offset, and return that."""
        pointer, room = ("Q", 8) if self._big else ("I", 4)
        count = struct.pack(self._order + ("Q" if self._big else "H"), len(entries))
        data_start = at + len(count) + len(entries) * (4 + 2 * room) + room
        table, data = b"", b""
        for tag, kind, value in entries:
            raw = value if isinstance(value, bytes) else struct.pack(self._order + ("H" if kind == 3 else "I"), value)
            values = len(raw) if isinstance(value, bytes) else 1
            table += struct.pack(self._order + "HH" + pointer, tag, kind, values)
            if len(raw) <= room:
                table += raw.ljust(room, b"\0")
            else:
                table += struct.pack(self._order + pointer, data_start + len(data))
                data += raw
        self._parts[at] = count + table + bytes(room) + data
        return at

    def file(self, first: int) -> bytes:
        magic = b"II" if self._order == "<" else b"MM"
        if self._big:
            head = magic + struct.pack(self._order + "HHHQ", 43, 8, 0, first)
        else:
            head = magic + struct.pack(self._order + "HI", 42, first)
        whole = bytearray(max(at + len(part) for at, part in self._parts.items()))
        whole[: len(head)] = head
        for at, part in self._parts.items():
            whole[at : at + len(part)] = part
        return bytes(whole)


def exr(texts: Mapping[str, bytes], window: tuple[int, int, int, int] = (0, 0, 29, 19)) -> bytes:
    """Return the header of an OpenEXR file, as ComfyUI's SaveImageAdvanced writes it, and a few bytes of pixels."""
    corners = struct.pack("<4i", *window)
    attributes = [(b"channels", b"chlist", bytes(19)), (b"dataWindow", b"box2i", corners)]
    attributes += [(b"displayWindow", b"box2i", corners)]
    attributes += [(name.encode(), b"string", value) for name, value in texts.items()]
    header = b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value for name, kind, value in attributes
    )
    return b"v/1\x01\x02\0\0\0" + header + bytes(64)


def svg(metadata: str = "", size: str = 'width="30" height="20"', start: str = "") -> bytes:
    """Return an SVG with its metadata as ComfyUI's SaveSVGNode writes them."""
    inner = f"  <metadata>\n<![CDATA[\n{metadata}\n]]>\n</metadata>\n" if metadata else ""
    return f'{start}<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{inner}<circle r="9"/></svg>'.encode()


_PROMPT = b'{"3": {"class_type": "KSampler", "inputs": {"text": "a cat", "seed": 6}}}'
_SETTINGS = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 7"
_COMFYUI = {0x010F: b'workflow:{"nodes": []}', 0x0110: b"prompt:" + _PROMPT}
_EXIF = exif_block(_COMFYUI, user_comment(_SETTINGS), 6)
_XMP = xmp_packet(dc_description="a cat", exif_UserComment='{"c": "a cat", "uc": "dog"}')
BITMAPS = {
    "bmp": b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 30, -20, 1, 24, 0) + bytes(20 + 20 * 92),
    "ico": struct.pack("<HHH", 0, 1, 2) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 9, 38) * 2 + bytes(9),
    "tga": bytes((0, 0, 2)) + bytes(9) + struct.pack("<HHBB", 30, 20, 24, 0) + bytes(60),
    "ppm": b"P6\n# a comment\n30 20\n255\n" + bytes(60),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 20, 30, 8, 3) + bytes(12),
    "xcf": b"gimp xcf v011\0" + struct.pack(">III", 30, 20, 0) + bytes(12),
    "dds": b"DDS " + struct.pack("<IIII", 124, 0x1007, 20, 30) + bytes(108),
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20 +X 30\n" + bytes(60),
    "qoi": b"qoif" + struct.pack(">IIBB", 30, 20, 3, 0) + bytes(16),
}
# Valid files by the suffix of their format, to be damaged.
SAMPLES: dict[str, tuple[bytes, ...]] = {
    "avif": (
        heif(exif=_EXIF, xmp=_XMP, properties=[box(b"irot", b"\1"), box(b"imir", b"\0")]),
        heif(b"avis", exif=_EXIF, in_idat=True, behind=movie(12, 1200, (30, 20))),
    ),
    "heic": (
        heif(b"heic", exif=_EXIF, xmp=_XMP, properties=[box(b"clap", struct.pack(">8I", 20, 1, 10, 1, 0, 1, 0, 1))]),
    ),
    "jxl": (
        jpeg_xl_codestream((3000, 2000), orientation=6),
        jpeg_xl(jpeg_xl_codestream((64, 64), ratio=1), jpeg_xl_exif(_EXIF), box(b"xml ", _XMP)),
        jpeg_xl(jpeg_xl_codestream((64, 64)), box(b"brob", b"Exif", bytes(40))),
    ),
    "tif": (
        tiff((30, 20), _COMFYUI | {700: _XMP}, user_comment(_SETTINGS), 6),
        tiff((30, 20), _COMFYUI, order=">", big=True),
        tiff((3000, 2000), small=(160, 120), order=">"),
    ),
    "exr": (exr({"prompt": _PROMPT, "workflow": b'{"nodes": []}', "comments": b"a cat"}),),
    "svg": (
        svg(f'{{"prompt": {_PROMPT.decode()}}}', start='<?xml version="1.0"?>\n<!-- drawn -->\n<!DOCTYPE svg>\n'),
        svg(size='viewBox="0 0 30 20"') + b"<title>a &lt;cat&gt;</title><desc>",
    ),
    "jp2": (
        jpeg_2000((30, 20), box(b"uuid", b"JpgTiffExif->JP2", _EXIF)),
        b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 47, 0, 40, 30, 10, 10) + bytes(40),
    ),
    **{name: (data,) for name, data in BITMAPS.items()},
}
