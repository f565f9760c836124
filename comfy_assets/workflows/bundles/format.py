"""The format of bundles: zip archives of a workflow and the assets that it needs. Pure.

A bundle contains ``manifest.json``, which this module reads and writes, ``workflow.json``, the workflow byte for byte,
``assets/<hash>`` for the bytes of each included asset, and nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

import msgspec

from ...assets.fields import MAX_NAME_LENGTH, normalize_name
from ...errors import InvalidNameError
from ...models import WorkflowView
from ...names import UnsafeName, relative_parts

FORMAT = "comfy-assets-bundle"
FORMAT_VERSION = 1
MANIFEST, WORKFLOW = "manifest.json", "workflow.json"

MAX_ASSETS = 10_000
MAX_COLLECTIONS = 1000
MAX_MANIFEST_BYTES = 16 << 20
MAX_TEXT = 10_000  # characters of a description
_MAX_SIZE = (1 << 62) - 1  # bytes; far enough below 2**63 that a sum of sizes fits into an integer of SQLite
_HASH = re.compile(r"blake3:[0-9a-f]{64}")
# Formats that contain Python pickles, or archives of them: loading such a file can run code from its author.
UNSAFE_SUFFIXES = frozenset(
    {".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".npz"}
    | {".dill", ".cpkl", ".sav", ".h5", ".hdf5", ".keras", ".mar", ".nemo", ".tar", ".zip", ".7z"}
)
# Programs, scripts and pages with scripts, which are never models.
CODE_SUFFIXES = frozenset(
    {".py", ".pyc", ".pyo", ".pyw", ".pyd", ".pyi", ".pyx", ".pyz", ".egg", ".whl", ".ipynb"}
    | {".so", ".dll", ".dylib", ".exe", ".com", ".scr", ".msi", ".app", ".jar", ".class", ".wasm", ".cubin", ".ptx"}
    | {".sh", ".bash", ".zsh", ".fish", ".bat", ".cmd", ".ps1", ".psm1", ".vbs", ".vbe", ".js", ".mjs", ".cjs", ".jse"}
    | {".wsf", ".hta", ".lnk", ".url", ".desktop", ".command", ".reg", ".pl", ".rb", ".lua", ".php"}
    | {".html", ".htm", ".xhtml", ".svg"}
)

BundleKind = Literal["models", "input", "output", "temp"]


class BundleError(ValueError):
    """A bundle cannot be read, imported or written, for the reason in the message. Nothing was changed."""


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
    return any(asset.path.lower().endswith(suffix) for suffix in UNSAFE_SUFFIXES)


def is_code(asset: BundledAsset) -> bool:
    """Return whether the file would be a program in a models folder."""
    name = asset.path.lower().rstrip(". ")  # Windows drops dots and spaces at the end
    return asset.kind == "models" and any(name.endswith(suffix) for suffix in CODE_SUFFIXES)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the JSON text of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode_manifest(text: bytes) -> Manifest:
    """Parse and check a manifest. Raises BundleError."""
    if len(text) > MAX_MANIFEST_BYTES:
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
