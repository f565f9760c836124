"""3D scenes in glTF 2.0 (ISO/IEC 12113): JSON, alone or as the first chunk of a binary file (GLB).

ComfyUI writes prompt and workflow to ``asset.extras``. Of the binary chunk nothing is read, and no file that the scene
names is opened.
"""

from __future__ import annotations

import re
import struct

import msgspec

from ....json_limits import ABSENT, MALFORMED, decode_raw
from ..decoders import OWN_PICTURE
from ..own_pictures import names_picture
from .base import TRUNCATED, ByteSource, Contents, Format, starts_with
from .media_facts import add_number, add_tag, bounded
from .recoding import unquoted
from .texts import omit

_MAGIC = b"glTF"
_JSON = 0x4E4F534A
_MAX_JSON = 8 << 20  # decoding one takes about 15 ms
_MAX_EXTRA = 4 << 20
_MAX_EXTENSIONS = 16
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
# The one member that every scene has.
_SCENE = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*\{.*"asset"\s*:\s*\{[^{}]*"version"\s*:\s*"\d', re.DOTALL)


class _Extras(msgspec.Struct):
    """Texts that programs write to a file's asset. Other members are passed over without being held."""

    prompt: msgspec.Raw = ABSENT
    workflow: msgspec.Raw = ABSENT
    parameters: msgspec.Raw = ABSENT
    title: msgspec.Raw = ABSENT
    author: msgspec.Raw = ABSENT
    description: msgspec.Raw = ABSENT
    comment: msgspec.Raw = ABSENT


class _Asset(msgspec.Struct):
    extras: msgspec.Raw = ABSENT


class _Scene(msgspec.Struct):
    asset: _Asset
    accessors: msgspec.Raw = ABSENT
    meshes: msgspec.Raw = ABSENT
    materials: msgspec.Raw = ABSENT
    textures: msgspec.Raw = ABSENT
    animations: msgspec.Raw = ABSENT
    extensions: msgspec.Raw = msgspec.field(default=ABSENT, name="extensionsUsed")


class _Accessor(msgspec.Struct):
    count: int = 0


class _Attributes(msgspec.Struct):
    position: int = msgspec.field(default=-1, name="POSITION")


class _Primitive(msgspec.Struct):
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)
    indices: int = -1
    mode: int = _TRIANGLES


class _Mesh(msgspec.Struct):
    primitives: list[_Primitive] = []


_decode_scene = msgspec.json.Decoder(_Scene).decode
_decode_extras = msgspec.json.Decoder(_Extras).decode


def _is_gltf(head: bytes) -> bool:
    return _SCENE.match(head) is not None


@bounded
def read_glb(contents: Contents, source: ByteSource) -> None:
    """Read facts and texts of a binary file."""
    version, length, json_length, kind = struct.unpack("<4I", source.read(4, 16))
    if version != 2:
        contents.problems.append("The file is of a version of glTF that is not supported.")
        return
    if length > source.size or json_length > source.size:
        contents.problems.append(TRUNCATED)
    if kind == _JSON:
        _read_scene(contents, source, 20, min(json_length, source.size - 20))


@bounded
def read_gltf(contents: Contents, source: ByteSource) -> None:
    """Read facts and texts of a file of JSON."""
    _read_scene(contents, source, 0, source.size)


def _read_scene(contents: Contents, source: ByteSource, start: int, length: int) -> None:
    if length > _MAX_JSON:  # with its buffers in it, as base64
        for keyword in ("prompt", "workflow"):
            omit(contents, keyword)
        return
    document = source.read(start, length).removeprefix(b"\xef\xbb\xbf")
    try:
        scene = _decode_scene(document)
    except MALFORMED:
        contents.problems.append("The description of the scene is damaged.")
        return
    if names_picture(document):
        contents.facts[OWN_PICTURE] = True
    _add_extras(contents, scene.asset.extras)
    _add_counts(contents, scene)


def _add_extras(contents: Contents, body: msgspec.Raw) -> None:
    """Add texts of the asset; ComfyUI writes JSON as strings, other programs write it as it is."""
    try:
        extras = _decode_extras(body)
    except MALFORMED:
        return
    for keyword in _Extras.__struct_fields__:
        value = memoryview(getattr(extras, keyword))
        if value.nbytes > _MAX_EXTRA:
            omit(contents, keyword)
        elif bytes(value[:1]) == b"{":
            add_tag(contents, keyword, bytes(value))
        elif bytes(value[:1]) == b'"':
            _add_string(contents, keyword, value)


def _add_string(contents: Contents, keyword: str, value: memoryview) -> None:
    try:
        text = unquoted(value)
    except MALFORMED:
        contents.problems.append(f"The embedded {keyword} is damaged.")
    else:
        add_tag(contents, keyword, text)


def _add_counts(contents: Contents, scene: _Scene) -> None:
    """Add the numbers of vertices and triangles that the meshes have, each mesh once, and of other parts."""
    accessors, meshes = decode_raw(scene.accessors, list[_Accessor]) or [], decode_raw(scene.meshes, list[_Mesh]) or []
    primitives = [primitive for mesh in meshes for primitive in mesh.primitives]
    positions = {primitive.attributes.position for primitive in primitives}
    add_number(contents, "vertices", sum(_count(accessors, position) for position in positions))
    add_number(contents, "faces", sum(_triangles(accessors, primitive) for primitive in primitives))
    add_number(contents, "meshes", len(meshes))
    for key in ("materials", "textures", "animations"):
        add_number(contents, key, len(decode_raw(getattr(scene, key), list[msgspec.Raw]) or ()))
    names = decode_raw(scene.extensions, list[str])
    if names:
        contents.facts["extensions"] = [name[:48] for name in names[:_MAX_EXTENSIONS]]


def _count(accessors: list[_Accessor], index: int) -> int:
    return max(accessors[index].count, 0) if 0 <= index < len(accessors) else 0


def _triangles(accessors: list[_Accessor], primitive: _Primitive) -> int:
    indices = primitive.indices if primitive.indices >= 0 else primitive.attributes.position
    count = _count(accessors, indices)
    if primitive.mode == _TRIANGLES:
        return count // 3
    return max(count - 2, 0) if primitive.mode in (_STRIP, _FAN) else 0


FORMATS: tuple[Format, ...] = (
    Format("glb", "model/gltf-binary", "3d", starts_with(_MAGIC), read_glb),
    Format("gltf", "model/gltf+json", "3d", _is_gltf, read_gltf),
)
