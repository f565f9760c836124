"""Pictures that are parts of other files: 3D scenes, models and icons. Nothing outside a file is followed.

Of glTF scenes these count, in this order: the thumbnail of a VRM avatar (versions 1.0 and 0.x of its specification),
and a data URI in ``asset.extras`` under ``thumbnail`` or ``preview``.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec

MAX_PICTURE = 16 << 20  # bytes
_MAX_JSON = 8 << 20  # decoding one takes about 15 ms
_GLB, _JSON_CHUNK, _BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
_ICON = b"\0\0\x01\0"
_MAX_ICON = 1024  # pixels of a side; more than 256 only in embedded PNG files
_MAX_ICONS = 64
_EXTRAS = ("thumbnail", "preview")
_HEADER_FIELDS = (b"modelspec.thumbnail", b"ssmd_cover_images", b"thumbnail", b"preview_image")
_COLON = re.compile(rb'\s{0,8}:\s{0,8}"')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

Read = Callable[[int, int], bytes]
_Index = Annotated[int, msgspec.Meta(ge=0)]


class _GltfAsset(msgspec.Struct):
    extras: Any = None


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
    """The members of a glTF document that lead to its picture (glTF 2.0, 5.17)."""

    asset: _GltfAsset
    extensions: Any = None
    images: list[_GltfImage] = []
    textures: list[_Texture] = []
    buffer_views: list[_BufferView] = []


def is_gltf(head: bytes) -> bool:
    """Return whether a file with these first bytes may be a glTF scene, binary or as JSON."""
    return head.startswith(_GLB) or (head.lstrip()[:1] == b"{" and b'"asset"' in head)


def gltf_picture(read: Read, size: int) -> bytes | None:
    """Return the picture in a glTF file of ``size`` bytes, or None. ``read`` gets an offset and a length."""
    try:
        document, start, length = _document(read, size)
        scene = msgspec.json.decode(document, type=_PicturedScene)
    except (msgspec.DecodeError, UnicodeDecodeError, struct.error, ValueError, RecursionError):
        return None
    found = _image_of_vrm(scene)
    if found is not None:
        return _image_bytes(scene, found, lambda offset, count: read(start + offset, count), length)
    extras = scene.asset.extras
    uris = (extras.get(key) for key in _EXTRAS) if isinstance(extras, dict) else ()
    return next((picture for uri in uris if (picture := _data_uri(uri)) is not None), None)


def names_picture(document: bytes) -> bool:
    """Return whether a glTF document names a picture of the scene, which may be damaged or missing nevertheless."""
    if not any(mark in document for mark in (b'"VRM', b'"thumbnail"', b'"preview"')):
        return False  # most scenes: decoding them again would take as long as reading them
    try:
        scene = msgspec.json.decode(document, type=_PicturedScene)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    extras = scene.asset.extras
    has_uri = isinstance(extras, dict) and any(str(extras.get(key)).startswith("data:image/") for key in _EXTRAS)
    return has_uri or _image_of_vrm(scene) is not None


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
    extensions = scene.extensions if isinstance(scene.extensions, dict) else {}
    image = _member(extensions, "VRMC_vrm", "meta", "thumbnailImage")
    texture = _member(extensions, "VRM", "meta", "texture")
    if not _is_index(image, scene.images) and _is_index(texture, scene.textures):
        image = scene.textures[texture].source
    return scene.images[image] if _is_index(image, scene.images) else None


def _member(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _is_index(value: Any, of: list[Any]) -> bool:
    return isinstance(value, int) and 0 <= value < len(of)


def _image_bytes(scene: _PicturedScene, image: _GltfImage, read: Read, length: int) -> bytes | None:
    if image.uri is not None:
        return _data_uri(image.uri)
    if not _is_index(image.buffer_view, scene.buffer_views):
        return None
    view = scene.buffer_views[image.buffer_view or 0]
    if view.buffer != 0 or view.byte_length > MAX_PICTURE or view.byte_offset + view.byte_length > length:
        return None
    return read(view.byte_offset, view.byte_length) or None


def _data_uri(uri: Any) -> bytes | None:
    """Return the bytes of an image in a base64 ``data:`` URI (RFC 2397), or None for any other URI."""
    if not isinstance(uri, str) or not uri.startswith("data:image/") or len(uri) > MAX_PICTURE:
        return None
    kind, separator, text = uri.partition(";base64,")
    if not separator or len(kind) > 64:
        return None
    try:
        return base64.b64decode(text) or None
    except (binascii.Error, ValueError):
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
    texts = (_string_at(header, place) for field in _HEADER_FIELDS for place in _values_of(header, field))
    return next((picture for text in texts if (picture := _base64_text(text)) is not None), None)


def _values_of(header: bytes, field: bytes) -> Iterator[int]:
    """Yield the places of the strings that are the values of a field."""
    name, place = b'"' + field + b'"', -1
    while (place := header.find(name, place + 1)) >= 0:  # a search for the fields' pattern would take ten times as long
        match = _COLON.match(header, place + len(name))
        if match is not None:
            yield match.end() - 1


def _string_at(text: bytes, start: int) -> str:
    """Return the JSON string whose opening quote is at ``start``; "" if it is malformed or too long."""
    match = _STRING.match(text, start)
    try:
        return msgspec.json.decode(match[0], type=str) if match and len(match[0]) <= MAX_PICTURE else ""
    except msgspec.DecodeError:
        return ""


def _base64_text(text: str) -> bytes | None:
    if text.startswith("["):
        try:
            text = next(iter(msgspec.json.decode(text, type=list[str])), "")
        except (msgspec.DecodeError, RecursionError):
            return None
    if text.startswith("data:"):
        return _data_uri(text)
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


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
