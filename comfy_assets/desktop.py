"""The desktop of the machine that the server runs on: showing a file in its folder; and the machine's addresses."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

# Headers of proxies: the connection is from the proxy then, whatever its address is.
PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MAX_ADDRESSES = 8
# Nothing is sent there: connecting a datagram socket only chooses the address to send from (RFC 5737, RFC 3849).
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def has_desktop(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a folder can be opened on this machine: it has a desktop that this process belongs to."""
    if platform in ("win32", "darwin"):
        return True
    is_graphical = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    return is_graphical and shutil.which("xdg-open", path=environment.get("PATH")) is not None


def is_from_this_machine(peer: str | None, own: str | None, host: str, headers: Iterable[str]) -> bool:
    """Return whether a client runs on the server's machine.

    ``peer`` and ``own`` are the addresses of both ends of its connection, ``host`` is the name by which it has asked,
    ``headers`` are the names of its headers.
    """
    named = {name.lower() for name in headers}
    if any(header.lower() in named for header in PROXY_HEADERS):
        return False
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
    return name in _LOCAL_NAMES and _is_loopback(peer) and _is_loopback(own)


def _is_loopback(address: str | None) -> bool:
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def show_command(
    path: Path, platform: str = sys.platform, environment: Mapping[str, str] = os.environ
) -> str | list[str]:
    """Return the command that shows a file, marked in its folder where the system can do that.

    It is for ``Popen`` without a shell; Explorer needs a line of its own quoting, and file names of Windows have no
    quotes.
    """
    if platform == "win32":
        explorer = f"{environment.get('SystemRoot', 'C:' + chr(92) + 'Windows')}\\explorer.exe"
        return f'"{explorer}" /select,"{path}"'
    # Absolute, so it is no option.
    return ["open", "-R", str(path)] if platform == "darwin" else ["xdg-open", str(path.parent)]


def show_in_folder(path: Path) -> None:
    """Open the folder of a file on the desktop of this machine. Blocks shortly. Raises OSError."""
    process = subprocess.Popen(
        show_command(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=True,
        start_new_session=True,
    )
    # Awaited, or it would stay as a zombie; Explorer's exit status says nothing.
    threading.Thread(target=process.wait, name="comfy-assets open folder", daemon=True).start()


def reachable_addresses(listening: Iterable[str]) -> list[str]:
    """Return the addresses by which other machines reach a server that listens on these. Blocks.

    An unspecified address stands for those of all networks that the machine is in.
    """
    found: dict[str, None] = {}
    for text in listening:
        try:
            address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
        except ValueError:
            continue
        for each in _own_addresses(address.version) if address.is_unspecified else [str(address)]:
            found[each] = None
    return [address for address in found if _is_useful(address)][:_MAX_ADDRESSES]


def _own_addresses(version: int) -> list[str]:
    found: dict[str, None] = {}
    for family, elsewhere in _ELSEWHERE:
        if version == 4 and family == socket.AF_INET6:
            continue  # "::" accepts connections of both versions
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as chosen:
                chosen.connect((elsewhere, 9))
                found[str(chosen.getsockname()[0])] = None
        except OSError:
            continue  # no network of this version
    try:
        for family, _, _, _, address in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            if version == 6 or family == socket.AF_INET:
                found[str(address[0]).partition("%")[0]] = None
    except OSError:
        pass  # the machine's name is in no table of names
    return list(found)


def _is_useful(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast)
