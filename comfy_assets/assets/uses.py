"""The uses of assets: listed for users, and checked before an asset or its file goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..db import asset_uses
from ..db.asset_uses import ALL, AssetUse, UseKind
from ..db.connection import Database, Transaction
from ..errors import AssetInUseError
from ..models import Asset
from .service import require_asset

MOST_USES = 100  # of each kind, in a response
_MOST_NAMED = 3  # in a message


class AssetUses:
    """Lists the uses of an asset."""

    def __init__(self, db: Database, jobs_recorded: Callable[[], Awaitable[None]]) -> None:
        """``jobs_recorded`` waits until all submitted jobs are in the store."""
        self._db = db
        self._jobs_recorded = jobs_recorded

    async def list(self, asset_id: str, owner: str) -> tuple[list[dict[str, Any]], bool]:
        """Return the uses of an asset, and whether there are more of some kind. Raises AssetNotFoundError."""
        asset = await require_asset(self._db, asset_id, owner)
        await self._jobs_recorded()
        uses = await asset_uses.uses_of(self._db, asset.row_id, owner, ALL, MOST_USES + 1)
        kept = [use for kind in ALL for use in [each for each in uses if each.kind == kind][:MOST_USES]]
        return [describe(use, owner) for use in kept], len(kept) < len(uses)


async def refuse_if_used(
    tx: Database | Transaction,
    asset: Asset,
    owner: str | None,
    kinds: tuple[UseKind, ...],
    *,
    force: bool = False,
    advice: str = "",
) -> None:
    """Raise AssetInUseError if an asset has uses of these kinds; with ``force``, if it has some of other users.

    The ``owner`` None is the operator of the server, whose own all uses are. The message ends with the ``advice``, by
    default for a deletion.
    """
    uses = await asset_uses.uses_of(tx, asset.row_id, owner, kinds, MOST_USES)
    can_force = all(is_own(use, owner) for use in uses)
    if not uses or (force and can_force):
        return
    advice = advice or ("Delete it anyway with force=true." if can_force else "It is not yours alone.")
    raise AssetInUseError(
        f"The asset is in use: {named(uses, owner)}. {advice}",
        details={
            "id": asset.id,
            "name": asset.name,
            "used_by": [describe(use, owner) for use in uses],
            "can_force": can_force,
            "only_old_versions": all(use.is_latest is False for use in uses),
        },
    )


def is_own(use: AssetUse, owner: str | None) -> bool:
    """Return whether a use is the user's own or everybody's; all are the operator's (None)."""
    return owner is None or use.owner in (None, "", owner)


def describe(use: AssetUse, owner: str | None) -> dict[str, Any]:
    """Describe a use to a user, without the ids and names of another user: a share's id grants access to it."""
    if not is_own(use, owner):
        return {"kind": use.kind, "owner": use.owner}
    members: dict[str, Any] = {"kind": use.kind, "id": use.id}
    for member in ("name", "workflow_id", "version", "is_latest", "is_running"):
        if (value := getattr(use, member)) is not None:
            members[member] = value
    return members


def named(uses: Sequence[AssetUse], owner: str | None) -> str:
    """Name the first uses for people."""
    texts = [_text(use, owner) for use in uses[:_MOST_NAMED]]
    rest = len(uses) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest else "")


def _text(use: AssetUse, owner: str | None) -> str:
    noun = {
        "workflow_version": f"version {use.version} of {use.name or 'a workflow'}" if use.version else "a workflow",
        "share": f"the share {use.name or use.id}",
        "job": "the running job " + use.id if use.is_running else "the waiting job " + use.id,
        "reference": f"the asset {use.name} with the same content",
        "preview": f"the preview of {use.name}",
    }[use.kind]
    if is_own(use, owner):
        return noun
    return f"a {use.kind.replace('_', ' ')} of {use.owner}"
