"""The form of an upload in Comfy API v2, whose file is written and hashed while it arrives.

Clients send the fields before the file. Another order works as well: the file then waits on the volume of the inputs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, hdrs, web

from ...comfy_assets.assets.fields import UploadFields, normalize_tags, parse_placement
from ...comfy_assets.assets.media.mime import DEFAULT_MIME, check_mime
from ...comfy_assets.assets.uploads import UploadService
from ...comfy_assets.errors import InvalidBodyError, UnsupportedContentError
from ...comfy_assets.fs.partial_file import PartialFile
from ..params import parse_hash
from ..request_body import BROKEN_BODY, MAX_FORM_FIELD_SIZE, form_parts
from ..uploads import FORM_SLACK, field_text, receive_into, too_large

SHORTEST_S, LONGEST_S = 60, 7 * 24 * 3600
# SDKs write file names into the header as they are, so a quote in one breaks the parser of headers.
_FIELD_NAME = re.compile(r'form-data;\s*name="([^"]{1,100})"', re.IGNORECASE)
_MAX_FIELD_SIZE = 8 << 10  # bytes; a path may have 1,024 characters
_REQUIRED = ("content_type", "file_path")


@dataclass(frozen=True)
class _Declared:
    """The fields of a form as far as they have arrived."""

    content_type: str | None = None
    file_path: str | None = None
    expected_hash: bytes | None = None
    tags: tuple[str, ...] = ()
    expires_in: int | None = None

    def fields(self) -> UploadFields:
        """Return the fields for the upload. Raises InvalidNameError, InvalidTagsError."""
        placement = parse_placement(self.file_path, "file_path") if self.file_path is not None else None
        tags = (*placement.tags, *self.tags) if placement is not None else self.tags
        fields = UploadFields(
            tags=normalize_tags(tags),
            mime_type=self.content_type if self.content_type != DEFAULT_MIME else None,
            hash=("blake3", self.expected_hash) if self.expected_hash is not None else None,
            expires_in=self.expires_in,
        )
        if placement is None:
            return fields
        return replace(fields, file_name=placement.name, subfolder=placement.subfolder)


@contextlib.asynccontextmanager
async def receive_form(
    request: web.Request, uploads: UploadService, limit: int
) -> AsyncIterator[tuple[PartialFile, UploadFields]]:
    """Receive a form with a file of at most ``limit`` bytes, which may be empty; yield the file and the fields.

    The file is removed at the end of the block unless it has become an asset. Raise ApiError for a malformed form.
    """
    if request.content_type != "multipart/form-data":
        raise UnsupportedContentError("An upload is sent as multipart/form-data.", details={"field": "Content-Type"})
    if request.content_length is not None and request.content_length > limit + FORM_SLACK:
        raise too_large(limit)
    async with contextlib.AsyncExitStack() as stack:
        form = _Form(uploads, limit, stack)
        try:
            await form.read(await request.multipart())
        except BROKEN_BODY as error:
            raise InvalidBodyError("The body is not a readable multipart form.") from error
        yield form.complete()


class _Form:
    def __init__(self, uploads: UploadService, limit: int, stack: contextlib.AsyncExitStack) -> None:
        self._uploads = uploads
        self._limit = limit
        self._stack = stack
        self._seen: set[str] = set()
        self._file: PartialFile | None = None
        self._declared = _Declared()

    async def read(self, form: MultipartReader) -> None:
        async for part in form_parts(form):
            if not isinstance(part, BodyPartReader):
                raise InvalidBodyError("A form has no other form in it.")
            name = _name_of(part)
            if name in self._seen and name != "tags":
                raise InvalidBodyError("The field is given twice.", details={"field": name})
            self._seen.add(name)
            await self._read_part(part, name)

    async def _read_part(self, part: BodyPartReader, name: str) -> None:
        if name == "file":
            # The fields before the file choose the folder, and so the disk, that it is written to.
            self._file = await self._stack.enter_async_context(self._uploads.receive(self._declared.fields().tags))
            await receive_into(self._file, part.read_chunk, self._limit)
            return
        text = await field_text(part, name, _MAX_FIELD_SIZE if name in (*_FIELDS, "tags") else MAX_FORM_FIELD_SIZE)
        if (parse := _FIELDS.get(name)) is not None:
            self._declared = replace(self._declared, **{name: parse(text)})
        elif name == "tags" and text:
            self._declared = replace(self._declared, tags=(*self._declared.tags, text))

    def complete(self) -> tuple[PartialFile, UploadFields]:
        """Return the file and the fields of a form that has been read. Raise ApiError if any is missing."""
        if missing := [name for name in _REQUIRED if not getattr(self._declared, name)]:
            raise InvalidBodyError(f"The form has no {missing[0]}.", details={"field": missing[0]})
        if self._file is None:
            raise InvalidBodyError("The form has no file.", details={"field": "file"})
        return self._file, self._declared.fields()


def _name_of(part: BodyPartReader) -> str:
    match = _FIELD_NAME.match(part.headers.get(hdrs.CONTENT_DISPOSITION, ""))
    if name := match[1] if match is not None else part.name:
        return name
    raise InvalidBodyError("Every part of the form must be a named field.")


def _content_type(text: str) -> str:
    try:
        return check_mime(text)
    except InvalidBodyError as error:
        raise InvalidBodyError("It must be a media type such as image/png.", details=_of("content_type")) from error


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and SHORTEST_S <= int(text) <= LONGEST_S):
        raise InvalidBodyError(f"It must be a number from {SHORTEST_S} to {LONGEST_S}.", details=_of("expires_in"))
    return int(text)


def _hash(text: str) -> bytes:
    return parse_hash(text.strip().lower(), "expected_hash")


def _of(field: str) -> dict[str, str]:
    return {"field": field}


_FIELDS: dict[str, Callable[[str], Any]] = {
    "content_type": _content_type,
    "file_path": str,
    "expected_hash": _hash,
    "expires_in": _seconds,
}
