"""Multipart forms: uploads, whose file goes straight to disk, and forms that the host reads after us.

Both are read with bounds that aiohttp's own reader lacks: the number of parts and the size of a field.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Literal, cast
from urllib.parse import unquote

import msgspec
from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http import HttpProcessingError
from multidict import MultiDict, MultiDictProxy

from ..comfy_assets.assets.fields import UploadFields, normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.uploads import UploadService
from ..comfy_assets.errors import (
    BodyTooLargeError,
    FileTooLargeError,
    InvalidBodyError,
    InvalidHashError,
    InvalidIdError,
    InvalidTagsError,
    UnsupportedContentError,
)
from ..comfy_assets.fs.atomic import PartialFile, run_blocking
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import ZERO_ID
from .params import check_user_metadata, parse_preview_id

_CHUNK_SIZE = 1 << 20
_BATCH_SIZE = 2 << 20  # passing a batch to a thread costs about as much as hashing 100 KB
_HOST_CHUNK_SIZE = 256 << 10
_IN_MEMORY_SIZE = 1 << 20  # larger files of a host's form go to a temporary file
_MAX_FIELD_SIZE = 256 << 10
_MAX_PARTS = 100
_FORM_SLACK = 1 << 20  # size of a form beside its file
# Unlike in queries, an upload may state a SHA-256 as well.
_HASH = re.compile(r"(blake3|sha256):([0-9a-f]{64})")

# Raised by various versions of aiohttp for forms that are malformed or end early.
_BROKEN_FORM = (
    ValueError,
    LookupError,
    RuntimeError,
    AssertionError,
    EOFError,
    ConnectionError,
    HttpProcessingError,
    web.RequestPayloadError,
)


@contextlib.asynccontextmanager
async def receive_upload(
    request: web.Request, uploads: UploadService, limit: int
) -> AsyncIterator[tuple[PartialFile, UploadFields]]:
    """Receive a form with a file of at most ``limit`` bytes; yield the file and the form's fields.

    The file is removed at the end of the block unless it has become an asset. Raise ApiError for a malformed form.
    """
    if not request.content_type.startswith("multipart/"):
        raise UnsupportedContentError("An upload is sent as multipart/form-data.", details={"field": "Content-Type"})
    if request.content_length is not None and request.content_length > limit + _FORM_SLACK:
        raise _too_large(limit)
    async with contextlib.AsyncExitStack() as stack:
        form = _UploadForm(uploads, limit, stack)
        try:
            await form.read(await request.multipart())
        except _BROKEN_FORM as error:
            raise InvalidBodyError("The body is not a readable multipart form.") from error
        if form.draft is None:
            raise InvalidBodyError("The form has no file.", details={"field": "file"})
        if form.draft.size == 0:
            raise InvalidBodyError("The file is empty.", details={"field": "file"})
        yield form.draft, form.declared


class _UploadForm:
    def __init__(self, uploads: UploadService, limit: int, stack: contextlib.AsyncExitStack) -> None:
        self._uploads = uploads
        self._limit = limit
        self._stack = stack
        self._seen: set[str] = set()
        self.draft: PartialFile | None = None
        self.declared = UploadFields()

    async def read(self, form: MultipartReader) -> None:
        for _ in range(_MAX_PARTS):
            part = await form.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise InvalidBodyError("Every part of the form must be a named field.")
            await self._read_part(part, part.name)
            await asyncio.sleep(0)  # otherwise the parts of a form that has arrived are read without any pause
        raise InvalidBodyError(f"A form has at most {_MAX_PARTS} fields.")

    async def _read_part(self, part: BodyPartReader, name: str) -> None:
        if name in self._seen:
            raise InvalidBodyError("The field is given twice.", details={"field": name})
        self._seen.add(name)
        if name == "file":
            self.declared = replace(self.declared, file_name=client_name(part.filename or ""))
            # The tags before the file in the form choose the folder, and so the disk, that it is written to.
            draft = await self._stack.enter_async_context(self._uploads.receive(self.declared.tags))
            await _receive(part, draft, self._limit)
            self.draft = draft
            return
        text = await _field_text(part, name)
        parse = _FIELDS.get(name)
        if parse is not None and text:
            self.declared = replace(self.declared, **{name: parse(text)})


def client_name(text: str) -> str:
    """Return the file name of the client, percent-decoded if the client encoded it (RFC 7578, section 2).

    A name is decoded only if that yields characters beyond ASCII: other names may contain a percent sign of their own.
    """
    if "%" not in text or not text.isascii():
        return text
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if decoded.isascii() else decoded


async def _receive(part: BodyPartReader, draft: PartialFile, limit: int) -> None:
    """Write the file to disk: a thread hashes and writes one batch while the next is received."""
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    gathered = total = 0
    try:
        while chunk := await part.read_chunk(_CHUNK_SIZE):
            total += len(chunk)
            if total > limit:
                raise _too_large(limit)
            batch.append(chunk)
            gathered += len(chunk)
            if gathered >= _BATCH_SIZE:
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(run_blocking(partial(draft.write, batch)))
                batch, gathered = [], 0
        if writing is not None:
            await writing
        await run_blocking(partial(draft.write, batch))
    finally:
        # The draft must not be closed while a thread still writes to it.
        if writing is not None and not writing.done():
            await asyncio.wait([writing])


async def _field_text(part: BodyPartReader, name: str) -> str:
    gathered = bytearray()
    while chunk := await part.read_chunk(_CHUNK_SIZE):
        gathered += chunk
        if len(gathered) > _MAX_FIELD_SIZE:
            raise InvalidBodyError("The field is too long.", details={"field": name})
    try:
        return gathered.decode()
    except UnicodeDecodeError as error:
        raise InvalidBodyError("The field is not UTF-8.", details={"field": name}) from error


def _tags(text: str) -> tuple[str, ...]:
    try:
        return normalize_tags(msgspec.json.decode(text, type=list[str]))
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
        raise InvalidIdError("The zero UUID cannot be an asset's id.", details={"field": "id"})
    return found


_FIELDS: dict[str, Callable[[str], Any]] = {
    "tags": _tags,
    "name": normalize_name,
    "mime_type": check_mime,
    "user_metadata": _user_metadata,
    "hash": _hash,
    "id": _id,
    "preview_id": parse_preview_id,
}


def _too_large(limit: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"The file is larger than the {limit} bytes this server accepts.",
        details={"field": "file", "max_bytes": limit},
    )


async def read_host_form(request: web.Request) -> MultiDictProxy[Any]:
    """Return the fields of a multipart form, and keep them for ``request.post`` of the host; {} for other bodies.

    Raise BodyTooLargeError, InvalidBodyError.
    """
    if request.content_type != "multipart/form-data":
        return MultiDictProxy(MultiDict())
    if request._post is None:
        try:
            fields = await _HostForm(request.client_max_size).read(request)
        # A broken body or an unknown charset; aiohttp 3.9 asserts on a body that ends early.
        except (ValueError, LookupError, RuntimeError, AssertionError, HttpProcessingError, OSError) as error:
            raise InvalidBodyError("The body is not a readable form.") from error
        request._post = MultiDictProxy(fields)
    return request._post


class _HostForm:
    """Reads the fields of a form. ``limit`` bounds the bytes of all files together; 0 is no limit."""

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
            await asyncio.sleep(0)  # otherwise the parts of a form that has arrived are read without any pause
        raise InvalidBodyError(f"A form has at most {_MAX_PARTS} fields.")

    async def _text(self, part: BodyPartReader) -> str:
        gathered = bytearray()
        while chunk := await part.read_chunk(_HOST_CHUNK_SIZE):
            gathered += chunk
            if len(gathered) > _MAX_FIELD_SIZE:
                raise InvalidBodyError("The field is too long.", details={"field": part.name})
        return part.decode(bytes(gathered)).decode(part.get_charset("utf-8"))

    async def _file(self, part: BodyPartReader) -> web.FileField:
        file = SpooledTemporaryFile(_IN_MEMORY_SIZE)  # noqa: SIM115 - the host reads it
        try:
            while chunk := await part.read_chunk(_HOST_CHUNK_SIZE):
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
