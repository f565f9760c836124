"""Users, what is kept for them, and their settings, in words."""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from ..users import FeedbackBody
from .common import ERROR
from .operation import BYTES, JSON, TEXT, Answer, Body, HostOperation, Operation
from .schema import BINARY, PLAIN, Record, Words, array, flag, integer, mapping, members, number, text

_USER = Record("UserResponse", "Who is asking.", {"id": text("The user's id."), "status": text("`active`.")})
_FEEDBACK = Words(
    FeedbackBody,
    "FeedbackRequest",
    "What a user has to say.",
    {
        "type": "What about.",
        "content": "The words.",
        "rating": "One to five stars.",
        "metadata": "What the page adds: up to 64 KiB.",
    },
)
WORDS = [_FEEDBACK]
_THANKS = Record("FeedbackResponse", "It was kept.", {})

OPERATIONS = [
    Operation("getUser", "Users", "Who is asking", {200: Answer("The user.", _USER)}),
    Operation(
        "submitFeedback",
        "Users",
        "Leave feedback",
        {201: Answer("It was kept on this machine.", _THANKS)},
        "Nothing is sent anywhere.",
        body=Body(FeedbackBody, example={"type": "general", "content": "It works.", "rating": 5}),
    ),
]


class ListFiles(msgspec.Struct):
    """Query of getUserdata."""

    dir: str
    recurse: Literal["true", "false"] = "false"
    full_info: Literal["true", "false"] = "false"
    split: Literal["true", "false"] = "false"


class ListEntries(msgspec.Struct):
    """Query of listUserdataEntries."""

    path: str = ""


class StoreFile(msgspec.Struct):
    """Query of postUserdataFile and moveUserdataFile."""

    overwrite: Literal["true", "false"] = "true"
    full_info: Literal["true", "false"] = "false"


_INFO = {
    "path": text("The file's path below the folder asked for."),
    "size": integer("Its size in bytes."),
    "modified": integer("When it was last changed, in milliseconds since 1970.", format="int64"),
}
_FILE = Record("UserDataResponseFull", "A file of the user.", _INFO, optional=tuple(_INFO))
_ONE_OF_LIST = Record("GetUserDataResponseFullFile", "A file in a list.", _INFO, optional=tuple(_INFO))
_FILES = {
    "description": "Paths; with `full_info` size and time too; with `split` lists of a path and its parts.",
    "anyOf": [
        array(_ONE_OF_LIST),
        array({"type": "string"}),
        array(array({"type": "string"})),
    ],
}
_STORED = {"description": "The path; with `full_info` size and time too.", "anyOf": [_FILE, {"type": "string"}]}
_LISTING = {
    "dir": "The folder, below the user's.",
    "recurse": "Whether folders in it are listed too.",
    "full_info": "Whether size and time are told.",
    "split": "Whether paths are told in parts.",
}
_STORING = {
    "file": "The file's path below the user's folder, with its slashes percent-encoded.",
    "dest": "The new path, likewise.",
    "overwrite": "Whether a file of this name may be replaced.",
    "full_info": "Whether the answer tells size and time.",
}
# ComfyUI itself sends no text along with most of these.
_UNKNOWN_USER = {401: "The server does not know this user."}
_BROKEN = {500: "Something went wrong."}
_NO_FILE = {404: "There is no such file."}
_BAD_PATH = {400: "The path is missing, or leads out of the user's folder."}
_OUTSIDE = {403: "The path leads out of the user's folder."}
_PATH_ERRORS = _BAD_PATH | _UNKNOWN_USER | _OUTSIDE | _BROKEN
_TAKEN = {409: "There is a file of this name, and `overwrite` is false."}
_file_operation = partial(Operation, error_media=TEXT, error_schema=PLAIN)

