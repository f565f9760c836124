"""What a bundle is: a zip of a workflow and the assets that it needs, and a manifest that says so. Pure.

``manifest.json`` is what this module reads and writes, ``workflow.json`` the workflow letter by letter, and
``assets/<hash>`` the bytes of an asset. There is nothing else in a bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from ...assets.upload_fields import MAX_NAME_LENGTH, normalize_name
from ...errors import InvalidNameError
from ...models import WorkflowView
from ...names import UnsafeName, relative_parts

FORMAT = "comfy-assets-bundle"
FORMAT_VERSION = 1
MANIFEST, WORKFLOW = "manifest.json", "workflow.json"

MAX_ASSETS = 10_000
MAX_MANIFEST_BYTES = 16 << 20
MAX_TEXT = 10_000  # characters of a description
_MAX_SIZE = (1 << 62) - 1
_HASH = re.compile(r"blake3:[0-9a-f]{64}")
# Files of pickles: whoever loads one may run what its maker put in.
UNSAFE_SUFFIXES = frozenset(
    {".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".npz"}
    | {".dill", ".cpkl", ".sav", ".h5", ".hdf5", ".keras", ".mar", ".nemo", ".tar", ".zip", ".7z"}
)
# Programs and scripts, which are no models whoever they come from.
CODE_SUFFIXES = frozenset(
    {".py", ".pyc", ".pyo", ".pyw", ".pyd", ".pyi", ".pyx", ".pyz", ".egg", ".whl", ".ipynb"}
    | {".so", ".dll", ".dylib", ".exe", ".com", ".scr", ".msi", ".app", ".jar", ".class", ".wasm", ".cubin", ".ptx"}
    | {".sh", ".bash", ".zsh", ".fish", ".bat", ".cmd", ".ps1", ".psm1", ".vbs", ".vbe", ".js", ".mjs", ".cjs", ".jse"}
    | {".wsf", ".hta", ".lnk", ".url", ".desktop", ".command", ".reg", ".pl", ".rb", ".lua", ".php"}
    | {".html", ".htm", ".xhtml", ".svg"}
)

BundleKind = Literal["models", "input", "output", "temp"]


class BundleRefused(ValueError):
    """A file is no bundle, or one that is not taken; the message says why. Nothing was changed."""


class BundledWorkflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The workflow. ``hash`` and ``size`` are its text's; the ids are those of the library it comes from."""

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

    ``path`` is where its file lies in the folder of its kind, or of its model category, with forward slashes;
    ``name`` what it is called. ``member`` is where the bytes are in the bundle, or None when they are not in it.
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
        """The blake3 digest of the content."""
        return bytes.fromhex(self.hash.removeprefix("blake3:"))

    @property
    def place(self) -> str:
        """Where it belongs, for people: ``models/loras/style/x.safetensors``."""
        return "/".join(part for part in (self.kind, self.category, self.path) if part)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a bundle. ``made_by`` names the program and its version."""

    format: str
    version: int
    made_by: str
    workflow: BundledWorkflow
    assets: tuple[BundledAsset, ...]


class _Head(msgspec.Struct, frozen=True):
    format: str
    version: int


def member_of(digest: bytes) -> str:
    """Where the bytes of a content are in a bundle."""
    return f"assets/{digest.hex()}"


def is_unsafe(asset: BundledAsset) -> bool:
    """Whether loading the file may run what its maker put in."""
    return any(asset.path.lower().endswith(suffix) for suffix in UNSAFE_SUFFIXES)


def is_code(asset: BundledAsset) -> bool:
    """Return whether the file would be a program in a folder of models."""
    name = asset.path.lower().rstrip(". ")
    return asset.kind == "models" and any(name.endswith(suffix) for suffix in CODE_SUFFIXES)


def encoded(manifest: Manifest) -> bytes:
    """The manifest as it is written."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decoded(text: bytes) -> Manifest:
    """The manifest, checked. Raises BundleRefused."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleRefused("the manifest is too large")
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.format != FORMAT:
            raise BundleRefused("its manifest is of another format")
        if head.version != FORMAT_VERSION:
            raise BundleRefused(f"it is of version {head.version} of the format; this program knows {FORMAT_VERSION}")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BundleRefused(f"its manifest cannot be read: {error}") from error
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Raise BundleRefused for what no bundle says, whatever is in it."""
    workflow = manifest.workflow
    _check_content(workflow.hash, workflow.size, "the workflow")
    if len(manifest.made_by) > MAX_NAME_LENGTH or len(workflow.description or "") > MAX_TEXT:
        raise BundleRefused("a text in the manifest is too long")
    if "\0" in (workflow.description or ""):
        raise BundleRefused("the workflow's description has a NUL character")
    try:
        normalize_name(workflow.name if workflow.name is not None else "none")
    except InvalidNameError as error:
        raise BundleRefused(f"the workflow cannot be taken: {error.message}") from error
    if len(manifest.assets) > MAX_ASSETS:
        raise BundleRefused(f"it names more than {MAX_ASSETS:,} assets")
    places: set[str] = set()
    contents: dict[str, tuple[int, str | None]] = {}
    for asset in manifest.assets:
        check_asset(asset)
        if asset.place.casefold() in places:
            raise BundleRefused(f"it names {asset.place} twice")
        places.add(asset.place.casefold())
        if contents.setdefault(asset.hash, (asset.size, asset.member)) != (asset.size, asset.member):
            raise BundleRefused(f"it says different things of the content of {asset.place}")


def check_asset(asset: BundledAsset) -> None:
    """Raise BundleRefused for an asset that no bundle names."""
    if problem := next(_problems(asset), None):
        raise BundleRefused(f"an asset cannot be taken: {problem}")
    _check_content(asset.hash, asset.size, asset.place)


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
        yield "its bytes are in the wrong place"


def _check_content(digest: str, size: int, what: str) -> None:
    if not _HASH.fullmatch(digest):
        raise BundleRefused(f"{what} has no blake3 hash")
    if not 0 <= size <= _MAX_SIZE:
        raise BundleRefused(f"{what} has an impossible size")
