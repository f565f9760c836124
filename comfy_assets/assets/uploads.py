"""New assets of clients from files that they upload, among them previews of other assets.

Previews are pictures that belong to their asset: no list, count or search contains them, only their ids lead to them.
ComfyUI's page uploads

- a picture with the tag ``preview`` alone, before it imports a model by a link;
- ``NAME_preview.png`` with the tag ``output`` alone, which it has drawn of the 3D output NAME.

Then it sets the picture as the ``preview_id`` of the asset.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import msgspec

from ..db import assets, contents, files, trash
from ..db.assets import NewAsset
from ..db.connection import Database, Transaction
from ..db.contents import Facts
from ..db.moves import MoveCandidate
from ..db.tags import ROOT_TAGS, hide_as_preview
from ..errors import (
    HashMismatchError,
    InvalidIdError,
    InvalidNameError,
    InvalidPreviewError,
    StorageError,
    UnsupportedContentError,
)
from ..fs import atomic, shared_files
from ..fs.atomic import LEFTOVER_AGE_S, fsync_folder, remove_leftovers, run_blocking
from ..fs.partial_file import PartialFile
from ..fs.paths import extended_path, file_stat
from ..host.base import Host
from ..ids import new_ids, now_ms
from ..ignored_files import is_ignored
from ..models import UPLOADED, Asset
from ..names import split_suffix
from .fields import UploadDestination, UploadFields, choose_destination, upload_file_name
from .index.content_reader import read_facts
from .media.mime import DEFAULT_MIME, check_suffix, is_picture, resolve_mime
from .moves import apply, match_upload
from .references import CreatedAsset, deadline_of, holds_now, mint
from .roots import Roots, current_roots

_PREVIEWS = "previews"  # a folder below that of inputs or outputs, whose own files loaders and old pages list
_PREVIEW_TAG = "preview"
_PREVIEW_SUFFIX = "_preview.png"
_OUTPUT = ("output",)
_MODELS_3D = frozenset({".fbx", ".glb", ".gltf", ".ksplat", ".obj", ".ply", ".splat", ".spz", ".stl", ".usdz"})


@dataclass(frozen=True)
class _ReceivedFile:
    """A completely received and checked file, not yet an asset."""

    destination: UploadDestination
    file: PartialFile
    name: str
    mime_type: str
    facts: Facts
    is_preview: bool = False
    subfolder: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that the file goes into, which may not be there yet."""
        return self.destination.folder.joinpath(*self.subfolder)


