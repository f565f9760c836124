"""The server itself in words."""

from __future__ import annotations

from .operation import TEXT, Answer, Body, HostOperation, Operation
from .schema import PLAIN, Record, array, flag, integer, mapping, members, number, text

_STATS = Record(
    "SystemStatsResponse",
    "The machine and what the server uses of it.",
    {
        "system": members(
            {
                "os": text("The operating system."),
                "python_version": text("The version of Python."),
                "embedded_python": flag("Whether that came with the server."),
                "comfyui_version": text("The version of ComfyUI."),
                "pytorch_version": text("The version of PyTorch; `none` where there is none."),
                "argv": array({"type": "string"}, "How the server was started."),
                "ram_total": number("Main memory in bytes."),
                "ram_free": number("What is free of it."),
            },
            "Versions, and main memory.",
            comfyui_frontend_version=text("The version of the page."),
            workflow_templates_version=text("The version of the templates."),
            cloud_version=text("Of the hosted service: its version."),
            deploy_environment=text("Where the server runs."),
        ),
        "devices": array(
            members(
                {"name": text("Its name."), "type": text("`cpu`, `cuda` and the like.")},
                vram_total=number("Its memory in bytes."),
                vram_free=number("What is free of it."),
            ),
            "What computes.",
        ),
    },
)
_FEATURES = Record(
    "FeaturesResponse",
    "What the server can do, by name; some have a value.",
    {
        "max_upload_size": integer("The largest body of an upload, in bytes."),
        "supports_preview_metadata": flag("Whether previews tell which node they are of."),
        "open_to_network": flag("Whether the server listens beyond its own machine; it has no login."),
    },
    optional=("max_upload_size", "supports_preview_metadata", "open_to_network"),
)
_LOGS = Record(
    "LogsResponse",
    "What the server has printed lately.",
    {
        "entries": array(members({"t": text("When."), "m": text("What.")}), "The lines, the oldest first."),
        "size": members({"cols": integer("Columns."), "rows": integer("Rows.")}, "The size of the server's terminal."),
    },
)
_SUBSCRIPTION = members(
    {"clientId": text("The websocket client."), "enabled": flag("Whether it is to be told.")},
)

OPERATIONS = [
    Operation(
        "getHealth",
        "Server",
        "Whether the library answers",
        {200: Answer("It does.", PLAIN, TEXT), 503: Answer("It does not.", PLAIN, TEXT)},
        "For probes: no user is needed.",
        is_open=True,
        error_media=TEXT,
        error_schema=PLAIN,
    ),
    Operation(
        "getOpenApiDocument",
        "Server",
        "This document",
        {
            200: Answer("The document.", mapping(), headers={"ETag": "Names this document."}),
            304: Answer("What the client holds is still the same."),
        },
        is_open=True,
    ),
    Operation(
        "getApiPage",
        "Server",
        "This document as a page",
        {
            200: Answer("The page.", PLAIN, "text/html", {"ETag": "Names this page."}),
            304: Answer("What the client holds is still the same."),
        },
        is_open=True,
    ),
]

HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/system_stats",
        Operation(
            "getSystemStats", "Server", "The machine, and what is used of it", {200: Answer("The figures.", _STATS)}
        ),
        {401: "The server does not know this user."},
    ),
    HostOperation(
        "GET",
        "/api/features",
        Operation(
            "getFeatures",
            "Server",
            "What the server can do",
            {200: Answer("Features by name.", _FEATURES)},
        ),
    ),
    HostOperation(
        "GET",
        "/internal/logs",
        Operation(
            "getInternalLogs", "Server", "What the server has printed, as text", {200: Answer("The text.", PLAIN)}
        ),
    ),
    HostOperation(
        "GET",
        "/internal/logs/raw",
        Operation(
            "getInternalLogsRaw",
            "Server",
            "What the server has printed, line by line",
            {200: Answer("The lines.", _LOGS)},
        ),
    ),
    HostOperation(
        "PATCH",
        "/internal/logs/subscribe",
        Operation(
            "subscribeToLogs",
            "Server",
            "Be told of what the server prints",
            {200: Answer("It is so.")},
            body=Body(_SUBSCRIPTION, example={"clientId": "c", "enabled": True}),
        ),
        {400: "The body is not of this form.", 413: "The body is too large."},
    ),
    HostOperation(
        "GET",
        "/internal/folder_paths",
        Operation(
            "getInternalFolderPaths",
            "Server",
            "The folders of each category",
            {200: Answer("Paths by category.", mapping(array(True)))},
        ),
    ),
]
