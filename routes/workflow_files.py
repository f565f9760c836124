"""What the page does to its workflow files passes through here on its way to the host, and is taken up."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.workflows.paths import in_userdata
from ._dispatch import Passage
from ._endpoint import Call, guarded
from ._params import NoQuery


async def changed(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """A file of the user is saved, moved or deleted. What goes wrong here is logged, and mended by the next look."""
    answer = await pass_on(request)
    if 200 <= answer.status < 300:
        await _take_up(request, request.match_info, services)
    return answer


@guarded()
async def _take_up(call: Call[NoQuery]) -> None:
    paths = [in_userdata(call.path[name]) for name in ("file", "dest") if name in call.path]
    files = call.services.workflow_files
    if len(paths) == 2 and paths[0] is not None and paths[1] is not None:
        await files.moved(call.user, paths[0], paths[1])
        return
    for path in paths:
        if path is not None:
            await files.look_at(call.user, path)


PASSAGES = [
    Passage(method, f"{prefix}/userdata/{path}", changed)
    for prefix in ("", "/api")
    for method, path in (("POST", "{file}"), ("DELETE", "{file}"), ("POST", "{file}/move/{dest}"))
]
