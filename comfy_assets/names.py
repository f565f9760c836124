"""Untrusted file names and relative paths: check them, or make them safe, for every operating system. No I/O.

Most rules apply on every system, not only where they are needed: a library may later be moved to another system.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Literal

FileType = Literal["input", "output", "temp"]
FILE_TYPES: tuple[FileType, ...] = ("input", "output", "temp")

WINDOWS = os.name == "nt"
MAX_PART_BYTES = 255
MAX_NAME_CHARACTERS = 1024

# Windows opens a device for these names, also with a suffix and for superscript digits.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_ABSOLUTE = re.compile(r"([a-z]:)?[/\\]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ILLEGAL_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_UNSTORABLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
_MAX_SUFFIX_BYTES = 32  # a longer text after the last dot is part of the name


class UnsafeName(ValueError):
    """A rejected file or folder name. The message states the reason without repeating the name."""


def relative_parts(name: str, *, windows: bool = WINDOWS) -> tuple[str, ...]:
    """Return the parts of a relative path with forward slashes. Raises UnsafeName.

    There is at least one part. None is ``.`` or ``..``, names a Windows device, or contains a character with a special
    meaning. ``windows`` also rejects names that only Windows cannot store.
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
    """Like ``relative_parts``, for a subfolder: it may be empty or end with a slash."""
    trimmed = _without_slash(name)
    return relative_parts(trimmed, windows=windows) if trimmed else ()


def existing_parts(name: str, *, windows: bool = WINDOWS) -> tuple[str, ...]:
    """Like ``relative_parts``, for a file that is there already: every name that this system can store is allowed.

    Other programs may have created it, with names such as ``a:b.png``, ``con.png`` or ``back\\slash.png``.
    """
    if windows:
        return relative_parts(name, windows=True)
    if len(name) > MAX_NAME_CHARACTERS:
        raise UnsafeName("the name is too long")
    if _ABSOLUTE.match(name):
        raise UnsafeName("a name must be relative, without a drive letter")
    check_leads_nowhere(name.removeprefix(_drive_like(name)))
    parts = tuple(name.split("/"))
    for part in parts:
        if not part.strip(" "):
            raise UnsafeName("a name must not be empty")
        if _encoded_length(part) > MAX_PART_BYTES:
            raise UnsafeName("the name is too long")
    return parts


def _drive_like(name: str) -> str:
    """Return the start of a name such as ``c:drive.png``, which is a drive on Windows alone."""
    match = _DRIVE.match(name)
    return match[0] if match else ""


def existing_folder_parts(name: str, *, windows: bool = WINDOWS) -> tuple[str, ...]:
    """Like ``existing_parts``, for a subfolder: it may be empty or end with a slash.

    On Windows a backslash separates folders, because servers there list subfolders that way.
    """
    trimmed = _without_slash(name.replace("\\", "/") if windows else name)
    return existing_parts(trimmed, windows=windows) if trimmed else ()


def _without_slash(folder: str) -> str:
    return folder[:-1] if folder.endswith("/") and folder != "/" else folder


def split_annotation(name: str) -> tuple[str, FileType | None]:
    """Split ComfyUI's folder annotation from a name: ``"a.png [temp]"`` -> ``("a.png", "temp")``, else None."""
    for file_type in FILE_TYPES if name.endswith("]") else ():
        marker = f"[{file_type}]"
        if name.endswith(marker):
            return name[: -len(marker)].rstrip(" "), file_type
    return name, None


def file_name(name: str, *, windows: bool = WINDOWS) -> str:
    """Return the name if it is a single part. Raises UnsafeName."""
    parts = relative_parts(name, windows=windows)
    if len(parts) != 1:
        raise UnsafeName("a file name must not contain a slash")
    return parts[0]


def _check_part(part: str, windows: bool) -> None:
    if not part.strip():
        raise UnsafeName("a name must not be empty")
    if part.strip(" ") in (".", ".."):  # Windows ignores the spaces
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


def folded(name: str) -> str:
    """Return a key that is equal for two names or paths if any file system treats them as one.

    Windows and macOS ignore case, and macOS how a letter with marks is composed.
    """
    if name.isascii():
        return name.lower()
    # Folding may decompose characters again, for example of Greek, so the result is composed once more.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def safe_file_name(name: str, *, fallback: str) -> str:
    """Return a name for a new file, close to ``name``, that every system can store; ``fallback`` if nothing remains.

    Separators, control characters and characters that Windows forbids become ``_``. Device names get a leading ``_``,
    long names are cut before their suffix, Unicode is composed (NFC). Raises UnsafeName for a name that leads to
    another folder (``..``, an absolute path, a drive) or contains a NUL character.
    """
    check_leads_nowhere(name)
    composed = unicodedata.normalize("NFC", name)
    plain = _UNSTORABLE.sub("_", composed).strip(" ").rstrip(". ").lstrip(".")
    if not plain.strip("_. ").strip():
        plain = fallback
    if _DEVICE.fullmatch(plain):
        plain = f"_{plain}"
    return shortened(plain, MAX_PART_BYTES)


def check_leads_nowhere(name: str) -> None:
    """Raise UnsafeName for a name that leads to another folder as a path, or is not valid Unicode."""
    if "\0" in name:
        raise UnsafeName("a name must not contain a NUL character")
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        raise UnsafeName("a name must not be an absolute path")
    if any(part.strip(" ") in (".", "..") for part in re.split(r"[/\\]", name)):
        raise UnsafeName("a name must not step to another folder")
    _encoded_length(name)


def shortened(name: str, limit: int) -> str:
    """Return the name with its stem cut to at most ``limit`` bytes of UTF-8 in total; the suffix stays."""
    stem, suffix = split_suffix(name)
    room = limit - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + suffix


def split_suffix(name: str) -> tuple[str, str]:
    """Split the suffix off: ``"a.b.png"`` -> ``("a.b", ".png")``. A very long suffix counts as part of the stem."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem and suffix and len(suffix.encode()) <= _MAX_SUFFIX_BYTES else (name, "")


def numbered(name: str, number: int) -> str:
    """Insert a number before the suffix: ``"a.png"``, 1 -> ``"a (1).png"``. The result is at most 255 bytes long."""
    mark = f" ({number})"
    stem, suffix = split_suffix(shortened(name, MAX_PART_BYTES - len(mark)))
    return f"{stem}{mark}{suffix}"