class UploadService:
    """Receives files and creates assets of them (createAsset)."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    @contextlib.asynccontextmanager
    async def receive(self, tags: tuple[str, ...]) -> AsyncIterator[PartialFile]:
        """Open a file to write the upload into. It is removed at the end unless ``complete`` moved it.

        The ``tags`` received so far choose its folder: a file that begins on its final volume need not be copied.
        Raises InvalidTagsError, StorageError.
        """
        folder = (await self.destination(tags)).folder
        file = await run_blocking(lambda: PartialFile(folder))
        try:
            yield file
        finally:
            # Also when the client has gone and the request is cancelled.
            await asyncio.shield(asyncio.to_thread(file.discard))

    async def complete(self, file: PartialFile, fields: UploadFields, owner: str) -> CreatedAsset:
        """Create an asset of a completely received file, or return the owner's asset of the same content.

        Raises InvalidTagsError, InvalidNameError, HashMismatchError, UnsupportedContentError, InvalidIdError,
        InvalidPreviewError, StorageError; nothing has changed then.
        """
        return await self._complete(file, fields, owner, is_handle=False)

    async def complete_handle(self, file: PartialFile, fields: UploadFields, owner: str) -> CreatedAsset:
        """Create an asset of a completely received file that is deleted apart from others with the same content.

        If the content is there already, where the tags choose, the new asset is a reference to it. Raises as
        ``complete`` does, but content may contradict its name and declared type.
        """
        return await self._complete(file, fields, owner, is_handle=True)

    async def _complete(self, file: PartialFile, fields: UploadFields, owner: str, *, is_handle: bool) -> CreatedAsset:
        roots = await current_roots(self._host)
        received = await _check_received(file, fields, roots, is_strict=not is_handle)
        created = await self._put(received, fields, owner, roots, is_handle=is_handle)
        if created.is_new and not created.is_preview:
            if created.is_new_content:
                # The content is flushed already; this makes its name survive a power failure.
                await run_blocking(lambda: fsync_folder(received.folder))
            self._host.emit("assets.changed", {"created": 1})
        return created

    async def find_existing(self, digest: bytes, fields: UploadFields, owner: str) -> Asset | None:
        """Return the asset that ``complete`` would find for this blake3 digest, or None. Raises InvalidTagsError."""
        destination = await self.destination(fields.tags)
        async with self._db.transaction() as tx:
            return await _find_existing(tx, digest, destination, fields, owner)

    async def destination(self, tags: Sequence[str]) -> UploadDestination:
        """Return the destination that tags choose. Raises InvalidTagsError."""
        return choose_destination(tags, await current_roots(self._host))

    async def check_name(self, fields: UploadFields, size: int) -> None:
        """Check the tags and the name of a file of this size before it is received.

        Raises InvalidTagsError, InvalidNameError, UnsupportedContentError.
        """
        _checked_names(fields, await current_roots(self._host), size)

    async def check_preview(self, preview_id: str | None, owner: str) -> None:
        """Raise InvalidPreviewError if there is no such asset."""
        if preview_id is not None and await assets.get(self._db, preview_id, owner) is None:
            raise _no_preview()

    async def remove_leftovers(self, keep: Container[str] = ()) -> None:
        """Remove partial files that were interrupted by the end of a server, except those with a name in ``keep``."""
        folders = (await current_roots(self._host)).destinations()
        await asyncio.to_thread(remove_leftovers, folders, time.time() - LEFTOVER_AGE_S, keep)

    async def _put(
        self, received: _ReceivedFile, fields: UploadFields, owner: str, roots: Roots, *, is_handle: bool
    ) -> CreatedAsset:
        """Find or create the asset. The file is moved inside the transaction, so that no scan sees it without a row."""
        placed: list[Path] = []
        try:
            async with self._db.transaction() as tx:
                if is_handle:
                    found = await _mint_at_destination(tx, received, fields, owner, roots)
                else:
                    received = await _as_preview(tx, received, fields, owner)
                    existing = await _find_existing(
                        tx, received.facts.hash, received.destination, fields, owner, is_preview=received.is_preview
                    )
                    found = CreatedAsset(existing, is_new=False) if existing is not None else None
                if found is not None:
                    return found
                fields = await _with_preview(tx, fields, owner)
                await _claim_id(tx, fields.id, owner)
                placed.append(await _place(tx, received))
                created = await _register(tx, received, placed[0], fields, owner, roots)
                if created.is_new and fields.expires_in is not None:
                    await trash.put_expiration(tx, created.asset.row_id, deadline_of(fields))
                return replace(created, is_preview=received.is_preview)
        except BaseException:
            # The transaction was rolled back, so a file in its final place would be scanned as another asset.
            for path in placed:
                await asyncio.shield(asyncio.to_thread(shared_files.remove, path, missing_ok=True))
            raise


async def _check_received(file: PartialFile, fields: UploadFields, roots: Roots, *, is_strict: bool) -> _ReceivedFile:
    """Check the received file and bring it to the volume of its destination.

    Unless ``is_strict``, the media type is that of the content where this contradicts the declared one or the name.
    """
    destination, name, stored_name = _checked_names(fields, roots, file.size)
    digest = await run_blocking(file.finish)
    await _check_hash(file, digest, fields)
    facts = await run_blocking(lambda: read_facts(name, file.path, digest, file.size))
    try:
        mime_type = resolve_mime(name, fields.mime_type, facts.mime_type)
    except UnsupportedContentError:
        if is_strict:
            raise
        mime_type = facts.mime_type or DEFAULT_MIME
    await run_blocking(lambda: file.move_to_volume(destination.folder))
    received = _ReceivedFile(destination, file, stored_name, mime_type, facts, subfolder=fields.subfolder)
    _check_subfolder(received, roots)
    return received


def _checked_names(fields: UploadFields, roots: Roots, size: int) -> tuple[UploadDestination, str, str]:
    """Return the destination of a file, its name, and the name under which it is stored."""
    destination = choose_destination(fields.tags, roots)
    name = upload_file_name(fields)
    check_suffix(name, destination.category, roots.suffixes(destination.category))
    return destination, name, _storable_name(name, destination, roots, size)


def _check_subfolder(received: _ReceivedFile, roots: Roots) -> None:
    """Raise InvalidNameError if files of the subfolder are left out of the library."""
    if received.subfolder and (roots.place(received.folder) is None or roots.is_left_out(received.folder)):
        raise InvalidNameError(
            "The settings of this server leave files of this folder out of the library.", details={"field": "name"}
        )


def _storable_name(name: str, destination: UploadDestination, roots: Roots, size: int) -> str:
    """Return the name under which an upload is stored. Raises InvalidNameError for one that the settings leave out."""
    if is_ignored(name, size):
        name += "_"  # scans ignore files of this name, so the asset would be marked missing
    if roots.is_ignored(destination.folder, name, size):
        raise InvalidNameError(
            "The settings of this server leave files of this name out of the library (COMFY_ASSETS_EXCLUDE).",
            details={"field": "name"},
        )
    return name


async def _check_hash(file: PartialFile, digest: bytes, fields: UploadFields) -> None:
    if fields.hash is None:
        return
    algorithm, wanted = fields.hash
    found = digest if algorithm == "blake3" else await run_blocking(file.sha256)
    if found != wanted:
        raise HashMismatchError(
            f"The content's hash is {algorithm}:{found.hex()}, not the declared one.", details={"field": "hash"}
        )


async def _find_existing(
    tx: Transaction,
    digest: bytes,
    destination: UploadDestination,
    fields: UploadFields,
    owner: str,
    *,
    is_preview: bool = False,
) -> Asset | None:
    """Return an existing asset to use instead of the upload: the one with the requested id, or of the same content.

    An asset of the same content counts if it is the owner's own, or public and in the location that the tags choose.
    Its file is checked on the disk: the upload must not be discarded for a file that was removed a moment ago.
    """
    if fields.id is not None:
        found = await assets.get(tx, fields.id, owner)
        if found is not None:
            return found
    for asset in await assets.of_content(tx, digest, owner, own=True, previews=is_preview):
        if await holds_now(tx, asset):
            return asset
    if is_preview:
        return None  # it must not become visible, nor hide an asset that is
    for asset in await assets.of_content(tx, digest, owner, own=False):
        if asset.location and asset.location.kind == destination.kind:
            tags = msgspec.json.decode(asset.tags, type=list[str])
            # An upload into loras must not be answered with an asset in checkpoints: loaders would not list it.
            if (destination.category is None or destination.category in tags) and await holds_now(tx, asset):
                return asset
    return None


async def _mint_at_destination(
    tx: Transaction, received: _ReceivedFile, fields: UploadFields, owner: str, roots: Roots
) -> CreatedAsset | None:
    """Return a reference to the content, or None if the owner can see none with a file where the tags choose."""
    kind, category = received.destination.kind, received.destination.category
    for own in (True, False):
        for asset in await assets.of_content(tx, received.facts.hash, owner, own=own):
            tags = msgspec.json.decode(asset.tags, type=list[str])
            is_there = asset.location is not None and asset.location.kind == kind and category in (None, *tags)
            if is_there and await holds_now(tx, asset):
                return await mint(tx, asset, fields, owner, roots)
    return None


async def _with_preview(tx: Transaction, fields: UploadFields, owner: str) -> UploadFields:
    """Return the fields with the preview's own id, which may be given as an alias. Raises InvalidPreviewError."""
    if fields.preview_id is None:
        return fields
    preview = await assets.get(tx, fields.preview_id, owner)
    if preview is None:
        raise _no_preview()
    return replace(fields, preview_id=preview.id)


