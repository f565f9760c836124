"""Import bundles into the library.

An import verifies the whole bundle first, then installs the files that the library does not have, all of them or none,
then saves the workflow, and puts the assets into the user's collections of the names that they have in the bundle.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ...assets.collections import add_contents
from ...assets.fields import normalize_name
from ...assets.index.content_reader import HashProgress, digest_of, read_facts
from ...assets.media.mime import check_suffix, guess_mime, resolve_mime
from ...assets.moves import ChangedPath, match_written
from ...assets.roots import Roots, current_roots
from ...background.interruption import CancelToken, uninterrupted
from ...db import assets, contents, files
from ...db.assets import NewAsset
from ...db.connection import Database, Transaction
from ...db.contents import Facts, Hashed
from ...db.workflow_requirements import ExpectedContent, expect_contents
from ...errors import ApiError, StorageError, UnsupportedContentError
from ...fs import atomic, shared_files
from ...fs.atomic import LEFTOVER_AGE_S, fsync_folder, remove_leftovers
from ...fs.partial_file import PartialFile
from ...fs.paths import extended_path, file_stat, real_path
from ...host.base import Host
from ...ids import new_ids, now_ms
from ...models import UPLOADED, Asset, Location, Workflow
from ...names import UnsafeName, relative_parts, split_suffix
from ...store_guard import is_protected
from ..document import parse_workflow
from ..service import WorkflowDetails, WorkflowService
from .archive import Bundle, BundledAsset, BundleError, is_code, is_unsafe, open_bundle

ImportOutcome = Literal["have", "added", "missing"]
MAX_SIZE = 100 * 10**9  # bytes of all files of a bundle, unless the user sets another limit
_RESERVE = 64 << 20  # bytes that stay free on a disk, for the store among others


@dataclass(frozen=True)
class AssetOutcome:
    """The outcome for an asset of a bundle, the path of its file in the library, and a note for the user."""

    asset: BundledAsset
    outcome: ImportOutcome
    path: str | None = None
    note: str | None = None

    @property
    def is_as_needed(self) -> bool:
        """True if the library has the asset under the name that the workflow uses."""
        return self.outcome != "missing" and self.note is None


@dataclass(frozen=True)
class ImportResult:
    """The workflow, whether it was created, and the outcome for each asset."""

    workflow: Workflow
    is_new: bool
    outcomes: Sequence[AssetOutcome]

    @property
    def counts(self) -> dict[str, int]:
        """The number of assets with each outcome."""
        return {name: sum(each.outcome == name for each in self.outcomes) for name in get_args(ImportOutcome)}

    @property
    def problems_first(self) -> list[AssetOutcome]:
        """The outcomes, those first of assets that the library lacks under the names that the workflow uses."""
        return sorted(self.outcomes, key=lambda each: each.is_as_needed)


@dataclass
class _ImportPlan:
    """Outcomes known so far, and the assets to install with the folders of their paths; both by library path."""

    outcomes: dict[str, AssetOutcome] = field(default_factory=dict)
    to_install: dict[str, tuple[BundledAsset, Path]] = field(default_factory=dict)

    def reject(self, asset: BundledAsset, note: str) -> None:
        """Record that an asset is not imported."""
        self.outcomes[asset.library_path] = AssetOutcome(asset, "missing", note=note)


class BundleImporter:
    """Imports one bundle for a user. ``progress`` counts the files of the bundle."""

    def __init__(
        self,
        db: Database,
        host: Host,
        service: WorkflowService,
        token: CancelToken,
        max_workflow: int,
        max_size: int = MAX_SIZE,
    ) -> None:
        """``max_workflow`` and ``max_size`` limit the bytes of the workflow and of all files."""
        self._db = db
        self._host = host
        self._service = service
        self._token = token
        self._max_workflow = max_workflow
        self._max_size = max_size
        self.progress = HashProgress(0, 0)

    async def run(self, path: Path, owner: str, *, unsafe_models: bool = False) -> ImportResult:
        """Import a bundle. With ``unsafe_models`` also model files that can run code when they are loaded.

        Changes nothing if it raises BundleError, StorageError or OSError.
        """
        with ExitStack() as stack:  # a with statement would open the bundle on the event loop
            bundle = await uninterrupted(
                asyncio.to_thread(stack.enter_context, open_bundle(path, self._max_workflow, self._max_size)),
                self._token,
            )
            await self._check_workflow(bundle)
            roots = await current_roots(self._host)
            plan = await self._plan(bundle, roots, owner, unsafe_models=unsafe_models)
            await self._install(bundle, plan, roots, owner)
        # Saved last, so that the workflow is linked to the assets that have just been installed.
        workflow, is_new = await self._save(bundle, owner)
        await self._note_contents(workflow, bundle)
        for collection in bundle.manifest.collections:
            digests = [bytes.fromhex(text.removeprefix("blake3:")) for text in collection.hashes]
            await add_contents(self._db, collection.name, collection.description, digests, owner)
        if bundle.manifest.collections:
            self._host.emit("collections.changed", {"changed": len(bundle.manifest.collections)})
        return ImportResult(workflow, is_new, [plan.outcomes[asset.library_path] for asset in bundle.manifest.assets])

    async def _check_workflow(self, bundle: Bundle) -> None:
        try:
            await asyncio.to_thread(parse_workflow, bundle.text)
        except ApiError as error:
            raise BundleError(f"its workflow is invalid: {error.message}") from error

    async def _plan(self, bundle: Bundle, roots: Roots, owner: str, *, unsafe_models: bool) -> _ImportPlan:
        """Choose the files to install. Writes nothing."""
        plan = _ImportPlan()
        # Every asset gets an outcome; a reason of this library comes before the ones of the bundle.
        for asset in bundle.manifest.assets:
            location = await self._find(asset, owner)
            if location is not None:
                plan.outcomes[asset.library_path] = _found_at(asset, location)
                continue
            try:
                folder = await asyncio.to_thread(_folder_for, asset, roots)
            except (UnsafeName, UnsupportedContentError, ValueError) as error:
                plan.reject(asset, getattr(error, "message", str(error)))
                continue
            if asset.member is None:
                plan.reject(asset, "not in the bundle")
            elif is_code(asset):
                plan.reject(asset, "it is a program, not a model")
            elif is_unsafe(asset) and not unsafe_models:
                plan.reject(asset, "loading such a file can run code from its author; --unsafe-models imports it")
            else:
                plan.to_install[asset.library_path] = (asset, folder)
        return plan

    async def _find(self, asset: BundledAsset, owner: str) -> Location | None:
        """Return a file of the library with the content, preferably at the path that the workflow uses."""
        recorded = [
            each.location
            for own in (True, False)
            for each in await assets.of_content(self._db, asset.digest, owner, own=own)
            if each.location is not None and each.is_present
        ]
        # The record may be outdated. Hashing each file again would take too long, so only its size is compared.
        present = [each for each in recorded if await asyncio.to_thread(_is_there, each, asset.size)]
        return next((each for each in present if _is_at_its_path(asset, each)), present[0] if present else None)

    async def _install(self, bundle: Bundle, plan: _ImportPlan, roots: Roots, owner: str) -> None:
        """Verify every byte of the bundle, then install the planned files."""
        await asyncio.to_thread(remove_leftovers, roots.destinations(), time.time() - LEFTOVER_AGE_S)
        with _PartialFiles() as partial:
            extracting = asyncio.to_thread(self._extract, bundle, plan, partial)
            bundle_files = await uninterrupted(extracting, self._token)
            installing = _install_all(self._db, roots, [each for _, each in bundle_files], owner)
            paths = await uninterrupted(installing, self._token)
            partial.keep_folders()
        if paths:
            self._host.emit("assets.changed", {"created": len(paths)})
        for (asset, file), path in zip(bundle_files, paths, strict=True):
            # Otherwise a power failure could undo the rename, although its record is on disk.
            await asyncio.to_thread(fsync_folder, path.parent)
            note = None
            if path.name != file.name:
                note = f"the name is taken: the workflow uses {asset.path}, but this file is {path.name}"
            plan.outcomes[asset.library_path] = AssetOutcome(asset, "added", str(path), note)

    def _extract(
        self, bundle: Bundle, plan: _ImportPlan, partial: _PartialFiles
    ) -> list[tuple[BundledAsset, _BundleFile]]:
        """Read every member once, and write planned files into their folders under temporary names."""
        # Unwanted members are read as well, because the bundle is accepted or rejected as a whole. Assets with the same
        # content share a member.
        members = {asset.member: asset for asset in bundle.manifest.assets if asset.member is not None}
        planned: dict[str, list[tuple[BundledAsset, Path]]] = defaultdict(list)
        for asset, folder in plan.to_install.values():
            planned[asset.hash].append((asset, folder))
        _check_free_space([(folder, asset.size) for asset, folder in plan.to_install.values()])
        self.progress = HashProgress(len(members), sum(asset.size for asset in members.values()))
        bundle_files: list[tuple[BundledAsset, _BundleFile]] = []
        for member, asset in members.items():
            missing = [each for each in planned[asset.hash] if not self._adopt(*each, bundle_files)]
            written = [partial.create(folder) for _, folder in missing]
            self._read(bundle, member, asset, written)
            for (each, folder), file in zip(missing, written, strict=True):
                self._accept(each, folder, file, plan, bundle_files)
            self.progress.hashed += 1
        return bundle_files

    def _adopt(self, asset: BundledAsset, folder: Path, bundle_files: list[tuple[BundledAsset, _BundleFile]]) -> bool:
        """Use the file that is at the path already, from an interrupted import or copied by hand, if it is the same."""
        path = folder.joinpath(*relative_parts(asset.path))
        try:
            known = extended_path(path).stat().st_size == asset.size
            if not known or digest_of(path, asset.size, self._token.check, lambda count: None) != asset.digest:
                return False
        except OSError:
            return False
        bundle_files.append((asset, _bundle_file(asset, folder, None, path)))
        return True

    def _read(self, bundle: Bundle, member: str, asset: BundledAsset, written: Sequence[PartialFile]) -> None:
        def write(block: bytes) -> None:
            self._token.check()
            for file in written:
                file.write([block])
            self.progress.add_bytes(len(block))

        found = bundle.read(member, asset.size, write)
        if found != asset.digest or any(file.finish() != asset.digest for file in written):
            raise BundleError(f"the content of {asset.library_path} is not what its hash says")

    def _accept(
        self, asset: BundledAsset, folder: Path, file: PartialFile, plan: _ImportPlan,
        bundle_files: list[tuple[BundledAsset, _BundleFile]],
    ) -> None:  # fmt: skip
        try:
            bundle_files.append((asset, _bundle_file(asset, folder, file.path, file.path)))
        except UnsupportedContentError as error:
            plan.reject(asset, error.message)

    async def _save(self, bundle: Bundle, owner: str) -> tuple[Workflow, bool]:
        """Return the user's workflow with this name and text, and whether it had to be created."""
        described = bundle.manifest.workflow
        name = normalize_name(described.name) if described.name is not None else None
        workflow = await self._service.find(name, bundle.text, owner)
        if workflow is not None:
            await self._service.link_assets(workflow.id, owner)
            return workflow, False
        details = WorkflowDetails(name, described.description, described.default_view)
        return await self._service.create(details, bundle.text, owner), True

    async def _note_contents(self, workflow: Workflow, bundle: Bundle) -> None:
        """Store the hashes of the workflow's files, by which files with other names are found."""
        stated = [
            ExpectedContent(asset.path, asset.category or "", asset.digest, asset.size)
            for asset in bundle.manifest.assets
            if asset.kind in ("models", "input")
        ]
        async with self._db.transaction() as tx:
            await expect_contents(tx, workflow.row_id, stated)


