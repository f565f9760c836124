"""Names that come from outside, made into path parts that cannot lead outside a folder on any system."""

from __future__ import annotations

import os
import re

WINDOWS = os.name == "nt"
MAX_PART_BYTES = 255
MAX_NAME_CHARACTERS = 1024

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ILLEGAL_ON_WINDOWS = re.compile(r'[<>:"|?*]')


class UnsafeName(ValueError):
    """A file or folder name that is not accepted; the message says why, without the name."""


def relative_parts(name: str, *, windows: bool = WINDOWS) -> tuple[str, ...]:
    """The parts of a relative path written with forward slashes. Raises UnsafeName.

    There is at least one part; none is ``.`` or ``..``, names a Windows device, or holds a character that
    means something to a file system. ``windows`` adds what only Windows cannot store.
    """
    if len(name) > MAX_NAME_CHARACTERS:
        raise UnsafeName("the name is too long")
    if "\\" in name:
        raise UnsafeName("a name must not contain a backslash")
    if name.startswith("/") or _DRIVE.match(name):
        raise UnsafeName("a name must be relative, without a drive letter")
    parts = tuple(name.split("/"))
    for part in parts:
        _check_part(part, windows)
    return parts


def folder_parts(name: str, *, windows: bool = WINDOWS) -> tuple[str, ...]:
    """Like ``relative_parts``, for a subfolder: empty means the folder itself, a final slash is allowed."""
    trimmed = name[:-1] if name.endswith("/") and name != "/" else name
    return relative_parts(trimmed, windows=windows) if trimmed else ()


def file_name(name: str, *, windows: bool = WINDOWS) -> str:
    """The name itself when it is a single part. Raises UnsafeName."""
    parts = relative_parts(name, windows=windows)
    if len(parts) != 1:
        raise UnsafeName("a file name must not contain a slash")
    return parts[0]


def _check_part(part: str, windows: bool) -> None:
    if not part.strip():
        raise UnsafeName("a name must not be empty")
    if part in (".", ".."):
        raise UnsafeName("a name must not step to another folder")
    if _CONTROL.search(part):
        raise UnsafeName("a name must not contain control characters")
    if _DEVICE.fullmatch(part):
        raise UnsafeName("the name is reserved by Windows")
    if windows and (_ILLEGAL_ON_WINDOWS.search(part) or part[-1] in ". "):
        raise UnsafeName("Windows cannot store this name")
    if _encoded_length(part) > MAX_PART_BYTES:
        raise UnsafeName("the name is too long")


def _encoded_length(part: str) -> int:
    try:
        return len(part.encode())
    except UnicodeEncodeError as error:
        raise UnsafeName("the name is not valid Unicode") from error
