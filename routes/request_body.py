"""Request bodies: their media type and size, checked before they are decompressed, and a reader with bounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http import HttpProcessingError

from ..comfy_assets.config import Config
from ..comfy_assets.errors import ApiError, BodyTooLargeError, InvalidBodyError, UnsupportedContentError
from ..comfy_assets.json_limits import DEFAULT_LIMITS, JsonLimits

log = logging.getLogger("comfy_assets.http")

T = TypeVar("T")

# "json": JSON only; "any": the operation checks the type itself, or accepts every type.
BodyType = Literal["json", "any"]

MIB = 1 << 20
_MAX_USER_FILE_SIZE = 32 * MIB
# Operations with a larger limit refuse compressed bodies: decompressing one would hold up the event loop.
_MAX_COMPRESSED = MIB
_UNCOMPRESSED = frozenset({"", "identity"})
# Types that a page of any origin can send without a preflight request (the Fetch standard's safelist).
_SAFELISTED = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
_INLINE_SIZE = 64 << 10  # bytes decoded on the event loop; more are decoded in a thread
# Bounds of multipart forms, which aiohttp's own reader lacks.
MAX_FORM_FIELDS = 100  # beside a file
MAX_FORM_FIELD_SIZE = 256 << 10  # bytes of a field that is no file
# Raised by various versions of aiohttp for forms and other bodies that are malformed or end early.
BROKEN_BODY = (
    ValueError,
    LookupError,
    RuntimeError,
    AssertionError,
    EOFError,
    ConnectionError,
    HttpProcessingError,
    web.RequestPayloadError,
)
# The unread rest of a compressed body is dropped here with pauses, as aiohttp decompresses it without any.
_MAX_DRAINED = 64 * MIB
_DRAIN_S = 1.0


async def form_parts(form: MultipartReader) -> AsyncIterator[MultipartReader | BodyPartReader]:
    """Yield the parts of a form. Raises InvalidBodyError for more than a file and ``MAX_FORM_FIELDS`` fields."""
    count = 0
    while (part := await form.next()) is not None:
        if count > MAX_FORM_FIELDS:
            raise InvalidBodyError(f"A form has at most {MAX_FORM_FIELDS} fields beside its file.")
        yield part
        count += 1
        await asyncio.sleep(0)  # otherwise the parts of a form that has arrived are read without any pause


def _too_large(limit: int) -> ApiError:
    return BodyTooLargeError("The body is too large.", details={"max_bytes": limit})


@dataclass(frozen=True)
class BodyLimit:
    """The bounds of an operation's body.

    ``size``: the number of bytes by the configuration. ``json``: the bounds of a JSON body. ``error``: makes the error
    for a larger body. ``is_streamed``: the reader of the body checks the size. ``is_hosts``: the host reads the body
    after us, so its own limit applies too.
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
class _CurrentLimit:
    limit: BodyLimit
    size: int


_DEFAULT = _CurrentLimit(SMALL, MIB)
# A context variable, so that readers deep inside a handler need no reference to the route.
_current: ContextVar[_CurrentLimit] = ContextVar("comfy_assets_body", default=_DEFAULT)


@contextmanager
def body_limit(limit: BodyLimit, config: Config) -> Iterator[None]:
    """Apply this limit to the request that is handled in the block."""
    token = _current.set(_CurrentLimit(limit, limit.size(config)))
    try:
        yield
    finally:
        _current.reset(token)


def json_limits() -> JsonLimits:
    """Return the bounds of a JSON body of the current request."""
    return _current.get().limit.json


def check_body_type(request: web.Request, body_type: BodyType) -> None:
    """Raise UnsupportedContentError for a body of another type, or without one. An empty body needs no type."""
    if body_type == "any" or not has_body(request) or request.method in ("GET", "HEAD"):
        return
    essence = _essence(request)
    if essence != "application/json" and not (essence.startswith("application/") and essence.endswith("+json")):
        raise _wrong_type(essence)


