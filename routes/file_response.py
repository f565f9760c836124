"""Send a file: what HTTP asks of it beyond aiohttp's own FileResponse."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from ..comfy_assets.assets.media.mime import DEFAULT_MIME, guess_mime, is_safe_inline, may_run

STYLE_SHEET = "user.css"

_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-0*[1-9]\d{0,17})", re.ASCII)
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


class ContentResponse(web.FileResponse):
    """The bytes of a file: never those of a compressed neighbour, and a part only of what is still the same.

    A Range that is malformed, names several parts, or comes with another method than GET is ignored.
    """

    def __init__(self, path: Path, headers: dict[str, str]) -> None:
        super().__init__(path, headers=headers)
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        headers = CIMultiDict((name, text) for name, text in request.headers.items() if _is_unicode(text))
        # aiohttp would send model.json.gz, if there is one, to a browser that asks for model.json.
        headers.popall(hdrs.ACCEPT_ENCODING, None)
        if not await self._is_part_wanted(request):
            headers.popall(hdrs.RANGE, None)
        return await super().prepare(request.clone(headers=headers))

    async def _is_part_wanted(self, request: web.BaseRequest) -> bool:
        if request.method != hdrs.METH_GET or not is_one_range(request.headers.get(hdrs.RANGE, "")):
            return False
        condition = request.headers.get(hdrs.IF_RANGE, "")
        if '"' not in condition:
            return True  # none, or a date, which aiohttp compares
        return condition == await asyncio.to_thread(_etag, self._file)


def content_response(path: Path, name: str, mime: str, *, is_inline: bool) -> ContentResponse:
    """A file as it is sent to browsers: shown by them only where nothing in it can run."""
    inline = is_inline and is_safe_inline(mime)
    headers = {
        "Content-Type": mime if inline else DEFAULT_MIME,
        "Content-Disposition": disposition("inline" if inline else "attachment", name),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return ContentResponse(path, headers)


def make_inert(response: web.StreamResponse, name: str) -> None:
    """Change the headers of a host's response with a file, so that browsers run nothing that is in it.

    Style sheets stay what they are: the page has one of the user's.
    """
    if response.prepared or response.status not in (200, 206):
        return
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    if hdrs.CONTENT_TYPE not in headers and isinstance(response, web.FileResponse):
        headers[hdrs.CONTENT_TYPE] = guess_mime(name)  # aiohttp would ask the system, which may say anything
    if may_run(headers.get(hdrs.CONTENT_TYPE, "")) and name != STYLE_SHEET:
        headers[hdrs.CONTENT_TYPE] = DEFAULT_MIME
        headers[hdrs.CONTENT_DISPOSITION] = disposition("attachment", name or "file")


def is_one_range(text: str) -> bool:
    """Whether a Range header asks for one part, with its ends in order."""
    match = _ONE_RANGE.fullmatch(text)
    return match is not None and (not match[2] or int(match[1]) <= int(match[2]))


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition value with the name in ASCII and in full (RFC 6266)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def is_held(request: web.BaseRequest, etag: str) -> bool:
    """Whether the client has what bears this entity tag (with its quotes), as If-None-Match tells (RFC 9110)."""
    held = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, []))
    return held.strip() == "*" or etag in _ENTITY_TAG.findall(held)


def _etag(path: Path) -> str | None:
    """The entity tag aiohttp gives the file, or None when the file is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
