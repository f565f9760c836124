"""What the clients have asked and were answered, and by which the server is held in the end."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

Json = dict[str, Any]


@dataclass
class AssetNote:
    """An asset as answers have told it: ``path`` is that of its file below the base directory, None for a reference.

    ``is_present`` tells whether a file of its content is there; ``is_unsure`` that nobody was told.
    """

    id: str
    hash: str
    content: bytes
    name: str
    tags: set[str] = field(default_factory=set)
    metadata: Json = field(default_factory=dict)
    path: str | None = None
    is_deleted: bool = False
    is_present: bool = True
    is_unsure: bool = False

    def lies_at(self, path: str) -> None:
        """Its file is elsewhere now: an asset that is called like its file goes on being so."""
        if self.path is not None and self.name == PurePosixPath(self.path).name:
            self.name = PurePosixPath(path).name
        self.path = path


@dataclass
class JobNote:
    """A job that was answered, or is there although it was not."""

    id: str
    owner: str
    is_cancelled: bool = False
    is_removed: bool = False
    ends: str | None = None  # the status that it must end with
    names: str = ""  # what its error must name
    has_files: bool = True  # if it is completed


@dataclass
class FlowNote:
    """A workflow that one client alone works on: its versions by number, and the path of its file."""

    id: str
    path: str
    name: str
    versions: dict[int, Json]
    graph_id: str | None = None
    is_deleted: bool = False
    share: tuple[str, Json] | None = None  # its id, and what was published

    @property
    def latest(self) -> int:
        """The number of the latest version."""
        return max(self.versions)


@dataclass
class Notes:
    """The notes of all clients of a user. ``found`` is what is amiss."""

    folder: Path
    assets: dict[str, AssetNote] = field(default_factory=dict)
    jobs: dict[str, JobNote] = field(default_factory=dict)
    flows: list[FlowNote] = field(default_factory=list)
    shared_versions: list[tuple[str, int, Json]] = field(default_factory=list)  # of workflows that many work on
    page_texts: list[Json] = field(default_factory=list)  # that the page was answered to be saved there
    rivals: dict[str, bytes] = field(default_factory=dict)  # contents by the ids of assets that many work on
    given_up_assets: dict[str, AssetNote] = field(default_factory=dict)  # that may be there
    given_up_jobs: set[str] = field(default_factory=set)
    given_up_texts: list[Json] = field(default_factory=list)
    cut_short: list[bytes] = field(default_factory=list)  # texts that a killed server may have written half
    session: str = field(default_factory=lambda: str(uuid.uuid4()))  # of the user's page
    messages: int = 0  # that it has heard
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    interrupts: list[float] = field(default_factory=list)  # seconds until each was answered
    errors: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._file = (self.folder / "notes.jsonl").open("a", encoding="utf-8")

    def of_another_user(self) -> Notes:
        """Return notes for another user's clients: only the times, errors and findings are common to both."""
        return Notes(
            self.folder,
            times=self.times,
            interrupts=self.interrupts,
            errors=self.errors,
            found=self.found,
            began=self.began,
        )

    def write(self, who: str, **what: Any) -> None:
        """Note an event in the file of notes, which tells afterwards how it came to what was found."""
        at = round(time.monotonic() - self.began, 3)
        print(json.dumps({"at": at, "who": who, **what}, default=str), file=self._file, flush=True)

    def find(self, what: str) -> None:
        """Something is amiss."""
        self.found.append(what)
        self.write("finding", what=what)

    def must(self, is_so: bool, what: str) -> bool:
        """Something is amiss unless it is so; answers whether it is."""
        if not is_so:
            self.find(what)
        return is_so

    def close(self) -> None:
        """Close the file."""
        self._file.close()