_VALUE = {"description": "The value: whatever the page keeps there."}
_ALL = mapping(True, "Values by their ids.")
_MALFORMED = {400: "The body is no JSON of this kind.", 413: "The body is too large."}
_SETTING = {"id": "The setting's id, such as `Comfy.ColorPalette`."}
_STORAGE = Record(
    "UsersInfo",
    "How users are told apart.",
    {
        "storage": text("Where files of users are kept: `server`."),
        "migrated": flag("On a server for one user: whether there is a folder for them."),
        "users": mapping({"type": "string"}, "On a server for several: names by id."),
    },
    optional=("migrated", "users"),
)

_ENTRY = Record(
    "UserDataEntry",
    "A file or folder of the user.",
    {
        "name": text("Its name."),
        "path": text("Its path."),
        "type": text("What it is.", enum=["file", "directory"]),
        "size": integer("The size of a file in bytes."),
        "modified": number("When it was last changed, in milliseconds since 1970."),
        "created": number("When it was made, in milliseconds since 1970."),
    },
    optional=("size", "modified", "created"),
)

HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/users",
        Operation("getUsersInfo", "Users", "How users are told apart", {200: Answer("How.", _STORAGE)}),
        _UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/users",
        Operation(
            "addUser",
            "Users",
            "Add a user, on a server for several",
            {200: Answer("The user's id.", {"type": "string"})},
            body=Body(members({"username": text("The user's name.")}), example={"username": "Ada"}),
            error_schema={"anyOf": [ERROR, members({"error": text("A sentence for people.")})]},
        ),
        {400: "The name is missing, or taken.", 413: "The body is too large."},
    ),
    HostOperation(
        "GET",
        "/api/v2/userdata",
        _file_operation(
            "listUserdataEntries",
            "Users",
            "Files and folders of the user",
            {200: Answer("What is below the folder.", array(_ENTRY))},
            parameters={"path": "The folder, below the user's; all when left out."},
            query=ListEntries,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        "/api/userdata",
        _file_operation(
            "getUserdata",
            "Users",
            "The user's files",
            {200: Answer("The files of the folder.", _FILES)},
            parameters=_LISTING,
            query=ListFiles,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "GET",
        "/api/userdata/{file}",
        _file_operation(
            "getUserdataFile",
            "Users",
            "A file of the user",
            {200: Answer("Its bytes.", BINARY, BYTES)},
            parameters=_STORING,
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
            {200: Answer("It is stored.", _STORED)},
            "A file in `workflows/` is the workflow of that name: what is stored is its next version.",
            parameters=_STORING,
            query=StoreFile,
            body=Body(BINARY, BYTES),
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
            {204: Answer("It is gone.")},
            parameters=_STORING,
        ),
        _PATH_ERRORS | _NO_FILE,
    ),
    HostOperation(
        "POST",
        "/api/userdata/{file}/move/{dest}",
        _file_operation(
            "moveUserdataFile",
            "Users",
            "Give a file of the user another path",
            {200: Answer("It is moved.", _STORED)},
            parameters=_STORING,
            query=StoreFile,
        ),
        _PATH_ERRORS | _NO_FILE | _TAKEN,
    ),
    HostOperation(
        "GET",
        "/api/settings",
        Operation("getAllSettings", "Settings", "All settings", {200: Answer("The settings.", _ALL)}),
        _UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/settings",
        Operation(
            "updateMultipleSettings",
            "Settings",
            "Change settings",
            {200: Answer("All settings as they are now.", _ALL)},
            body=Body(_ALL, JSON, example={"Comfy.ColorPalette": "dark"}),
        ),
        _MALFORMED | _UNKNOWN_USER,
    ),
    HostOperation(
        "GET",
        "/api/settings/{id}",
        Operation(
            "getSettingById",
            "Settings",
            "A setting",
            {200: Answer("The bare value, as the page reads it; null when it was never set.", _VALUE)},
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
            {200: Answer("What is stored.", members({"value": _VALUE}))},
            parameters=_SETTING,
            body=Body(_VALUE, JSON, example="dark"),
        ),
        _MALFORMED | _UNKNOWN_USER,
    ),
]
