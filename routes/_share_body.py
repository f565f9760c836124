"""Shares as the contract shows them."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw

from ..comfy_assets.assets.media.mime import has_thumbnail, is_previewable, is_safe_inline
from ..comfy_assets.models import Asset, SharedAsset
from ..comfy_assets.workflows.shares import Publication, VisibleShare
from .asset_body import asset_body, utc_time

_PREVIEW_RES = 512


class AssetInfo(msgspec.Struct, kw_only=True):
    """The contract's AssetInfo. Nothing here is provided by a platform: ``public`` is always false."""

    id: str
    name: str
    preview_url: str
    storage_url: str
    model: bool
    public: bool = False
    in_library: bool


class PublishInfo(msgspec.Struct, kw_only=True):
    """The contract's WorkflowPublishInfo. Never published: no assets, an empty share id, and null for the time."""

    workflow_id: str
    share_id: str = ""
    listed: bool = False
    publish_time: datetime | None = None
    assets: list[AssetInfo] = []


class PublishedBody(msgspec.Struct, kw_only=True):
    """The contract's PublishedWorkflowDetail."""

    share_id: str
    workflow_id: str
    name: str
    listed: bool = False
    publish_time: datetime
    workflow_json: Raw
    assets: list[AssetInfo]


def publish_info(publication: Publication) -> PublishInfo:
    """What is published of a workflow."""
    shared = publication.share
    if shared is None:
        return PublishInfo(workflow_id=publication.workflow_id)
    return PublishInfo(
        workflow_id=publication.workflow_id,
        share_id=shared.snapshot.share_id,
        publish_time=utc_time(shared.snapshot.published_at),
        assets=_assets(shared),
    )


def published_body(shared: VisibleShare) -> PublishedBody:
    """A share, with the workflow."""
    snapshot = shared.snapshot
    return PublishedBody(
        share_id=snapshot.share_id,
        workflow_id=snapshot.workflow_id,
        name=snapshot.name,
        publish_time=utc_time(snapshot.published_at),
        workflow_json=Raw(snapshot.text),
        assets=_assets(shared),
    )


def _assets(shared: VisibleShare) -> list[AssetInfo]:
    share_id = shared.snapshot.share_id
    return [_published(share_id, each, each.id in shared.in_library) for each in shared.snapshot.assets]


def _published(share_id: str, asset: SharedAsset, in_library: bool) -> AssetInfo:
    url = f"/api/workflows/published/{share_id}/assets/{asset.id}/content"
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        preview_url=_preview_url(url, asset.mime_type),
        storage_url=url,
        model=asset.kind == "models",
        in_library=in_library,
    )


def _preview_url(url: str, mime: str) -> str:
    """Where there is a thumbnail, or what a browser plays; nothing otherwise."""
    if has_thumbnail(mime):
        return f"{url}?res={_PREVIEW_RES}"
    return f"{url}?disposition=inline" if is_previewable(mime) and is_safe_inline(mime) else ""


def library_asset(asset: Asset) -> AssetInfo:
    """An asset of the user's library in the same form."""
    body = asset_body(asset)
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        preview_url=body.preview_url if isinstance(body.preview_url, str) else "",
        storage_url=f"/api/assets/{asset.id}/content",
        model="models" in msgspec.json.decode(asset.tags, type=list[str]),
        in_library=True,
    )
