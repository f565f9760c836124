"""MIME types of files: by name, as declared by a client, by content, and which ones browsers may show. No I/O."""

from __future__ import annotations

import re

from ...errors import InvalidBodyError, UnsupportedContentError
from ...names import split_suffix

DEFAULT_MIME = "application/octet-stream"

# ComfyUI registers the same types for models and YAML files. The module mimetypes is not used, because it reads the
# registry on Windows and so depends on the programs that are installed.
_BY_SUFFIX = {
    "safetensors": "application/safetensors",
    "sft": "application/safetensors",
    "pt": "application/pytorch",
    "pth": "application/pytorch",
    "ckpt": "application/pickle",
    "pkl": "application/pickle",
    "gguf": "application/gguf",
    "bin": DEFAULT_MIME,
    "latent": DEFAULT_MIME,
    "onnx": DEFAULT_MIME,
    "png": "image/png",
    "apng": "image/apng",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "jfif": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "svg": "image/svg+xml",
    "ico": "image/x-icon",
    "exr": "image/x-exr",
    "hdr": "image/vnd.radiance",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "obj": "model/obj",
    "stl": "model/stl",
    "fbx": DEFAULT_MIME,
    "ply": DEFAULT_MIME,
    "json": "application/json",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "html": "text/html",
    "htm": "text/html",
    "xml": "application/xml",
    "js": "text/javascript",
    "css": "text/css",
    "pdf": "application/pdf",
    "zip": "application/zip",
}

_SHOWN_RASTER = frozenset(
    {
        "image/png",
        "image/apng",
        "image/jpeg",
        "image/webp",
        "image/gif",
        "image/bmp",
        "image/avif",
        "image/x-icon",
    }
)
_SHOWN_VIDEO = frozenset({"video/mp4", "video/webm", "video/quicktime", "video/ogg"})
_SHOWN_AUDIO = frozenset({"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/aac"})
_PREVIEWABLE = _SHOWN_RASTER | _SHOWN_VIDEO | _SHOWN_AUDIO | {"image/svg+xml"}
# Types with thumbnails on every server. Only some builds of Pillow read AVIF, and browsers show it without a thumbnail.
_THUMBNAILED = frozenset(
    {"image/png", "image/apng", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"}
)
# Types that cannot run scripts in a browser.
_INERT = (
    _SHOWN_RASTER
    | _SHOWN_VIDEO
    | _SHOWN_AUDIO
    | {"image/tiff", "video/x-matroska", "video/x-msvideo", "text/plain", "application/json"}
)

# Image types that the first bytes of a file identify.
_SNIFFED_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_SAFETENSORS = "application/safetensors"
_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(\s*;[\x20-\x7e]{0,128})?")


def guess_mime(name: str) -> str:
    """Return the type for a file's suffix; the same on every platform."""
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower(), DEFAULT_MIME) if "." in name else DEFAULT_MIME


def is_previewable(mime: str) -> bool:
    """Return whether browsers show this type as an image, a video or sound."""
    return _essence(mime) in _PREVIEWABLE


def is_picture(mime: str) -> bool:
    """Return whether this is a raster image that browsers show, directly or as a thumbnail."""
    return _essence(mime) in _SHOWN_RASTER | _THUMBNAILED


def has_thumbnail(mime: str) -> bool:
    """Return whether images of this type have thumbnails."""
    return _essence(mime) in _THUMBNAILED


def is_safe_inline(mime: str) -> bool:
    """Return whether a browser can show this type without running any code in it."""
    return _essence(mime) in _INERT


def may_run(mime: str) -> bool:
    """Return whether a browser that shows this type could run code in it. True for unknown types.

    Hosts use other names for some types, so whole families count as safe. SVG is the one image type with scripts.
    """
    essence = _essence(mime)
    is_passive = essence.startswith(("image/", "audio/", "video/")) and "xml" not in essence
    return not is_passive and essence not in _INERT


def check_mime(text: str) -> str:
    """Return a declared MIME type in lower case. Raises InvalidBodyError if it is malformed."""
    lowered = text.strip().lower()
    if not _MIME.fullmatch(lowered):
        raise InvalidBodyError("mime_type must be a MIME type such as image/png.", details={"field": "mime_type"})
    return lowered


def check_suffix(name: str, category: str | None, accepted: frozenset[str]) -> None:
    """Raise UnsupportedContentError if the loaders of the category do not accept the name's suffix."""
    suffix = split_suffix(name)[1].lower()
    if category is not None and accepted and suffix not in accepted:
        raise UnsupportedContentError(
            f"{category} accepts {', '.join(sorted(accepted))}, not {suffix or 'a name without a suffix'}.",
            details={"field": "file", "accepted": sorted(accepted)},
        )


def resolve_mime(name: str, declared: str | None, found: str | None) -> str:
    """Return the MIME type of a new file; ``found`` is the type of its content, if known.

    Raises UnsupportedContentError if the content contradicts the declared type or the name.
    """
    by_name = guess_mime(name)
    for claimed in (declared, by_name):
        if claimed in _SNIFFED_IMAGES and found not in _SNIFFED_IMAGES:
            raise _contradiction(claimed, found)
        if claimed == _SAFETENSORS and found != _SAFETENSORS:
            raise _contradiction(claimed, found)
    if found is not None and (declared is None or declared in _SNIFFED_IMAGES):
        return found
    return declared or by_name


def _contradiction(claimed: str, found: str | None) -> UnsupportedContentError:
    seen = f"the content is {found}" if found else "the content is not"
    return UnsupportedContentError(
        f"The file is declared or named as {claimed}, but {seen}.",
        details={"field": "file", "declared": claimed, "found": found or DEFAULT_MIME},
    )


def _essence(mime: str) -> str:
    return mime.partition(";")[0].strip().lower()
