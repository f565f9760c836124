"""The host's own uploads of pictures and masks: checked before, and assigned to the user who sent them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Literal, cast

from aiohttp import BodyPartReader, hdrs, web
from multidict import MultiDict, MultiDictProxy

from ..comfy_assets.assets.host_files import UploadMark
from ..comfy_assets.assets.prompts.outputs import alias_of, output_file
from ..comfy_assets.config import Config
from ..comfy_assets.errors import BodyTooLargeError, InvalidBodyError
from ..comfy_assets.host.base import Host
from ..comfy_assets.names import FILE_TYPES, UnsafeName, check_leads_nowhere, split_annotation
from .context import GuardedFunction, NoQuery, RequestContext, guarded, json_response
from .interceptors import (
    ErrorMapping,
    HostRequest,
    Interceptor,
    PictureCheck,
    StoreFileCheck,
    named_files,
    request_folders,
)
from .operations import (
    BINARY,
    FORM,
    UNEXPECTED_ERROR,
    UNKNOWN_USER,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    object_with,
    string,
)
from .quotas import AdmitBody
from .request_body import BROKEN_BODY, MAX_FORM_FIELD_SIZE, STREAMED, check_headers, form_parts

_TRUE = ("true", "1")  # as hosts compare the field ``overwrite``
_CHUNK_SIZE = 256 << 10
_IN_MEMORY_SIZE = 1 << 20  # larger files of a form go to a temporary file


async def _uploaded_files(call: HostRequest) -> list[Path]:
    """Return the paths that an upload would be written to, and the original picture of a mask."""
    form = await _read_form(call.request)
    image = form.get("image")
    name = image.filename if isinstance(image, web.FileField) else ""
    host = call.services.host
    paths = named_files(host, name, form.get("subfolder", ""), form.get("type", "input"))
    try:
        return paths + _referenced_files(host, _reference(form))
    except (ValueError, RecursionError):
        return paths  # malformed: the check of the form refuses it


async def _mask_pictures(call: HostRequest) -> Sequence[Path | IO[bytes]]:
    """Return the mask in an upload and its original picture."""
    form = await _read_form(call.request)
    try:
        reference = _reference(form)
    except (ValueError, RecursionError):
        return []  # malformed: the check of the form refuses it
    image = form.get("image")
    mask: list[Path | IO[bytes]] = [image.file] if isinstance(image, web.FileField) else []
    return [*mask, *_referenced_files(call.services.host, reference)]


def _reference(form: Mapping[str, Any]) -> Any:
    """Return the decoded ``original_ref`` of a mask. Raise ValueError, RecursionError."""
    return json.loads(str(form.get("original_ref")))


def _referenced_files(host: Host, reference: Any) -> list[Path]:
    if not isinstance(reference, dict):
        return []
    # As hosts do: null and "" mean the default, and so does a missing member.
    return named_files(
        host, reference.get("filename"), reference.get("subfolder") or "", reference.get("type") or "output"
    )


async def _check_image(call: RequestContext[NoQuery]) -> None:
    form = await _read_form(call.request)
    image = form.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        raise _field_error("image", "must be a file with a name")
    if form.get("type", "input") not in FILE_TYPES:
        raise _field_error("type", "must be input, output or temp")
    if not isinstance(form.get("subfolder", ""), str):
        raise _field_error("subfolder", "must be text")
    await asyncio.to_thread(_check_limits, image.file, call.services.config, "image")


def _check_limits(picture: IO[bytes] | Path, config: Config, field: str) -> None:
    """Raise ImageTooLargeError for a picture over a limit of the settings. Blocks."""
    from ..comfy_assets.image_limits import check_upload  # in the thread: importing Pillow slows the server's start

    check_upload(picture, config, field)


async def _check_mask(call: RequestContext[NoQuery]) -> None:
    await _check_image(call)
    text = (await _read_form(call.request)).get("original_ref")
    original = _original(text, call.services.host)
    if not await asyncio.to_thread(original.is_file):
        raise _field_error("original_ref", "names a picture that does not exist")
    await asyncio.to_thread(_check_limits, original, call.services.config, "original_ref")


def _original(text: Any, host: Host) -> Path:
    """Return the picture that ``{"filename", "subfolder", "type"}`` names. Raise InvalidBodyError."""
    try:
        reference = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _field_error("original_ref", "must be a JSON object") from error
    name = reference.get("filename") if isinstance(reference, dict) else None
    if not isinstance(name, str) or not name:
        raise _field_error("original_ref", "must name a file")
    subfolder, file_type = reference.get("subfolder", ""), reference.get("type", "output")
    bare, annotated = split_annotation(name)
    root = request_folders(host).get(annotated or file_type) if isinstance(file_type, str) else None
    if root is None or not isinstance(subfolder, str):
        raise _field_error("original_ref", "must name a folder: input, output or temp")
    try:
        check_leads_nowhere(bare)
        if subfolder:
            check_leads_nowhere(subfolder)
    except UnsafeName as error:
        raise _field_error("original_ref", f"is refused: {error}") from error
    return root / subfolder / bare


def _field_error(name: str, reason: str) -> InvalidBodyError:
    return InvalidBodyError(f"The field {name} {reason}.", details={"field": name})


async def assign_upload(call: HostRequest) -> web.StreamResponse:
    """Refuse to replace another user's file; assign the file that the host writes to the user.

    The id that the host's own asset feature gave to the file becomes an alias of ours.
    """
    if not call.services.host.is_multi_user():
        response = await call.pass_on()
        if response.status == 200 and isinstance(response, web.Response):
            await call.run(_note_alias(response))
        return response
    mark = await call.run(_begin)
    if isinstance(mark, web.StreamResponse):
        return mark
    response = await call.pass_on()
    if response.status == 200 and isinstance(response, web.Response) and mark is not None:
        await call.run(_claim(mark, response))
    return response


@guarded(allow_anonymous=True)
async def _begin(call: RequestContext[NoQuery]) -> UploadMark | None:
    """Return the state before the upload, or None if nothing is to be assigned after it."""
    form = await _read_form(call.request)
    image = form.get("image")
    if not isinstance(image, web.FileField):
        return None  # the host refuses it
    named = {"filename": image.filename, "subfolder": form.get("subfolder", ""), "type": form.get("type", "input")}
    file = output_file(named)
    if file is None:
        return None  # neither an input nor an output: temporary files belong to nobody
    overwrites = form.get("overwrite") in _TRUE
    return await call.services.host_uploads.begin(call.user, file, overwrites=overwrites)


def _claim(mark: UploadMark, response: web.Response) -> GuardedFunction:
    @guarded(allow_anonymous=True)
    async def claim(call: RequestContext[NoQuery]) -> None:
        file = output_file(_stored_file(response))
        if file is not None and call.user:
            await call.services.host_uploads.claim(call.user, file, mark, _alias_in(response))

    return claim


def _note_alias(response: web.Response) -> GuardedFunction:
    @guarded(requires_store=False, allow_anonymous=True)
    async def note(call: RequestContext[NoQuery]) -> None:
        alias = _alias_in(response)
        file = output_file(_stored_file(response)) if alias is not None else None
        if alias is not None and file is not None:
            await call.services.ready()
            await call.services.host_uploads.note_alias(file, alias)

    return note


def _alias_in(response: web.Response) -> str | None:
    """Return the id that the host gave to the uploaded file, if it has an asset feature of its own."""
    stored = _stored(response)
    asset = stored.get("asset") if stored is not None else None
    return alias_of(asset) if isinstance(asset, dict) else None


def _stored_file(response: web.Response) -> Mapping[str, Any] | None:
    """Return the file that the host has stored, in the form in which nodes name files."""
    stored = _stored(response)
    if stored is None:
        return None
    return {"filename": stored.get("name"), "subfolder": stored.get("subfolder"), "type": stored.get("type")}


def _stored(response: web.Response) -> dict[str, Any] | None:
    try:
        stored = json.loads(response.text or "")
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


async def list_files(call: HostRequest) -> web.StreamResponse:
    """Remove the names of other users' files from a list of the host."""
    response = await call.pass_on()
    kind = call.request.path.rpartition("/")[2]
    if not call.services.host.is_multi_user() or response.status != 200 or kind not in ("input", "output"):
        return response
    hidden = await call.run(_names_of_others, {"kind": kind})
    if isinstance(hidden, web.StreamResponse) or not isinstance(response, web.Response):
        return hidden if isinstance(hidden, web.StreamResponse) else response
    names = json.loads(response.text or "[]")
    return json_response([name for name in names if split_annotation(name)[0] not in hidden])


