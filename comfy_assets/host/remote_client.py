"""Requests to other servers: to public addresses only, with limits, and with keys that go to their provider alone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Any, TypeVar

import msgspec
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .. import VERSION
from ..errors import (
    AddressNotAllowedError,
    ApiError,
    InvalidLinkError,
    SourceError,
    SourceForbiddenError,
    SourceInterruptedError,
    SourceKeyDeniedError,
    SourceKeyInvalidError,
    SourceKeyNeededError,
    SourceMetadataError,
    SourceNotFoundError,
    SourceRateLimitError,
    SourceServerError,
    SourceTimeoutError,
    SourceUnreachableError,
    UnknownSourceHostError,
)

T = TypeVar("T")

SETTING = "COMFY_ASSETS_DOWNLOAD_PRIVATE"

# The tables of ``ipaddress`` differ between versions of Python, so the special ranges are listed here, by IANA's
# registries of special-purpose addresses. Multicast and reserved addresses, from 224.0.0.0 on, are one range.
_SPECIAL_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a provider (CGNAT)
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
# Outside this range are loopback, local, link-local and multicast addresses, and IPv4 addresses in IPv6 notation:
# mapped ones (::ffff:0:0/96) and those of NAT64 (64:ff9b::/96 and 64:ff9b:1::/48).
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols, among them Teredo, which contains IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4, which contains IPv4 addresses
        "3fff::/20",
    )
)
MAX_URL_LENGTH = 4096
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425})  # beside 429 and 5xx
_CHUNK = 256 << 10
# Civitai and others refuse requests without a user agent.
_AGENT = f"comfy-assets/{VERSION}"


def is_public(address: str) -> bool:
    """Return whether a numeric address belongs to the public internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _SPECIAL_IPV4)
    return parsed in _GLOBAL_IPV6 and not any(parsed in network for network in _SPECIAL_IPV6)


def check_literal(host: str) -> None:
    """Raise AddressNotAllowedError if the host is a numeric address that is not public.

    aiohttp connects to numeric addresses without a resolver, so they are checked before. That includes short forms such
    as 127.1, which ``ip_address`` does not know but the system does.
    """
    is_numeric = ":" in host or host.replace(".", "").isdigit()
    if is_numeric and not is_public(host):
        raise not_allowed(host)


def not_allowed(host: str) -> AddressNotAllowedError:
    """Make the error for a host that does not have a public address."""
    return AddressNotAllowedError(
        f"{host} is not a public address. A setting allows addresses of your own network.",
        details={"host": host, "setting": SETTING},
    )


class CheckedResolver(AbstractResolver):
    """Resolve names to public addresses only, unless ``allow_private``.

    The connector connects to the very addresses that are returned, so that a name cannot lead elsewhere after the check
    (DNS rebinding).
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses. Raises UnknownSourceHostError, AddressNotAllowedError."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        except (OSError, UnicodeError) as error:
            raise UnknownSourceHostError(f"The name {host} cannot be resolved.", details={"host": host}) from error
        numeric = [(kind, str(address[0])) for kind, _, _, _, address in found]
        allowed = [(kind, address) for kind, address in numeric if self._allow_private or is_public(address)]
        if not allowed:
            raise not_allowed(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in allowed
        ]

    async def close(self) -> None:
        """Do nothing: the resolver holds no resources."""


class RemoteLimits(msgspec.Struct, frozen=True):
    """Limits of requests: seconds for the connection, without a byte, and for a whole response other than a file.

    ``redirects`` is the largest number of them, ``response_bytes`` the size of a response other than a file.
    """

    connect_s: float = 15.0
    idle_s: float = 60.0
    response_s: float = 30.0
    redirects: int = 10
    response_bytes: int = 8 << 20


class RemoteKey(msgspec.Struct, frozen=True):
    """A key for a provider. It is sent to ``origin`` (scheme, host and port) only, and never shown."""

    provider: str
    origin: str
    value: str

    def __repr__(self) -> str:
        return f"RemoteKey({self.provider!r}, {self.origin!r}, …)"


class RemoteRequest(msgspec.Struct, frozen=True):
    """A request to another server.

    ``provider`` is the one that a key could be for; errors name it. With ``stays`` a redirect to another origin is
    returned and not followed: its headers have the wanted facts.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    key: RemoteKey | None = None
    provider: str = ""
    stays: bool = False


