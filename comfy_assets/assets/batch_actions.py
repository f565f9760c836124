"""The actions of batches: how each changes assets, and restores their former values.

Some change rows (tags, members of metadata, collections), others delete and restore, which moves files. A new action is
a class with an entry in ``ACTIONS``, and a member of ``BatchParameters`` if it takes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec

from ..db import batches, collections, tags, trash
from ..db.batches import BatchItem, MemberValue
from ..db.collections import FormerMember
from ..db.connection import Database, Transaction
from ..db.trash import DeletedAsset
from ..errors import (
    ApiError,
    AssetNotFoundError,
    ChangedSinceError,
    CollectionFullError,
    CollectionNotFoundError,
    InvalidBodyError,
    InvalidTagsError,
    ReservedTagError,
)
from ..ids import canonical_id, now_ms
from ..models import Asset
from .collections import MAX_MEMBERS, require_collection
from .fields import MAX_TAGS, check_not_reserved
from .trash import AssetTrash, DeletionAction

_RATING, _FAVOURITE = "rating", "favorite"  # members of user metadata
_MOST_FAILURES = 1000  # that are named in a result


class BatchParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parameters of an action: normalized ``tags``, a ``rating`` of 0 (none) to 5, the ``favourite`` mark.

    ``collection_id``: a collection of the user. ``force``: delete what the user's own workflows use.
    """

    tags: tuple[str, ...] = ()
    rating: int | None = None
    favourite: bool | None = None
    collection_id: str | None = None
    force: bool = False


class FailedChange(msgspec.Struct, frozen=True):
    """An asset that was not changed, and why."""

    id: str
    code: str
    message: str


class BatchWork:
    """A batch that is carried out or undone: the parameters of its action, and the outcome for each asset."""

    def __init__(self, db: Database, bin_: AssetTrash, owner: str, parameters: BatchParameters, batch_row: int) -> None:
        self.db = db
        self.trash = bin_
        self.owner = owner
        self.parameters = parameters
        self.done = self.changed = self.failed = 0
        self.failures: list[FailedChange] = []
        self._batch_row = batch_row

    async def record(self, tx: Transaction, formers: Mapping[int, str]) -> None:
        """Store the former values of assets, by row, in the transaction that changes them."""
        if formers:
            await batches.record(tx, self._batch_row, formers)

    async def settle(self, tx: Transaction, rows: Iterable[int]) -> None:
        """Note that former values of assets were restored, or cannot be, in the transaction that restores them."""
        await batches.drop_items(tx, self._batch_row, rows)

    def fail(self, asset_id: str, error: ApiError) -> None:
        """Note that an asset was not changed."""
        self.failed += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(FailedChange(asset_id, error.code, error.message))


class BatchAction(ABC):
    """An action on many assets. ``at_once`` is the most that are changed in one step.

    ``event`` is the name of the event that tells pages of changes. ``keeps_order`` says that the order in which assets
    are changed stays visible.
    """

    selects_deleted: ClassVar[bool] = False
    keeps_order: ClassVar[bool] = False
    at_once: ClassVar[int] = 1000
    event: ClassVar[str] = "assets.changed"

    @abstractmethod
    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        """Return the aspects of assets that it changes. Batches with different aspects can be undone in any order."""

    def check(self, parameters: BatchParameters) -> None:  # noqa: B027 - most actions need no parameters
        """Raise InvalidBodyError, ReservedTagError if the action does not take the parameters."""

    async def check_target(  # noqa: B027 - most actions name nothing
        self, db: Database, parameters: BatchParameters, owner: str
    ) -> None:
        """Raise CollectionNotFoundError if the parameters name a collection that the user does not have."""

    @abstractmethod
    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        """Change assets, given by row, and record their former values."""

    @abstractmethod
    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        """Restore the former values of assets."""


