"""Responses with the content of a file, stricter than aiohttp's own FileResponse."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path, PurePath
from urllib.parse import quote, unquote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from ..comfy_assets.assets.media.mime import DEFAULT_MIME, guess_mime, is_safe_inline, may_run
from ..comfy_assets.fs.paths import extended_path
from ..comfy_assets.host.request_copies import with_headers
from ..comfy_assets.host.shared_file_response import SharedFileResponse
from ..comfy_assets.names import split_annotation
from .interceptors import HostRequest

STYLE_SHEET = "user.css"
# For an SVG image: no scripts, no requests, and an origin of its own if it is opened as a page.
INERT_IMAGE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox"

# first-last, first- or -length; longer numbers than 18 digits are no valid positions.
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-0*[1-9]\d{0,17})", re.ASCII)
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


class ContentResponse(SharedFileResponse):
    """The content of a file. ``If-Range`` is compared by entity tag.

    A Range is ignored if it is malformed, has several parts, or comes with a method other than GET.
    """

    def __init__(self, path: Path, headers: dict[str, str]) -> None:
        super().__init__(path, headers)
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if hdrs.RANGE in request.headers and not await self._is_part_wanted(request):
            headers = CIMultiDict(request.headers)
            headers.popall(hdrs.RANGE)
            request = with_headers(request, headers)
        return await super().prepare(request)

    async def _is_part_wanted(self, request: web.BaseRequest) -> bool:
        if request.method != hdrs.METH_GET or not is_one_range(request.headers.get(hdrs.RANGE, "")):
            return False
        condition = request.headers.get(hdrs.IF_RANGE, "")
        if '"' not in condition:
            return True  # no condition, or a date, which aiohttp compares
        return condition == await asyncio.to_thread(_etag, self._file)


def content_response(
    path: Path, name: str, mime: str, *, is_inline: bool, kind: type[ContentResponse] = ContentResponse
) -> ContentResponse:
    """Make the response of a file. Browsers display it only if nothing in it can run."""
    inline = is_inline and is_safe_inline(mime)
    headers = {
        "Content-Type": mime if inline else DEFAULT_MIME,
        "Content-Disposition": disposition("inline" if inline else "attachment", name),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return kind(path, headers)


async def send_inert(call: HostRequest) -> web.StreamResponse:
    """Change the headers of a user's file so that browsers run nothing in it.

    Older hosts display SVG and HTML in the page's own origin.
    """
    response = await call.pass_on()
    name = unquote(call.request.match_info.get("file", ""))
    name = name or split_annotation(call.request.query.get("filename", ""))[0]
    _make_inert(response, PurePath(name.replace("\\", "/")).name)
    return response


def _make_inert(response: web.StreamResponse, name: str) -> None:
    """Change the headers of a host's response with a file, so that browsers run nothing in it.

    The user's style sheet keeps its type: the page loads it.
    """
    if response.prepared or response.status not in (200, 206):
        return
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    if hdrs.CONTENT_TYPE not in headers and isinstance(response, web.FileResponse):
        headers[hdrs.CONTENT_TYPE] = guess_mime(name)  # aiohttp would use the system's types, which differ
    if may_run(headers.get(hdrs.CONTENT_TYPE, "")) and name != STYLE_SHEET:
        headers[hdrs.CONTENT_TYPE] = DEFAULT_MIME
        headers[hdrs.CONTENT_DISPOSITION] = disposition("attachment", name or "file")


def first_byte(request: web.BaseRequest) -> int | None:
    """Return the position at which the range of a GET begins, None without one or with a condition for it.

    A range of the last bytes begins at 0, as far as it matters whether there are any.
    """
    text = request.headers.get(hdrs.RANGE, "")
    if request.method != hdrs.METH_GET or hdrs.IF_RANGE in request.headers or not is_one_range(text):
        return None
    match = _ONE_RANGE.fullmatch(text)
    return int(match[1]) if match is not None and match[1] else 0


def is_one_range(text: str) -> bool:
    """Return whether a Range header requests one range with its ends in order."""
    match = _ONE_RANGE.fullmatch(text)
    return match is not None and (not match[2] or int(match[1]) <= int(match[2]))


def disposition(kind: str, name: str) -> str:
    """Make a Content-Disposition value with the name in ASCII and in full (RFC 6266)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def is_held(request: web.BaseRequest, etag: str) -> bool:
    """Return whether If-None-Match contains this entity tag, which includes its quotes (RFC 9110)."""
    held = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, []))
    return held.strip() == "*" or etag in _ENTITY_TAG.findall(held)


def _etag(path: Path) -> str | None:
    """Return the entity tag that aiohttp gives the file, None for a missing file."""
    try:
        stat = extended_path(path).stat()
    except OSError:
        return None
    return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
