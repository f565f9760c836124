"""New assets: uploaded files, and references to existing content."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import UploadFields, normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.uploads import UploadService
from ..comfy_assets.errors import (
    AssetNotFoundError,
    BodyTooLargeError,
    FileTooLargeError,
    HashMismatchError,
    InvalidBodyError,
    InvalidHashError,
    InvalidIdError,
    InvalidNameError,
    InvalidPreviewError,
    InvalidTagsError,
    NotEnoughSpaceError,
    ReservedTagError,
    StorageError,
    TooManyDownloadsError,
    UnsupportedContentError,
)
from ..comfy_assets.fs.atomic import run_blocking
from ..comfy_assets.fs.partial_file import PartialFile
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import ZERO_ID
from .asset_body import AssetCreated, created_response
from .context import NoQuery, RequestContext, endpoint
from .downloads import LINK_ERRORS, SOURCE_ERRORS, CreateAssetFromLinkRequest, create_from_link
from .operations import BINARY, FORM, JSON, STORAGE_ERRORS, Operation, RequestBody, Response, Route, object_with, string
from .params import (
    HASH,
    HASH_OR_DIGITS_PATTERN,
    Members,
    Tags,
    Text,
    check_user_metadata,
    doc,
    parse_body,
    parse_hash,
    parse_preview_id,
)
from .request_body import BROKEN_BODY, MAX_FORM_FIELD_SIZE, STREAMED, form_parts

# Of larger chunks and batches the memory is returned to the system and requested again all the time.
_CHUNK_SIZE = 256 << 10
_BATCH_SIZE = 1 << 20  # passing a batch to a thread costs about as much as hashing 100 KB
_MAX_CHUNKS = 512  # in a batch: a chunk of few bytes takes more memory than its content
FORM_SLACK = 1 << 20  # size of a form beside its file
# Unlike in queries, an upload may state a SHA-256 as well.
_HASH = re.compile(r"(?:(blake3|sha256):)?([0-9a-f]{64})")


class CreateAssetFromHashRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createAssetFromHash: the content and the fields of the new asset."""

    hash: Annotated[Text, doc(f"{HASH} The digits alone will do.", pattern=HASH_OR_DIGITS_PATTERN)]
    tags: Annotated[Tags, doc("Tags of the new asset.")]
    name: Annotated[Text | UnsetType, doc("Its name; the name of the content's file if omitted.")] = UNSET
    mime_type: Annotated[Text | UnsetType, doc("Media type of the content; determined from the file if omitted.")] = (
        UNSET
    )
    user_metadata: Annotated[Members | UnsetType, doc("Metadata to add to it.")] = UNSET


@endpoint()
async def create_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset from an uploaded file, or from a link in a JSON body (createAsset)."""
    if call.request.content_type == JSON:
        return await create_from_link(call)
    uploads = call.services.uploads
    # 0 means that the host's own limit applies.
    limit = call.services.config.max_upload_size or call.request.client_max_size
    async with receive_upload(call.request, uploads, limit) as (draft, declared):
        return created_response(await uploads.complete(draft, declared, call.user))


@endpoint()
async def create_from_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset from existing content (createAssetFromHash)."""
    body = await parse_body(CreateAssetFromHashRequest, call.request)
    declared = UploadFields(
        tags=normalize_tags(body.tags),
        name=normalize_name(body.name) if body.name is not UNSET else None,
        mime_type=check_mime(body.mime_type) if body.mime_type is not UNSET else None,
        user_metadata=check_user_metadata(body.user_metadata) if body.user_metadata is not UNSET else None,
    )
    return created_response(await call.services.references.create(parse_hash(body.hash), declared, call.user))


@contextlib.asynccontextmanager
async def receive_upload(
    request: web.Request, uploads: UploadService, limit: int
) -> AsyncIterator[tuple[PartialFile, UploadFields]]:
    """Receive a form with a file of at most ``limit`` bytes; yield the file and the form's fields.

    The file is removed at the end of the block unless it has become an asset. Raise ApiError for a malformed form.
    """
    if not request.content_type.startswith("multipart/"):
        raise UnsupportedContentError("An upload is sent as multipart/form-data.", details={"field": "Content-Type"})
    if request.content_length is not None and request.content_length > limit + FORM_SLACK:
        raise too_large(limit)
    async with contextlib.AsyncExitStack() as stack:
        form = _UploadForm(uploads, limit, stack)
        try:
            await form.read(await request.multipart())
        except BROKEN_BODY as error:
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
        async for part in form_parts(form):
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise InvalidBodyError("Every part of the form must be a named field.")
            await self._read_part(part, part.name)

    async def _read_part(self, part: BodyPartReader, name: str) -> None:
        if name in self._seen:
            raise InvalidBodyError("The field is given twice.", details={"field": name})
        self._seen.add(name)
        if name == "file":
            self.declared = replace(self.declared, file_name=client_name(part.filename or ""))
            # The tags before the file in the form choose the folder, and so the disk, that it is written to.
            draft = await self._stack.enter_async_context(self._uploads.receive(self.declared.tags))
            await receive_into(draft, part.read_chunk, self._limit)
            self.draft = draft
            return
        text = await field_text(part, name)
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


