"""Files and folders inside the library's folders that are not assets: system files, and those that a user excludes.

Pure. ``is_ignored`` and ``is_ignored_folder`` are the built-in rules, ``ExcludePatterns`` the user's. Names that begin
with a dot are hidden, and no module asks about them here.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

# Files of operating systems and network storages, in lower case.
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
# Files that browsers, download tools and ComfyUI have not finished; see also ``_DOWNLOAD``.
_SUFFIXES = (
    *(".tmp", ".part", ".partial", ".filepart", ".incomplete", ".aria2", ".aria2__temp"),
    *(".crdownload", ".opdownload", ".fdmdownload", ".!qb", ".!ut", ".!bt", ".bc!", ".!sync"),
)
# ".download", ".downloading", ".download1": the names that scripts choose themselves.
_DOWNLOAD = re.compile(r"\.download(?:ing|ed)?[0-9]*", re.ASCII)
# Most files end like this. One look at the end of a name then decides, which matters with a million files.
_USUAL_ENDS = frozenset(
    {".png", ".jpg", "jpeg", "webp", ".mp4", "webm", "sors", "gguf", ".txt", "json", ".wav", "flac"}
)
# Folders of operating systems and network storages: previews, recycle bins, snapshots, resource forks.
_FOLDERS = frozenset(
    {
        *("@eadir", "@tmp", "@sharebin", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("$recycle.bin", "recycler", "system volume information"),  # Windows
        *("__macosx", "network trash folder", "temporary items"),  # macOS
        "lost+found",  # Linux
        "__pycache__",
    }
)
_MAX_PATTERNS = 100
_MAX_LENGTH = 300
_ROOTS = ("models", "input", "output")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")

Matches = Callable[[str], object]


def is_ignored(name: str, size: int) -> bool:
    """Return whether a file is no asset: a system file, an unfinished download, or ComfyUI's "put_…_here" marker."""
    if size and name[-4:] in _USUAL_ENDS:
        return False
    lowered = name.lower()
    if lowered in _FILES or lowered.endswith(_SUFFIXES) or _is_download(lowered):
        return True
    return size == 0 and lowered.startswith("put_") and "_here" in lowered


def is_ignored_folder(name: str) -> bool:
    """Return whether a folder of this name belongs to a system or is an unfinished download, with all below it."""
    lowered = name.lower()
    # Safari downloads into a folder that is named after the file.
    return lowered in _FOLDERS or _is_download(lowered)


def _is_download(lowered: str) -> bool:
    start = lowered.rfind(".download")
    return start > 0 and _DOWNLOAD.fullmatch(lowered, start) is not None


class _PathPattern(NamedTuple):
    """A pattern with folders in it: those above, one pattern each, and the pattern of the name itself."""

    above: tuple[str, ...]
    name: str
    folders_only: bool


class ExcludePatterns:
    """Patterns of files and folders that a user leaves out of the library.

    A pattern is matched with names at any depth (``*.bak``), or with paths below the roots if it has a slash
    (``output/old``, ``**/cache/*.png``); one that ends in a slash matches folders only. ``*``, ``?`` and ``[…]`` match
    within one name, ``**`` any number of folders. Case does not matter. A folder is left out with all below it.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Raises ValueError, which quotes the malformed pattern."""
        self.texts = tuple(patterns)
        if len(self.texts) > _MAX_PATTERNS:
            raise ValueError(f"at most {_MAX_PATTERNS} patterns are allowed, not {len(self.texts)}")
        self._names: list[str] = []
        self._folder_names: list[str] = []
        self._paths: list[_PathPattern] = []
        for text in self.texts:
            self._add(text)
        self._name = _matcher(self._names)
        self._folder_name = _matcher([*self._names, *self._folder_names])

    def __bool__(self) -> bool:
        return bool(self.texts)

    def _add(self, text: str) -> None:
        _check(text)
        folders_only = text.endswith("/")
        *above, name = text.rstrip("/").split("/")
        if name == "**":
            above.append(name)  # all that is below, at any depth
        if above:
            self._paths.append(_PathPattern(tuple(above), name, folders_only))
        else:
            (self._folder_names if folders_only else self._names).append(name)

    def files_in(self, folder: str) -> Matches | None:
        """Return a function that tells by name whether to leave out a file of a folder; None if all are kept.

        ``folder`` is the path below the roots: "output/2024".
        """
        return self._in_folder(folder, self._name, folders=False)

    def folders_in(self, folder: str) -> Matches | None:
        """Return a function that tells by name whether to leave out a folder in a folder; None if all are kept."""
        return self._in_folder(folder, self._folder_name, folders=True)

    def _in_folder(self, folder: str, anywhere: Matches | None, *, folders: bool) -> Matches | None:
        if not self._paths:
            return anywhere
        parts = tuple(folder.split("/"))
        here = [p.name for p in self._paths if (folders or not p.folders_only) and _matches_path(p.above, parts)]
        if not here:
            return anywhere
        found = _matcher(here)
        if anywhere is None or found is None:
            return found
        usual = anywhere
        return lambda name: usual(name) or found(name)


def _check(text: str) -> None:
    problem = _problem(text)
    if problem:
        raise ValueError(f"{text!r} {problem}")


def _problem(text: str) -> str | None:
    """Return the reason why a pattern is malformed, as the end of a sentence."""
    parts = text.rstrip("/").split("/")
    if len(text) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters"
    if not text.isprintable():
        return "has characters that cannot be printed"
    if "\\" in text:
        return "has a backslash; separate folders by /"
    if _ABSOLUTE.match(text):
        return "is an absolute path; begin with models/, input/, output/ or **/, or name the file or folder alone"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, . or .. in it"
    if not text.strip("*?/"):
        return "would leave out everything"
    if any("**" in part and part != "**" for part in parts):
        return "has ** within a name; it stands for folders, as in **/old"
    if any("[" in part and "]" not in part[part.index("[") + 2 :] for part in parts):
        return "has a [ without a ]; [[] stands for the character itself"
    if len(parts) > 1 and not any(sign in parts[0] for sign in "*?[") and parts[0].lower() not in _ROOTS:
        return "matches nothing; a path begins with models/, input/, output/ or **/"
    return None


def _matcher(globs: Sequence[str]) -> Matches | None:
    """Return a function that matches a name with any of the patterns; None for no pattern."""
    return _compiled("|".join(map(_translated, globs))).match if globs else None


def _translated(glob: str) -> str:
    # The standard library's translation does not backtrack, so that no pattern takes long on a long name.
    return fnmatch.translate("*" if glob == "**" else glob)


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _matches_path(globs: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether patterns of folders match a path as a whole."""
    # Row by row as for an edit distance: each pattern is compared with each part once, however many ** there are.
    reached = {0}
    for glob in globs:
        if glob == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            match = _compiled(_translated(glob)).match
            reached = {at + 1 for at in reached if at < len(parts) and match(parts[at])}
        if not reached:
            return False
    return len(parts) in reached


def split_patterns(text: str) -> list[str]:
    """Return the patterns of a text that separates them by commas or line breaks."""
    return [stripped for each in re.split(r"[,\r\n]", text) if (stripped := each.strip())]


def parse_patterns(text: str) -> tuple[str, ...]:
    """Return the patterns of a text. Raises ValueError, which quotes the malformed one."""
    return ExcludePatterns(split_patterns(text)).texts


NO_PATTERNS = ExcludePatterns()
