"""What publishing makes of where assets lie. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..assets.roots import Roots, absolute
from ..host.base import Folder
from ..models import Asset, SharedAsset


def as_shared(asset: Asset, new_id: str, roots: Roots) -> SharedAsset | None:
    """The asset as it is published, with this id; None where its content is not known, or in no file that is there."""
    location = asset.location
    if asset.hash is None or location is None or location.missing:
        return None
    place = roots.place(absolute(Path(location.folder)))
    if place is None:
        return None
    category = _category(place.categories, location.name)
    if category is not None:
        inside = PurePosixPath(*absolute(Path(location.folder)).relative_to(category.path).parts, location.name)
    else:
        inside = PurePosixPath(*PurePosixPath(place.logical).parts[1:], location.name)
    name = category.category if category is not None else None
    return SharedAsset(new_id, asset.hash, asset.name, asset.size, asset.mime_type, place.kind, name, str(inside))


def _category(claims: Sequence[Folder], name: str) -> Folder | None:
    """The category that a file is in: one whose loaders take the file, and of several the innermost."""
    suffix = PurePosixPath(name).suffix.lower()

    def rank(folder: Folder) -> tuple[bool, int]:
        return not folder.extensions or suffix in folder.extensions, len(folder.path.parts)

    return max(claims, key=rank, default=None)
