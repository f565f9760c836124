"""Bundles: zip archives of a workflow and the assets that it needs. Read bundles of strangers, and write new ones.

A bundle contains ``manifest.json``, ``workflow.json``, the workflow byte for byte, ``assets/<hash>`` for the bytes of
each included asset, and nothing else. One that is read is checked as a whole before any of it is written to disk. In
one that is written, each file is hashed while it is copied, and the bundle gets its name only when it is complete.
Reading and writing block, so run them in threads.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from blake3 import blake3

from ... import store_guard
from ...assets.fields import MAX_NAME_LENGTH, normalize_name
from ...errors import InvalidNameError
from ...fs import atomic, shared_files
from ...fs.atomic import LEFTOVER_AGE_S, fsync_folder, remove_leftovers
from ...fs.paths import ChangedWhileReading, file_stat
from ...fs.shared_files import open_shared
from ...ids import hash_text
from ...models import WorkflowView
from ...names import UnsafeName, relative_parts, split_suffix

FORMAT = "comfy-assets-bundle"
FORMAT_VERSION = 1
_MANIFEST, _WORKFLOW = "manifest.json", "workflow.json"
MAX_ASSETS = 10_000
MAX_COLLECTIONS = 1000
_MAX_MANIFEST_BYTES = 16 << 20
MAX_TEXT = 10_000  # characters of a description
_MAX_SIZE = (1 << 62) - 1  # bytes; far enough below 2**63 that a sum of sizes fits into an integer of SQLite
_HASH = re.compile(r"blake3:[0-9a-f]{64}")
# Formats that contain Python pickles, or archives of them: loading such a file can run code from its author.
_UNSAFE_SUFFIXES = frozenset(
    {".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".npz"}
    | {".dill", ".cpkl", ".sav", ".h5", ".hdf5", ".keras", ".mar", ".nemo", ".tar", ".zip", ".7z"}
)
# Programs, scripts and pages with scripts, which are never models.
_CODE_SUFFIXES = frozenset(
    {".py", ".pyc", ".pyo", ".pyw", ".pyd", ".pyi", ".pyx", ".pyz", ".egg", ".whl", ".ipynb"}
    | {".so", ".dll", ".dylib", ".exe", ".com", ".scr", ".msi", ".app", ".jar", ".class", ".wasm", ".cubin", ".ptx"}
    | {".sh", ".bash", ".zsh", ".fish", ".bat", ".cmd", ".ps1", ".psm1", ".vbs", ".vbe", ".js", ".mjs", ".cjs", ".jse"}
    | {".wsf", ".hta", ".lnk", ".url", ".desktop", ".command", ".reg", ".pl", ".rb", ".lua", ".php"}
    | {".html", ".htm", ".xhtml", ".svg"}
)

_BLOCK = 1 << 20
_MAX_DIRECTORY = 4 << 20  # bytes of the central directory, which zipfile reads into memory as a whole
_END, _LOCATOR, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_LOCAL_HEADER = 30  # bytes in front of the name of each member
_FLAGS = 0x800 | 0x8 | 0x6  # UTF-8 names, sizes after the data, compression level; not encryption
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# Deflate can shrink a small text a thousandfold. Larger files that shrink this much are taken for zip bombs.
_PLAIN_RATIO_BYTES = 64 << 20
_MAX_RATIO = 100
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)
_DATE = (1980, 1, 1, 0, 0, 0)  # for all members, so that equal contents make equal bundles
_REGULAR = 0o100644 << 16  # mode of a Unix file, in the upper half of the external attributes
# Compressing other formats (images, videos, weights) takes time and hardly makes them smaller.
_COMPRESSIBLE = frozenset({".bmp", ".csv", ".gltf", ".json", ".md", ".obj", ".svg", ".tif", ".tiff", ".txt", ".wav"})

BundleKind = Literal["models", "input", "output", "temp"]
Consume = Callable[[bytes], None]
Pause = Callable[[], None]  # called between blocks; may wait, or raise Cancelled
Count = Callable[[int], None]  # called with the number of bytes just copied


class BundleError(ValueError):
    """A bundle cannot be read, imported or written, for the reason in the message. Nothing was changed."""


# The manifest.


class BundledWorkflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The workflow of a bundle. ``hash`` and ``size`` are of its text; the ids come from the library of its author."""

    hash: str
    size: int
    name: str | None = None
    description: str | None = None
    default_view: WorkflowView = "workflow"
    id: str | None = None
    version: int | None = None
    share_id: str | None = None


