"""Files of the server's folders in words."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ...comfy_assets.errors import (
    FileMissingError,
    ImageTooLargeError,
    ImageUnreadableError,
    InvalidNameError,
    NoThumbnailError,
    VideoUnreadableError,
)
from .operation import FORM, Answer, Body, HostOperation, Operation
from .schema import BINARY, Record, array, integer, members, number, text


class ViewQuery(msgspec.Struct):
    """Every parameter of viewFile, whoever answers it."""

    filename: str
    subfolder: str = ""
    type: Literal["input", "output", "temp"] = "output"
    res: Annotated[int, msgspec.Meta(ge=64, le=1024)] | None = None
    channel: Literal["rgba", "rgb", "a", "alpha"] | None = None
    preview: str | None = None
    fullpath: str | None = None
    format: str | None = None
    frame_rate: int | None = None
    workflow: str | None = None
    timestamp: int | None = None


_PLACE = Record(
    "UploadedFile",
    "Where a file was put.",
    {
        "name": text("The file's name, which may differ from the one sent."),
        "subfolder": text("The folder below that of the type."),
        "type": text("`input`, `output` or `temp`."),
    },
)
_LAYERS = Record(
    "MaskLayers",
    "The files that the mask editor keeps of one mask. What is not there is left out.",
    {
        "mask": text("The mask."),
        "paint": text("What was painted."),
        "painted": text("The picture with what was painted."),
        "painted_masked": text("The same, with the mask."),
    },
    optional=("mask", "paint", "painted", "painted_masked"),
)
_VIDEO = Record(
    "VideoInfo",
    "The figures of a video.",
    {
        "source": members(
            {
                "size": array({"type": "integer"}, "Width and height.", minItems=2, maxItems=2),
                "fps": number("Pictures a second."),
                "frames": integer("Pictures in all."),
                "duration": number("Seconds."),
            },
            "The figures.",
        )
    },
)
_UNUSED = "Taken and ignored, as the stock server does."

OPERATIONS = [
    Operation(
        "viewFile",
        "Files",
        "A file, or a thumbnail of it",
        {
            200: Answer("The file; with `res` a JPEG.", BINARY, "*/*", {"ETag": "With `res`: names this thumbnail."}),
            206: Answer("The part that the request's `Range` names.", BINARY, "*/*"),
            304: Answer("What the client holds is still the same."),
        },
        "With `res` the project answers, otherwise the server around it.",
        parameters={
            "filename": "The file's name, which may end in ` [input]` and the like, or a hash of an asset.",
            "subfolder": "The folder below that of the type.",
            "type": "Which folder.",
            "res": "The longer side of the thumbnail.",
            "channel": "Colours whatever the transparency, or the transparency itself.",
            "preview": "Format and quality of a preview, such as `webp;90`: the server around the project makes it.",
            **dict.fromkeys(("fullpath", "format", "frame_rate", "workflow", "timestamp"), _UNUSED),
        },
        query=ViewQuery,
        errors=(InvalidNameError, FileMissingError, NoThumbnailError, ImageTooLargeError, ImageUnreadableError),
        is_open=True,
    ),
    Operation(
        "getMaskLayers",
        "Files",
        "The files that the mask editor has saved together",
        {200: Answer("Their names.", _LAYERS)},
        parameters={"filename": "The name of any of them."},
        errors=(FileMissingError,),
        statuses={400: 404},
    ),
    Operation(
        "getVhsQueryVideo",
        "Files",
        "Size, length and speed of a video",
        {200: Answer("The figures.", _VIDEO)},
        "A node pack that answers this itself is left to.",
        parameters={
            "filename": "The video's name.",
            "subfolder": "The folder below that of the type.",
            "type": "Which folder; inputs, then outputs, when left out.",
        },
        errors=(InvalidNameError, FileMissingError, VideoUnreadableError),
        statuses={404: 400},
    ),
]

_IMAGE = {**BINARY, "description": "The picture."}
_OVERWRITE = text("`true` to replace a file of this name.", enum=["true", "false", "1", "0"])
_STATUSES = {
    400: "The form is malformed, the picture is larger than allowed, or its place is none that is written to.",
    401: "The server does not know this user.",
    409: "`OTHER_USERS_FILE`: it would replace a file of another user.",
    413: "The form is too large.",
    500: "Something went wrong; the server's log says what.",
}
HOST_OPERATIONS = [
    HostOperation(
        "POST",
        "/api/upload/image",
        Operation(
            "uploadImage",
            "Files",
            "Upload a picture to a folder",
            {200: Answer("Where it is.", _PLACE)},
            "A picture that is there already is not stored twice.",
            body=Body(
                members(
                    {"image": _IMAGE},
                    type=text("Which folder.", enum=["input", "output", "temp"], default="input"),
                    subfolder=text("The folder below that."),
                    overwrite=_OVERWRITE,
                ),
                FORM,
            ),
        ),
        statuses=_STATUSES,
    ),
    HostOperation(
        "POST",
        "/api/upload/mask",
        Operation(
            "uploadMask",
            "Files",
            "Upload a mask of a picture",
            {200: Answer("Where it is.", _PLACE)},
            "The mask becomes the transparency of the picture.",
            body=Body(
                members(
                    {
                        "image": _IMAGE,
                        "original_ref": text(
                            "The picture it belongs to: a JSON object with `filename`, `subfolder` and `type`."
                        ),
                    },
                    type=text("Which folder.", enum=["input", "output", "temp"], default="input"),
                    subfolder=text("The folder below that."),
                    overwrite=_OVERWRITE,
                ),
                FORM,
            ),
        ),
        statuses=_STATUSES,
    ),
]