@guarded(allow_anonymous=True)
async def _names_of_others(call: RequestContext[NoQuery]) -> set[str]:
    kind: Literal["input", "output"] = "input" if call.path["kind"] == "input" else "output"
    return await call.services.host_uploads.names_of_others(call.user, kind)


async def _read_form(request: web.Request) -> MultiDictProxy[Any]:
    """Return the fields of a multipart form, and keep them for ``request.post`` of the host; {} for other bodies.

    Raise BodyTooLargeError, InvalidBodyError, UnsupportedContentError.
    """
    check_headers(request)
    if request.content_type != "multipart/form-data":
        return MultiDictProxy(MultiDict())
    if request._post is None:
        try:
            fields = await _HostForm(request.client_max_size).read(request)
        except (*BROKEN_BODY, OSError) as error:
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
        async for part in form_parts(await request.multipart()):
            if not isinstance(part, BodyPartReader) or part.name is None or hdrs.CONTENT_ENCODING in part.headers:
                raise InvalidBodyError("Every part of the form must be a named field, and not compressed.")
            self._fields.add(part.name, await (self._file(part) if part.filename else self._text(part)))
        return self._fields

    async def _text(self, part: BodyPartReader) -> str:
        gathered = bytearray()
        while chunk := await part.read_chunk(_CHUNK_SIZE):
            gathered += chunk
            if len(gathered) > MAX_FORM_FIELD_SIZE:
                raise InvalidBodyError("The field is too long.", details={"field": part.name})
        return part.decode(bytes(gathered)).decode(part.get_charset("utf-8"))

    async def _file(self, part: BodyPartReader) -> web.FileField:
        file = SpooledTemporaryFile(_IN_MEMORY_SIZE)  # noqa: SIM115 - the host reads it
        try:
            while chunk := await part.read_chunk(_CHUNK_SIZE):
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