class _PartialFiles:
    """Partial files and the folders created for them. Removes what was not installed at the end."""

    def __init__(self) -> None:
        self._files: list[PartialFile] = []
        self._created: list[Path] = []

    def __enter__(self) -> _PartialFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.discard()
        for folder in reversed(self._created):
            atomic.remove_if_empty(folder)

    def create(self, folder: Path) -> PartialFile:
        """Create a partial file in a folder, and the folder if needed. Raises OSError."""
        self._created += _create_folder(folder)
        file = PartialFile(folder)
        self._files.append(file)
        return file

    def keep_folders(self) -> None:
        """Keep the created folders, even empty ones."""
        self._created.clear()


def _bundle_file(asset: BundledAsset, folder: Path, source: Path | None, content: Path) -> _BundleFile:
    """Read the metadata of a file. Raises UnsupportedContentError for a model whose content contradicts its name."""
    *between, name = relative_parts(asset.path)
    facts = read_facts(name, content, asset.digest, asset.size)
    mime_type = facts.mime_type or guess_mime(name)
    if asset.kind == "models":
        mime_type = resolve_mime(name, None, facts.mime_type)
    return _BundleFile(source, folder.joinpath(*between), name, normalize_name(asset.name), mime_type, facts)


def _folder_for(asset: BundledAsset, roots: Roots) -> Path:
    """Return the folder that the path of the asset is relative to. Raises ValueError, UnsupportedContentError."""
    if asset.kind == "temp":
        raise ValueError("it is a temporary file")
    if asset.kind == "models" and asset.category is None:
        raise ValueError("it is in no model category")
    folder = roots.destination(asset.kind, asset.category)
    if folder is None:
        raise ValueError(f"there is no folder for {asset.category or asset.kind} here")
    parts = relative_parts(asset.path)
    check_suffix(parts[-1], asset.category, roots.suffixes(asset.category))
    within = folder.joinpath(*parts[:-1])
    if roots.is_left_out(within) or roots.is_ignored(within, parts[-1], asset.size):
        raise ValueError("files with such a name are not assets")
    place = roots.place(within)
    if place is None or place.kind != asset.kind or (asset.category and asset.category not in place.category_names):
        raise ValueError("its path belongs to something else here")
    if _leads_out(folder, folder.joinpath(*parts)):
        raise ValueError("a link leads out of the folder there")
    return folder


