"""Descriptions of the operations on users, their files and their settings."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec

from ..operations import (
    BINARY,
    BYTES,
    ERROR,
    JSON,
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
from ..params import doc
from ..users import FeedbackRequest

_USER = Record(
    "UserResponse", "The user of the request.", {"id": string("The user's id."), "status": string("`active`.")}
)
_THANKS = Record("FeedbackResponse", "An empty object.", {})

OPERATIONS = [
    Operation("getUser", "Users", "Get the user of the request", {200: Response("The user.", _USER)}),
    Operation(
        "submitFeedback",
        "Users",
        "Submit feedback",
        {201: Response("The feedback is stored on this machine.", _THANKS)},
        "It is sent nowhere.",
        body=RequestBody(FeedbackRequest, example={"type": "general", "content": "It works.", "rating": 5}),
    ),
]


class ListUserFilesQuery(msgspec.Struct):
    """Query of getUserdata."""

    dir: Annotated[str, doc("The folder, inside the user's folder.")]
    recurse: Annotated[Literal["true", "false"], doc("Whether to include folders inside it.")] = "false"
    full_info: Annotated[Literal["true", "false"], doc("Whether to include size and time.")] = "false"
    split: Annotated[Literal["true", "false"], doc("Whether to split paths into their parts.")] = "false"


class ListUserEntriesQuery(msgspec.Struct):
    """Query of listUserdataEntries."""

    path: Annotated[str, doc("The folder, inside the user's folder; all files if omitted.")] = ""


class StoreUserFileQuery(msgspec.Struct):
    """Query of postUserdataFile and moveUserdataFile."""

    overwrite: Annotated[Literal["true", "false"], doc("Whether to replace a file of this name.")] = "true"
    full_info: Annotated[Literal["true", "false"], doc("Whether the response includes size and time.")] = "false"


_INFO = {
    "path": string("The file's path inside the requested folder."),
    "size": integer("Its size in bytes."),
    "modified": integer("Time of its last change, in milliseconds since 1970.", format="int64"),
}
_FILE = Record("UserDataResponseFull", "A file of the user.", _INFO, optional=tuple(_INFO))
_ONE_OF_LIST = Record("GetUserDataResponseFullFile", "A file in a list.", _INFO, optional=tuple(_INFO))
_FILES = {
    "description": "Paths; with `full_info` also size and time; with `split` lists of a path and its parts.",
    "anyOf": [
        array(_ONE_OF_LIST),
        array({"type": "string"}),
        array(array({"type": "string"})),
    ],
}
_STORED = {"description": "The path; with `full_info` also size and time.", "anyOf": [_FILE, {"type": "string"}]}
_PATHS = {
    "file": "The file's path inside the user's folder, with percent-encoded slashes.",
    "dest": "The new path, in the same form.",
}
# ComfyUI itself sends no text with most of these.
_UNKNOWN_USER = {401: "The server does not know this user."}
_BROKEN = {500: "An unexpected error."}
_NO_FILE = {404: "There is no such file."}
_BAD_PATH = {400: "The path is missing, or leads out of the user's folder."}
_OUTSIDE = {403: "The path leads out of the user's folder."}
_PATH_ERRORS = _BAD_PATH | _UNKNOWN_USER | _OUTSIDE | _BROKEN
_TAKEN = {409: "A file of this name exists, and `overwrite` is false."}
_file_operation = partial(Operation, error_media=TEXT, error_schema=PLAIN)

_VALUE = {"description": "The value, of any type."}
_ALL = mapping(True, "Values by their ids.")
_MALFORMED = {400: "The body is malformed.", 413: "The body is too large."}
_SETTING = {"id": "The setting's id, such as `Comfy.ColorPalette`."}
_STORAGE = Record(
    "UsersInfo",
    "How the server distinguishes users.",
    {
        "storage": string("Where files of users are stored: `server`."),
        "migrated": boolean("On a server for one user: whether their folder exists."),
        "users": mapping({"type": "string"}, "On a server for several users: names by id."),
    },
    optional=("migrated", "users"),
)

_ENTRY = Record(
    "UserDataEntry",
    "A file or folder of the user.",
    {
        "name": string("Its name."),
        "path": string("Its path."),
        "type": string("Its type.", enum=["file", "directory"]),
        "size": integer("The size of a file in bytes."),
        "modified": number("Time of its last change, in milliseconds since 1970."),
        "created": number("Time of its creation, in milliseconds since 1970."),
    },
    optional=("size", "modified", "created"),
)

HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/users",
        Operation(
            "getUsersInfo", "Users", "Get how the server distinguishes users", {200: Response("The users.", _STORAGE)}
        ),
        _UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/users",
        Operation(
            "addUser",
            "Users",
            "Add a user, on a server for several users",
            {200: Response("The user's id.", {"type": "string"})},
            body=RequestBody(object_with({"username": string("The user's name.")}), example={"username": "Ada"}),
            error_schema={"anyOf": [ERROR, object_with({"error": string("A sentence for people.")})]},
        ),
        {400: "The name is missing or taken.", 413: "The body is too large."},
    ),
    HostOperation(
        "GET",
        "/api/v2/userdata",
        _file_operation(
            "listUserdataEntries",
            "Users",
            "List files and folders of the user",
            {200: Response("The content of the folder.", array(_ENTRY))},
            query=ListUserEntriesQuery,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        "/api/userdata",
        _file_operation(
            "getUserdata",
            "Users",
            "List the user's files",
            {200: Response("The files of the folder.", _FILES)},
            query=ListUserFilesQuery,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        "/api/userdata/{file}",
        _file_operation(
            "getUserdataFile",
            "Users",
            "Get a file of the user",
            {200: Response("Its content.", BINARY, BYTES)},
            parameters=_PATHS,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "POST",
        "/api/userdata/{file}",
        _file_operation(
            "postUserdataFile",
            "Users",
            "Store a file of the user",
            {200: Response("The file is stored.", _STORED)},
            "A file in `workflows/` is the workflow of that name; its content becomes the next version.",
            parameters=_PATHS,
            query=StoreUserFileQuery,
            body=RequestBody(BINARY, BYTES),
        ),
        _PATH_ERRORS | _TAKEN,
    ),
    HostOperation(
        "DELETE",
        "/api/userdata/{file}",
        _file_operation(
            "deleteUserdataFile",
            "Users",
            "Delete a file of the user",
            {204: Response("The file is deleted.")},
            parameters=_PATHS,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "POST",
        "/api/userdata/{file}/move/{dest}",
        _file_operation(
            "moveUserdataFile",
            "Users",
            "Move a file of the user",
            {200: Response("The file is moved.", _STORED)},
            parameters=_PATHS,
            query=StoreUserFileQuery,
        ),
        _PATH_ERRORS | _NO_FILE | _TAKEN,
    ),
    HostOperation(
        "GET",
        "/api/settings",
        Operation("getAllSettings", "Settings", "Get all settings", {200: Response("The settings.", _ALL)}),
        _UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/settings",
        Operation(
            "updateMultipleSettings",
            "Settings",
            "Change settings",
            {200: Response("All settings after the change.", _ALL)},
            body=RequestBody(_ALL, JSON, example={"Comfy.ColorPalette": "dark"}),
        ),
        _MALFORMED | _UNKNOWN_USER,
    ),
    HostOperation(
        "GET",
        "/api/settings/{id}",
        Operation(
            "getSettingById",
            "Settings",
            "Get a setting",
            {200: Response("The value itself; null if it was never set.", _VALUE)},
            parameters=_SETTING,
        ),
        _UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/settings/{id}",
        Operation(
            "updateSettingById",
            "Settings",
            "Change a setting",
            {200: Response("The stored value.", object_with({"value": _VALUE}))},
            parameters=_SETTING,
            body=RequestBody(_VALUE, JSON, example="dark"),
        ),
        _MALFORMED | _UNKNOWN_USER,
    ),
]
