"""3D files: scenes in glTF, and the numbers of points and faces in PLY, OBJ, STL, FBX, USD and splats.

glTF 2.0 (ISO/IEC 12113) is JSON, alone or as the first chunk of a binary file (GLB). ComfyUI writes prompt and workflow
to ``asset.extras``. Of the binary chunk nothing is read, and no file that the scene names is opened.

Of the others the texts (OBJ, text STL) are counted in steps of a megabyte, and only where they are small enough to be
read as a whole.
"""

from __future__ import annotations

import re
import struct
import zlib

import msgspec

from ....json_limits import ABSENT, MALFORMED, decode_raw
from ..own_pictures import names_picture
from .base import MAX_READ, OWN_PICTURE, TRUNCATED, ByteSource, Contents, Format, Read, read_nothing, starts_with
from .media_facts import add_number, add_tag, bounded
from .recoding import unquoted
from .texts import omit

_GLB_MAGIC = b"glTF"
_JSON = 0x4E4F534A
_MAX_JSON = 8 << 20  # decoding one takes about 15 ms
_MAX_EXTRA = 4 << 20
_MAX_EXTENSIONS = 16
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
# The one member that every scene has.
_SCENE = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*\{.*"asset"\s*:\s*\{[^{}]*"version"\s*:\s*"\d', re.DOTALL)
_STEP = 1 << 20
_MAX_HEADER = 64 << 10
_MAX_ELEMENTS = 100

_PLY_ELEMENT = re.compile(rb"element (\w{1,32}) (\d{1,18})\s*")
_PLY_NAMES = {b"vertex": "vertices", b"face": "faces"}
_SPLAT_PROPERTIES = frozenset((b"property float f_dc_0", b"property float rot_0", b"property float opacity"))

_STL_HEADER, _STL_TRIANGLE = 84, 50
_FBX_MAGIC = b"Kaydara FBX Binary  \x00\x1a\x00"
_FBX_WIDE = 7500  # since this version offsets have 64 bits
_FBX_SIZES = {b"d": 8, b"f": 4, b"i": 4, b"l": 8}
_SPZ_MAGIC = 0x5053474E
_SPLAT = 32  # bytes of one in a .splat file
_GZIP = b"\x1f\x8b\x08"


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
    add_number(contents, "vertices", sum(_number_of(accessors, position) for position in positions))
    add_number(contents, "faces", sum(_triangles(accessors, primitive) for primitive in primitives))
    add_number(contents, "meshes", len(meshes))
    for key in ("materials", "textures", "animations"):
        add_number(contents, key, len(decode_raw(getattr(scene, key), list[msgspec.Raw]) or ()))
    names = decode_raw(scene.extensions, list[str])
    if names:
        contents.facts["extensions"] = [name[:48] for name in names[:_MAX_EXTENSIONS]]


def _number_of(accessors: list[_Accessor], index: int) -> int:
    return max(accessors[index].count, 0) if 0 <= index < len(accessors) else 0


def _triangles(accessors: list[_Accessor], primitive: _Primitive) -> int:
    indices = primitive.indices if primitive.indices >= 0 else primitive.attributes.position
    count = _number_of(accessors, indices)
    if primitive.mode == _TRIANGLES:
        return count // 3
    return max(count - 2, 0) if primitive.mode in (_STRIP, _FAN) else 0


def _is_ply(head: bytes) -> bool:
    return re.match(rb"ply\r?\nformat ", head) is not None


@bounded
def read_ply(contents: Contents, source: ByteSource) -> None:
    """Read the header of a PLY file: numbers of vertices and faces, or of Gaussian splats, and comments."""
    header, end, _ = source.read(0, min(_MAX_HEADER, source.size)).partition(b"end_header")
    if not end:
        contents.problems.append(TRUNCATED)
    lines = [line.strip() for line in header.splitlines()]
    counts = {match[1]: int(match[2]) for line in lines if (match := _PLY_ELEMENT.fullmatch(line))}
    is_splat = set(lines) >= _SPLAT_PROPERTIES
    for kind, key in _PLY_NAMES.items():
        add_number(contents, "splats" if is_splat and kind == b"vertex" else key, counts.get(kind))
    for line in lines[:_MAX_ELEMENTS]:
        kind, _, text = line.partition(b" ")
        if kind in (b"comment", b"obj_info"):
            add_tag(contents, "comment", text)


def _count(source: ByteSource, *patterns: bytes) -> list[int] | None:
    """Count the lines that begin with each pattern; None if the file is larger than may be read."""
    if source.size > MAX_READ - _STEP:
        return None
    counts, carried = [0] * len(patterns), b"\n"
    for start in range(0, source.size, _STEP):
        block = carried + source.read(start, _STEP)
        counts = [count + block.count(pattern) for count, pattern in zip(counts, patterns, strict=True)]
        carried = block[-(len(max(patterns, key=len)) - 1) :]
        counts = [count - carried.count(pattern) for count, pattern in zip(counts, patterns, strict=True)]
    return [count + carried.count(pattern) for count, pattern in zip(counts, patterns, strict=True)]


@bounded
def read_obj(contents: Contents, source: ByteSource) -> None:
    """Count the vertices and faces of a Wavefront OBJ file."""
    counts = _count(source, b"\nv ", b"\nf ")
    if counts is None:
        return
    add_number(contents, "vertices", counts[0])
    add_number(contents, "faces", counts[1])
    if not counts[0]:
        contents.problems.append("The file has no vertices.")


@bounded
def read_stl(contents: Contents, source: ByteSource) -> None:
    """Count the triangles of an STL file: stated in a binary one, a line each in a text."""
    (triangles,) = struct.unpack_from("<I", source.read(80, 4).ljust(4, b"\0"))
    if source.size == _STL_HEADER + _STL_TRIANGLE * triangles:
        add_number(contents, "faces", triangles)
    elif re.match(rb"\s*solid\b", source.read(0, 256)):
        counts = _count(source, b"facet normal", b"endsolid")
        if counts is not None:
            add_number(contents, "faces", counts[0])
            if not counts[1]:
                contents.problems.append(TRUNCATED)
    else:
        contents.problems.append("The file is truncated, or no STL file.")


@bounded
def read_fbx(contents: Contents, source: ByteSource) -> None:
    """Read the version of a binary FBX file, and the number of vertices of its meshes."""
    (version,) = struct.unpack("<I", source.read(len(_FBX_MAGIC), 4))
    contents.facts["version"] = version
    nodes = _FbxNodes(source.read, version >= _FBX_WIDE)
    vertices = 0  # in all meshes together
    for top in nodes.between(len(_FBX_MAGIC) + 4, source.size):
        if top.name != b"Objects":
            continue
        for entry in nodes.between(top.children, top.end):
            if entry.name == b"Geometry":
                arrays = nodes.between(entry.children, entry.end)
                vertices += sum(nodes.array_length(each) for each in arrays if each.name == b"Vertices") // 3
    add_number(contents, "vertices", vertices)


class _FbxNode:
    """A node: its name, where its properties, its children and it itself begin and end."""

    def __init__(self, name: bytes, properties: int, children: int, end: int) -> None:
        self.name, self.properties, self.children, self.end = name, properties, children, end


class _FbxNodes:
    """Walks through the nodes of a binary FBX file, by their offsets in it."""

    def __init__(self, read: Read, is_wide: bool) -> None:
        self._read, self._form = read, "<QQQB" if is_wide else "<IIIB"

    def between(self, start: int, end: int) -> list[_FbxNode]:
        """Return the nodes between two offsets. The limit of reads bounds their number."""
        found: list[_FbxNode] = []
        size = struct.calcsize(self._form)
        while start + size <= end:
            stop, _count, length, name_length = struct.unpack(self._form, self._read(start, size))
            if not start + size <= stop <= end:
                break  # zeros end a list
            properties = start + size + name_length
            found.append(_FbxNode(self._read(start + size, name_length), properties, properties + length, stop))
            start = stop
        return found

    def array_length(self, node: _FbxNode) -> int:
        """Return the number of values of a node's first property, if it is an array; 0 otherwise."""
        kind, length = struct.unpack("<cI", self._read(node.properties, 5))
        return int(length) if kind in _FBX_SIZES else 0


@bounded
def read_spz(contents: Contents, source: ByteSource) -> None:
    """Read the number of splats of Niantic's SPZ, from the first bytes of its compressed content."""
    try:
        header = zlib.decompressobj(31).decompress(source.read(0, 4096), 16)
    except zlib.error:
        contents.problems.append("The file is damaged.")
        return
    magic, version, count = struct.unpack_from("<III", header)
    if magic != _SPZ_MAGIC:
        contents.problems.append("This is no file of splats.")
        return
    contents.facts["version"] = version
    add_number(contents, "splats", count)


@bounded
def read_splat(contents: Contents, source: ByteSource) -> None:
    """Count the splats of a .splat file, which are all of one size."""
    if source.size % _SPLAT:
        contents.problems.append(TRUNCATED)
    add_number(contents, "splats", source.size // _SPLAT)


def _is_text_stl(head: bytes) -> bool:
    return re.match(rb"\s*solid\b[^\n]*\n\s*facet\s+normal\b", head) is not None


def _is_spz(head: bytes) -> bool:
    if not head.startswith(_GZIP):
        return False
    try:
        return zlib.decompressobj(31).decompress(head, 4) == struct.pack("<I", _SPZ_MAGIC)
    except zlib.error:
        return False


def _is_unknown(head: bytes) -> bool:
    """Return False: only the suffix identifies these formats."""
    return False


def _is_usdz(head: bytes) -> bool:
    """Return whether a ZIP begins with a stage of USD, as its package must."""
    return re.match(rb"PK\x03\x04.{26}[^\x00-\x1f]{1,200}\.usd[ac]?", head, re.DOTALL) is not None


FORMATS: tuple[Format, ...] = (
    Format("glb", "model/gltf-binary", "3d", starts_with(_GLB_MAGIC), read_glb),
    Format("gltf", "model/gltf+json", "3d", _is_gltf, read_gltf),
    Format("ply", "model/ply", "3d", _is_ply, read_ply),
    Format("fbx", "model/fbx", "3d", starts_with(_FBX_MAGIC), read_fbx, (".fbx",)),
    Format("spz", "model/spz", "3d", _is_spz, read_spz),
    Format("usdz", "model/vnd.usdz+zip", "3d", _is_usdz, read_nothing),
    Format("usd", "model/vnd.usd", "3d", starts_with(b"PXR-USDC", b"#usda "), read_nothing),
    Format("stl", "model/stl", "3d", _is_text_stl, read_stl, (".stl",)),
    Format("obj", "model/obj", "3d", _is_unknown, read_obj, (".obj",)),
    Format("splat", "model/splat", "3d", _is_unknown, read_splat, (".splat",)),
    Format("ksplat", "model/ksplat", "3d", _is_unknown, read_nothing, (".ksplat",)),
)
