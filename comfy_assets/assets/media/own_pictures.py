"""Pictures that are parts of other files: 3D scenes, models and icons. Nothing outside a file is followed.

Of glTF scenes these count, in this order: the thumbnail of a VRM avatar (versions 1.0 and 0.x of its specification),
and a data URI in ``asset.extras`` under ``thumbnail`` or ``preview``.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from ...json_limits import ABSENT, MALFORMED, decode_raw

if TYPE_CHECKING:
    from typing import TypeGuard

MAX_PICTURE = 16 << 20  # bytes
_MAX_JSON = 8 << 20  # decoding one takes about 15 ms
_GLB, _JSON_CHUNK, _BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
_ICON = b"\0\0\x01\0"
_MAX_ICON = 1024  # pixels of a side; more than 256 only in embedded PNG files
_MAX_ICONS = 64
_HEADER_FIELDS = (b"modelspec.thumbnail", b"ssmd_cover_images", b"thumbnail", b"preview_image")
_COLON = re.compile(rb'\s{0,8}:\s{0,8}"')
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]+\Z")
_MAX_KIND = 80  # bytes before the comma of a data URI
_QUOTE, _BACKSLASH = 0x22, 0x5C

Read = Callable[[int, int], bytes]
_Index = Annotated[int, msgspec.Meta(ge=0)]


class _PicturedExtras(msgspec.Struct):
    thumbnail: msgspec.Raw = ABSENT
    preview: msgspec.Raw = ABSENT


class _GltfAsset(msgspec.Struct):
    extras: msgspec.Raw = ABSENT


class _AvatarMeta(msgspec.Struct, rename="camel"):
    thumbnail_image: msgspec.Raw = ABSENT
    texture: msgspec.Raw = ABSENT


class _Avatar(msgspec.Struct):
    meta: msgspec.Raw = ABSENT


class _Extensions(msgspec.Struct):
    vrm_1: msgspec.Raw = msgspec.field(default=ABSENT, name="VRMC_vrm")
    vrm_0: msgspec.Raw = msgspec.field(default=ABSENT, name="VRM")


class _BufferView(msgspec.Struct, rename="camel"):
    byte_length: _Index
    byte_offset: _Index = 0
    buffer: _Index = 0


class _GltfImage(msgspec.Struct, rename="camel"):
    uri: str | None = None
    buffer_view: _Index | None = None


class _Texture(msgspec.Struct):
    source: _Index | None = None


class _PicturedScene(msgspec.Struct, rename="camel"):
    """The members of a glTF document that lead to its picture (glTF 2.0, 5.17), as texts."""

    asset: _GltfAsset
    extensions: msgspec.Raw = ABSENT
    images: msgspec.Raw = ABSENT
    textures: msgspec.Raw = ABSENT
    buffer_views: msgspec.Raw = ABSENT


def is_gltf(head: bytes) -> bool:
    """Return whether a file with these first bytes may be a glTF scene, binary or as JSON."""
    return head.startswith(_GLB) or (head.lstrip()[:1] == b"{" and b'"asset"' in head)


def gltf_picture(read: Read, size: int) -> bytes | None:
    """Return the picture in a glTF file of ``size`` bytes, or None. ``read`` gets an offset and a length."""
    try:
        document, start, length = _document(read, size)
        scene = msgspec.json.decode(document, type=_PicturedScene)
    except (*MALFORMED, struct.error):
        return None
    found = _image_of_vrm(scene)
    if found is not None:
        return _image_bytes(scene, found, lambda offset, count: read(start + offset, count), length)
    return next((picture for uri in _uris(scene) if (picture := _data_uri(memoryview(uri))) is not None), None)


def names_picture(document: bytes) -> bool:
    """Return whether a glTF document names a picture of the scene, which may be damaged or missing nevertheless."""
    if not any(mark in document for mark in (b'"VRM', b'"thumbnail"', b'"preview"')):
        return False  # most scenes: decoding them again would take as long as reading them
    try:
        scene = msgspec.json.decode(document, type=_PicturedScene)
    except MALFORMED:
        return False
    return any(uri.startswith(b"data:image/") for uri in _uris(scene)) or _image_of_vrm(scene) is not None


def _uris(scene: _PicturedScene) -> Iterator[bytes]:
    """Yield the texts in the extras that may be pictures."""
    extras = decode_raw(scene.asset.extras, _PicturedExtras)
    for value in (extras.thumbnail, extras.preview) if extras is not None else ():
        yield _string(memoryview(value))


def _string(text: memoryview) -> bytes:
    """Return the content of a JSON string; nothing for another value. Base64 has no escapes but ``\\/``."""
    if len(text) < 2 or text[0] != _QUOTE or len(text) > MAX_PICTURE:
        return b""
    return bytes(text[1:-1]).replace(b"\\/", b"/")


def _document(read: Read, size: int) -> tuple[bytes, int, int]:
    """Return the JSON text, and the start and length of the binary buffer in the file. Raises ValueError."""
    head = read(0, 20)
    if not head.startswith(_GLB):
        if size > _MAX_JSON:
            raise ValueError("too large")
        return read(0, size), 0, 0
    length, kind = struct.unpack("<II", head[12:20])
    if kind != _JSON_CHUNK or length > min(size, _MAX_JSON):
        raise ValueError("not a binary glTF file")
    start = 20 + length
    buffer = read(start, 8)
    if len(buffer) < 8 or struct.unpack("<I", buffer[4:])[0] != _BIN_CHUNK:
        return read(20, length), 0, 0
    return read(20, length), start + 8, int(struct.unpack("<I", buffer[:4])[0])


def _image_of_vrm(scene: _PicturedScene) -> _GltfImage | None:
    extensions = decode_raw(scene.extensions, _Extensions)
    if extensions is None:
        return None
    images = decode_raw(scene.images, list[_GltfImage]) or []
    image = _index(_meta(extensions.vrm_1).thumbnail_image)
    if not _is_index(image, images):
        textures = decode_raw(scene.textures, list[_Texture]) or []
        texture = _index(_meta(extensions.vrm_0).texture)
        image = textures[texture].source if _is_index(texture, textures) else None
    return images[image] if _is_index(image, images) else None


def _meta(extension: msgspec.Raw) -> _AvatarMeta:
    avatar = decode_raw(extension, _Avatar)
    meta = decode_raw(avatar.meta, _AvatarMeta) if avatar is not None else None
    return meta or _AvatarMeta()


def _index(text: msgspec.Raw) -> int | None:
    return decode_raw(text, int)


def _is_index(value: int | None, of: Sequence[object]) -> TypeGuard[int]:
    return value is not None and 0 <= value < len(of)


def _image_bytes(scene: _PicturedScene, image: _GltfImage, read: Read, length: int) -> bytes | None:
    if image.uri is not None:
        return _data_uri(memoryview(image.uri.encode("utf-8", "replace")))
    views = decode_raw(scene.buffer_views, list[_BufferView]) or []
    if not _is_index(image.buffer_view, views):
        return None
    view = views[image.buffer_view]
    if view.buffer != 0 or view.byte_length > MAX_PICTURE or view.byte_offset + view.byte_length > length:
        return None
    return read(view.byte_offset, view.byte_length) or None


def _data_uri(uri: memoryview) -> bytes | None:
    """Return the bytes of an image in a base64 ``data:`` URI (RFC 2397), or None for any other URI."""
    kind, comma, _ = bytes(uri[:_MAX_KIND]).partition(b",")
    is_image = kind.startswith(b"data:image/") and kind.endswith(b";base64")
    return _bytes_of(uri[len(kind) + 1 :]) if comma and is_image else None


def _bytes_of(text: memoryview) -> bytes | None:
    """Return the bytes that a text in base64 stands for; None for another text."""
    try:
        return binascii.a2b_base64(text) or None
    except ValueError:
        return None


def is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file with these first bytes is a safetensors file."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


def header_picture(read: Read, size: int) -> bytes | None:
    """Return the picture in the header of a safetensors file, or None.

    The value of the first known field is a data URI (the modelspec standard), base64, or a JSON list of base64 texts
    (``ssmd_cover_images``). The header is not parsed: that of a large model describes thousands of tensors.
    """
    length = int.from_bytes(read(0, 8), "little")
    header = read(8, min(length, size - 8, _MAX_JSON))
    spans = (_span_at(header, place) for field in _HEADER_FIELDS for place in _values_of(header, field))
    return next((picture for span in spans if (picture := _base64_text(header, *span)) is not None), None)


def _values_of(header: bytes, field: bytes) -> Iterator[int]:
    """Yield the places of the strings that are the values of a field."""
    name, place = b'"' + field + b'"', -1
    while (place := header.find(name, place + 1)) >= 0:  # a search for the fields' pattern would take ten times as long
        match = _COLON.match(header, place + len(name))
        if match is not None:
            yield match.end() - 1


def _span_at(text: bytes, quote: int) -> tuple[int, int]:
    """Return where the characters of the JSON string with this opening quote are; nowhere if it does not end."""
    end = text.find(b'"', quote + 1)
    while end >= 0 and text[end - 1] == _BACKSLASH:  # quotes in a list of texts
        end = text.find(b'"', end + 1)
    return quote + 1, max(end, quote + 1)


def _base64_text(header: bytes, start: int, end: int) -> bytes | None:
    """Return the picture in a part of the header. The part has megabytes, and is not copied."""
    if header[start : start + 1] == b"[":  # the first text of a list
        start = header.find(b'\\"', start, end) + 2
        end = max(start, header.find(b'\\"', start, end))
    text = memoryview(header)[start:end]
    if header.find(b"\\/", start, end) >= 0:
        text = memoryview(bytes(text).replace(b"\\/", b"/"))
    if header.startswith(b"data:", start, end):
        return _data_uri(text)
    return _bytes_of(text) if _BASE64.match(text, 0, _MAX_KIND) else None


def is_icon(head: bytes) -> bool:
    """Return whether a file with these first bytes is a Windows icon."""
    return head.startswith(_ICON) and 0 < int.from_bytes(head[4:6], "little") <= _MAX_ICONS


def icon_picture(read: Read, size: int) -> bytes | None:
    """Return the largest picture of an icon file, as a PNG or as an icon of one picture that is small; else None."""
    head = read(0, 6)
    if not is_icon(head):
        return None
    entries = read(6, 16 * int.from_bytes(head[4:6], "little"))
    rows = [entries[at : at + 16] for at in range(0, len(entries) - 15, 16)]
    for row in sorted(rows, key=lambda each: (each[0] or 256, int.from_bytes(each[6:8], "little")), reverse=True):
        length, offset = struct.unpack("<II", row[8:16])
        if not 40 <= length <= min(size, MAX_PICTURE):
            continue
        body = read(offset, length)
        if body.startswith(b"\x89PNG"):
            return body
        width, height = struct.unpack("<ii", body[4:12]) if len(body) >= 40 else (0, 0)
        if 0 < width <= _MAX_ICON and 0 < height <= 2 * _MAX_ICON:  # the height counts the mask as well
            return _ICON + b"\x01\0" + row[:12] + struct.pack("<I", 22) + body
    return None
