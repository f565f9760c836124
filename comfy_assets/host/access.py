"""Access rules: the requests that a server accepts, and the proxies that may name its client and user. No I/O.

Three attacks by pages of other origins are stopped.

1. A page of another origin sends requests to this server. The browser adds ``Origin`` or ``Sec-Fetch-Site``, which
   scripts cannot set.
2. A page binds its own domain to the address of this server (DNS rebinding). Both headers then agree with the page;
   only ``Host`` differs, which is not a name of this server.
3. A page requests 0.0.0.0 or a similar address, to which browsers send neither header. Those requests are redirected to
   the loopback address.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import msgspec

from ..errors import HostNotAllowedError, OriginNotAllowedError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

SETTING = "COMFY_ASSETS_ALLOWED_HOSTS"
USER_HEADER = "X-Forwarded-User"

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+(?:%\w+)?)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([^/?#]+)", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OWN_SITES = frozenset({"same-origin", "none"})  # "none": the user typed the address or opened a bookmark


@dataclass(frozen=True)
class Authority:
    """A host and a port. An IPv4-mapped IPv6 address is written as IPv4; ``port`` is None if it was not given.

    ``loopback`` is the loopback address that an unspecified or mapped address reaches, None for all others.
    """

    host: str
    port: int | None
    loopback: str | None = field(default=None, compare=False)

    @property
    def is_address(self) -> bool:
        """True if the host is an IP address."""
        return _address(self.host) is not None


@lru_cache(maxsize=256)  # bounded, as clients choose the texts
def parse_authority(text: str) -> Authority | None:
    """Parse a ``Host`` header; return None if it is malformed."""
    match = _AUTHORITY.fullmatch(text.strip().lower())
    if match is None:
        return None
    port = int(match[3]) if match[3] is not None else None
    if port is not None and not 0 < port < 1 << 16:
        return None
    name = match[1] or match[2].removesuffix(".")  # a fully qualified name is the same host
    address = _address(name)
    if match[1] is not None and (address is None or address.version != 6):
        return None
    if address is None:
        return Authority(name, port) if name else None
    return _authority_of(address, port)


@lru_cache(maxsize=256)  # asked several times for each request
def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _authority_of(address: Address, port: int | None) -> Authority:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    loopback = None
    if plain.is_unspecified or (mapped is not None and mapped.is_loopback):
        loopback = "127.0.0.1" if plain.version == 4 else "[::1]"
    return Authority(str(plain), port, loopback)


def is_beyond_this_machine(listening: Iterable[str]) -> bool:
    """Return whether other machines can reach any of the addresses that a server listens on."""
    return any(not _is_loopback(address.strip().lower()) for address in listening)


def _is_loopback(listening: str) -> bool:
    address = _address(listening.strip("[]"))
    if address is None:
        return listening == "localhost"
    return address.is_loopback


class PageOrigin(msgspec.Struct, frozen=True):
    """The origin of a page, with the default port of its scheme if none was given."""

    scheme: str
    host: str
    port: int


@lru_cache(maxsize=256)
def parse_origin(text: str) -> PageOrigin | None:
    """Parse an ``Origin`` header; return None for ``null`` and for origins that are no web pages."""
    match = _ORIGIN.fullmatch(text.strip().lower())
    authority = parse_authority(match[2]) if match is not None else None
    if match is None or authority is None:
        return None
    return PageOrigin(match[1], authority.host, authority.port or _DEFAULT_PORTS[match[1]])


class AllowedHost(msgspec.Struct, frozen=True):
    """An entry of the setting: a name, or a pattern with ``*``, and the port if one was given."""

    name: str
    port: int | None = None

    def fits(self, host: str) -> bool:
        """Return whether the entry matches a host. ``*.example.com`` matches names below example.com."""
        return fnmatch.fnmatchcase(host, self.name)

    def is_origin(self, origin: PageOrigin) -> bool:
        """Return whether this origin is the server itself. Patterns do not count: they match other servers as well."""
        if "*" in self.name or origin.host != self.name:
            return False
        return origin.port == (self.port or _DEFAULT_PORTS[origin.scheme])


def parse_allowed_host(text: str) -> AllowedHost:
    """Parse an entry of the setting. Raises ValueError."""
    authority = parse_authority(text.replace("*", "x"))
    if authority is None:
        raise ValueError(f"{text!r} is not a host name")
    if "*" not in text:
        return AllowedHost(authority.host, authority.port)
    return AllowedHost(text.strip().lower().partition(":")[0], authority.port)


class AccessRules(msgspec.Struct, frozen=True):
    """The rules of a server. ``own_names`` are the names of this machine; names may be added later.

    ``allowed_hosts`` come from the setting. ``origins`` are other origins whose pages may use the server, ``*`` for
    all. ``frame_ancestors`` are other origins that may show pages of this server in a frame.
    """

    is_checked: bool = True
    allowed_hosts: Sequence[AllowedHost] = ()
    own_names: set[str] = msgspec.field(default_factory=lambda: {"localhost"})
    origins: Collection[str] = ()
    frame_ancestors: Sequence[str] = ()

    @property
    def is_open(self) -> bool:
        """True if every request is accepted."""
        return not self.is_checked or "*" in self.origins

    def is_own_host(self, authority: Authority) -> bool:
        """Return whether a ``Host`` header names this server.

        Others cannot bind IP addresses, nor names without a dot: public DNS has no such names.
        """
        host = authority.host
        if authority.is_address or "." not in host or host.endswith(".localhost") or host in self.own_names:
            return True
        return any(allowed.fits(host) for allowed in self.allowed_hosts)


class AccessRequest(msgspec.Struct, frozen=True):
    """A request: the method, the scheme of the connection, and the headers by lower-case name."""

    method: str
    scheme: str
    headers: Mapping[str, Sequence[str]]

    def get(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next(iter(self.headers.get(name, ())), None)

    def first_of_list(self, name: str) -> str | None:
        """Return the first entry of a header to which each proxy appends."""
        value = self.get(name)
        return value if value is None else value.partition(",")[0].strip()

    @property
    def is_secure(self) -> bool:
        """True if the client's connection is encrypted, here or at a proxy in front of the server."""
        return self.scheme == "https" or (self.first_of_list("x-forwarded-proto") or "").lower() == "https"

    @property
    def has_fetch_metadata(self) -> bool:
        return any(name.startswith("sec-fetch-") for name in self.headers)

    @property
    def is_navigation(self) -> bool:
        """True if the user opens a page. The page with the link cannot read the page it leads to."""
        return self._is_navigation_of("document")

    @property
    def is_frame(self) -> bool:
        """True if a page shows this server in a frame. The browser enforces ``frame-ancestors`` for those."""
        return self._is_navigation_of("iframe", "frame")

    def _is_navigation_of(self, *destinations: str) -> bool:
        is_navigating = self.method == "GET" and self.get("sec-fetch-mode") == "navigate"
        return is_navigating and self.get("sec-fetch-dest") in destinations

    @property
    def is_from_browser(self) -> bool:
        """True if a browser seems to have sent it. Pages of other origins cannot change these headers."""
        agent, accepted = self.get("user-agent") or "", self.get("accept") or ""
        return "mozilla/" in agent.lower() or "text/html" in accepted.lower()


