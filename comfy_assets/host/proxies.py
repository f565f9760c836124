"""Reverse proxies that sign users in themselves and name them in a header, such as those for OpenID Connect.

Such a header is an assertion, not a proof: it counts only in connections from the addresses in the settings.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

USER_HEADER = "X-Forwarded-User"


def parse_network(text: str) -> Network:
    """Parse an address, or a network such as ``172.16.0.0/12``. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def parse_address(text: str) -> Address | None:
    """Parse the address of a connection; an IPv4-mapped IPv6 address becomes IPv4. None if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class TrustedProxies(msgspec.Struct, frozen=True):
    """The networks whose ``header`` names the user of a request."""

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
