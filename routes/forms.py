"""Read the multipart form of an upload: the file straight to disk, everything else checked as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.tag_rules import normalized
from ..comfy_assets.assets.upload_fields import Declared, checked_name
from ..comfy_assets.assets.uploads import Uploads
from ..comfy_assets.errors import (
    FileTooLargeError,
    InvalidBodyError,
    InvalidHashError,
    InvalidIdError,
    InvalidTagsError,
    UnsupportedContentError,
)
from ..comfy_assets.fs.atomic import run_blocking
from ..comfy_assets.fs.partial_file import PartialFile
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import ZERO_ID
from .params import check_user_metadata, parse_preview_id

_CHUNK = 1 << 20
_BATCH = 2 << 20  # a hand-over to a thread costs about as much as hashing 100 KB
_MAX_FIELD = 256 << 10
_MAX_PARTS = 100
_FORM_SLACK = 1 << 20  # what the form may hold beside the file
_HASH = re.compile(r"(blake3|sha256):([0-9a-f]{64})")


@contextlib.asynccontextmanager
async def received(request: web.Request, uploads: Uploads, limit: int) -> AsyncIterator[tuple[PartialFile, Declared]]:
    """The file of a form and what the client says of it; the file is gone afterwards unless it was made an asset.

    ``limit`` is the largest file in bytes. Raises ApiError for whatever is wrong with the form.
    """
    if not request.content_type.startswith("multipart/"):
        raise UnsupportedContentError("An upload is sent as multipart/form-data.", details={"field": "Content-Type"})
    if request.content_length is not None and request.content_length > limit + _FORM_SLACK:
        raise _too_large(limit)
    async with contextlib.AsyncExitStack() as stack:
        form = _Form(uploads, limit, stack)
        try:
            await form.read(await request.multipart())
        except _BROKEN as error:
            raise InvalidBodyError("The body is not a readable multipart form.") from error
        if form.draft is None:
            raise InvalidBodyError("The form has no file.", details={"field": "file"})
        if form.draft.size == 0:
            raise InvalidBodyError("The file is empty.", details={"field": "file"})
        yield form.draft, form.declared


# What aiohttp raises for forms that are malformed or end early, in its various versions.
_BROKEN = (
    ValueError,
    LookupError,
    RuntimeError,
    AssertionError,
    EOFError,
    ConnectionError,
    HttpProcessingError,
    web.RequestPayloadError,
)


class _Form:
    def __init__(self, uploads: Uploads, limit: int, stack: contextlib.AsyncExitStack) -> None:
        self._uploads = uploads
        self._limit = limit
        self._stack = stack
        self._seen: set[str] = set()
        self.draft: PartialFile | None = None
        self.declared = Declared()

    async def read(self, form: MultipartReader) -> None:
        for _ in range(_MAX_PARTS):
            part = await form.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise InvalidBodyError("Every part of the form must be a named field.")
            await self._read_part(part, part.name)
            await asyncio.sleep(0)  # the parts of a form that has been received are read without any other pause
        raise InvalidBodyError(f"A form has at most {_MAX_PARTS} fields.")

    async def _read_part(self, part: BodyPartReader, name: str) -> None:
        if name in self._seen:
            raise InvalidBodyError("The field is given twice.", details={"field": name})
        self._seen.add(name)
        if name == "file":
            self.declared = replace(self.declared, file_name=client_name(part.filename or ""))
            draft = await self._stack.enter_async_context(self._uploads.draft(self.declared.tags))
            await _receive(part, draft, self._limit)
            self.draft = draft
            return
        text = await _text(part, name)
        parse = _FIELDS.get(name)
        if parse is not None and text:
            self.declared = replace(self.declared, **{name: parse(text)})


def client_name(text: str) -> str:
    """The name of the client's file. Some clients percent-encode what is not ASCII (RFC 7578, section 2).

    A name is decoded only if that shows characters beyond ASCII: others may well hold a percent sign of their own.
    """
    if "%" not in text or not text.isascii():
        return text
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if decoded.isascii() else decoded


async def _receive(part: BodyPartReader, draft: PartialFile, limit: int) -> None:
    """Write the file while more of it comes in: one batch is hashed and written as the next is received."""
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    gathered = total = 0
    try:
        while chunk := await part.read_chunk(_CHUNK):
            total += len(chunk)
            if total > limit:
                raise _too_large(limit)
            batch.append(chunk)
            gathered += len(chunk)
            if gathered >= _BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(run_blocking(partial(draft.write, batch)))
                batch, gathered = [], 0
        if writing is not None:
            await writing
        await run_blocking(partial(draft.write, batch))
    finally:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])


async def _text(part: BodyPartReader, name: str) -> str:
    gathered = bytearray()
    while chunk := await part.read_chunk(_CHUNK):
        gathered += chunk
        if len(gathered) > _MAX_FIELD:
            raise InvalidBodyError("The field is too long.", details={"field": name})
    try:
        return gathered.decode()
    except UnicodeDecodeError as error:
        raise InvalidBodyError("The field is not UTF-8.", details={"field": name}) from error


def _tags(text: str) -> tuple[str, ...]:
    try:
        return normalized(msgspec.json.decode(text, type=list[str]))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidTagsError("tags must be a JSON array of strings.", details={"field": "tags"}) from error


def _user_metadata(text: str) -> str:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidBodyError("user_metadata is not valid JSON.", details={"field": "user_metadata"}) from error
    return check_user_metadata(value)


def _hash(text: str) -> tuple[Literal["blake3", "sha256"], bytes]:
    match = _HASH.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidHashError(
            "A hash looks like blake3: or sha256: and 64 hexadecimal digits.", details={"field": "hash"}
        )
    return ("blake3" if match[1] == "blake3" else "sha256"), bytes.fromhex(match[2])


def _id(text: str) -> str:
    found = canonical_id(text)
    if found is None:
        raise InvalidIdError("id must be a UUID.", details={"field": "id"})
    if found == ZERO_ID:
        raise InvalidIdError("The zero UUID is no asset's id.", details={"field": "id"})
    return found


_FIELDS: dict[str, Callable[[str], Any]] = {
    "tags": _tags,
    "name": checked_name,
    "mime_type": check_mime,
    "user_metadata": _user_metadata,
    "hash": _hash,
    "id": _id,
    "preview_id": parse_preview_id,
}


def _too_large(limit: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"The file is larger than the {limit} bytes this server takes.", details={"field": "file", "max_bytes": limit}
    )
