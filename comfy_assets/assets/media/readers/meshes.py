"""3D files other than glTF: PLY, OBJ, STL, FBX, USD, and splats. The numbers of their points and faces.

The texts among them (OBJ, text STL) are counted in steps of a megabyte, and only where they are small enough to be read
as a whole.
"""

from __future__ import annotations

import re
import struct
import zlib

from .base import MAX_READ, TRUNCATED, ByteSource, Contents, Format, Read, read_nothing, starts_with
from .media_facts import add_number, add_tag, bounded

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