class HostRedirect(msgspec.Struct, frozen=True):
    """A redirection to the same path at this authority."""

    authority: str


Refusal: TypeAlias = HostNotAllowedError | OriginNotAllowedError


def judge(rules: AccessRules, request: AccessRequest) -> Refusal | HostRedirect | None:
    """Return the refusal or redirection of a request, None if it is accepted."""
    if rules.is_open:
        return None
    hosts = request.headers.get("host", ())
    authority = parse_authority(hosts[0]) if hosts else None
    # With two different hosts, a proxy may have judged by the other one.
    if len(set(hosts)) > 1 or (hosts and authority is None):
        return _unknown_host(", ".join(hosts))
    if _is_foreign(rules, request, authority):
        return _foreign_origin(request)
    if authority is None:  # HTTP/1.0, which no browser uses
        return None
    if not rules.is_own_host(authority) and not _is_proven(request, authority):
        return _unknown_host(hosts[0])
    return _redirect(request, authority)


def _is_foreign(rules: AccessRules, request: AccessRequest, authority: Authority | None) -> bool:
    """Return whether a page of another origin caused the request."""
    origins = request.headers.get("origin", ())
    if origins:
        if len(set(origins)) > 1:
            return True
        if origins[0].strip().lower() in rules.origins:
            return False
        if not _is_own_origin(rules, request, parse_origin(origins[0]), authority):
            return True
        # An origin of this server is not enough: Sec-Fetch-Site is checked below as well.
    elif _referring_origin(request) in rules.origins:
        return False
    site = request.get("sec-fetch-site")
    if site is None or site in _OWN_SITES or request.is_navigation:
        return False
    return not (rules.frame_ancestors and request.is_frame)