def check_host_body_type(request: web.Request, body_type: BodyType) -> None:
    """Raise UnsupportedContentError if a browser sends one of the host's operations a body that is not JSON.

    Programs may send it JSON under any type: ComfyUI's own example scripts and ``curl -d`` call it a form. Browsers are
    recognized by their headers. A script of another origin can send only the safelisted types without a preflight.
    """
    if body_type == "any" or not has_body(request) or request.method in ("GET", "HEAD"):
        return
    is_browser = hdrs.ORIGIN in request.headers or "Sec-Fetch-Site" in request.headers
    essence = _essence(request)
    if is_browser and essence in _SAFELISTED:
        raise _wrong_type(essence)


def has_body(request: web.Request) -> bool:
    """Return whether the request has a body, even if it has already been read."""
    return request.headers.get(hdrs.CONTENT_LENGTH, "0") != "0" or hdrs.TRANSFER_ENCODING in request.headers


def _essence(request: web.Request) -> str:
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _wrong_type(essence: str) -> UnsupportedContentError:
    given = essence[:100] or "none"
    return UnsupportedContentError(
        f"The body must be sent as application/json; the Content-Type is {given}.",
        details={"field": "Content-Type", "content_type": given},
    )


def check_headers(request: web.Request) -> None:
    """Raise the operation's error for a body that is too large, UnsupportedContentError for a compressed large one.

    Only the headers are checked, so nothing has been read or decompressed yet.
    """
    limit = _current.get().limit
    if _is_compressed(request) and (limit.is_streamed or _size(request) > _MAX_COMPRESSED):
        raise UnsupportedContentError(
            "The body must be sent without a Content-Encoding.", details={"field": "Content-Encoding"}
        )
    length = request.content_length
    if not limit.is_streamed and length is not None and length > _size(request):
        raise limit.error(_size(request))


async def read(request: web.Request) -> bytes:
    """Return the body. Raise the operation's error if it is too large, InvalidBodyError if it cannot be read.

    The body is kept in the request, so that the host can read it again.
    """
    held: bytes | None = request._read_bytes
    if held is not None:
        if len(held) > _size(request):
            raise _current.get().limit.error(_size(request))
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
    # Not ``request.read``: it would decompress as many bytes at once as the host's limit allows.
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > size:
            raise _current.get().limit.error(size)
        if is_compressed:
            await asyncio.sleep(0)  # let other requests run between two decompressed chunks
    return bytes(body)


def _size(request: web.Request) -> int:
    current = _current.get()
    if current.limit.is_hosts and request.client_max_size:  # 0 means that the host has no limit
        return min(current.size, request.client_max_size)
    return current.size


def _is_compressed(request: web.Request) -> bool:
    return request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() not in _UNCOMPRESSED


async def drain(request: web.Request) -> None:
    """Drop the unread rest of a compressed body in small pieces; close the connection if it is large or slow."""
    if not _is_compressed(request) or request.content.is_eof():
        return
    loop = asyncio.get_running_loop()
    end, dropped = loop.time() + _DRAIN_S, 0
    try:
        while dropped < _MAX_DRAINED and (left := end - loop.time()) > 0:
            chunk = await asyncio.wait_for(request.content.readany(), left)
            if not chunk:
                return
            dropped += len(chunk)
            await asyncio.sleep(0)
    except (web.RequestPayloadError, OSError, asyncio.TimeoutError) as error:
        log.debug("The rest of a body was not read: %r", error)
    # With an exception set, aiohttp closes the connection after the response instead of reading the rest.
    request.content.set_exception(asyncio.TimeoutError())


async def decode(function: Callable[[bytes], T], body: bytes) -> T:
    """Return the function's result for a body; a large body is decoded in a thread."""
    if len(body) <= _INLINE_SIZE:
        return function(body)
    return await asyncio.to_thread(function, body)