_PLACE = Record(
    "UploadedFile",
    "The location of an uploaded file.",
    {
        "name": string("The file's name, which may differ from the uploaded one."),
        "subfolder": string("The folder inside the folder of the type."),
        "type": string("`input`, `output` or `temp`."),
    },
)
_IMAGE = {**BINARY, "description": "The image."}
_OVERWRITE = string("`true` to replace a file of this name.", enum=["true", "false", "1", "0"])
_UPLOAD_ERRORS = {
    400: "The form is malformed, the image is too large, or its folder accepts no uploads.",
    409: "`OTHER_USERS_FILE`: the upload would replace a file of another user.",
    411: "`LENGTH_REQUIRED`: the user's space is limited, and the form does not say its size.",
    413: "The form is too large, or `STORAGE_QUOTA_EXCEEDED`.",
    **UNKNOWN_USER,
    **UNEXPECTED_ERROR,
}

_STORE_CHECK = StoreFileCheck(_uploaded_files, are_written=True)
INTERCEPTORS = [
    Interceptor("POST", "/api/upload/image", AdmitBody()),
    Interceptor("POST", "/api/upload/image", _STORE_CHECK),
    Interceptor("POST", "/api/upload/image", ErrorMapping(_check_image), STREAMED),
    Interceptor("POST", "/api/upload/image", assign_upload),
    Interceptor("POST", "/api/upload/mask", AdmitBody()),
    Interceptor("POST", "/api/upload/mask", _STORE_CHECK),
    Interceptor("POST", "/api/upload/mask", PictureCheck(_mask_pictures)),
    Interceptor("POST", "/api/upload/mask", ErrorMapping(_check_mask), STREAMED),
    Interceptor("POST", "/api/upload/mask", assign_upload),
    Interceptor("GET", "/internal/files/{directory_type}", list_files),
]
HOST_OPERATIONS = [
    HostOperation(
        "POST",
        "/api/upload/image",
        Operation(
            "uploadImage",
            "Files",
            "Upload an image",
            {200: Response("The location.", _PLACE)},
            "An image that already exists is not stored twice.",
            body=RequestBody(
                object_with(
                    {"image": _IMAGE},
                    type=string("The folder.", enum=["input", "output", "temp"], default="input"),
                    subfolder=string("The folder inside that folder."),
                    overwrite=_OVERWRITE,
                ),
                FORM,
            ),
        ),
        statuses=_UPLOAD_ERRORS,
    ),
    HostOperation(
        "POST",
        "/api/upload/mask",
        Operation(
            "uploadMask",
            "Files",
            "Upload a mask of an image",
            {200: Response("The location.", _PLACE)},
            "The mask becomes the alpha channel of the image.",
            body=RequestBody(
                object_with(
                    {
                        "image": _IMAGE,
                        "original_ref": string(
                            "The masked image: a JSON object with `filename`, `subfolder` and `type`."
                        ),
                    },
                    type=string("The folder.", enum=["input", "output", "temp"], default="input"),
                    subfolder=string("The folder inside that folder."),
                    overwrite=_OVERWRITE,
                ),
                FORM,
            ),
        ),
        statuses=_UPLOAD_ERRORS,
    ),
]