class _RowAction(BatchAction):
    """An action that changes the rows of assets: a transaction for each step."""

    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        async with work.db.transaction() as tx:
            visible = await batches.still_visible(tx, rows, work.owner)
            refused = await self.refused(tx, work, visible)
            formers = await self.change(tx, work, [row for row in visible if row not in refused])
            await work.record(tx, formers)
            gone = set(rows) - set(visible)
            ids = await batches.ids_of(tx, {*refused, *gone}) if refused or gone else {}
        work.changed += len(formers)
        for row, error in refused.items():
            work.fail(ids[row], error)
        for row in sorted(gone):
            work.fail(ids.get(row, ""), AssetNotFoundError("There is no such asset."))

    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        async with work.db.transaction() as tx:
            restored = await self.restore(tx, work, {item.row_id: item.former for item in items})
            await work.settle(tx, [item.row_id for item in items])
        work.changed += len(restored)
        for item in items:
            if item.row_id not in restored:
                work.fail(item.id, ChangedSinceError("It has been changed since."))

    async def refused(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, ApiError]:
        """Return the assets that must not be changed, by row, with the reason."""
        return {}

    @abstractmethod
    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        """Change assets; return the former values of those that differed, as JSON."""

    @abstractmethod
    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        """Restore former values; return the assets that still had the values of the batch."""


def _names(former: str) -> tuple[str, ...]:
    return msgspec.json.decode(former, type=tuple[str, ...])


