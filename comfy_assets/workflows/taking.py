"""Assets of a share become a user's own: references to the same content, named and tagged as what they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..assets.references import typed_tags
from ..assets.roots import Roots
from ..clock import now_ms
from ..db import assets, entries
from ..db.connection import Transaction
from ..db.contents import Facts
from ..db.entries import NewEntry
from ..errors import AssetContentMissingError
from ..ids import new_ids
from ..models import REFERENCE, Asset, SharedAsset


@dataclass(frozen=True)
class Taken:
    """The assets that a user has now, and how many of them are new."""

    assets: list[Asset]
    created: int


async def take(tx: Transaction, shared: Sequence[SharedAsset], owner: str, roots: Roots) -> Taken:
    """Let the owner have what was shared; what they can see already stays as it is.

    Raises AssetContentMissingError when a content is in no file any more.
    """
    away = [asset.id for asset in shared if await assets.stand_in(tx, asset.hash) is None]
    if away:
        raise content_gone(away)
    taken: list[Asset] = []
    created = 0
    for asset in shared:
        found = await _seen(tx, asset, owner)
        if found is None:
            found = await _refer(tx, asset, owner, roots)
            created += 1
        taken.append(found)
    return Taken(taken, created)


async def _seen(tx: Transaction, asset: SharedAsset, owner: str) -> Asset | None:
    """An asset of this content that the owner can see, their own first."""
    own = await assets.of_content(tx, asset.hash, owner, own=True)
    found = own or await assets.of_content(tx, asset.hash, owner, own=False)
    return found[0] if found else None


async def _refer(tx: Transaction, shared: SharedAsset, owner: str, roots: Roots) -> Asset:
    entry = NewEntry(
        uuid=new_ids(1)[0],
        owner=owner,
        name=shared.name,
        mime_type=shared.mime_type,
        tags=typed_tags((shared.kind,), shared.path, shared.category, roots),
        origin=REFERENCE,
        created_at=now_ms(),
    )
    await entries.add(tx, entry, shared.size, Facts(shared.hash, shared.size, "{}"))
    asset = await assets.get(tx, entry.uuid, owner)
    if asset is None:
        raise LookupError("a new reference is not there")
    return asset


def content_gone(asset_ids: list[str]) -> AssetContentMissingError:
    """The files of assets of a share are not there now."""
    return AssetContentMissingError("The files of these assets are not there any more.", details={"ids": asset_ids})
