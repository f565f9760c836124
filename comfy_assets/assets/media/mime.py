"""MIME types of files: by name, as declared by a client, by content, and which ones browsers may show. No I/O."""

from __future__ import annotations

import re
from functools import lru_cache

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
    "jpe": "image/jpeg",
    "jfif": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "dib": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
    "hif": "image/heif",
    "jxl": "image/jxl",
    "jp2": "image/jp2",
    "j2k": "image/j2c",
    "j2c": "image/j2c",
    "jpc": "image/j2c",
    "jpf": "image/jpx",
    "jpx": "image/jpx",
    "svg": "image/svg+xml",
    "ico": "image/x-icon",
    "exr": "image/x-exr",
    "hdr": "image/vnd.radiance",
    "psd": "image/vnd.adobe.photoshop",
    "psb": "image/vnd.adobe.photoshop",
    "tga": "image/x-tga",
    "xcf": "image/x-xcf",
    "pbm": "image/x-portable-bitmap",
    "pgm": "image/x-portable-graymap",
    "ppm": "image/x-portable-pixmap",
    "pnm": "image/x-portable-anymap",
    "pfm": "image/x-portable-floatmap",
    "dds": "image/vnd.ms-dds",
    "qoi": "image/qoi",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "f4v": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "qt": "video/quicktime",
    "avi": "video/x-msvideo",
    "ogv": "video/ogg",
    "ogm": "video/ogg",
    "mpg": "video/mpeg",
    "mpeg": "video/mpeg",
    "mpe": "video/mpeg",
    "m1v": "video/mpeg",
    "m2v": "video/mpeg",
    "vob": "video/mpeg",
    "ts": "video/mp2t",
    "m2ts": "video/mp2t",
    "mts": "video/mp2t",
    "wmv": "video/x-ms-wmv",
    "asf": "video/x-ms-asf",
    "flv": "video/x-flv",
    "3gp": "video/3gpp",
    "3g2": "video/3gpp2",
    "mxf": "application/mxf",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "mp2": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "spx": "audio/ogg",
    "m4a": "audio/mp4",
    "m4b": "audio/mp4",
    "aac": "audio/aac",
    "weba": "audio/webm",
    "mka": "audio/x-matroska",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "aifc": "audio/aiff",
    "wma": "audio/x-ms-wma",
    "ac3": "audio/ac3",
    "amr": "audio/amr",
    "au": "audio/basic",
    "caf": "audio/x-caf",
    "wv": "audio/x-wavpack",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "glb": "model/gltf-binary",
    "vrm": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "obj": "model/obj",
    "mtl": "model/mtl",
    "stl": "model/stl",
    "3mf": "model/3mf",
    "dae": "model/vnd.collada+xml",
    "usd": "model/vnd.usd",
    "usda": "model/vnd.usda",
    "usdc": "model/vnd.usd",
    "usdz": "model/vnd.usdz+zip",
    # Not registered with IANA.
    "fbx": "model/fbx",
    "ply": "model/ply",
    "splat": "model/splat",
    "ksplat": "model/ksplat",
    "spz": "model/spz",
    "json": "application/json",
    "txt": "text/plain",
    "md": "text/markdown",
    "log": "text/plain",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "toml": "application/toml",
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
_SHOWN_AUDIO = frozenset({"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/aac", "audio/webm"})
_PREVIEWABLE = _SHOWN_RASTER | _SHOWN_VIDEO | _SHOWN_AUDIO
# Pictures for ComfyUI's page, which shows a preview that a user has chosen for these rather than the file itself.
_HIGH_DYNAMIC_RANGE = frozenset({"image/x-exr", "image/vnd.radiance"})
_SVG = "image/svg+xml"
_MEDIA_FAMILIES = ("image/", "video/", "audio/")
# Types that cannot run scripts in a browser.
_INERT = frozenset(mime for mime in _BY_SUFFIX.values() if mime.startswith(_MEDIA_FAMILIES) and mime != _SVG) | {
    "text/plain",
    "application/json",
}

# Image types that the first bytes of a file identify.
_SNIFFED_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_SAFETENSORS = "application/safetensors"
_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(\s*;[\x20-\x7e]{0,128})?")


def guess_mime(name: str) -> str:
    """Return the type for a file's suffix; the same on every platform."""
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower(), DEFAULT_MIME) if "." in name else DEFAULT_MIME


@lru_cache(maxsize=1024)  # a list asks for the same few types several times an asset
def essence(mime: str) -> str:
    """Return a type without its parameters, in lower case."""
    return mime.partition(";")[0].strip().lower()


def is_previewable(mime: str) -> bool:
    """Return whether browsers show a file of this type as an image, a video or sound."""
    return essence(mime) in _PREVIEWABLE


def is_picture(mime: str) -> bool:
    """Return whether this is a raster image."""
    return essence(mime).startswith("image/") and not may_run(mime)


def is_own_preview(mime: str) -> bool:
    """Return whether an asset of this type can be named as its own preview (``preview_id``).

    ComfyUI's page loads the content of the preview of an EXR or HDR file as an image, and no browser shows that.
    """
    return essence(mime) not in _HIGH_DYNAMIC_RANGE


def is_safe_inline(mime: str) -> bool:
    """Return whether a browser can show this type without running any code in it."""
    return essence(mime) in _INERT


def may_run(mime: str) -> bool:
    """Return whether a browser that shows this type could run code in it. True for unknown types.

    Hosts use other names for some types, so whole families count as safe. SVG is the one image type with scripts.
    """
    bare = essence(mime)
    is_passive = bare.startswith(_MEDIA_FAMILIES) and "xml" not in bare
    return not is_passive and bare not in _INERT


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
