"""Bodies of requests, read up to the size that the operation declares: before and after they are decompressed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import hdrs, web

from ..comfy_assets.config import Config
from ..comfy_assets.errors import ApiError, BodyTooLargeError, InvalidBodyError, UnsupportedContentError
from ..comfy_assets.json_limits import DEFAULT_LIMITS, JsonLimits

log = logging.getLogger("comfy_assets.http")

T = TypeVar("T")

MIB = 1 << 20
_MAX_USER_FILE_SIZE = 32 * MIB
_MAX_COMPRESSED = MIB  # larger bodies must come as they are
_PLAIN = frozenset({"", "identity"})
_INLINE = 64 << 10  # bytes that are worked on at once; more of them in a thread
# What is left of a compressed body is read and dropped by us, with pauses: aiohttp decompresses it without any.
_DRAINED = 64 * MIB
_DRAIN_S = 1.0


def _too_large(limit: int) -> ApiError:
    return BodyTooLargeError("The body is too large.", details={"max_bytes": limit})


@dataclass(frozen=True)
class BodyLimit:
    """The largest body of an operation.

    ``size`` gives the number of bytes, ``json`` what a JSON body may hold, and ``error`` the error for a larger one.
    A body that ``is_streamed`` is bounded by what reads it. ``is_hosts`` is one that the host reads after us, whose
    own limit counts too.
    """

    size: Callable[[Config], int] = lambda _: MIB
    json: JsonLimits = DEFAULT_LIMITS
    error: Callable[[int], ApiError] = _too_large
    is_streamed: bool = False
    is_hosts: bool = False


SMALL = BodyLimit()
HOSTS_SMALL = BodyLimit(is_hosts=True)
STREAMED = BodyLimit(is_streamed=True)
USER_FILE = BodyLimit(lambda _: _MAX_USER_FILE_SIZE, is_hosts=True)


@dataclass(frozen=True)
class _Declared:
    limit: BodyLimit
    size: int


_SMALL_ONE = _Declared(SMALL, MIB)
_declared: ContextVar[_Declared] = ContextVar("comfy_assets_body", default=_SMALL_ONE)


@contextmanager
def declared(limit: BodyLimit, config: Config) -> Iterator[None]:
    """Let this limit count for the request that is handled in the block."""
    token = _declared.set(_Declared(limit, limit.size(config)))
    try:
        yield
    finally:
        _declared.reset(token)


def json_limits() -> JsonLimits:
    """Return what the JSON body of the current request may hold."""
    return _declared.get().limit.json


def check_headers(request: web.Request) -> None:
    """Raise the operation's error for a body that is too large, or UnsupportedContentError for one that is compressed.

    Only what the headers say counts, so nothing has been read or decompressed yet.
    """
    limit = _declared.get().limit
    if _is_compressed(request) and (limit.is_streamed or _size(request) > _MAX_COMPRESSED):
        raise UnsupportedContentError(
            "The body must be sent without a Content-Encoding.", details={"field": "Content-Encoding"}
        )
    length = request.content_length
    if not limit.is_streamed and length is not None and length > _size(request):
        raise limit.error(_size(request))


async def read(request: web.Request) -> bytes:
    """Return the body. Raise the operation's error for one that is too large, InvalidBodyError for an unreadable one.

    aiohttp keeps what was read, so that a host finds it read.
    """
    held: bytes | None = request._read_bytes
    if held is not None:
        if len(held) > _size(request):
            raise _declared.get().limit.error(_size(request))
        return held
    check_headers(request)
    try:
        body = await _read_up_to(request, _size(request))
    except (web.RequestPayloadError, OSError) as error:
        raise InvalidBodyError("The body could not be read.") from error
    request._read_bytes = body
    return body


async def _read_up_to(request: web.Request, size: int) -> bytes:
    is_compressed = _is_compressed(request)
    body = bytearray()
    # ``read`` of aiohttp would decompress as many bytes at once as the host's limit allows.
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > size:
            raise _declared.get().limit.error(size)
        if is_compressed:
            await asyncio.sleep(0)
    return bytes(body)


def _size(request: web.Request) -> int:
    declared = _declared.get()
    if declared.limit.is_hosts and request.client_max_size:
        return min(declared.size, request.client_max_size)
    return declared.size


def _is_compressed(request: web.Request) -> bool:
    return request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() not in _PLAIN


async def drain(request: web.Request) -> None:
    """Drop what nobody has read of a compressed body, in small pieces; a large rest ends the connection."""
    if not _is_compressed(request) or request.content.is_eof():
        return
    loop = asyncio.get_running_loop()
    end, dropped = loop.time() + _DRAIN_S, 0
    try:
        while dropped < _DRAINED and (left := end - loop.time()) > 0:
            chunk = await asyncio.wait_for(request.content.readany(), left)
            if not chunk:
                return
            dropped += len(chunk)
            await asyncio.sleep(0)
    except (web.RequestPayloadError, OSError, asyncio.TimeoutError) as error:
        log.debug("The rest of a body was not read: %r", error)
    request.content.set_exception(asyncio.TimeoutError())  # which has aiohttp close the connection, once it answered


async def work(function: Callable[[bytes], T], body: bytes) -> T:
    """Return what a function makes of a body; in a thread where the body is not small."""
    if len(body) <= _INLINE:
        return function(body)
    return await asyncio.to_thread(function, body)
