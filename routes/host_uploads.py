"""The host's own operations on files where several users share it: what a user sends is theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.assets.host_uploads import UploadMark
from ..comfy_assets.assets.prompts.outputs import output_file
from ..comfy_assets.names import split_annotation
from ._host_form import read_form
from .context import Call, guarded, json_response
from .params import NoQuery
from .router import Passage

_TRUE = ("true", "1")


async def user_upload(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Refuse to replace another user's file, and make the file that the host writes the user's."""
    if not services.host.is_multi_user():
        return await pass_on(request)
    mark = await _begin(request, {}, services)
    if isinstance(mark, web.StreamResponse):
        return mark
    answer = await pass_on(request)
    if answer.status == 200 and isinstance(answer, web.Response) and mark is not None:
        await _claim(mark, answer)(request, {}, services)
    return answer


@guarded(is_for_anybody=True)
async def _begin(call: Call[NoQuery]) -> UploadMark | None:
    """The state before the upload; None where nothing is to be claimed after it."""
    form = await read_form(call.request)
    image = form.get("image")
    if not isinstance(image, web.FileField):
        return None  # it is the host's to refuse
    named = {"filename": image.filename, "subfolder": form.get("subfolder", ""), "type": form.get("type", "input")}
    file = output_file(named)
    if file is None:
        return None
    overwrites = form.get("overwrite") in _TRUE
    return await call.services.host_uploads.begin(call.user, file, overwrites=overwrites)


def _claim(mark: UploadMark, answer: web.Response) -> Any:
    @guarded(is_for_anybody=True)
    async def claim(call: Call[NoQuery]) -> None:
        file = output_file(_told(answer))
        if file is not None and call.user:
            await call.services.host_uploads.claim(call.user, file, mark)

    return claim


def _told(answer: web.Response) -> Mapping[str, Any] | None:
    """Return the file that the host has stored, in the form in which nodes name files."""
    try:
        told = json.loads(answer.text or "")
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    return {"filename": told.get("name"), "subfolder": told.get("subfolder"), "type": told.get("type")}


async def list_files(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Leave out the names of files that are other users'."""
    answer = await pass_on(request)
    kind = request.path.rpartition("/")[2]
    if not services.host.is_multi_user() or answer.status != 200 or kind not in ("input", "output"):
        return answer
    hidden = await _names_of_others(request, {"kind": kind}, services)
    if isinstance(hidden, web.StreamResponse) or not isinstance(answer, web.Response):
        return hidden if isinstance(hidden, web.StreamResponse) else answer
    return json_response([name for name in json.loads(answer.text or "[]") if split_annotation(name)[0] not in hidden])


@guarded(is_for_anybody=True)
async def _names_of_others(call: Call[NoQuery]) -> set[str]:
    return await call.services.host_uploads.names_of_others(
        call.user, "input" if call.path["kind"] == "input" else "output"
    )


PASSAGES = [
    Passage("POST", "/api/upload/image", user_upload),
    Passage("POST", "/api/upload/mask", user_upload),
    Passage("GET", "/internal/files/{directory_type}", list_files),
]
