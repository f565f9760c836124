"""What publishing makes of the paths of users' files, and of where assets lie. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ..assets.roots import Roots, absolute
from ..host.base import Folder
from ..models import Asset, SharedAsset
from ..names import UnsafeName, relative_parts

_FOLDER = "workflows"


def workflow_path(file: str) -> str | None:
    """The path in the user's workflows folder that a path in their folder means; None where it is not in there.

    Where it holds a ``%`` it is encoded once more, as servers take it.
    """
    plain = unquote(file) if "%" in file else file
    try:
        first, *rest = relative_parts(plain)
    except UnsafeName:
        return None
    return "/".join(rest) if first == _FOLDER and rest else None


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
