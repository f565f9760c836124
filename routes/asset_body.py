"""An asset as the contract shows it. What is unknown is left out, never null."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.assets.media.mime import guess_mime, has_thumbnail, is_picture, is_previewable
from ..comfy_assets.ids import hash_text
from ..comfy_assets.models import MODEL_TYPE_PREFIX, Asset, Location

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EMPTY = Raw(b"{}")
_PREVIEW_RES = 512
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class AssetBody(msgspec.Struct):
    """The contract's Asset, with ``loader_path`` (the name a loader node takes) in addition."""

    id: str
    name: str
    display_name: str
    size: int
    mime_type: str
    tags: Raw
    user_metadata: Raw
    created_at: datetime
    updated_at: datetime
    is_immutable: bool
    hash: str | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET
    file_path: str | UnsetType = UNSET
    loader_path: str | UnsetType = UNSET
    preview_id: str | UnsetType = UNSET
    preview_url: str | UnsetType = UNSET
    job_id: str | UnsetType = UNSET
    last_access_time: datetime | UnsetType = UNSET


def asset_body(asset: Asset, documents: Mapping[str, bytes | None] | None = None) -> AssetBody:
    """The asset; with ``documents`` its metadata also holds the large texts found in the file.

    Those that are None are named in ``left_out`` instead.
    """
    body = AssetBody(
        id=asset.id,
        name=asset.name,
        display_name=asset.name,
        size=asset.size,
        mime_type=asset.mime_type,
        tags=Raw(asset.tags.encode()),
        user_metadata=Raw(asset.user_metadata.encode()) if asset.user_metadata else _EMPTY,
        created_at=utc_time(asset.created_at),
        updated_at=utc_time(asset.updated_at),
        is_immutable=False,
    )
    if asset.hash is not None:
        body.hash = hash_text(asset.hash)
        body.metadata = _metadata(asset.metadata or "{}", documents)
    if asset.last_access_at is not None:
        body.last_access_time = utc_time(asset.last_access_at)
    if asset.job_id is not None and _UUID.fullmatch(asset.job_id):
        body.job_id = asset.job_id
    if asset.location is not None:
        _put_location(body, asset, asset.location)
    _put_preview(body, asset)
    return body


def _metadata(facts: str, documents: Mapping[str, bytes | None] | None) -> Raw:
    if not documents:
        return Raw(facts.encode())
    members: dict[str, Raw] = msgspec.json.decode(facts, type=dict[str, Raw])
    members.update({key: Raw(text) for key, text in documents.items() if text is not None})
    left_out = [key for key, text in documents.items() if text is None]
    if left_out:
        members["left_out"] = Raw(msgspec.json.encode(left_out))
    return Raw(msgspec.json.encode(members))


def _put_location(body: AssetBody, asset: Asset, location: Location) -> None:
    body.file_path = f"{location.logical}/{location.name}"
    if location.loader_prefix is not None and MODEL_TYPE_PREFIX in asset.tags:
        prefix = location.loader_prefix
        body.loader_path = f"{prefix}/{location.name}" if prefix else location.name


def _put_preview(body: AssetBody, asset: Asset) -> None:
    """The asset that a user chose as the preview, or else the asset itself as far as it is a picture."""
    if asset.preview_id is not None:
        body.preview_id = asset.preview_id
    elif is_picture(asset.mime_type):
        body.preview_id = asset.id
    url = None
    if asset.preview is not None:
        url = _preview_url(asset.preview, guess_mime(asset.preview.name), None)
    if url is None and asset.location is not None:
        url = _preview_url(asset.location, asset.mime_type, asset.hash)
    if url is not None:
        body.preview_url = url


def _preview_url(location: Location, mime: str, digest: bytes | None) -> str | None:
    """Where a page finds a thumbnail of a picture, or a video or sound to play; None when there is no such thing.

    Files of models have no type that viewFile knows: pictures beside them are found by their hash.
    """
    if location.missing:
        return None
    if location.kind != "models":
        if has_thumbnail(mime):
            return f"{_view_url(location)}&res={_PREVIEW_RES}"
        return _view_url(location) if is_previewable(mime) else None
    if digest is None or not has_thumbnail(mime):
        return None
    return f"/api/view?filename=blake3%3A{digest.hex()}&res={_PREVIEW_RES}"


def _view_url(location: Location) -> str:
    url = f"/api/view?type={location.kind}&filename={quote(location.name, safe='')}"
    subfolder = location.logical.partition("/")[2]
    return f"{url}&subfolder={quote(subfolder, safe='')}" if subfolder else url


def utc_time(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as a time that is encoded with a Z."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
