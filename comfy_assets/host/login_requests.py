"""Sign-ins in requests and responses: links, tokens, cookies, and where a request comes from."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from ..login.keys import LINK_PREFIX, TOKEN_PREFIX
from ..login.service import Client, LoginService, SignedIn
from .access import AccessRequest, TrustedProxies

_DEVICE_LASTS_S = 365 * 24 * 3600


def link_of(request: web.Request) -> str | None:
    """Return the link in an address, unless a browser only loads it in advance."""
    if request.method != "GET" or "token=" not in request.query_string:
        return None
    purpose = request.headers.get("Sec-Purpose") or request.headers.get("Purpose") or ""
    link = request.query.get("token", "")
    return link if link.startswith(LINK_PREFIX) and "prefetch" not in purpose.lower() else None


def without_link(request: web.Request) -> str:
    """Return the address of a request relative to itself, without the link."""
    url = request.rel_url
    rest = "&".join(part for part in url.raw_query_string.split("&") if not part.startswith("token="))
    return f"./{url.raw_path.rpartition('/')[2]}{f'?{rest}' if rest else ''}"


def redirect(location: str) -> web.Response:
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)


def tokens_of(request: web.Request) -> list[str]:
    """Return what may be tokens in a request. Websockets of browsers cannot have headers, so their address may."""
    headers = request.headers
    found = [*headers.getall("X-API-Key", ()), *_bearer(headers)]
    if headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        found += request.query.getall("token", [])
    return [text for text in found if text.startswith(TOKEN_PREFIX)]


def _bearer(headers: Mapping[str, str]) -> list[str]:
    scheme, _, text = headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return [text.strip()] if scheme.lower() == "bearer" else []


def wants_page(request: web.Request) -> bool:
    """Return whether a browser opens a page, in place of a program or a script of a page."""
    if request.method != "GET" or request.rel_url.raw_path.startswith(("/api/", "/internal/")):
        return False
    mode = request.headers.get("Sec-Fetch-Mode")
    return mode in (None, "navigate") and "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()


def is_led_here(request: web.Request) -> bool:
    """Return whether a page of another origin leads a browser here, by a link or an image."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Browsers send it over plain http too, unless the page that leads here forbids it.
    page = referrer(request)
    return bool(page) and urlsplit(page).netloc.lower() != request.headers.get(hdrs.HOST, "").lower()


def referrer(request: web.Request) -> str:
    return request.headers.get(hdrs.REFERER, "")[:200]


def access_request(request: web.Request) -> AccessRequest:
    """Return what the access rules look at."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return AccessRequest(request.method, request.scheme, headers)


def session_cookie(login: LoginService) -> str:
    """Return the name of the cookie of a session. Browsers send cookies to all ports of a machine."""
    return f"comfy_assets_session_{login.state.file.instance}"


def _device_cookie(login: LoginService) -> str:
    return f"comfy_assets_device_{login.state.file.instance}"


def set_cookies(response: web.Response, request: web.Request, login: LoginService, signed: SignedIn) -> None:
    """Set the cookies of a new session."""
    secure = access_request(request).is_secure
    for name, value, lasts in (
        (session_cookie(login), signed.session, signed.lasts_s),
        (_device_cookie(login), signed.device, _DEVICE_LASTS_S),
    ):
        response.set_cookie(name, value, max_age=lasts, path="/", secure=secure, httponly=True, samesite="Lax")


def remove_session_cookie(response: web.Response, login: LoginService) -> None:
    """Let the browser forget its session."""
    response.del_cookie(session_cookie(login), path="/", httponly=True, samesite="Lax")


def client_of(request: web.Request, login: LoginService, proxies: TrustedProxies) -> Client:
    """Return the other end of a sign-in."""
    return Client(
        address_of(request, proxies),
        request.headers.get(hdrs.USER_AGENT, ""),
        request.cookies.get(_device_cookie(login), ""),
        request.cookies.get(session_cookie(login), ""),
    )


def address_of(request: web.Request, proxies: TrustedProxies) -> str:
    """Return the address of a client, which may be behind proxies."""
    return proxies.client_address(request.remote or "", request.headers.getall("X-Forwarded-For", ()))


def root_of(request: web.Request) -> str:
    """Return the relative path from a page to the root of the server, whatever a proxy has put before it."""
    return "../" * (request.rel_url.raw_path.count("/") - 1) or "./"