def _no_preview() -> InvalidPreviewError:
    return InvalidPreviewError("There is no such preview asset.", details={"field": "preview_id"})


async def _claim_id(tx: Transaction, wanted: str | None, owner: str) -> None:
    """Free the requested id if a deleted asset of the owner has it. Raises InvalidIdError if it is taken otherwise.

    The deleted asset gets another id, under which it can still be restored. Deleted assets of other users keep theirs.
    """
    if wanted is None:
        return
    holder = await assets.holder_of(tx, wanted)
    if holder is None:
        return
    if not holder.deleted or holder.owner != owner:
        raise InvalidIdError("This id cannot be used; choose another.", details={"field": "id"})
    await assets.change_id(tx, holder.row_id, new_ids(1)[0])


async def _as_preview(tx: Transaction, received: _ReceivedFile, fields: UploadFields, owner: str) -> _ReceivedFile:
    """Return the file as a preview of another asset if it is one."""
    if not await _is_preview(tx, received, fields, owner):
        return received
    return await run_blocking(lambda: _among_previews(received))


async def _is_preview(tx: Transaction, received: _ReceivedFile, fields: UploadFields, owner: str) -> bool:
    """Return whether an upload is a preview rather than an asset for itself."""
    if not is_picture(received.mime_type):
        return False
    if fields.tags == (_PREVIEW_TAG,):
        return True
    subject = received.name.removesuffix(_PREVIEW_SUFFIX)
    if subject == received.name or fields.tags != _OUTPUT or PurePath(subject).suffix.lower() not in _MODELS_3D:
        return False
    return await assets.has_name(tx, subject, owner)


