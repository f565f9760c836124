"""Operations that stay the host's: a request it would stumble over is refused, and errors get the contract's shape."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from .context import Call, Failure, error_response, guarded
from .params import NoQuery

Check = Callable[[Call[NoQuery]], Awaitable[None]]

_CODES = {
    400: ("INVALID_REQUEST", "The server cannot do what was asked."),
    401: ("UNAUTHORIZED", "The server does not know this user."),
    403: ("FORBIDDEN", "The server does not allow this."),
    413: ("BODY_TOO_LARGE", "The body is too large."),
}
# Errors of the system for which a name is to blame that a client gave, not the state of the disk.
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSED = frozenset({errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP})


def plain_text(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """An error of an operation whose errors are text."""
    return web.Response(status=status, text=message)


@dataclass(frozen=True)
class Repair:
    """The handler of a passage. ``check`` raises ApiError for a request that is not to reach the host.

    ``statuses`` are the host's that become others. Errors without a JSON body get one, or where ``fail`` writes text,
    those without a body get words. ``thing`` is what there is none of where the status is 404.
    """

    check: Check | None = None
    fail: Failure = error_response
    statuses: Mapping[int, int] = field(default_factory=dict)
    thing: str = "file"

    async def __call__(self, request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        if self.check is not None:
            refused = await guarded(is_probe=True, failure=self.fail)(self.check)(request, {}, services)
            if refused is not None:
                return refused  # type: ignore[no-any-return]
        try:
            return self._shaped(await pass_on(request))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return self.told(error.status)
        except _faults() as error:
            status = _status_of(error, request.method)
            if status is None:
                raise
            return self.told(status)

    def _shaped(self, answer: web.StreamResponse) -> web.StreamResponse:
        if answer.status < 400:
            return answer
        if answer.status in self.statuses:
            return self.told(answer.status)
        if self.fail is not error_response:
            return self._worded(answer)
        return answer if answer.content_type == "application/json" else self.told(answer.status)

    def _worded(self, answer: web.StreamResponse) -> web.StreamResponse:
        """An error of the host's that is text. One without any says its reason: the host may have one of its own."""
        if isinstance(answer, web.Response) and not answer.body:
            is_own = answer.reason != web.Response(status=answer.status).reason
            answer.content_type = "text/plain"
            answer.text = answer.reason if is_own else self._words(answer.status)[1]
        return answer

    def told(self, status: int) -> web.Response:
        """The answer of an error of this status."""
        status = self.statuses.get(status, status)
        return self.fail(status, *self._words(status), None)

    def _words(self, status: int) -> tuple[str, str]:
        """The code and the message of an error."""
        if status == 404:
            return "NOT_FOUND", f"There is no such {self.thing}."
        code = "INTERNAL_ERROR" if status >= 500 else "INVALID_REQUEST"
        return _CODES.get(status, (code, f"The server answered {status} {web.Response(status=status).reason}."))


@cache
def _faults() -> tuple[type[Exception], ...]:
    """What the host's handlers let through when they are given bad names or broken pictures."""
    from PIL.Image import DecompressionBombError

    return (OSError, ValueError, SyntaxError, DecompressionBombError)


def _status_of(error: Exception, method: str) -> int | None:
    """The status of what a host's handler has raised; None when the client is not to blame."""
    if isinstance(error, ConnectionError):
        return None
    number = error.errno if isinstance(error, OSError) else None  # Pillow's own errors have none
    if number in _MISSING:
        return 400 if method == "POST" else 404
    return 400 if number is None or number in _REFUSED else None
