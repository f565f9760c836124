"""The asset of Comfy API v2. Unlike in the other API, unknown members are null."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ...comfy_assets.ids import hash_text
from ...comfy_assets.models import REFERENCE, Asset
from ..context import utc_time
from ..params import HASH, HASH_PATTERN, doc
from .addresses import asset_url, url_expires_at

_INPUTS = "input/"


class AssetV2Body(msgspec.Struct):
    """A record of a content: a file of the library, or a reference to content that it has."""

    id: Annotated[str, doc("A UUID.", format="uuid")]
    hash: Annotated[str | None, doc(f"{HASH} Null until the file has been read.", pattern=HASH_PATTERN)]
    size_bytes: Annotated[int, doc("Size of the content in bytes.", format="int64")]
    content_type: Annotated[str, doc("Media type of the content, such as `image/png`.")]
    file_path: Annotated[
        str | None,
        doc(
            "Its path: of an input below the input folder, of all others with the kind of their folder, as in "
            "`models/loras/a.safetensors`."
        ),
    ]
    created_at: Annotated[datetime, doc("Time at which it was added to the library.")]
    url: Annotated[str, doc("Absolute URL of the content.", format="uri")]
    url_expires_at: Annotated[datetime, doc("Time until which the URL is promised to work.")]
    expires_at: Annotated[datetime | None, doc("Time at which it will be deleted; null if it is kept.")]
    job_id: Annotated[str | None, doc("The job that created it.")]
    created_new: Annotated[
        bool | UnsetType, doc("In responses that create it: false if the library had the content already.")
    ] = UNSET


def asset_body(
    asset: Asset, request: web.Request, expires_at: int | None = None, *, created_new: bool | UnsetType = UNSET
) -> AssetV2Body:
    """Make the body of an asset in the response to a request; ``expires_at`` is in ms since 1970."""
    return AssetV2Body(
        id=asset.id,
        hash=hash_text(asset.hash) if asset.hash is not None else None,
        size_bytes=asset.size,
        content_type=asset.mime_type,
        file_path=file_path_of(asset),
        created_at=utc_time(asset.created_at),
        url=asset_url(request, asset.id),
        url_expires_at=url_expires_at(),
        expires_at=utc_time(expires_at) if expires_at is not None else None,
        job_id=asset.job_id,
        created_new=created_new,
    )


def file_path_of(asset: Asset) -> str:
    """Return the path of an asset in the form in which uploads name one. A reference has its own name there."""
    location = asset.location
    if location is None:
        return asset.name
    name = asset.name if asset.origin == REFERENCE else location.name
    return f"{location.logical}/{name}".removeprefix(_INPUTS)
