"""Assets of a share become a user's own: references to the same content, named and tagged as what they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..assets.references import add_reference, typed_tags
from ..assets.roots import Roots
from ..db import assets
from ..db.connection import Transaction
from ..db.contents import Facts
from ..errors import AssetContentMissingError
from ..models import Asset, SharedAsset


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
            found = await add_reference(
                tx,
                Facts(asset.hash, asset.size, "{}"),
                owner,
                name=asset.name,
                mime_type=asset.mime_type,
                tags=typed_tags((asset.kind,), asset.path, asset.category, roots),
            )
            created += 1
        taken.append(found)
    return Taken(taken, created)


async def _seen(tx: Transaction, asset: SharedAsset, owner: str) -> Asset | None:
    """An asset of this content that the owner can see, their own first."""
    own = await assets.of_content(tx, asset.hash, owner, own=True)
    found = own or await assets.of_content(tx, asset.hash, owner, own=False)
    return found[0] if found else None


def content_gone(asset_ids: list[str]) -> AssetContentMissingError:
    """The files of assets of a share are not there now."""
    return AssetContentMissingError("The files of these assets are not there any more.", details={"ids": asset_ids})
