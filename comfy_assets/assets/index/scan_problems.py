"""Why a scan does not list a folder or a file: a code, for clients that translate it, and the reason in English."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Obstacle:
    """Why something is not listed. ``detail`` is the part of the reason that differs, such as the system's message."""

    code: str
    reason: str
    detail: str = ""


NAME_NOT_UNICODE = Obstacle("name_not_unicode", "the name is not valid Unicode")
LISTED_ALREADY = Obstacle("listed_already", "links to a folder that is already indexed")
LINK_UPWARDS = Obstacle("link_upwards", "links to a folder that it is in")

# The panel translates these.
CODES = (
    "access_denied",
    "broken_link",
    "link_elsewhere",
    "link_upwards",
    "listed_already",
    "name_not_unicode",
    "unreadable",
)
_ERRORS = {errno.EACCES: "access_denied", errno.EPERM: "access_denied", errno.ENOENT: "broken_link"}


def link_elsewhere(kinds: set[str]) -> Obstacle:
    """Return the obstacle of a link to a folder of the library whose files are of other kinds."""
    return Obstacle(
        "link_elsewhere",
        f"links to a folder that is indexed as {' and '.join(sorted(kinds))}",
        ", ".join(sorted(kinds)),
    )


def unreadable(error: OSError) -> Obstacle:
    """Return the obstacle that an error of the system is. A missing file counts as a broken link."""
    reason = error.strerror or type(error).__name__
    return Obstacle(_ERRORS.get(error.errno or 0, "unreadable"), reason, reason)


@dataclass(frozen=True)
class ScanProblem:
    """A path that is not listed, in printable form, and why."""

    path: str
    obstacle: Obstacle

    def __str__(self) -> str:
        return f"{self.path}: {self.obstacle.reason}"

    def as_dict(self) -> dict[str, str]:
        """Return JSON members."""
        return {"path": self.path, "code": self.obstacle.code, "detail": self.obstacle.detail, "message": str(self)}


def problem_messages(result: Mapping[str, Any]) -> list[str]:
    """Return the messages of the problems in a scan's result."""
    return [problem["message"] for problem in result.get("problem_details", [])]
