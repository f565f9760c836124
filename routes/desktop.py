"""The machine that the server runs on: showing a file on its desktop, and its addresses. Extensions."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web

from ..comfy_assets import desktop
from ..comfy_assets.errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    FolderNotOpenableError,
    StorageError,
)
from ..comfy_assets.host.access import is_beyond_this_machine
from .assets import ASSET_ID, by_any_id
from .context import NoQuery, RequestContext, endpoint
from .operations import Operation, Response, Route
from .params import doc


class NetworkResponse(msgspec.Struct):
    """The place of the server in its network, as its user sees it."""

    addresses: Annotated[
        list[str], doc("Addresses by which other machines reach it; empty if it listens to none of them.")
    ]
    port: Annotated[int, doc("The port of this request's connection; 0 if it is not known.")]
    open_to_network: Annotated[bool, doc("Whether it listens beyond its own machine.")]
    can_open_folders: Annotated[bool, doc("Whether showAssetInFolder works for this client.")]


@endpoint()
async def get_network(call: RequestContext[NoQuery]) -> NetworkResponse:
    """Return the server's addresses for other machines, and whether it can open folders (getNetwork)."""
    listening = call.services.host.network().listening
    addresses = await asyncio.to_thread(desktop.reachable_addresses, listening)
    own = _address(call.request, "sockname")
    return NetworkResponse(
        addresses=addresses,
        port=int(own[1]) if own is not None else 0,
        open_to_network=is_beyond_this_machine(listening),
        can_open_folders=_is_local(call.request) and desktop.has_desktop(),
    )


@endpoint()
@by_any_id
async def show_in_folder(call: RequestContext[NoQuery]) -> web.Response:
    """Open the folder of an asset's file on the desktop (showAssetInFolder)."""
    if not _is_local(call.request):
        raise FolderNotOpenableError("Folders can only be opened from the machine that the server runs on.")
    path = await call.services.assets.path_of(call.path["id"], call.user)
    if not desktop.has_desktop():
        raise FolderNotOpenableError("The server runs without a desktop, so it cannot open folders.")
    try:
        await asyncio.to_thread(desktop.show_in_folder, path)
    except OSError as error:
        raise StorageError(f"The folder cannot be opened: {error.strerror or error}.") from error
    return web.Response(status=204)


def _is_local(request: web.Request) -> bool:
    peer, own = _address(request, "peername"), _address(request, "sockname")
    return desktop.is_from_this_machine(
        None if peer is None else str(peer[0]), None if own is None else str(own[0]), request.host, request.headers
    )


def _address(request: web.Request, end: str) -> tuple[str, int] | None:
    """Return the address of an end of the connection; None for connections without addresses."""
    found = request.transport.get_extra_info(end) if request.transport is not None else None
    return (found[0], found[1]) if isinstance(found, tuple) and len(found) >= 2 else None


ROUTES = [
    Route(
        "GET",
        "/api/network",
        get_network,
        Operation(
            "getNetwork",
            "Server",
            "Get the addresses of the server for other machines",
            {200: Response("The addresses.", NetworkResponse)},
        ),
    ),
    Route(
        "POST",
        "/api/assets/{id}/show-in-folder",
        show_in_folder,
        Operation(
            "showAssetInFolder",
            "Assets",
            "Show an asset's file in its folder on the desktop",
            {204: Response("The folder is being opened.")},
            "Only for clients on the server's own machine, without a proxy between.",
            parameters=ASSET_ID,
            errors=(AssetNotFoundError, AssetContentMissingError, FolderNotOpenableError, StorageError),
        ),
        shared=(AssetNotFoundError,),
    ),
]
