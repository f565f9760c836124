"""New assets of files that clients send."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ..db import assets, files, references
from ..db.assets import NewAsset
from ..db.connection import Database, Transaction
from ..db.contents import Facts
from ..db.moves import Move
from ..errors import HashMismatchError, InvalidIdError, InvalidPreviewError, StorageError
from ..fs import atomic
from ..fs.atomic import run_blocking
from ..fs.partial_file import LEFTOVER_AGE_S, PartialFile, remove_leftovers
from ..fs.paths import extended_path
from ..fs.stat import file_stat, stat_as_recorded
from ..host.base import Host
from ..ids import new_ids, now_ms
from ..models import UPLOADED, Asset
from ..names import split_suffix
from .index.content_reader import document
from .index.insert import CompleteFile, register
from .media.metadata import FileMetadata, extract_path
from .media.mime import check_suffix, resolve_mime
from .moves.relocate import relocate
from .roots import Roots, is_ignored
from .tag_rules import UploadDestination, choose_destination
from .upload_fields import CreatedAsset, UploadFields, upload_file_name


@dataclass(frozen=True)
class _ReceivedFile:
    """A file that has been received whole and may become an asset."""

    destination: UploadDestination
    draft: PartialFile
    name: str
    mime_type: str
    facts: Facts


class UploadService:
    """Makes assets of the files that clients send."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    @contextlib.asynccontextmanager
    async def draft(self, tags: tuple[str, ...]) -> AsyncIterator[PartialFile]:
        """A file to write into; gone at the end unless ``complete`` has put it in its place.

        ``tags`` are those known so far; they let the file begin on the volume where it is to stay. Raises
        InvalidTagsError, StorageError.
        """
        folder = choose_destination(tags, await self._roots()).folder
        draft = await run_blocking(lambda: PartialFile(folder))
        try:
            yield draft
        finally:
            await asyncio.shield(asyncio.to_thread(draft.discard))

    async def complete(self, draft: PartialFile, declared: UploadFields, owner: str) -> CreatedAsset:
        """Make an asset of a file that has been received whole.

        Content that the owner has already is not kept twice: the asset that is there is the answer. Raises
        InvalidTagsError, InvalidNameError, HashMismatchError, UnsupportedContentError, InvalidIdError,
        InvalidPreviewError, StorageError; then nothing has changed.
        """
        roots = await self._roots()
        arrival = await _check_received(draft, declared, roots)
        created = await self._put(arrival, declared, owner, roots)
        if created.is_new:
            await run_blocking(lambda: atomic.fsync_folder(arrival.destination.folder))
            self._host.emit("assets.changed", {"created": 1})
        return created

    async def remove_leftovers(self) -> None:
        """Remove what uploads that were cut short by the end of a server have left behind."""
        folders = (await self._roots()).destinations()
        await asyncio.to_thread(remove_leftovers, folders, time.time() - LEFTOVER_AGE_S)

    async def _roots(self) -> Roots:
        return Roots(await asyncio.to_thread(self._host.folders))

    async def _put(self, arrival: _ReceivedFile, declared: UploadFields, owner: str, roots: Roots) -> CreatedAsset:
        """Find or make the asset. The file is moved inside the transaction, so that no scan comes in between."""
        placed: list[Path] = []
        try:
            async with self._db.transaction() as tx:
                found = await _find_existing(tx, arrival, declared, owner)
                if found is not None:
                    return CreatedAsset(found, is_new=False)
                await _check_preview(tx, declared, owner)
                await _claim_id(tx, declared.id, owner)
                placed.append(await _place(tx, arrival))
                return await _register(tx, arrival, placed[0], declared, owner, roots)
        except BaseException:
            for path in placed:
                await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
            raise


async def _check_received(draft: PartialFile, declared: UploadFields, roots: Roots) -> _ReceivedFile:
    """Check what was received. Afterwards the draft is on the volume of its destination."""
    destination = choose_destination(declared.tags, roots)
    name = upload_file_name(declared)
    check_suffix(name, destination.category, roots.suffixes(destination.category))
    digest = await run_blocking(draft.finish)
    await _check_hash(draft, digest, declared)
    extracted = await run_blocking(lambda: extract_path(name, draft.path))
    mime_type = resolve_mime(name, declared.mime_type, extracted.mime_type)
    if is_ignored(name, draft.size):
        name += "_"  # a name that scans take for litter would be lost to the library
    await run_blocking(lambda: draft.move_to_volume(destination.folder))
    return _ReceivedFile(destination, draft, name, mime_type, _facts(digest, draft.size, extracted))


async def _check_hash(draft: PartialFile, digest: bytes, declared: UploadFields) -> None:
    if declared.hash is None:
        return
    algorithm, wanted = declared.hash
    found = digest if algorithm == "blake3" else await run_blocking(draft.sha256)
    if found != wanted:
        raise HashMismatchError(
            f"The content's hash is {algorithm}:{found.hex()}, not the one declared.", details={"field": "hash"}
        )


def _facts(digest: bytes, size: int, extracted: FileMetadata) -> Facts:
    documents = tuple(document(key, text) for key, text in extracted.documents.items())
    return Facts(digest, size, msgspec.json.encode(extracted.facts).decode(), documents)


