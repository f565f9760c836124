"""The server itself: health, features, the log subscription, the description of its API, and its machine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from aiohttp import web

from ..comfy_assets import desktop, panel_page
from ..comfy_assets.app import Services
from ..comfy_assets.config import Config
from ..comfy_assets.errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    FolderNotOpenableError,
    InvalidBodyError,
    StorageError,
    StoreBusyError,
)
from ..comfy_assets.host.access import is_beyond_this_machine
from .assets import ASSET_ID, by_any_id
from .context import NoQuery, RequestContext, endpoint, json_response
from .file_response import is_held
from .interceptors import ErrorMapping, HostRequest, Interceptor
from .operations import (
    PLAIN,
    TEXT,
    UNKNOWN_USER,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    Route,
    array,
    boolean,
    integer,
    is_missing_at_host,
    mapping,
    number,
    object_with,
    string,
)
from .params import doc, object_body

_STORE_TIMEOUT_S = 2.0  # shorter than the timeout of common health checks
_DOCS = Path(__file__).parent / "openapi" / "page"

# Flags for ComfyUI's page: the panels of its own that this library can serve. It ignores flags that it does not know;
# docs/compatibility.md lists the versions of the page that know them. These are flags of features that always work.
_PAGE_FLAGS: Mapping[str, Any] = {
    "assets": True,  # Media Assets, the model library and the pickers read /api/assets
    "supports_model_type_tags": True,  # models are grouped by their tags model_type:…
    "asset_deletion_enabled": True,  # inputs and models can be deleted too
    "asset_rename_enabled": True,  # pages up to 1.55
}
# Flags of import by link.
_IMPORT_FLAGS: Mapping[str, Any] = {
    "model_upload_button_enabled": True,  # the button
    "private_models_enabled": True,  # the button opens the import wizard instead of an advertisement
    "user_secrets_enabled": True,  # keys: the wizard mentions them, and signed-in users have them in their settings
}


def _unavailable(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make the text that health checks look for, with the reason if the store is open but fails."""
    text = f"Service Unavailable\n{code}: {message}" if status == StoreBusyError.status else "Service Unavailable"
    return web.Response(status=503, text=text)