async def receive_into(draft: PartialFile, read: Callable[[int], Awaitable[bytes]], limit: int) -> None:
    """Write a file of at most ``limit`` bytes to disk: a thread hashes and writes one batch while the next is received.

    ``read`` returns up to so many bytes, none at the end. Raise FileTooLargeError, and its errors.
    """
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    gathered = total = 0
    try:
        while chunk := await read(_CHUNK_SIZE):
            total += len(chunk)
            if total > limit:
                raise too_large(limit)
            batch.append(chunk)
            gathered += len(chunk)
            if gathered >= _BATCH_SIZE or len(batch) >= _MAX_CHUNKS:
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


async def field_text(part: BodyPartReader, name: str, most: int = MAX_FORM_FIELD_SIZE) -> str:
    """Return the text of a field. Raise InvalidBodyError if it is too long or not UTF-8."""
    gathered = bytearray()
    while chunk := await part.read_chunk(_CHUNK_SIZE):
        gathered += chunk
        if len(gathered) > most:
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
    return ("sha256" if match[1] == "sha256" else "blake3"), bytes.fromhex(match[2])


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


def too_large(limit: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"The file is larger than the {limit} bytes this server accepts.",
        details={"field": "file", "max_bytes": limit},
    )


_UPLOAD_FORM = object_with(
    {"file": {**BINARY, "description": "The file. It must come last in the form if tags choose its folder."}},
    tags=string(
        "A JSON array of tags. `input`, `output`, or `models` with a category choose the folder.",
        contentMediaType="application/json",
    ),
    name=string("The displayed name; the file's own if omitted."),
    mime_type=string("Media type of the content; guessed by the server if omitted."),
    user_metadata=string("A JSON object: metadata of the user.", contentMediaType="application/json"),
    hash=string(
        "The expected hash of the content; the upload is refused if it differs. Digits alone are those of blake3.",
        pattern="^((blake3|sha256):)?[0-9a-f]{64}$",
    ),
    id=string("The UUID of the new asset.", format="uuid"),
    preview_id=string("The asset to use as the preview.", format="uuid"),
)

ROUTES = [
    Route(
        "POST",
        "/api/assets",
        create_asset,
        Operation(
            "createAsset",
            "Assets",
            "Upload a file",
            {
                200: Response("The existing asset: the user already had this content.", AssetCreated),
                201: Response("The new asset.", AssetCreated),
            },
            "The file is hashed while it is received. Without tags it is stored as an input. A JSON body has a link to"
            " the file instead, which is downloaded before the response.",
            body=RequestBody(_UPLOAD_FORM, FORM, others={JSON: CreateAssetFromLinkRequest}),
            errors=(
                InvalidBodyError,
                InvalidNameError,
                InvalidTagsError,
                InvalidHashError,
                InvalidIdError,
                InvalidPreviewError,
                HashMismatchError,
                FileTooLargeError,
                UnsupportedContentError,
                StorageError,
                BodyTooLargeError,
                NotEnoughSpaceError,
                TooManyDownloadsError,
                *LINK_ERRORS,
                *SOURCE_ERRORS,
                *STORAGE_ERRORS,
            ),
        ),
        body=STREAMED,
        media="any",
        stores=True,
    ),
    Route(
        "POST",
        "/api/assets/from-hash",
        create_from_hash,
        Operation(
            "createAssetFromHash",
            "Assets",
            "Create an asset from existing content",
            {
                200: Response("The existing asset: the user already had this content.", AssetCreated),
                201: Response("The new asset.", AssetCreated),
            },
            "Tags are free: they choose no folder. Tags of a model that name one category are completed.",
            body=RequestBody(CreateAssetFromHashRequest, example={"hash": "blake3:" + "0" * 64, "tags": ["input"]}),
            errors=(InvalidNameError, InvalidTagsError, ReservedTagError, InvalidHashError, AssetNotFoundError),
        ),
    ),
]