async def _find_existing(tx: Transaction, arrival: _ReceivedFile, declared: UploadFields, owner: str) -> Asset | None:
    """The asset that makes the upload superfluous: of the id wanted, or of the same content.

    That is one of the owner's own, or a public one in the place that the tags choose; and its file is there, whatever
    was seen of it last: what was sent is not to be thrown away for a file that was removed a moment ago.
    """
    if declared.id is not None:
        found = await assets.get(tx, declared.id, owner)
        if found is not None:
            return found
    digest, destination = arrival.facts.hash, arrival.destination
    for asset in await assets.of_content(tx, digest, owner, own=True):
        if await _holds_now(tx, asset):
            return asset
    for asset in await assets.of_content(tx, digest, owner, own=False):
        if asset.location and asset.location.kind == destination.kind:
            tags = msgspec.json.decode(asset.tags, type=list[str])
            if (destination.category is None or destination.category in tags) and await _holds_now(tx, asset):
                return asset
    return None


async def _holds_now(tx: Transaction, asset: Asset) -> bool:
    """Return whether the asset's content is in a file that is on the disk now, as it was when it was read.

    A file that is gone is marked missing.
    """
    if asset.location is None or asset.location.missing:
        return False
    folder, name = asset.location.folder, asset.location.name
    known = await files.stat_at(tx, folder, name)
    if known is None:
        return False
    path = extended_path(folder, name)
    if await asyncio.to_thread(stat_as_recorded, path, known.size, known.mtime_ns) is not None:
        return True
    if await asyncio.to_thread(_is_gone, path):
        touched = await references.contents_of(tx, [known.file_id])
        await files.mark_missing(tx, [known.file_id])
        await references.settle(tx, touched)
    return False


def _is_gone(path: Path) -> bool:
    """Return whether a file has been removed, rather than being on a drive that is away."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path.parent.is_dir()
    except OSError:
        return False
    return False


async def _check_preview(tx: Transaction, declared: UploadFields, owner: str) -> None:
    if declared.preview_id is not None and await assets.get(tx, declared.preview_id, owner) is None:
        raise InvalidPreviewError("There is no such preview asset.", details={"field": "preview_id"})


async def _claim_id(tx: Transaction, wanted: str | None, owner: str) -> None:
    """Make sure that the id is free. Raises InvalidIdError.

    A deleted asset of the same owner makes room: it can still be restored, under another id. Nobody else's does, as its
    owner would look for it in vain.
    """
    if wanted is None:
        return
    holder = await assets.holder_of(tx, wanted)
    if holder is None:
        return
    if not holder.deleted or holder.owner != owner:
        raise InvalidIdError("This id cannot be used; choose another.", details={"field": "id"})
    await assets.change_id(tx, holder.row_id, new_ids(1)[0])


async def _place(tx: Transaction, arrival: _ReceivedFile) -> Path:
    folder = arrival.destination.folder
    taken = await files.names_like(tx, str(folder), split_suffix(arrival.name)[0])
    return await run_blocking(lambda: atomic.move_to_free_name(arrival.draft.path, folder, arrival.name, taken))


async def _register(
    tx: Transaction, arrival: _ReceivedFile, path: Path, declared: UploadFields, owner: str, roots: Roots
) -> CreatedAsset:
    place = roots.place(path.parent)
    if place is None:
        raise StorageError("The folder for new files is not part of the library.")
    stat = file_stat(await run_blocking(path.stat))
    complete = CompleteFile(path.parent, place, path.name, stat, arrival.facts)
    place_tags = place.tags_of(path.name)
    bare = NewAsset(
        uuid=declared.id or new_ids(1)[0],
        owner=owner,
        name=path.name,
        mime_type=arrival.mime_type,
        tags=place_tags,
        origin=UPLOADED,
        created_at=now_ms(),
    )
    former = await _find_missing(tx, arrival.facts.hash, owner, arrival.name)
    if former is not None:
        # The owner's asset that had lost this file takes it up again, with all that it has.
        row_id = await register(tx, bare, complete)
        touched = await references.contents_of(tx, [row_id])
        await relocate(tx, [Move(former.row_id, row_id)], roots)
    else:
        row_id = await register(tx, _dressed(bare, declared, arrival.destination), complete)
        touched = await references.contents_of(tx, [row_id])
    await references.settle(tx, touched)
    asset = await assets.get(tx, bare.uuid if former is None else former.id, owner)
    if asset is None:
        raise LookupError("a new asset is not there")
    return CreatedAsset(asset, is_new=former is None)


def _dressed(bare: NewAsset, declared: UploadFields, destination: UploadDestination) -> NewAsset:
    """The entry with what the client says of it."""
    return replace(
        bare,
        name=declared.name if declared.name is not None else bare.name,
        tags=(*bare.tags, *destination.user_tags),
        user_metadata=declared.user_metadata,
        preview_uuid=declared.preview_id,
    )


async def _find_missing(tx: Transaction, digest: bytes, owner: str, name: str) -> Asset | None:
    """An asset of the owner's with this content whose own file is missing, rather one whose file had this name."""
    own = await assets.of_content(tx, digest, owner, own=True)
    lost = [asset for asset in own if asset.origin == UPLOADED and not asset.is_present]
    named = (asset for asset in lost if asset.location is not None and asset.location.name == name)
    return next(named, lost[0] if lost else None)
