"""Pictures that ComfyUI's page uploads as previews of other assets.

They belong to their asset: no list, count or search contains them, only their ids lead to them. The page uploads

- a picture with the tag ``preview`` alone, before it imports a model by a link;
- ``NAME_preview.png`` with the tag ``output`` alone, which it has drawn of the 3D output NAME.

Then it sets the picture as the ``preview_id`` of the asset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import msgspec

from ..db import assets, tags
from ..db.connection import Transaction
from ..models import UPLOADED, Asset
from .media.mime import is_picture

FOLDER = "previews"  # below the folder of inputs or outputs, whose own files loaders and old pages list
TAG = "preview"
_SUFFIX = "_preview.png"
_OUTPUT = ("output",)
_MODELS_3D = frozenset({".fbx", ".glb", ".gltf", ".ksplat", ".obj", ".ply", ".splat", ".spz", ".stl", ".usdz"})


async def is_preview(tx: Transaction, name: str, mime_type: str, given: Sequence[str], owner: str) -> bool:
    """Return whether an upload with these tags is a preview rather than an asset for itself."""
    if not is_picture(mime_type):
        return False
    if tuple(given) == (TAG,):
        return True
    subject = name.removesuffix(_SUFFIX)
    if subject == name or tuple(given) != _OUTPUT or PurePath(subject).suffix.lower() not in _MODELS_3D:
        return False
    return await assets.has_name(tx, subject, owner)


async def adopt(tx: Transaction, asset: Asset, preview: Asset) -> None:
    """Take a preview out of all lists if it was uploaded for the asset."""
    if preview.origin != UPLOADED or preview.row_id == asset.row_id or not is_picture(preview.mime_type):
        return
    present = msgspec.json.decode(preview.tags, type=list[str])
    is_tagged = set(present) - set(tags.ROOT_TAGS) == {TAG}
    if is_tagged or preview.name == f"{asset.name}{_SUFFIX}":
        await tags.hide_as_preview(tx, preview.row_id)
