"""A response with the content of a file that other programs can rename, replace and remove while it is sent."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from ..errors import ApiError, FileInUseError
from ..fs.paths import extended_path
from ..fs.shared_files import is_in_use, open_patiently, read_with_stat
from ..names import WINDOWS

_SMALL = 1 << 20  # bytes
_OF_THE_FILE = (hdrs.CONTENT_DISPOSITION, hdrs.CACHE_CONTROL, hdrs.LAST_MODIFIED, hdrs.ETAG)


class _SharedPath(type(Path())):  # type: ignore[misc]  # before Python 3.12 only the system's own class has a flavour
    """A path whose file is opened so that others can change it meanwhile."""

    _content: bytes | None = None  # of a small file, read with its stat

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the file's stat, which aiohttp asks for before it opens the file. Raises as ``open`` does."""
        info: os.stat_result = super().stat(follow_symlinks=follow_symlinks)
        if WINDOWS and stat.S_ISREG(info.st_mode) and info.st_size <= _SMALL:
            # Nobody can replace an open file there, not even this server, so it is not kept open while it is sent.
            with _held_by_others():
                self._content, info = read_with_stat(self)
        return info

    def open(self, *_: Any, **__: Any) -> IO[Any]:
        """Open the file for reading. Raises FileInUseError, which aiohttp passes on, and OSError, which it does not."""
        if self._content is not None:
            return io.BytesIO(self._content)
        with _held_by_others():
            return open_patiently(self)


@contextlib.contextmanager
def _held_by_others() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_in_use(error):
            message = "Another program has the file open. Close it there, or try again later."
            raise FileInUseError(message) from error
        raise


class SharedFileResponse(web.FileResponse):
    """aiohttp's response of a file, without locking the file on Windows. A file that others lock is a 409 with JSON."""

    def __init__(self, path: Path, headers: dict[str, str]) -> None:
        super().__init__(path, headers=headers)
        self._path = _SharedPath(extended_path(path))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            return await super().prepare(request)
        except FileInUseError as error:
            return await self._refuse(request, error)

    def refusal_body(self, error: ApiError) -> Mapping[str, Any]:
        """Return the body of the response in the place of the file."""
        return {"code": error.code, "message": error.message}

    async def _refuse(self, request: web.BaseRequest, error: ApiError) -> AbstractStreamWriter | None:
        """Send the error in the place of the file."""
        body = json.dumps(self.refusal_body(error)).encode()
        for name in _OF_THE_FILE:
            self.headers.popall(name, None)
        self.set_status(error.status)
        self.headers[hdrs.CONTENT_TYPE], self.content_length = "application/json", len(body)
        writer = await web.StreamResponse.prepare(self, request)
        if request.method != hdrs.METH_HEAD:
            await self.write(body)
        return writer

    @property
    def last_modified(self) -> datetime.datetime | None:
        return super().last_modified

    @last_modified.setter
    def last_modified(self, value: float | str | datetime.datetime | None) -> None:
        # Windows has no dates before 1970 and after 3000; a file with such a time is sent without the header.
        with contextlib.suppress(OSError, OverflowError, ValueError):
            web.FileResponse.last_modified.fset(self, value)  # type: ignore[attr-defined]