@endpoint(requires_store=False, allow_anonymous=True, failure=_unavailable)
async def health(call: RequestContext[NoQuery]) -> web.Response:
    """Return whether the store works, as plain text for health checks (getHealth)."""
    try:
        await asyncio.wait_for(call.services.check_store(), _STORE_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise StoreBusyError("The store does not respond in time.") from None
    return web.Response(text="OK")


def page_flags(config: Config) -> dict[str, Any]:
    """Return the feature flags for ComfyUI's page, which receives them when it connects, and in ``GET /api/features``.

    There are none if the settings turn them off.
    """
    if not config.feature_flags:
        return {}
    return {**_PAGE_FLAGS, **_IMPORT_FLAGS} if config.downloads else dict(_PAGE_FLAGS)


async def features(call: HostRequest) -> web.StreamResponse:
    """Add the contract's features to those of the host (getFeatures); the host's value of a feature counts."""
    ours = {
        **page_flags(call.services.config),
        # 0 means that the host's own limit applies.
        "max_upload_size": call.services.config.max_upload_size or call.request.client_max_size,
        "supports_preview_metadata": False,
        # Whether other machines can reach the server without a login: the panel warns of it.
        "open_to_network": is_open_to_network(call.services),
        "login_enabled": call.services.login.is_enabled,
    }
    if is_missing_at_host(call.request, call.services):
        return json_response(ours)
    response = await call.pass_on()
    if response.status != 200 or not isinstance(response, web.Response):
        return response
    theirs = json.loads(response.text or "{}")
    # With nothing to add, the response is left as it is, with its headers.
    if not isinstance(theirs, dict) or ours.keys() <= theirs.keys():
        return response
    return json_response({**ours, **theirs})


def is_open_to_network(services: Services) -> bool:
    """Return whether other machines can reach the server, and its login is off."""
    return not services.login.is_enabled and is_beyond_this_machine(services.host.network().listening)


async def _check_subscription(call: RequestContext[NoQuery]) -> None:
    body = await object_body(call.request)
    for name, kind in (("clientId", str), ("enabled", bool)):
        if not isinstance(body.get(name), kind):
            raise InvalidBodyError(f"{name} is missing or of the wrong type.", details={"field": name})


@dataclass(frozen=True)
class StaticContent:
    """A body that does not change while the program runs, with its entity tag."""

    body: bytes
    etag: str


@endpoint(requires_store=False, allow_anonymous=True)
async def get_panel_page(call: RequestContext[NoQuery]) -> web.Response:
    """Return the page that shows the panel alone (getPanelPage, an extension)."""
    html = panel_page.markup(call.services.host.web_path(), "Library")
    return await static_response(call.request, lambda: static_content(html.encode()), {**panel_page.HEADERS})


def description_routes(others: Sequence[Route], host_operations: Sequence[HostOperation]) -> list[Route]:
    """Make the routes of the OpenAPI document and its page, which describe these operations and themselves."""

    @cache
    def document() -> StaticContent:
        from . import openapi  # on the first request: most servers are never asked for the document

        return static_content(msgspec.json.encode(openapi.document(routes, host_operations)))

    @endpoint(requires_store=False, allow_anonymous=True)
    async def get_document(call: RequestContext[NoQuery]) -> web.Response:
        """Return the OpenAPI document (getOpenApiDocument, an extension)."""
        return await static_response(call.request, document, {"Content-Type": "application/json"})

    @endpoint(requires_store=False, allow_anonymous=True)
    async def get_page(call: RequestContext[NoQuery]) -> web.Response:
        """Return the page that displays the document (getApiPage, an extension)."""
        page = await asyncio.to_thread(docs_page)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy}
        return await static_response(call.request, lambda: static_content(page.html), headers)

    own = [
        Route(
            "GET",
            "/api/openapi.json",
            get_document,
            Operation(
                "getOpenApiDocument",
                "Server",
                "Get this document",
                {
                    200: Response("The document.", mapping(), headers={"ETag": "Entity tag of the document."}),
                    304: Response("The client's copy is up to date."),
                },
                is_open=True,
            ),
        ),
        Route(
            "GET",
            "/api/docs",
            get_page,
            Operation(
                "getApiPage",
                "Server",
                "Get this document as a page",
                {
                    200: Response("The page.", PLAIN, "text/html", {"ETag": "Entity tag of the page."}),
                    304: Response("The client's copy is up to date."),
                },
                is_open=True,
            ),
        ),
    ]
    # Read by the handlers above when they are called.
    routes = [*others, *own]
    return own


class DocsPage(NamedTuple):
    """The page that displays the document, a single file that loads nothing else, and its Content-Security-Policy."""

    html: bytes
    policy: str


