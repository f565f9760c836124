"""A response with the content of a file that other programs can rename, replace and remove while it is sent."""

from __future__ import annotations

import asyncio
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
from multidict import CIMultiDict

from ..errors import ApiError, FileInUseError
from ..fs.paths import extended_path
from ..fs.shared_files import is_in_use, open_patiently, read_with_stat
from ..names import WINDOWS
from .request_copies import with_headers

_SMALL = 1 << 20  # bytes
_OF_THE_FILE = (hdrs.CONTENT_DISPOSITION, hdrs.CACHE_CONTROL, hdrs.LAST_MODIFIED, hdrs.ETAG)


class _SharedPath(type(Path())):  # type: ignore[misc]  # before Python 3.12 only the system's own class has a flavour
    """A path whose file is opened so that others can change it meanwhile."""

    _opened: IO[Any] | None = None

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Open the file if it is a regular one, and return its stat.

        aiohttp asks for the stat first. Older versions take the length from it and then open the file, which another
        may have replaced by then. Raises FileInUseError, which aiohttp passes on, and OSError, which it does not.
        """
        info: os.stat_result = super().stat(follow_symlinks=follow_symlinks)
        if not (follow_symlinks and stat.S_ISREG(info.st_mode)):
            return info
        with _held_by_others():
            if WINDOWS and info.st_size <= _SMALL:
                # Nobody can replace an open file there, not even this server, so it is not kept open while it is sent.
                content, info = read_with_stat(self)
                self._opened = io.BytesIO(content)
            else:
                self._opened = open_patiently(self)
                info = os.fstat(self._opened.fileno())
        return info

    def open(self, *_: Any, **__: Any) -> IO[Any]:
        """Return the file that ``stat`` has opened, for the caller to close. Raises as ``stat`` does."""
        if self._opened is None:
            self.stat()
        opened = self.take()
        assert opened is not None, "aiohttp opens regular files alone"
        return opened

    def take(self) -> IO[Any] | None:
        """Return the file that ``stat`` has opened, once."""
        opened, self._opened = self._opened, None
        return opened


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
    """aiohttp's response of a file, never of a compressed neighbour, without locking the file on Windows.

    A file that others lock is a 409 with JSON.
    """

    def __init__(self, path: Path, headers: dict[str, str]) -> None:
        super().__init__(path, headers=headers)
        self._path = self._shared_path = _SharedPath(extended_path(path))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        headers = CIMultiDict(request.headers)
        # With this header aiohttp would send model.json.gz, if it exists, in place of model.json.
        headers.popall(hdrs.ACCEPT_ENCODING, None)
        try:
            return await super().prepare(with_headers(request, headers))
        except FileInUseError as error:
            return await self._refuse(request, error)
        finally:
            if (unsent := self._shared_path.take()) is not None:  # of a response without a body
                await asyncio.to_thread(unsent.close)

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
