"""Descriptions of the operations on files of the server's folders."""

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
from ..operations import (
    BINARY,
    FORM,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    integer,
    number,
    object_with,
    string,
)
from ..params import doc

_UNUSED = doc("Accepted and ignored, as on the stock server.")


class ViewQuery(msgspec.Struct):
    """Query of viewFile, with the parameters of the project and of the host."""

    filename: Annotated[str, doc("The file's name, which may end in ` [input]` and the like, or the hash of an asset.")]
    subfolder: Annotated[str, doc("The folder inside the folder of the type.")] = ""
    type: Annotated[Literal["input", "output", "temp"], doc("The folder.")] = "output"
    res: Annotated[
        Annotated[int, msgspec.Meta(ge=64, le=1024)] | None, doc("Longer side of the thumbnail, in pixels.")
    ] = None
    channel: Annotated[
        Literal["rgba", "rgb", "a", "alpha"] | None, doc("The colours without transparency, or the transparency alone.")
    ] = None
    preview: Annotated[
        str | None, doc("Format and quality of a preview, such as `webp;90`, made by the server around the project.")
    ] = None
    fullpath: Annotated[str | None, _UNUSED] = None
    format: Annotated[str | None, _UNUSED] = None
    frame_rate: Annotated[int | None, _UNUSED] = None
    workflow: Annotated[str | None, _UNUSED] = None
    timestamp: Annotated[int | None, _UNUSED] = None


_PLACE = Record(
    "UploadedFile",
    "The location of an uploaded file.",
    {
        "name": string("The file's name, which may differ from the uploaded one."),
        "subfolder": string("The folder inside the folder of the type."),
        "type": string("`input`, `output` or `temp`."),
    },
)
_LAYERS = Record(
    "MaskLayers",
    "The files that the mask editor saved for one mask. Missing files are omitted.",
    {
        "mask": string("The mask."),
        "paint": string("The painted strokes."),
        "painted": string("The image with the painted strokes."),
        "painted_masked": string("The same image with the mask."),
    },
    optional=("mask", "paint", "painted", "painted_masked"),
)
_VIDEO = Record(
    "VideoInfo",
    "Facts of a video.",
    {
        "source": object_with(
            {
                "size": array({"type": "integer"}, "Width and height.", minItems=2, maxItems=2),
                "fps": number("Frames per second."),
                "frames": integer("Number of frames."),
                "duration": number("Duration in seconds."),
            },
            "The facts.",
        )
    },
)

OPERATIONS = [
    Operation(
        "viewFile",
        "Files",
        "Get a file or its thumbnail",
        {
            200: Response(
                "The file; with `res` a JPEG.", BINARY, "*/*", {"ETag": "With `res`: entity tag of the thumbnail."}
            ),
            206: Response("The part that the request's `Range` selects.", BINARY, "*/*"),
            304: Response("The client's copy is up to date."),
        },
        "The project handles requests with `res`; the server around it handles the others.",
        query=ViewQuery,
        errors=(InvalidNameError, FileMissingError, NoThumbnailError, ImageTooLargeError, ImageUnreadableError),
        is_open=True,
    ),
    Operation(
        "getMaskLayers",
        "Files",
        "List the files that the mask editor saved together",
        {200: Response("Their names.", _LAYERS)},
        errors=(FileMissingError,),
        statuses={400: 404},
    ),
    Operation(
        "getVhsQueryVideo",
        "Files",
        "Get the size, duration and frame rate of a video",
        {200: Response("The facts.", _VIDEO)},
        "A node pack that has the operation keeps it.",
        errors=(InvalidNameError, FileMissingError, VideoUnreadableError),
        statuses={404: 400},
    ),
]

_IMAGE = {**BINARY, "description": "The image."}
_OVERWRITE = string("`true` to replace a file of this name.", enum=["true", "false", "1", "0"])
_STATUSES = {
    400: "The form is malformed, the image is too large, or its folder accepts no uploads.",
    401: "The server does not know this user.",
    409: "`OTHER_USERS_FILE`: the upload would replace a file of another user.",
    413: "The form is too large.",
    500: "An unexpected error; the server's log has the details.",
}
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
        statuses=_STATUSES,
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
        statuses=_STATUSES,
    ),
]