@cache
def docs_page() -> DocsPage:
    """Return the page with its style and script inserted. Blocks: reads files."""
    markup, style, script = ((_DOCS / f"docs.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    html = markup.replace("/* docs.css */", style).replace("/* docs.js */", script)
    # The hashes permit exactly this style and script, where 'unsafe-inline' would permit any that gets into the page.
    policy = "; ".join(
        [
            "default-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "connect-src 'self'",
            "img-src 'self' blob: data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
        ]
    )
    return DocsPage(html.encode(), policy)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def static_content(body: bytes) -> StaticContent:
    """Return a body with its entity tag."""
    return StaticContent(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


async def static_response(
    request: web.Request, make: Callable[[], StaticContent], headers: dict[str, str]
) -> web.Response:
    """Respond with a content that ``make`` makes in a thread, or with 304 if the client has it."""
    content = await asyncio.to_thread(make)
    # Clients keep it but ask each time: an update of the pack changes it at the same URL.
    headers |= {"ETag": content.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if is_held(request, content.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content.body, headers=headers)


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


_STATS = Record(
    "SystemStatsResponse",
    "The machine, and the versions and resources of the server.",
    {
        "system": object_with(
            {
                "os": string("The operating system."),
                "python_version": string("The version of Python."),
                "embedded_python": boolean("Whether the server brings its own Python."),
                "comfyui_version": string("The version of ComfyUI."),
                "pytorch_version": string("The version of PyTorch; `none` without it."),
                "argv": array({"type": "string"}, "Command line of the server."),
                "ram_total": number("Main memory in bytes."),
                "ram_free": number("Free part of it in bytes."),
            },
            "Versions and main memory.",
            comfyui_frontend_version=string("The version of the page."),
            workflow_templates_version=string("The version of the templates."),
            cloud_version=string("The version of the hosted service."),
            deploy_environment=string("The environment that the server runs in."),
        ),
        "devices": array(
            object_with(
                {"name": string("Its name."), "type": string("`cpu`, `cuda` and the like.")},
                vram_total=number("Its memory in bytes."),
                vram_free=number("Free part of it in bytes."),
            ),
            "The devices that execute models.",
        ),
    },
)
_FEATURES = Record(
    "FeaturesResponse",
    "Features of the server by name; some have a value.",
    {
        "max_upload_size": integer("The largest body of an upload, in bytes."),
        "supports_preview_metadata": boolean("Whether previews include the id of their node."),
        "open_to_network": boolean("Whether the server listens beyond its own machine without a login."),
        "login_enabled": boolean("Whether the login is on."),
    },
    optional=("max_upload_size", "supports_preview_metadata", "open_to_network", "login_enabled"),
)
_LOGS = Record(
    "LogsResponse",
    "The latest log lines of the server.",
    {
        "entries": array(object_with({"t": string("Time."), "m": string("Text.")}), "The lines, the oldest first."),
        "size": object_with(
            {"cols": integer("Columns."), "rows": integer("Rows.")}, "The size of the server's terminal."
        ),
    },
)
_SUBSCRIPTION = object_with(
    {"clientId": string("The websocket client."), "enabled": boolean("Whether to send it log lines.")},
)

ROUTES = [
    Route(
        "GET",
        "/assets",
        get_panel_page,
        Operation(
            "getPanelPage",
            "Server",
            "Get the panel as a page of its own",
            {
                200: Response("The page.", PLAIN, "text/html", {"ETag": "Entity tag of the page."}),
                304: Response("The client's copy is up to date."),
            },
            is_open=True,
        ),
    ),
    Route(
        "GET",
        "/health",
        health,
        Operation(
            "getHealth",
            "Server",
            "Check the health of the library",
            {200: Response("It works.", PLAIN, TEXT), 503: Response("It does not work.", PLAIN, TEXT)},
            "For health checks: no user is needed.",
            is_open=True,
            error_media=TEXT,
            error_schema=PLAIN,
        ),
    ),
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

INTERCEPTORS = [
    Interceptor("GET", "/api/features", features),
    Interceptor("PATCH", "/internal/logs/subscribe", ErrorMapping(_check_subscription), media="json"),
]
HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/system_stats",
        Operation(
            "getSystemStats",
            "Server",
            "Get facts about the machine and the server",
            {200: Response("The facts.", _STATS)},
        ),
        UNKNOWN_USER,
    ),
    HostOperation(
        "GET",
        "/api/features",
        Operation(
            "getFeatures", "Server", "Get the features of the server", {200: Response("Features by name.", _FEATURES)}
        ),
    ),
    HostOperation(
        "GET",
        "/internal/logs",
        Operation("getInternalLogs", "Server", "Get the log as text", {200: Response("The text.", PLAIN)}),
    ),
    HostOperation(
        "GET",
        "/internal/logs/raw",
        Operation("getInternalLogsRaw", "Server", "Get the log line by line", {200: Response("The lines.", _LOGS)}),
    ),
    HostOperation(
        "PATCH",
        "/internal/logs/subscribe",
        Operation(
            "subscribeToLogs",
            "Server",
            "Subscribe to the log, or unsubscribe",
            {200: Response("The subscription is changed.")},
            body=RequestBody(_SUBSCRIPTION, example={"clientId": "c", "enabled": True}),
        ),
        {400: "The body is malformed.", 413: "The body is too large."},
    ),
    HostOperation(
        "GET",
        "/internal/folder_paths",
        Operation(
            "getInternalFolderPaths",
            "Server",
            "List the folders of each category",
            {200: Response("Paths by category.", mapping(array(True)))},
        ),
    ),
]