def _leads_out(folder: Path, path: Path) -> bool:
    """Return whether a link below the folder leads out of it. Blocks."""
    return not real_path(path).is_relative_to(real_path(folder)) or is_protected(path)


def _found_at(asset: BundledAsset, location: Location) -> AssetOutcome:
    path = str(Path(location.folder, location.name))
    if _is_at_its_path(asset, location):
        return AssetOutcome(asset, "have", path)
    return AssetOutcome(asset, "have", path, f"under another name than the workflow's {asset.path}")


def _is_at_its_path(asset: BundledAsset, location: Location) -> bool:
    """Return whether a loader finds the file by the name that the workflow uses."""
    if location.kind != asset.kind:
        return False
    if asset.kind == "models":
        inside = location.prefix_in(asset.category) if asset.category else location.logical.partition("/")[2]
    else:
        inside = location.logical.partition("/")[2]
    return asset.path == "/".join(part for part in (inside, location.name) if part)


def _is_there(location: Location, size: int) -> bool:
    try:
        return extended_path(location.folder, location.name).stat().st_size == size
    except OSError:
        return False


def _check_free_space(sizes: Iterable[tuple[Path, int]]) -> None:
    """Check that the disks of folders have room for so many bytes. Raises BundleError."""
    needed: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for folder, size in sizes:
        existing = next(each for each in map(extended_path, (folder, *folder.parents)) if each.exists())
        volume = existing.stat().st_dev
        needed[volume] += size
        folders[volume] = existing
    for volume, size in needed.items():
        if size + _RESERVE > shutil.disk_usage(folders[volume]).free:
            raise BundleError(f"there is no room for {size:,} bytes at {folders[volume]}")


