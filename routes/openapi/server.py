"""Descriptions of the operations on the server itself."""

from __future__ import annotations

from ..operations import (
    PLAIN,
    TEXT,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    boolean,
    integer,
    mapping,
    number,
    object_with,
    string,
)

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
        "open_to_network": boolean("Whether the server listens beyond its own machine; it has no login."),
    },
    optional=("max_upload_size", "supports_preview_metadata", "open_to_network"),
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

OPERATIONS = [
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
        {401: "The server does not know this user."},
    ),
    HostOperation(
        "GET",
        "/api/features",
        Operation(
            "getFeatures",
            "Server",
            "Get the features of the server",
            {200: Response("Features by name.", _FEATURES)},
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
        Operation(
            "getInternalLogsRaw",
            "Server",
            "Get the log line by line",
            {200: Response("The lines.", _LOGS)},
        ),
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
