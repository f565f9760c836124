"""Addresses that downloads may connect to, and those they may not, however they are written."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.errors import AddressNotAllowedError, InvalidLinkError, UnknownSourceHostError
from comfy_assets_node.comfy_assets.host.remote_client import CheckedResolver, RemoteClient, check_literal, is_public

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "99.255.255.255", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "172.15.0.1", "172.32.0.1", "192.0.1.1", "192.167.0.1", "198.17.0.1", "198.20.0.1",
    "223.255.255.255", "2606:4700::1111", "2001:200::1", "2a00:1450::1", "2003::1", "2620:4f::1",
]  # fmt: skip
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::808:808",
    "64:ff9b:1::7f00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd12::1",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "", "localhost", "1.2.3",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)
    check_literal(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(address)


# Hosts of links that are no names: nothing resolves them, so they are judged before any connection.
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "0", "2130706433", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
        "[fe80::1]", "10.0.0.1.", "１２７.0.0.1", "127。0。0。1", "169.254.169.254", "192.168.0.1:8188",
    ],
)  # fmt: skip
async def test_links_to_numbers_are_refused(host: str) -> None:
    with pytest.raises((AddressNotAllowedError, InvalidLinkError)):
        RemoteClient().check_url(f"https://{host}/model.safetensors")


@pytest.mark.parametrize(
    "url",
    [
        "", "model", "/etc/passwd", "https://", "https:///x", "https://user@a.example/x", "https://u:p@a.example/x",
        "http://a.example/x", "ftp://a.example/x", "file:///etc/passwd", "https://a.example:99999/x",
        "https://a.example/\nx", "https://a.example/" + "x" * 5000, "https://[::1/x", "javascript:alert(1)",
    ],
)  # fmt: skip
async def test_links_that_are_never_requested(url: str) -> None:
    with pytest.raises(InvalidLinkError) as refused:
        RemoteClient().check_url(url, "source_url")
    assert refused.value.details is not None and refused.value.details["field"] == "source_url"


def answers(*addresses: str) -> list[Any]:
    return [
        (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443))
        for each in addresses
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["8.8.8.8"], ["8.8.8.8"]),
        (["127.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"], ["8.8.8.8", "2606:4700::1111"]),
        (["127.0.0.1"], None),
        (["::ffff:8.8.8.8", "64:ff9b::808:808"], None),
    ],
)
async def test_names_lead_to_public_addresses_alone(
    monkeypatch: pytest.MonkeyPatch, found: list[str], expected: list[str] | None
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return answers(*found)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    resolver = CheckedResolver(allow_private=False)
    if expected is None:
        with pytest.raises(AddressNotAllowedError):
            await resolver.resolve("rebound.example", 443)
    else:
        assert [each["host"] for each in await resolver.resolve("rebound.example", 443)] == expected
    everything = await CheckedResolver(allow_private=True).resolve("rebound.example", 443)
    assert [each["host"] for each in everything] == found


async def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(UnknownSourceHostError):
        await CheckedResolver(allow_private=False).resolve("none.example", 443)