@dataclass(frozen=True)
class _BundleFile:
    """A complete file to install: its current path, its future folder and name, and the facts of its asset.

    ``source`` is None for a file that is at its destination already but not registered.
    """

    source: Path | None
    folder: Path
    name: str
    title: str
    mime_type: str
    facts: Facts


async def _install_all(db: Database, roots: Roots, bundle_files: Sequence[_BundleFile], owner: str) -> list[Path]:
    """Install files, and return their paths. A file whose name is taken gets a free name in the same folder.

    An asset whose missing file this is gets it back. Changes nothing if it raises StorageError or OSError.
    """
    placed: list[Path] = []
    made: list[Path] = []
    try:
        # Files are moved within the transaction, so that no scan can register one of them in between.
        async with db.transaction() as tx:
            return [await _install_file(tx, roots, each, owner, (placed, made)) for each in bundle_files]
    except BaseException:
        # Shielded, as a second Ctrl-C would otherwise leave files without records.
        await asyncio.shield(asyncio.to_thread(_remove, placed, made))
        raise


def _remove(placed: Sequence[Path], made: Sequence[Path]) -> None:
    for path in placed:
        with suppress(OSError):
            shared_files.remove(path, missing_ok=True)
    for folder in reversed(made):
        atomic.remove_if_empty(folder)


