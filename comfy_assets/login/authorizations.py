"""Authorizations of programs by a signed-in user: the code flow with PKCE, for programs on the user's own machine.

The browser leads to the server, the user agrees, and the browser brings a code to a port that the program listens on
(OAuth 2.1; RFC 7636; RFC 8252, 7.3). The program exchanges the code for a token. Codes are kept in memory.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from ..errors import AuthorizationError
from .keys import is_same
from .store import Scope, sorted_scopes

CODE_LASTS_S = 60.0
MAX_CODES = 100
TOKEN_LASTS_DAYS = 90
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # of S256
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_MAX_TEXT = 1000


class AuthorizationRequest(msgspec.Struct, frozen=True):
    """A program's request: its name, the address for the code, and the hash of its secret."""

    client_id: str
    redirect_uri: str
    challenge: str
    state: str
    scopes: tuple[Scope, ...]

    def answer(self, **members: str) -> str:
        """Return the address that the browser is led to, with the members of the response in its query."""
        joint = "&" if urlsplit(self.redirect_uri).query else "?"
        state = {"state": self.state} if self.state else {}
        return f"{self.redirect_uri}{joint}{urlencode({**members, **state})}"


def parse_request(query: Mapping[str, str]) -> AuthorizationRequest:
    """Return the request in the parameters of an address. Raises AuthorizationError, whose text is for the user.

    The browser is not led back to a program whose address is refused.
    """
    client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri", "")
    if not 0 < len(client_id) <= 100 or not client_id.isprintable():
        raise AuthorizationError("The program does not say who it is.", details={"error": "invalid_client"})
    if not _is_loopback(redirect_uri):
        raise AuthorizationError(
            "Only a program on your own machine can be authorized: its redirect_uri must begin with http://127.0.0.1.",
            details={"error": "invalid_request", "field": "redirect_uri"},
        )
    if query.get("response_type") != "code":
        raise _malformed("response_type", "unsupported_response_type")
    challenge = query.get("code_challenge", "")
    if query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise _malformed("code_challenge")
    state = query.get("state", "")
    if len(state) > _MAX_TEXT:
        raise _malformed("state")
    return AuthorizationRequest(client_id, redirect_uri, challenge, state, _scopes_in(query.get("scope", "")))


def _is_loopback(address: str) -> bool:
    if len(address) > _MAX_TEXT or not address.isascii() or not address.isprintable() or "\\" in address:
        return False
    try:
        parts = urlsplit(address)
        is_there = parts.port is not None
    except ValueError:
        return False
    has_user = parts.username is not None or parts.password is not None
    return parts.scheme == "http" and parts.hostname in _LOOPBACK and is_there and not has_user and not parts.fragment


def _scopes_in(text: str) -> tuple[Scope, ...]:
    """Return the scopes for those that programs ask for: ours by name, or the hosted service's by their endings."""
    found: set[Scope] = {"read"}
    for word in text[:_MAX_TEXT].split():
        if word in ("read", "write", "run"):
            found.add(word)  # type: ignore[arg-type]
        elif word.endswith("jobs:write"):
            found.add("run")
        elif word.endswith(":write"):
            found.add("write")
    return sorted_scopes(found)


def _malformed(field: str, error: str = "invalid_request") -> AuthorizationError:
    return AuthorizationError(f"{field} is missing or malformed.", details={"error": error, "field": field})


class _Code(msgspec.Struct, frozen=True):
    user: str
    request: AuthorizationRequest
    expires_at: float


class Authorizations:
    """The codes that users have agreed to and that no program has exchanged yet. Not for several threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._codes: OrderedDict[str, _Code] = OrderedDict()

    def agree(self, user: str, request: AuthorizationRequest) -> str:
        """Return a new code for a request that a user, by key, has agreed to."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(user, request, self._now() + CODE_LASTS_S)
        while len(self._codes) > MAX_CODES:
            self._codes.popitem(last=False)
        return code

    def exchange(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> tuple[str, AuthorizationRequest]:
        """Return the key of the user who has agreed, and the scopes. A code is used up by the first attempt.

        Raises AuthorizationError.
        """
        found = self._codes.pop(code, None)
        if found is None or found.expires_at <= self._now():
            raise _invalid("The code has been used already, or is too old.")
        if (found.request.client_id, found.request.redirect_uri) != (client_id, redirect_uri):
            raise _invalid("The code is another program's.")
        if not _VERIFIER.fullmatch(verifier) or not is_same(_challenge_of(verifier), found.request.challenge):
            raise _invalid("code_verifier does not belong to code_challenge.")
        return found.user, found.request


def _challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _invalid(message: str) -> AuthorizationError:
    return AuthorizationError(message, details={"error": "invalid_grant"})