def _text(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()


def _by_names(names_of: Mapping[int, Sequence[str]]) -> dict[tuple[str, ...], list[int]]:
    """Group assets by the tags to be changed: mostly all of them are the same."""
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, names in names_of.items():
        groups[tuple(sorted(names))].append(row)
    return groups


class _TagAction(_RowAction):
    """Common to adding and removing tags: both change only assets that differ, and undo each other."""

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return tuple(f"tag:{tag}" for tag in parameters.tags)

    def check(self, parameters: BatchParameters) -> None:
        if not parameters.tags:
            raise InvalidBodyError("The action needs tags.", details={"field": "tags"})
        check_not_reserved(parameters.tags, ())

    async def _add(self, tx: Transaction, names_of: Mapping[int, Sequence[str]]) -> None:
        for names, rows in _by_names(names_of).items():
            await tags.retag(tx, rows, add=names)
        await batches.touch(tx, names_of, now_ms())

    async def _remove(self, tx: Transaction, names_of: Mapping[int, Sequence[str]]) -> None:
        for names, rows in _by_names(names_of).items():
            await tags.retag(tx, rows, remove=names)
        await batches.touch(tx, names_of, now_ms())


class AddTags(_TagAction):
    """Give tags to assets."""

    async def refused(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, ApiError]:
        lacking = await batches.lacking_tags(tx, rows, work.parameters.tags)
        counts = await batches.tag_counts(tx, lacking)
        error = InvalidTagsError(f"An asset has at most {MAX_TAGS} tags.")
        return {row: error for row, names in lacking.items() if counts[row] + len(names) > MAX_TAGS}

    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        lacking = await batches.lacking_tags(tx, rows, work.parameters.tags)
        await self._add(tx, lacking)
        return {row: _text(names) for row, names in lacking.items()}

    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        added = {row: _names(former) for row, former in formers.items()}
        present = await batches.given_tags(tx, formers, {name for names in added.values() for name in names})
        gone = {row: [name for name in names if name in added[row]] for row, names in present.items()}
        await self._remove(tx, gone)
        return {row for row, names in gone.items() if names}


class RemoveTags(_TagAction):
    """Take tags away from assets."""

    async def refused(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, ApiError]:
        error = ReservedTagError("A tag follows from the file's location and cannot be removed.")
        return dict.fromkeys(await batches.tagged_by_place(tx, rows, work.parameters.tags), error)

    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        present = await batches.given_tags(tx, rows, work.parameters.tags)
        await self._remove(tx, present)
        return {row: _text(names) for row, names in present.items()}

    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        removed = {row: _names(former) for row, former in formers.items()}
        lacking = await batches.lacking_tags(tx, formers, {name for names in removed.values() for name in names})
        back = {row: [name for name in names if name in removed[row]] for row, names in lacking.items()}
        await self._add(tx, back)
        return {row for row, names in back.items() if names}


class _MemberAction(_RowAction):
    """An action that sets a member of the metadata of users."""

    member: ClassVar[str]

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return (self.member,)

    @abstractmethod
    def value(self, parameters: BatchParameters) -> str | None:
        """Return the JSON text that the member gets, or None to remove it."""

    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        value = self.value(work.parameters)
        present = await batches.members_of(tx, rows, self.member)
        changed = {row: former for row, former in present.items() if former.text != value}
        await batches.set_member(tx, changed, self.member, MemberValue(value, has_metadata=True), now_ms())
        return {row: msgspec.json.encode(former).decode() for row, former in changed.items()}

    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        value = self.value(work.parameters)
        present = await batches.members_of(tx, formers, self.member)
        groups: defaultdict[MemberValue, list[int]] = defaultdict(list)
        for row, current in present.items():
            if current.text == value:
                groups[msgspec.json.decode(formers[row], type=MemberValue)].append(row)
        for former, rows in groups.items():
            await batches.set_member(tx, rows, self.member, former, now_ms())
        return {row for rows in groups.values() for row in rows}


class Rate(_MemberAction):
    """Give stars to assets; 0 takes them away."""

    member = _RATING

    def check(self, parameters: BatchParameters) -> None:
        if parameters.rating is None:
            raise InvalidBodyError("The action needs a rating.", details={"field": "rating"})

    def value(self, parameters: BatchParameters) -> str | None:
        return str(parameters.rating) if parameters.rating else None


class SetFavourite(_MemberAction):
    """Make assets favourites, or end that."""

    member = _FAVOURITE

    def check(self, parameters: BatchParameters) -> None:
        if parameters.favourite is None:
            raise InvalidBodyError("The action needs favourite.", details={"field": "favourite"})

    def value(self, parameters: BatchParameters) -> str | None:
        return "true" if parameters.favourite else None


class _CollectionAction(_RowAction):
    """Common to adding assets to a collection and removing them."""

    event = "collections.changed"

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return (f"collection:{canonical_id(parameters.collection_id or '')}",)

    def check(self, parameters: BatchParameters) -> None:
        if parameters.collection_id is None:
            raise InvalidBodyError("The action needs a collection_id.", details={"field": "collection_id"})

    async def check_target(self, db: Database, parameters: BatchParameters, owner: str) -> None:
        await require_collection(db, parameters.collection_id or "", owner)

    async def refused(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, ApiError]:
        if await self._row_of(tx, work, or_deleted=False) is None:
            return dict.fromkeys(rows, CollectionNotFoundError("There is no such collection."))
        return {}

    async def _row_of(self, tx: Transaction, work: BatchWork, *, or_deleted: bool) -> int | None:
        """Return the row of the collection, or None if it is deleted (with ``or_deleted``: for good)."""
        known = canonical_id(work.parameters.collection_id or "") or ""
        found = await collections.get(tx, known, work.owner)
        if found is None and or_deleted:
            # It has the assets again once it is restored.
            found = await collections.get(tx, known, work.owner, deleted=True)
        return found.row_id if found is not None else None


class AddToCollection(_CollectionAction):
    """Add assets to a collection, at its end."""

    keeps_order = True

    async def refused(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, ApiError]:
        row_id = await self._row_of(tx, work, or_deleted=False)
        if row_id is None:
            return await super().refused(tx, work, rows)
        present = await collections.members_among(tx, row_id, rows)
        room = max(0, MAX_MEMBERS - await collections.size(tx, row_id))
        error = CollectionFullError(f"A collection can have at most {MAX_MEMBERS:,} assets.")
        return dict.fromkeys([row for row in rows if row not in present][room:], error)

    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        row_id = await self._row_of(tx, work, or_deleted=False)
        if row_id is None:
            return {}
        present = await collections.members_among(tx, row_id, rows)
        new = [row for row in rows if row not in present]
        if new:
            await collections.put(tx, row_id, new, None, now_ms())
            await collections.touch(tx, row_id, now_ms())
        return dict.fromkeys(new, "{}")

    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        row_id = await self._row_of(tx, work, or_deleted=True)
        if row_id is None:
            return set()
        present = await collections.members_among(tx, row_id, list(formers))
        if present:
            await collections.remove(tx, row_id, present)
            await collections.touch(tx, row_id, now_ms())
        return present


class RemoveFromCollection(_CollectionAction):
    """Remove assets from a collection; undone, they are in it at their former places."""

    async def change(self, tx: Transaction, work: BatchWork, rows: Sequence[int]) -> dict[int, str]:
        row_id = await self._row_of(tx, work, or_deleted=False)
        if row_id is None:
            return {}
        formers = await collections.places_of(tx, row_id, rows)
        if formers:
            await collections.remove(tx, row_id, formers)
            await collections.touch(tx, row_id, now_ms())
        return {row: msgspec.json.encode(former).decode() for row, former in formers.items()}

    async def restore(self, tx: Transaction, work: BatchWork, formers: Mapping[int, str]) -> set[int]:
        row_id = await self._row_of(tx, work, or_deleted=True)
        if row_id is None:
            return set()
        present = await collections.members_among(tx, row_id, list(formers))
        room = max(0, MAX_MEMBERS - await collections.size(tx, row_id))
        back = [row for row in formers if row not in present][:room]
        places = {row: msgspec.json.decode(formers[row], type=FormerMember) for row in back}
        if places:
            await collections.put_back(tx, row_id, places)
            await collections.touch(tx, row_id, now_ms())
        return set(places)


class _Deletion(msgspec.Struct, frozen=True):
    """The stored facts of a deletion that a batch takes back, needed to delete the asset again in the same way."""

    action: DeletionAction
    deleted_at: int
    deleted_by: str
    folder: str | None
    name: str | None
    is_note: bool


class Delete(BatchAction):
    """Remove assets from the library, or move their files to the trash: one at a time, as files move."""

    at_once = 20

    def __init__(self, action: DeletionAction) -> None:
        self._action = action

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return ("deletion",)

    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        async def note(tx: Transaction, asset: Asset) -> None:
            await work.record(tx, {asset.row_id: "{}"})

        for asset_id in (await batches.ids_of(work.db, rows)).values():
            try:
                await work.trash.delete(
                    asset_id, work.owner, self._action, force=work.parameters.force, note=note, emit=False
                )
                work.changed += 1
            except ApiError as error:
                work.fail(asset_id, error)

    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        await _restore(work, items)


async def _restore(work: BatchWork, items: Sequence[BatchItem]) -> None:
    async def note(tx: Transaction, asset: Asset) -> None:
        await work.settle(tx, [asset.row_id])

    for item in items:
        try:
            await work.trash.restore(item.id, work.owner, note=note, emit=False)
            work.changed += 1
        except AssetNotFoundError as error:  # somebody has restored it since
            async with work.db.transaction() as tx:
                await work.settle(tx, [item.row_id])
            work.fail(item.id, error)
        except ApiError as error:
            work.fail(item.id, error)


class Restore(BatchAction):
    """Restore deleted assets."""

    selects_deleted = True
    at_once = 20

    def aspects(self, parameters: BatchParameters) -> tuple[str, ...]:
        return ("deletion",)

    async def apply(self, work: BatchWork, rows: Sequence[int]) -> None:
        for asset_id in (await batches.ids_of(work.db, rows)).values():
            try:
                deleted = await work.trash.find(asset_id, work.owner)
                former = msgspec.json.encode(_deletion(deleted)).decode()

                async def note(tx: Transaction, asset: Asset, former: str = former) -> None:
                    await work.record(tx, {asset.row_id: former})

                await work.trash.restore(asset_id, work.owner, note=note, emit=False)
                work.changed += 1
            except ApiError as error:
                work.fail(asset_id, error)

    async def undo(self, work: BatchWork, items: Sequence[BatchItem]) -> None:
        for item in items:
            deletion = msgspec.json.decode(item.former, type=_Deletion)

            async def note(tx: Transaction, asset: Asset, deletion: _Deletion = deletion) -> None:
                await trash.set_deletion(
                    tx,
                    asset.row_id,
                    deletion.deleted_at,
                    deletion.deleted_by,
                    (deletion.folder, deletion.name),
                    is_note=deletion.is_note,
                )
                await work.settle(tx, [asset.row_id])

            try:
                await work.trash.delete(item.id, work.owner, deletion.action, force=True, note=note, emit=False)
                work.changed += 1
            except ApiError as error:
                work.fail(item.id, error)


def _deletion(deleted: DeletedAsset) -> _Deletion:
    return _Deletion(
        "trash" if deleted.stored is not None else "remove",
        deleted.deleted_at,
        deleted.deleted_by,
        deleted.folder,
        deleted.file_name,
        deleted.is_note,
    )


# The names are part of the API.
ACTIONS: Mapping[str, BatchAction] = {
    "tag": AddTags(),
    "untag": RemoveTags(),
    "rate": Rate(),
    "favourite": SetFavourite(),
    "add_to_collection": AddToCollection(),
    "remove_from_collection": RemoveFromCollection(),
    "remove": Delete("remove"),
    "trash": Delete("trash"),
    "restore": Restore(),
}