async def _install_file(
    tx: Transaction, roots: Roots, file: _BundleFile, owner: str, undo: tuple[list[Path], list[Path]]
) -> Path:
    placed, made = undo
    made += await asyncio.to_thread(_create_folder, file.folder)
    former = await _former(tx, file, owner)
    path = file.folder / file.name
    if file.source is not None:
        # Onto the volume of its folder first, so that the last step is a rename, which cannot fail halfway.
        source = await asyncio.to_thread(atomic.stage, file.source, file.folder)
        placed.append(source)  # a copy if the folder is on another volume
        path = await _move(tx, source, file, is_former=former is not None)
        placed.append(path)  # renamed from the one above, which is then missing
    elif former is None and await _is_known(tx, path):
        return path
    await _register(tx, roots, path, file, former if path.name == file.name else None, owner)
    return path


def _create_folder(folder: Path) -> list[Path]:
    """Create a folder, and return the folders that had to be created, the outermost first. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not extended_path(each).exists()]
    atomic.make_folder(folder)
    return missing[::-1]


async def _former(tx: Transaction, file: _BundleFile, owner: str) -> Asset | None:
    """Return the asset of this content with a missing file at the same path, preferably one of the owner."""
    for own in (True, False):
        for asset in await assets.of_content(tx, file.facts.hash, owner, own=own):
            place = asset.location
            if place and place.missing and (place.folder, place.name) == (str(file.folder), file.name):
                return asset
    return None


async def _move(tx: Transaction, source: Path, file: _BundleFile, *, is_former: bool) -> Path:
    # Names of missing files stay taken: another file under such a name would be mistaken for the missing one.
    taken = await files.names_like(tx, str(file.folder), split_suffix(file.name)[0])
    if is_former:
        taken = [name for name in taken if name != file.name]
    return await asyncio.to_thread(atomic.move_to_free_name, source, file.folder, file.name, taken)


async def _is_known(tx: Transaction, path: Path) -> bool:
    return any(row[1] == path.name for row in await files.known_files(tx, [str(path.parent)]))


async def _register(
    tx: Transaction, roots: Roots, path: Path, file: _BundleFile, former: Asset | None, owner: str
) -> None:
    place = roots.place(path.parent)
    if place is None:
        raise StorageError("The folder for a file is not part of the library.")
    stat = file_stat(await asyncio.to_thread(extended_path(path).stat))
    facts = file.facts
    if former is not None:
        await match_written(tx, [ChangedPath(former.row_id, stat, stat)], roots)
        read = Hashed(
            former.row_id,
            stat[0],
            stat[1],
            facts.hash,
            facts.metadata,
            facts.mime_type,
            facts.documents,
            facts.reader_version,
        )
        await contents.record(tx, [read])
        row_id = former.row_id
    else:
        entry = NewAsset(
            uuid=new_ids(1)[0],
            owner=owner,
            # The title of the bundle would hide that the file has another name than the workflow uses.
            name=file.title if path.name == file.name else path.name,
            mime_type=file.mime_type,
            tags=place.tags_of(path.name),
            origin=UPLOADED,
            created_at=now_ms(),
        )
        row_id = await assets.add(tx, entry, facts.size, facts)
        await assets.put_file(tx, row_id, place.folder_row(path.parent), path.name, stat)
    await contents.update_missing_references(tx, await contents.of_assets(tx, [row_id]))
