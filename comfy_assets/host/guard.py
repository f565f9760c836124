"""The access rules as a middleware of an aiohttp application, and the security headers of every response.

Requests that aiohttp cannot read reach no middleware. They are logged by the server, without their text.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from .access import AccessRules, HostRedirect, Refusal, judge
from .login_gate import LoginGate
from .login_requests import access_request

log = logging.getLogger("comfy_assets.access")

LOG_INTERVAL_S = 10.0
_POLICY = "Content-Security-Policy"
_RESOURCE_POLICY = "Cross-Origin-Resource-Policy"


def protect(
    app: web.Application, rules: AccessRules, gate: LoginGate | None = None, outer: Middleware | None = None
) -> None:
    """Apply the rules, and then the login, before all other middlewares and routes, also those of other packs.

    ``outer`` is put around all of these; it changes the form of refusals.
    """
    if gate is not None:
        app.middlewares.insert(0, gate.middleware)
    app.middlewares.insert(0, guard(rules))
    if outer is not None:
        app.middlewares.insert(0, outer)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        _add_headers(rules, response)

    app.on_response_prepare.append(add_headers)


def guard(rules: AccessRules) -> Middleware:
    """Return a middleware that refuses or redirects requests according to the rules."""
    refusals = RefusalLog()

    @web.middleware
    async def comfy_assets_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = judge(rules, access_request(request))
        if verdict is None:
            return await handler(request)
        if isinstance(verdict, HostRedirect):
            return _redirect(request, verdict)
        refusals.log(request, verdict)
        return _refuse(verdict)

    return comfy_assets_guard


class RefusalLog:
    """Log refusals, at most one of each code in ten seconds: a page may send thousands of requests."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._skipped: dict[str, int] = {}

    def log(self, request: web.Request, refusal: Refusal) -> None:
        """Log a refusal with the number of skipped ones before it, or skip it."""
        code, now = refusal.code, time.monotonic()
        if now < self._next.get(code, now):
            self._skipped[code] = self._skipped.get(code, 0) + 1
            return
        self._next[code] = now + LOG_INTERVAL_S
        more = self._skipped.pop(code, 0)
        path = request.rel_url.raw_path[:200]
        log.warning("Refused %s %s: %s, %s (%d more before)", request.method, path, code, refusal.details, more)


def _refuse(refusal: Refusal) -> web.Response:
    """Return the contract's error body; ComfyUI's own clients read ``error``."""
    body = {"code": refusal.code, "message": refusal.message, "details": refusal.details, "error": refusal.message}
    return web.json_response(body, status=refusal.status)


def _redirect(request: web.Request, redirect: HostRedirect) -> web.Response:
    location = f"{request.scheme}://{redirect.authority}{request.rel_url.raw_path_qs}"
    return web.Response(status=307, headers={"Location": location, "Cache-Control": "no-store"})


def _add_headers(rules: AccessRules, response: web.StreamResponse) -> None:
    if response.status == 101:  # a websocket: its headers are sent already
        return
    # Makes browsers withhold images and scripts from pages of other origins.
    if not rules.is_open and not rules.origins:
        response.headers.setdefault(_RESOURCE_POLICY, "same-origin")
    _add_frame_policy(rules, response)


def _add_frame_policy(rules: AccessRules, response: web.StreamResponse) -> None:
    """Restrict the origins that may show the response in a frame, unless another policy does so already."""
    ancestors = ["'self'", *rules.frame_ancestors, *rules.origins]
    if "*" in ancestors or not rules.is_checked:
        return
    headers = response.headers
    policies = headers.popall(_POLICY, [])
    has_directive = any("frame-ancestors" in policy.lower() for policy in policies)
    if not has_directive:
        # No other directive implies this one, so adding it only makes a policy stricter.
        directive = f"frame-ancestors {' '.join(ancestors)}"
        last = policies.pop() if policies else ""
        policies.append(f"{last.rstrip().rstrip(';')}; {directive}" if last.strip() else directive)
        if len(ancestors) == 1:
            headers.setdefault("X-Frame-Options", "SAMEORIGIN")
    for policy in policies:
        headers.add(_POLICY, policy)


def names_of_this_machine(listening: Iterable[str]) -> set[str]:
    """Return the host name and the names listened on; a thread adds the full name later.

    Looking up the full name may take a name server several seconds.
    """
    own = socket.gethostname().lower()
    names = {"localhost", own, f"{own.partition('.')[0]}.local", *(name.strip().lower() for name in listening)}

    def look_up() -> None:
        names.add(socket.getfqdn().lower())

    threading.Thread(target=look_up, name="comfy-assets names", daemon=True).start()
    return names


class _MalformedRequests(logging.Filter):
    """Remove the text of malformed requests from records: the line that is quoted may hold a cookie or a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return that the record is logged, with the kind of the error in the place of its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", ()
            record.exc_info = None
        return True


_malformed_requests = _MalformedRequests()


def quote_no_requests() -> None:
    """Leave the text of malformed requests out of the server's log. A second call changes nothing."""
    logging.getLogger("aiohttp.server").addFilter(_malformed_requests)
