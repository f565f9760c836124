"""Libraries that decode pictures, videos and sounds: found without importing them, so that lists can name thumbnails.

A list that promised a thumbnail which cannot be made would have pages request it in vain. Whatever turns out to be
unreadable is remembered with ``decoders_version``, so that it is tried again once another library is there.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from .mime import essence
from .readers.base import OWN_PICTURE

THUMBNAIL_VERSION = 3  # raised when thumbnails are made differently: cached ones and known failures count no more

_PACKAGES = ("pillow", "av", "pillow-heif", "pillow-jxl-plugin", "numpy")
_BY_PILLOW = frozenset(
    {
        "image/png",
        "image/apng",
        "image/jpeg",
        "image/webp",
        "image/gif",
        "image/bmp",
        "image/tiff",
        "image/jp2",
        "image/j2c",
        "image/jpx",
        "image/vnd.adobe.photoshop",
        "image/x-icon",
        "image/x-tga",
        "image/x-portable-bitmap",
        "image/x-portable-graymap",
        "image/x-portable-pixmap",
        "image/x-portable-anymap",
    }
)
_AS_THEY_ARE = frozenset({"image/svg+xml"})  # sent to browsers, which run nothing in images
_BY_PYAV = frozenset({"image/avif", "image/heic", "image/heif", "image/x-exr", "image/vnd.radiance", "application/mxf"})
_NOTES = frozenset({"audio/midi"})  # no sound that could be decoded


def has_thumbnail(mime: str) -> bool:
    """Return whether this server makes thumbnails of files of this type."""
    return _is_drawable(essence(mime))


def can_show(mime: str, facts: str | None) -> bool:
    """Return whether this server makes a thumbnail of a file with these facts (a JSON object as stored)."""
    return has_thumbnail(mime) or (facts is not None and f'"{OWN_PICTURE}":true' in facts)


@cache
def decoders_version() -> str:
    """Return a text that changes with the installed decoders and with the way in which thumbnails are made."""
    found = [f"{name} {number}" for name in _PACKAGES if (number := _version(name)) is not None]
    return "; ".join((str(THUMBNAIL_VERSION), *found))


def load() -> None:
    """Look for the decoders. Reads directories: for worker threads, before lists are made on the event loop."""
    decoders_version()
    for mime in ("video/mp4", "image/avif", "image/heic", "image/jxl"):
        has_thumbnail(mime)


@lru_cache(maxsize=256)  # users set types, so there is no end of them
def _is_drawable(mime: str) -> bool:
    if mime in _BY_PILLOW or mime in _AS_THEY_ARE:
        return True
    if mime == "image/jxl":
        return _is_installed("pillow_jxl")
    if mime == "image/avif" and _is_installed("PIL._avif"):
        return True
    if mime in ("image/heic", "image/heif") and _is_installed("pillow_heif"):
        return True
    is_stream = mime.startswith(("video/", "audio/")) and mime not in _NOTES
    return (is_stream or mime in _BY_PYAV) and _is_installed("av") and _is_installed("numpy")


@cache
def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: a module that another package has put in its place
        return False


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