class RemoteResponse:
    """A response whose body has not been read. ``url`` is the last one after redirects."""

    def __init__(self, response: ClientResponse, url: URL) -> None:
        self._response = response
        self._host = url.host or ""
        self.url = str(url)
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def length(self) -> int | None:
        """The size of the body by its header, in bytes."""
        return parse_size(self.headers.get("Content-Length"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces of up to 256 KiB. Raises SourceTimeoutError, SourceInterruptedError."""
        with _translated(self._host):
            async for chunk in self._response.content.iter_chunked(_CHUNK):
                yield chunk


class RemoteClient:
    """Sends requests to other servers. Numeric addresses, names and every redirect are checked.

    ``allow_private`` permits addresses of the own network, ``allow_http`` connections without TLS.
    """

    def __init__(
        self, *, allow_private: bool = False, allow_http: bool = False, limits: RemoteLimits | None = None
    ) -> None:
        self._allow_private = allow_private
        self._allow_http = allow_http
        self.limits = limits or RemoteLimits()
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def check_url(self, url: str, field: str = "url") -> None:
        """Raise InvalidLinkError or AddressNotAllowedError for a URL that is never requested. No I/O."""
        self._parse(url, field)

    def _parse(self, text: str | URL, field: str = "url") -> URL:
        """Return the URL as aiohttp will use it: its host may differ from the text (IDNA)."""
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
            _ = url.host  # decoded for messages; labels such as "xn--" cannot be
        except ValueError:
            host = port = None
        if not host or port is None or len(str(text)) > MAX_URL_LENGTH or not str(text).isprintable():
            raise InvalidLinkError("This is not a link to a file.", details={"field": field})
        if url.scheme != "https" and not (self._allow_http and url.scheme == "http"):
            raise InvalidLinkError(
                "The link must begin with https://. A setting allows http, for your own network.",
                details={"field": field, "setting": SETTING},
            )
        if url.raw_user is not None or url.raw_password is not None:
            raise InvalidLinkError("The link must not contain a user name or password.", details={"field": field})
        if not self._allow_private:
            check_literal(host)
        return url

    @contextlib.asynccontextmanager
    async def open(self, request: RemoteRequest) -> AsyncIterator[RemoteResponse]:
        """Send a request, follow redirects and yield the response with any status.

        Raises InvalidLinkError, AddressNotAllowedError, SourceError.
        """
        url, key = self._parse(request.url), request.key
        for _ in range(self.limits.redirects + 1):
            if key is not None and str(url.origin()) != key.origin:
                key = None  # for good: a redirect back to the provider may be forged
            response = await self._send(request, url, key)
            try:
                target = self._redirect_target(response, url)
                if target is None or (request.stays and target.origin() != url.origin()):
                    yield RemoteResponse(response, url)
                    return
            finally:
                response.close()
            url = target
        raise SourceError("The other server redirects too often.", details={"limit": self.limits.redirects})

    def _redirect_target(self, response: ClientResponse, url: URL) -> URL | None:
        if response.status not in _REDIRECTS:
            return None
        location = response.headers.get("Location")
        if not location:
            raise SourceError("The other server redirects without an address.")
        try:
            target = url.join(URL(location))
        except ValueError:
            raise SourceError("The other server redirects to a malformed address.") from None
        return self._parse(target)

    async def probe(self, request: RemoteRequest) -> RemoteResponse:
        """Return status and headers of a response whose body is not read. Raises the errors of ``open``."""
        return await self._in_time(self._probe(request))

    async def _probe(self, request: RemoteRequest) -> RemoteResponse:
        async with self.open(request) as response:
            return response

    async def read(self, request: RemoteRequest, *, limit: int | None = None) -> bytes:
        """Return the body of a successful response other than a file.

        Raises SourceMetadataError if it is larger than ``limit`` (by default that of the client), and the errors of
        ``open`` and ``check_status``.
        """
        return await self._in_time(self._read(request, limit or self.limits.response_bytes))

    async def _in_time(self, response: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.wait_for(response, self.limits.response_s)
        except asyncio.TimeoutError:
            raise SourceTimeoutError("The other server did not respond in time.") from None

    async def _read(self, request: RemoteRequest, limit: int) -> bytes:
        body = bytearray()
        async with self.open(request) as response:
            check_status(response, request)
            async for chunk in response.chunks():
                body += chunk
                if len(body) > limit:
                    raise SourceMetadataError(
                        "The response of the other server is too large.", details={"max_bytes": limit}
                    )
        return bytes(body)

    async def _send(self, request: RemoteRequest, url: URL, key: RemoteKey | None) -> ClientResponse:
        headers = {"Accept-Encoding": "identity", **request.headers}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.value}"
        with _translated(url.host or ""):
            session = await self._connected()
            return await session.request(request.method, url, headers=headers, allow_redirects=False)

    async def _connected(self) -> ClientSession:
        if self._session is None:
            context = await asyncio.to_thread(_tls_context)
        if self._session is None:  # another request may have been faster
            resolver = CheckedResolver(allow_private=self._allow_private)
            self._session = ClientSession(
                # Nothing is kept: each connection is to an address that was checked for it.
                connector=TCPConnector(resolver=resolver, ssl=context, use_dns_cache=False, force_close=True, limit=0),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": _AGENT},
                timeout=ClientTimeout(total=None, connect=self.limits.connect_s, sock_read=self.limits.idle_s),
                auto_decompress=False,
                trust_env=False,  # a proxy would resolve names itself, without the check
            )
        return self._session


def _tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, and those of the package ``certifi`` if it is installed.

    Some builds of Python, such as that of python.org for macOS, know no certificates of the system. Blocks.
    """
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError, OSError):
        context.load_verify_locations(importlib.import_module("certifi").where())
    return context


def origin_of(url: str) -> str:
    """Return scheme, host and, unless it is the usual one, port of a URL. Raises ValueError."""
    return str(URL(url).origin())


def parse_size(text: str | None) -> int | None:
    """Return the number in a header, or None if it has none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def check_status(response: RemoteResponse, request: RemoteRequest) -> None:
    """Raise the SourceError of a response's status, unless it is 200 or 206."""
    if response.status in (200, 206):
        return
    raise _error_of(response.status, request)


def _error_of(status: int, request: RemoteRequest) -> SourceError:
    details = {"status": status, **({"provider": request.provider} if request.provider else {})}
    if status in (401, 403):
        return _refused(status, request.key, details)
    if status in (404, 410):
        return SourceNotFoundError("The other server has no such file.", details=details)
    if status == 429:
        return SourceRateLimitError("The other server has had too many requests.", details=details)
    if status >= 500 or status in _PASSING:
        return SourceServerError(f"The other server responded with status {status}.", details=details)
    return SourceError(f"The other server responded with status {status}.", details=details)


def _refused(status: int, key: RemoteKey | None, details: dict[str, object]) -> SourceError:
    if key is None and status == 401:
        return SourceKeyNeededError("The other server requires a key for this file.", details=details)
    if key is None:
        return SourceForbiddenError("The other server does not give access to this file.", details=details)
    if status == 401:
        return SourceKeyInvalidError("The stored key is not accepted.", details=details)
    return SourceKeyDeniedError("The stored key does not give access to this file.", details=details)


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn errors of connections into SourceErrors.

    Messages name the host alone, and the cause is dropped: it may quote the URL, which can hold secrets.
    """
    try:
        yield
    except ApiError:
        raise
    except (TimeoutError, asyncio.TimeoutError):
        raise SourceTimeoutError(f"{host} sent nothing for too long.", details={"host": host}) from None
    except (ClientError, OSError, ValueError) as error:
        raise _connection_error(error, host) from None


def _connection_error(error: Exception, host: str) -> SourceError:
    if isinstance(error, ClientSSLError | ssl.CertificateError):
        return SourceUnreachableError(f"The certificate of {host} is not valid.", details={"host": host})
    if isinstance(error, ClientConnectorError):
        return SourceUnreachableError(f"{host} cannot be reached.", details={"host": host})
    return SourceInterruptedError(f"The connection to {host} ended early.", details={"host": host})