def _referring_origin(request: AccessRequest) -> str | None:
    """Return the origin in ``Referer``. Browsers send no ``Origin`` with images and the like."""
    match = re.match(r"https?://[^/?#]+", (request.get("referer") or "").lower())
    return match[0] if match is not None else None


def _is_own_origin(
    rules: AccessRules, request: AccessRequest, origin: PageOrigin | None, authority: Authority | None
) -> bool:
    """Return whether the page comes from this server.

    A proxy may have replaced ``Host`` and moved it to X-Forwarded-Host. A page of another origin cannot send that
    header: the browser would send a preflight request first, which is refused.
    """
    if origin is None:
        return False
    forwarded = request.first_of_list("x-forwarded-host")
    named = [authority, parse_authority(forwarded) if forwarded else None]
    if any(each is not None and _is_same(origin, each) for each in named):
        return True
    return any(allowed.is_origin(origin) for allowed in rules.allowed_hosts)


def _is_same(origin: PageOrigin, authority: Authority) -> bool:
    """Return whether host and port are equal. A missing port is the scheme's, as HTTPS may end at a proxy."""
    if origin.host != authority.host:
        return False
    return origin.port == (authority.port or _DEFAULT_PORTS[origin.scheme])


def _is_proven(request: AccessRequest, authority: Authority) -> bool:
    """Return whether the request's headers prove that the name belongs to this server.

    A page that rebinds its name to this server is loaded over plain HTTP: a proxy in front of this server has no
    certificate for that name. Browsers send no Sec-Fetch headers to such addresses, the page's Origin begins with
    http://, and scripts can set neither. A websocket has an Origin, but not in every browser Sec-Fetch headers.
    """
    if not request.is_secure:
        return False
    origin = request.get("origin")
    if origin is None:
        return request.get("sec-fetch-site") is not None
    parsed = parse_origin(origin)
    return parsed is not None and parsed.scheme == "https" and _is_same(parsed, authority)


def _redirect(request: AccessRequest, authority: Authority) -> HostRedirect | None:
    """Return the redirection of a browser that uses 0.0.0.0, [::] or a mapped address to the loopback address.

    To the former, browsers send no headers that name the page behind images, frames and links; to the latter they do.
    """
    if authority.loopback is None or request.method not in ("GET", "HEAD"):
        return None
    if request.get("origin") is not None or request.has_fetch_metadata or not request.is_from_browser:
        return None
    return HostRedirect(authority.loopback if authority.port is None else f"{authority.loopback}:{authority.port}")


def _unknown_host(host: str) -> HostNotAllowedError:
    message = (
        f"This server does not accept the host name {host[:200]!r}. If it is yours, add it to the environment variable "
        f"{SETTING} and restart the server."
    )
    return HostNotAllowedError(message, details={"host": host[:200], "setting": SETTING})


def _foreign_origin(request: AccessRequest) -> OriginNotAllowedError:
    origin = (request.get("origin") or request.get("sec-fetch-site") or "")[:200]
    message = (
        "Requests from pages of other origins are not accepted. If a reverse proxy is in use, it must pass on the Host "
        f"header, or its name must be in the environment variable {SETTING}."
    )
    return OriginNotAllowedError(message, details={"origin": origin, "setting": SETTING})


def parse_network(text: str) -> Network:
    """Parse an address, or a network such as ``172.16.0.0/12``. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def parse_address(text: str) -> Address | None:
    """Parse the address of a connection; an IPv4-mapped IPv6 address becomes IPv4. None if it is none."""
    address = _address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class TrustedProxies(msgspec.Struct, frozen=True):
    """The networks of reverse proxies that sign users in, such as those for OpenID Connect; ``header`` names the user.

    Such a header is an assertion, not a proof: it counts only in connections from these networks.
    """

    networks: tuple[Network, ...] = ()
    header: str = USER_HEADER

    def is_trusted(self, remote: str) -> bool:
        """Return whether a connection from this address may name users."""
        address = parse_address(remote)
        return address is not None and any(address in network for network in self.networks)

    def client_address(self, remote: str, forwarded: Sequence[str]) -> str:
        """Return the address of a client: the last one in ``X-Forwarded-For`` that is none of the proxies' own.

        Proxies on this machine and those of the settings are believed; entries before may be the client's invention.
        """
        address = remote
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        while hops and self.is_near(address):
            address = hops.pop() or address
        return address

    def is_near(self, remote: str) -> bool:
        """Return whether a connection is from this machine or from a proxy of the settings."""
        address = parse_address(remote)
        return address is not None and (address.is_loopback or self.is_trusted(remote))
