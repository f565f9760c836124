"""Addresses of other servers that may be connected to, and a resolver that returns no others."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from ..errors import AddressNotAllowedError, UnknownSourceHostError

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
