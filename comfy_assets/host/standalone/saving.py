"""Where a picture is saved: prefixes with subfolders and placeholders, and the counter in the file name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...names import UnsafeName, relative_parts

DEFAULT_PREFIX = "ComfyUI"


@dataclass(frozen=True)
class SavePlace:
    """A folder, its path below the output folder with forward slashes, and the names of new files in it."""

    folder: Path
    subfolder: str
    stem: str
    first: int

    def name(self, index: int) -> str:
        """The name of the ``index``-th new file."""
        stem = self.stem.replace("%batch_num%", str(index))
        return f"{stem}_{self.first + index:05}_.png"


def save_place(root: Path, prefix: str, width: int, height: int) -> SavePlace:
    """Where files of a prefix such as ``portraits/%year%`` go. Makes the folder.

    Raises UnsafeName, a ValueError, for a prefix that could lead outside ``root``.
    """
    filled = fill_placeholders(prefix, width, height, time.localtime()) or DEFAULT_PREFIX
    tidy = re.sub(r"/(\./|/)*", "/", filled).rstrip("/") or "/"
    try:
        *folders, stem = relative_parts(tidy.removeprefix("./"))
    except UnsafeName as error:
        raise UnsafeName(f"filename_prefix is refused: {error}") from error
    folder = root.joinpath(*folders)
    folder.mkdir(parents=True, exist_ok=True)
    return SavePlace(folder, "/".join(folders), stem, next_counter((each.name for each in folder.iterdir()), stem))


def fill_placeholders(prefix: str, width: int, height: int, now: time.struct_time) -> str:
    """The prefix with ``%width%``, ``%height%``, ``%year%`` … ``%second%`` replaced."""
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(r"%(\w+)%", lambda found: values.get(found[1], found[0]), prefix)


def next_counter(existing: Iterable[str], stem: str) -> int:
    """One more than the highest counter among files named ``<stem>_<counter>_…``."""
    pattern = re.compile(re.escape(os.path.normcase(stem)) + r"_(\d{1,18})[_.]")
    found = (pattern.match(os.path.normcase(name)) for name in existing)
    return max((int(match[1]) for match in found if match), default=0) + 1
