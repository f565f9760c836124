"""A response with the content of a file that other programs can rename, replace and remove while it is sent."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import IO, Any

from aiohttp import web

from ..fs.paths import extended_path
from ..fs.shared_files import open_shared


class _SharedPath(type(Path())):  # type: ignore[misc]  # before Python 3.12 only the system's own class has a flavour
    """A path whose file is opened so that others can change it meanwhile."""

    def open(self, *_: Any, **__: Any) -> IO[Any]:
        return open_shared(self)


class SharedFileResponse(web.FileResponse):
    """aiohttp's response of a file, without locking the file on Windows."""

    def __init__(self, path: Path, headers: dict[str, str]) -> None:
        super().__init__(path, headers=headers)
        self._path = _SharedPath(extended_path(path))

    @property
    def last_modified(self) -> datetime.datetime | None:
        return super().last_modified

    @last_modified.setter
    def last_modified(self, value: float | str | datetime.datetime | None) -> None:
        # Windows has no dates before 1970 and after 3000; a file with such a time is sent without the header.
        with contextlib.suppress(OSError, OverflowError, ValueError):
            web.FileResponse.last_modified.fset(self, value)  # type: ignore[attr-defined]
