"""The interface of the actions of batches: how each changes assets, and restores their former values.

A new action is a class with an entry in ``service.ACTIONS``, and a member of ``BatchParameters`` if it takes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec

from ...db import batches
from ...db.batches import BatchItem
from ...db.connection import Database, Transaction
from ...errors import ApiError
from ..trash import AssetTrash

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
