"""Forms that a host reads after us: read once, with bounds that aiohttp's own reader lacks."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http import HttpProcessingError
from multidict import MultiDict, MultiDictProxy

from ..comfy_assets.errors import BodyTooLargeError, InvalidBodyError

_MAX_PARTS = 100
_MAX_TEXT = 256 << 10
_CHUNK = 256 << 10
_IN_MEMORY = 1 << 20


async def read_form(request: web.Request) -> MultiDictProxy[Any]:
    """Return the fields of a multipart form, as ``request.post`` does from then on; of another body there are none.

    Raise BodyTooLargeError, InvalidBodyError.
    """
    if request.content_type != "multipart/form-data":
        return MultiDictProxy(MultiDict())
    if request._post is None:
        try:
            fields = await _Form(request.client_max_size).read(request)
        # A broken body or an unknown charset; aiohttp 3.9 asserts on a body that ends early.
        except (ValueError, LookupError, RuntimeError, AssertionError, HttpProcessingError, OSError) as error:
            raise InvalidBodyError("The body is not a readable form.") from error
        request._post = MultiDictProxy(fields)
    return request._post


class _Form:
    """The fields read so far. ``limit`` is how many bytes all of them may have; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._fields: MultiDict[Any] = MultiDict()

    async def read(self, request: web.Request) -> MultiDict[Any]:
        form = await request.multipart()
        for _ in range(_MAX_PARTS):
            part = await form.next()
            if part is None:
                return self._fields
            if not isinstance(part, BodyPartReader) or part.name is None or hdrs.CONTENT_ENCODING in part.headers:
                raise InvalidBodyError("Every part of the form must be a named field, and not compressed.")
            self._fields.add(part.name, await (self._file(part) if part.filename else self._text(part)))
            await asyncio.sleep(0)  # the parts of a form that has been received are read without any other pause
        raise InvalidBodyError(f"A form has at most {_MAX_PARTS} fields.")

    async def _text(self, part: BodyPartReader) -> str:
        gathered = bytearray()
        while chunk := await part.read_chunk(_CHUNK):
            gathered += chunk
            if len(gathered) > _MAX_TEXT:
                raise InvalidBodyError("The field is too long.", details={"field": part.name})
        return part.decode(bytes(gathered)).decode(part.get_charset("utf-8"))

    async def _file(self, part: BodyPartReader) -> web.FileField:
        file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the host reads it
        try:
            while chunk := await part.read_chunk(_CHUNK):
                self._size += len(chunk)
                if 0 < self._limit < self._size:
                    raise BodyTooLargeError("The form is too large.", details={"max_bytes": self._limit})
                await asyncio.to_thread(file.write, part.decode(chunk))
            await asyncio.to_thread(file.seek, 0)
        except BaseException:
            file.close()
            raise
        kind = part.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
        return web.FileField(str(part.name), str(part.filename), cast("IO[bytes]", file), kind, part.headers)
