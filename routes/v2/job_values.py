"""Outputs of jobs that are no assets of the library, as the assets that clients of Comfy API v2 expect."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from ...comfy_assets.errors import AssetNotFoundError, RangeNotSatisfiableError
from ...comfy_assets.jobs.values import JobValue
from ..context import RequestContext, error_of, utc_time
from ..file_response import content_response, disposition, is_one_range
from .addresses import asset_url, url_expires_at
from .asset_body import AssetV2Body

_HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}


async def find_value(call: RequestContext[Any], error: AssetNotFoundError) -> JobValue:
    """Return the output with the id of a request for an asset that the library lacks. Raises ``error``."""
    value = await call.services.job_values.find(call.path["id"], call.user)
    if value is None:
        raise error
    return value


def value_body(value: JobValue, request: web.Request) -> AssetV2Body:
    """Make the body of an asset."""
    return AssetV2Body(
        id=value.id,
        hash=None,
        size_bytes=value.size,
        content_type=value.mime_type,
        file_path=value.name,
        created_at=utc_time(value.created_at),
        url=asset_url(request, value.id),
        url_expires_at=url_expires_at(),
        expires_at=None,
        job_id=value.job_id,
    )


def value_content(value: JobValue, request: web.Request) -> web.StreamResponse:
    """Make the response with the content, whole or a range of it."""
    if value.path is not None:
        return content_response(value.path, value.name, value.mime_type, is_inline=True)
    text = value.text or b""
    headers = {
        **_HEADERS,
        "Content-Type": f"{value.mime_type}; charset=utf-8",
        "Content-Disposition": disposition("inline", value.name),
    }
    if not is_one_range(request.headers.get(hdrs.RANGE, "")):
        return web.Response(body=text, headers=headers)
    start, stop, _ = request.http_range.indices(len(text))
    if start >= stop:
        refusal = error_of(RangeNotSatisfiableError(f"The content has {len(text)} bytes.", details={"size": len(text)}))
        refusal.headers[hdrs.CONTENT_RANGE] = f"bytes */{len(text)}"
        return refusal
    headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{len(text)}"
    return web.Response(body=text[start:stop], status=206, headers=headers)