def _among_previews(received: _ReceivedFile) -> _ReceivedFile:
    """Return the file with the folder of previews as its destination, which is created."""
    folder = received.destination.folder / _PREVIEWS
    atomic.make_folder(folder)
    return replace(received, destination=replace(received.destination, folder=folder), is_preview=True)


async def adopt_preview(tx: Transaction, asset: Asset, preview: Asset) -> None:
    """Take a preview out of all lists if it was uploaded for the asset."""
    if preview.origin != UPLOADED or preview.row_id == asset.row_id or not is_picture(preview.mime_type):
        return
    present = msgspec.json.decode(preview.tags, type=list[str])
    is_tagged = set(present) - set(ROOT_TAGS) == {_PREVIEW_TAG}
    if is_tagged or preview.name == f"{asset.name}{_PREVIEW_SUFFIX}":
        await hide_as_preview(tx, preview.row_id)


async def _place(tx: Transaction, received: _ReceivedFile) -> Path:
    folder = received.folder
    if received.subfolder:
        await run_blocking(lambda: atomic.make_folder(folder))
    taken = await files.names_like(tx, str(folder), split_suffix(received.name)[0])
    return await run_blocking(lambda: atomic.move_to_free_name(received.file.path, folder, received.name, taken))


async def _register(
    tx: Transaction, received: _ReceivedFile, path: Path, fields: UploadFields, owner: str, roots: Roots
) -> CreatedAsset:
    place = roots.place(path.parent)
    if place is None:
        raise StorageError("The folder for new files is not part of the library.")
    stat = file_stat(await run_blocking(extended_path(path).stat))
    place_tags = place.tags_of(path.name)
    bare = NewAsset(
        uuid=fields.id or new_ids(1)[0],
        owner=owner,
        name=path.name,
        mime_type=received.mime_type,
        tags=place_tags,
        origin=UPLOADED,
        created_at=now_ms(),
        is_preview=received.is_preview,
    )
    lost = {} if received.is_preview else await _find_missing(tx, received.facts.hash, owner)
    new = MoveCandidate(-1, *stat, str(path.parent), place.logical, received.name, owner=owner)
    found = await match_upload(tx, list(lost), new)
    # An asset of the owner that lost a file of this content gets the new one and keeps its tags and metadata.
    entry = bare if found is not None else _with_fields(bare, fields, received.destination)
    row_id = await assets.add(tx, entry, received.facts.size, received.facts)
    await assets.put_file(tx, row_id, place.folder_row(path.parent), path.name, stat)
    touched = await contents.of_assets(tx, [row_id])
    if found is not None:
        await apply(tx, [found._replace(new=found.new._replace(id=row_id, name=path.name))], roots)
    await contents.update_missing_references(tx, touched)
    asset = await assets.get(tx, bare.uuid if found is None else lost[found.gone.id].id, owner)
    if asset is None:
        raise LookupError("a new asset is not in the store")
    return CreatedAsset(asset, is_new=found is None)


def _with_fields(bare: NewAsset, fields: UploadFields, destination: UploadDestination) -> NewAsset:
    """Return the new asset with the fields that the client sent."""
    return replace(
        bare,
        name=fields.name if fields.name is not None else bare.name,
        tags=(*bare.tags, *destination.user_tags),
        user_metadata=fields.user_metadata,
        preview_uuid=fields.preview_id,
    )


async def _find_missing(tx: Transaction, digest: bytes, owner: str) -> dict[int, Asset]:
    """Return the owner's uploads of this content whose files are missing, by row id."""
    own = await assets.of_content(tx, digest, owner, own=True)
    return {asset.row_id: asset for asset in own if asset.origin == UPLOADED and not asset.is_present}