class BundledAsset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An asset that the workflow needs.

    ``path`` is the path of its file in the folder of its kind or model category, with forward slashes; ``name`` is the
    name of the asset. ``member`` is the name of the bytes in the bundle, None if they are not included.
    """

    hash: str
    size: int
    name: str
    kind: BundleKind
    path: str
    category: str | None = None
    member: str | None = None

    @property
    def digest(self) -> bytes:
        """Return the blake3 digest of the content."""
        return bytes.fromhex(self.hash.removeprefix("blake3:"))

    @property
    def library_path(self) -> str:
        """Return where the file belongs in a library, as in ``models/loras/style/x.safetensors``."""
        return "/".join(part for part in (self.kind, self.category, self.path) if part)


class BundledCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection of the author that has assets of the bundle: their hashes in its order, each once."""

    name: str
    hashes: tuple[str, ...]
    description: str | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of a bundle. ``made_by`` is the program that wrote it, with its version."""

    format: str
    version: int
    made_by: str
    workflow: BundledWorkflow
    assets: tuple[BundledAsset, ...]
    collections: tuple[BundledCollection, ...] = ()


class _ManifestHeader(msgspec.Struct, frozen=True):
    format: str
    version: int


def member_of(digest: bytes) -> str:
    """Return the name of the member that holds a content."""
    return f"assets/{digest.hex()}"


def is_unsafe(asset: BundledAsset) -> bool:
    """Return whether loading the file can run code from its author."""
    return any(asset.path.lower().endswith(suffix) for suffix in _UNSAFE_SUFFIXES)


def is_code(asset: BundledAsset) -> bool:
    """Return whether the file would be a program in a models folder."""
    name = asset.path.lower().rstrip(". ")  # Windows drops dots and spaces at the end
    return asset.kind == "models" and any(name.endswith(suffix) for suffix in _CODE_SUFFIXES)


def _encode_manifest(manifest: Manifest) -> bytes:
    """Return the JSON text of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def _decode_manifest(text: bytes) -> Manifest:
    """Parse and check a manifest. Raises BundleError."""
    if len(text) > _MAX_MANIFEST_BYTES:
        raise BundleError("the manifest is too large")
    try:
        # The header comes first: a later version may have fields that this one does not know.
        head = msgspec.json.decode(text, type=_ManifestHeader)
        if head.format != FORMAT:
            raise BundleError("its manifest has another format")
        if head.version != FORMAT_VERSION:
            raise BundleError(
                f"it has version {head.version} of the format; only version {FORMAT_VERSION} is supported"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BundleError(f"its manifest cannot be read: {error}") from error
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Check a manifest on its own, without the members of the bundle. Raises BundleError."""
    workflow = manifest.workflow
    _check_content(workflow.hash, workflow.size, "the workflow")
    if len(manifest.made_by) > MAX_NAME_LENGTH or len(workflow.description or "") > MAX_TEXT:
        raise BundleError("a text in the manifest is too long")
    if "\0" in (workflow.description or ""):
        raise BundleError("the workflow's description has a NUL character")
    try:
        normalize_name(workflow.name if workflow.name is not None else "none")
    except InvalidNameError as error:
        raise BundleError(f"the name of the workflow is invalid: {error.message}") from error
    if len(manifest.assets) > MAX_ASSETS:
        raise BundleError(f"it names more than {MAX_ASSETS:,} assets")
    paths: set[str] = set()
    contents: dict[str, tuple[int, str | None]] = {}
    for asset in manifest.assets:
        check_asset(asset)
        if asset.library_path.casefold() in paths:
            raise BundleError(f"it names {asset.library_path} twice")
        paths.add(asset.library_path.casefold())
        if contents.setdefault(asset.hash, (asset.size, asset.member)) != (asset.size, asset.member):
            raise BundleError(f"it contradicts itself about the content of {asset.library_path}")
    _check_collections(manifest)


def _check_collections(manifest: Manifest) -> None:
    """Check the collections of a manifest. Raises BundleError."""
    if len(manifest.collections) > MAX_COLLECTIONS:
        raise BundleError(f"it names more than {MAX_COLLECTIONS:,} collections")
    known = {asset.hash for asset in manifest.assets}
    names: set[str] = set()
    for collection in manifest.collections:
        name, description = collection.name, collection.description or ""
        is_text = all(unicodedata.category(each) != "Cc" for each in name) and "\0" not in description
        if not 0 < len(name) <= MAX_NAME_LENGTH or len(description) > MAX_TEXT or name != name.strip() or not is_text:
            raise BundleError("the name or description of a collection is invalid")
        if name.casefold() in names or len(set(collection.hashes)) < len(collection.hashes):
            raise BundleError("it names a collection, or an asset of one, twice")
        if not known.issuperset(collection.hashes):
            raise BundleError("a collection has assets that are not in the bundle")
        names.add(name.casefold())


def check_asset(asset: BundledAsset) -> None:
    """Check an asset of a manifest. Raises BundleError."""
    if problem := next(_problems(asset), None):
        raise BundleError(f"an asset is invalid: {problem}")
    _check_content(asset.hash, asset.size, asset.library_path)


def _problems(asset: BundledAsset) -> Iterator[str]:
    try:
        if any(part.startswith(".") for part in relative_parts(asset.path)):
            yield "a hidden name"
        if asset.category is not None and len(relative_parts(asset.category)) != 1:
            yield "a category that is a path"
        normalize_name(asset.name)
    except (UnsafeName, InvalidNameError) as error:
        yield str(error)
    if asset.category is not None and asset.kind != "models":
        yield "a category outside models"
    if asset.member is not None and asset.member != f"assets/{asset.hash.removeprefix('blake3:')}":
        yield "its bytes are in the wrong place of the bundle"


def _check_content(digest: str, size: int, what: str) -> None:
    if not _HASH.fullmatch(digest):
        raise BundleError(f"{what} has no blake3 hash")
    if not 0 <= size <= _MAX_SIZE:
        raise BundleError(f"{what} has an impossible size")


# Reading.


@dataclass(frozen=True)
class Bundle:
    """An open bundle: its members match the manifest, and the text of the workflow matches its hash."""

    manifest: Manifest
    text: bytes
    _archive: zipfile.ZipFile

    def read(self, member: str, size: int, consume: Consume) -> bytes:
        """Pass the bytes of a member on in blocks, and return their blake3 digest. Raises BundleError, OSError."""
        digest, total = blake3(), 0
        for block in _blocks(self._archive, member):
            total += len(block)
            if total > size:
                break  # the size in the archive was a lie
            digest.update(block)
            consume(block)
        if total != size:
            raise BundleError(f"{member} is not of the size in the manifest")
        return digest.digest()


@contextmanager
def open_bundle(path: Path, max_workflow: int, max_size: int) -> Iterator[Bundle]:
    """Open a bundle with at most ``max_workflow`` bytes of workflow and ``max_size`` bytes of files in total.

    Raises BundleError, OSError. Writes nothing.
    """
    with open_shared(path) as stream:
        _check_end(stream)
        try:
            archive = zipfile.ZipFile(stream)
        except (*_DAMAGE, ValueError, UnicodeError) as error:
            raise BundleError(f"it is no zip archive, or a damaged one ({error})") from error
        with archive:
            size = os.fstat(stream.fileno()).st_size
            members = _members(archive, size)
            _check_total(archive, size, max_size)
            manifest = _decode_manifest(_whole(archive, members, _MANIFEST, _MAX_MANIFEST_BYTES))
            _check_members(manifest, members)
            yield Bundle(manifest, _workflow(archive, members, manifest, max_workflow), archive)


def _check_end(stream: BinaryIO) -> None:
    """Check that the file ends with the directory of a zip archive, of limited size. Raises BundleError."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END.size - _LOCATOR.size - _END64.size))
    tail = stream.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\5\6"):
        raise BundleError("it is no zip archive, or not a complete one")
    directory = _END.unpack(tail[-_END.size :])[5]
    before = tail[: -_END.size]  # the zip64 records, which hold the true size where 32 bits are too few
    if len(before) == _LOCATOR.size + _END64.size and before[-_LOCATOR.size :].startswith(b"PK\6\7"):
        directory = _END64.unpack(before[: _END64.size])[8]
    if directory > _MAX_DIRECTORY:
        raise BundleError("it has too many members")


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name. Raises BundleError for one that does not belong into a bundle."""
    found: dict[str, zipfile.ZipInfo] = {}
    if len(archive.filelist) > MAX_ASSETS + 2:
        raise BundleError("it has too many members")
    for info in archive.filelist:
        _check_member(info)
        name = info.orig_filename  # as it is in the archive: zipfile cuts the other one at a NUL
        if name.casefold() in found:
            raise BundleError(f"it has two members named {name!r}")
        found[name.casefold()] = info
    _check_layout(archive, size)
    return {info.orig_filename: info for info in found.values()}


def _check_total(archive: zipfile.ZipFile, size: int, max_size: int) -> None:
    """Check the size of all unpacked members. Raises BundleError."""
    total = sum(info.file_size for info in archive.filelist)
    if total > max_size:
        raise BundleError(f"its files have {total:,} bytes in total, more than --max-size allows ({max_size:,})")
    if total > _PLAIN_RATIO_BYTES + _MAX_RATIO * size:
        raise BundleError(f"its files would become more than {_MAX_RATIO} times as large when unpacked")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.external_attr & 0x10 or name.endswith("/"):
        raise BundleError(f"{name!r} is a link, a folder or something else that is no file")
    if info.flag_bits & ~_FLAGS:
        raise BundleError(f"{name!r} is encrypted or uses a feature that is not supported")
    if info.compress_type not in _METHODS:
        raise BundleError(f"{name!r} is compressed in a way that is not supported")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise BundleError(f"{name!r} has two sizes")
    if info.file_size > _PLAIN_RATIO_BYTES and info.file_size > _MAX_RATIO * info.compress_size:
        raise BundleError(f"{name!r} would become more than {_MAX_RATIO} times as large when unpacked")
    if info.volume:
        raise BundleError("it is one part of a split archive")


def _check_layout(archive: zipfile.ZipFile, size: int) -> None:
    """Check that the members fill the archive one after the other. Overlapping ones could unpack to any size."""
    end = 0
    for info in sorted(archive.filelist, key=lambda each: each.header_offset):
        if info.header_offset < end or (end == 0 and info.header_offset):
            raise BundleError("its members overlap or something is in front of them")
        end = info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size
    if end > min(size, archive.start_dir):
        raise BundleError("it is cut short")


def _whole(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, limit: int) -> bytes:
    """Return the bytes of a small member. Raises BundleError."""
    info = members.get(name)
    if info is None:
        raise BundleError(f"it has no {name}")
    if info.file_size > limit:
        raise BundleError(f"{name} is larger than {limit:,} bytes")
    text = bytearray()
    for block in _blocks(archive, name):
        text += block
        if len(text) > limit:
            raise BundleError(f"{name} is larger than {limit:,} bytes")
    return bytes(text)


def _blocks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    try:
        with archive.open(name) as stream:
            while block := stream.read(_BLOCK):
                yield block
    except _DAMAGE as error:
        raise BundleError(f"{name} is damaged ({error})") from error


def _check_members(manifest: Manifest, members: dict[str, zipfile.ZipInfo]) -> None:
    sizes = {asset.member: asset.size for asset in manifest.assets if asset.member is not None}
    for name, size in sizes.items():
        if name not in members:
            raise BundleError(f"the manifest names {name}, which is not there")
        if members[name].file_size != size:
            raise BundleError(f"{name} is not of the size in the manifest")
    for name in members:
        if name not in sizes and name not in (_MANIFEST, _WORKFLOW):
            raise BundleError(f"it has a member {name!r} that the manifest does not name")


def _workflow(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], manifest: Manifest, max_workflow: int
) -> bytes:
    text = _whole(archive, members, _WORKFLOW, max_workflow)
    said = manifest.workflow
    if len(text) != said.size or hash_text(blake3(text).digest()) != said.hash:
        raise BundleError("the workflow is not the one that the manifest names")
    return text


# Writing.


@dataclass(frozen=True)
class SourceFile:
    """A file to include: its path, the name of its member, and the size and blake3 digest that it must have."""

    path: Path
    member: str
    size: int
    digest: bytes


def write_bundle(
    out: Path,
    manifest: Manifest,
    text: bytes,
    sources: Sequence[SourceFile],
    *,
    force: bool,
    pause: Pause,
    count: Count,
) -> None:
    """Write a bundle. An existing file is replaced only with ``force``, once the bundle is complete.

    Leaves nothing behind if it raises FileExistsError, OSError, or ChangedWhileReading for a file that differs from
    what the library recorded.
    """
    remove_leftovers([out.parent], time.time() - LEFTOVER_AGE_S)
    with atomic.temp_file(out) as temporary:
        atomic.write_new(temporary, lambda stream: _write_to(stream, manifest, text, sources, pause, count))
        if force:
            shared_files.replace(temporary, out)
        else:
            atomic.move_no_replace(temporary, out)
    fsync_folder(out.parent)


def _write_to(
    stream: BinaryIO, manifest: Manifest, text: bytes, sources: Sequence[SourceFile], pause: Pause, count: Count
) -> None:
    with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for name, content in ((_MANIFEST, _encode_manifest(manifest)), (_WORKFLOW, text)):
            archive.writestr(_info(name, len(content), zipfile.ZIP_DEFLATED), content)
        for source in sources:
            _copy(archive, source, pause, count)


def _info(name: str, size: int, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type, info.file_size, info.external_attr = method, size, _REGULAR
    info.create_system = 3  # Unix, also on Windows, so that the bundle is the same
    return info


def _copy(archive: zipfile.ZipFile, source: SourceFile, pause: Pause, count: Count) -> None:
    # A larger file might compress so well that readers take it for a zip bomb.
    is_small = source.size <= _PLAIN_RATIO_BYTES
    is_compressible = is_small and split_suffix(source.path.name)[1].lower() in _COMPRESSIBLE
    info = _info(source.member, source.size, zipfile.ZIP_DEFLATED if is_compressible else zipfile.ZIP_STORED)
    digest, total = blake3(max_threads=blake3.AUTO), 0
    store_guard.check(source.path)
    with open_shared(source.path) as reading:
        before = file_stat(os.fstat(reading.fileno()))
        with archive.open(info, "w") as writing:
            while total <= source.size and (block := reading.read(_BLOCK)):
                pause()
                digest.update(block)
                total += len(block)
                if total <= source.size:
                    writing.write(block)
                count(len(block))
        after = file_stat(os.fstat(reading.fileno()))
    if after != before or total != source.size or digest.digest() != source.digest:
        raise ChangedWhileReading(f"{source.path} is not what it was when the library read it; scan and export again")
