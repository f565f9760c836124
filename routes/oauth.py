"""Signing a program in by a browser: the code flow of OAuth 2.1 as comfy-cli uses it. See ``login.authorizations``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import hdrs, web

from ..comfy_assets import login_page
from ..comfy_assets.app import Services
from ..comfy_assets.errors import AuthorizationError, InvalidBodyError, LoginUnavailableError, SignInRequiredError
from ..comfy_assets.host.login_requests import access_request, root_of
from ..comfy_assets.ids import now_ms
from ..comfy_assets.login.authorizations import TOKEN_LASTS_DAYS, AuthorizationRequest, parse_request
from ..comfy_assets.login.store import ROLE_SCOPES, sorted_scopes
from .context import NoQuery, RequestContext, endpoint, json_response
from .login import login_route, page_response, signed_in
from .operations import Operation, Record, RequestBody, Response, array, integer, object_with, string
from .params import Text, doc, parse_body
from .request_body import MAX_FORM_FIELDS, read

_DAY_S = 86_400
_FORM_TYPE = "application/x-www-form-urlencoded"


class AuthorizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of authorizeProgram: the parameters of the page's address, and the user's decision."""

    query: Annotated[
        Annotated[dict[Text, Text], msgspec.Meta(max_length=50)],
        doc("The parameters of the address that the program has opened."),
    ]
    allow: Annotated[bool, doc("Whether the user agrees.")]


class AuthorizeResponse(msgspec.Struct):
    """The address that the browser is led to."""

    location: Annotated[str, doc("An address of the program on the user's machine, with `code` or `error`.")]


@endpoint(requires_store=False, allow_anonymous=True)
async def get_metadata(call: RequestContext[NoQuery]) -> web.Response:
    """Return where programs sign in (getOAuthMetadata, an extension; RFC 8414)."""
    issuer = _own_address(call.request)
    return json_response(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth/authorize",
            "token_endpoint": f"{issuer}/oauth/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["read", "write", "run"],
        }
    )


def _own_address(request: web.Request) -> str:
    asked = access_request(request)
    host = asked.first_of_list("x-forwarded-host") or request.headers.get(hdrs.HOST, "")
    return f"{'https' if asked.is_secure else 'http'}://{host}"


@endpoint(requires_store=False, allow_anonymous=True, has_more_parameters=True)
async def get_page(call: RequestContext[NoQuery]) -> web.Response:
    """Return the page on which a user lets a program in (getAuthorizePage, an extension)."""
    identity = signed_in(call, with_session=True)
    asked = parse_request(call.request.query)
    page = login_page.consent_markup(
        root=root_of(call.request),
        languages=call.request.headers.get(hdrs.ACCEPT_LANGUAGE, ""),
        user=identity.user,
        client=asked.client_id,
        days=TOKEN_LASTS_DAYS,
    )
    return page_response(page, 200)


@endpoint(requires_store=False, allow_anonymous=True)
async def authorize(call: RequestContext[NoQuery]) -> web.Response:
    """Agree to let a program in, or refuse it (authorizeProgram, an extension)."""
    identity = signed_in(call, with_session=True)
    body = await parse_body(AuthorizeRequest, call.request)
    asked = parse_request(body.query)
    if body.allow:
        location = asked.answer(code=call.services.login.authorizations.agree(identity.key, asked))
    else:
        location = asked.answer(error="access_denied")
    response = json_response(AuthorizeResponse(location))
    response.headers["Cache-Control"] = "no-store"
    return response


@endpoint(requires_store=False, allow_anonymous=True, failure=lambda *error: _token_error(*error))
async def create_token(call: RequestContext[NoQuery]) -> web.Response:
    """Exchange a code for a token (exchangeAuthorizationCode, an extension; RFC 6749, 4.1.3)."""
    if call.request.content_type != _FORM_TYPE:
        raise InvalidBodyError(f"The body must be {_FORM_TYPE}.")
    form = _fields(await read(call.request))
    if form.get("grant_type") != "authorization_code":
        raise AuthorizationError(
            "Only the grant type authorization_code is supported.", details={"error": "unsupported_grant_type"}
        )
    key, asked = call.services.login.authorizations.exchange(
        *(form.get(name, "") for name in ("code", "client_id", "redirect_uri", "code_verifier"))
    )
    token, scopes = await asyncio.to_thread(_new_token, call.services, key, asked)
    response = json_response(
        {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": TOKEN_LASTS_DAYS * _DAY_S,
            "scope": " ".join(scopes),
        }
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form, which is in UTF-8 whatever its type says (RFC 6749, B). Raise InvalidBodyError."""
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise InvalidBodyError("The body is not a readable form.") from error


def _new_token(services: Services, key: str, asked: AuthorizationRequest) -> tuple[str, tuple[str, ...]]:
    user = services.login.state.users.get(key)
    if user is None or user.is_disabled:
        raise AuthorizationError("The user is refused.", details={"error": "invalid_grant"})
    scopes = sorted_scopes(set(asked.scopes) & ROLE_SCOPES[user.role])
    accounts = services.login.accounts(by=user.name)
    expires_at = now_ms() + TOKEN_LASTS_DAYS * _DAY_S * 1000
    record, text = accounts.create_token(user.name, asked.client_id, scopes, expires_at)
    return text, record.scopes


def _token_error(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make an error of the token endpoint (RFC 6749, 5.2)."""
    error = (details or {}).get("error", "server_error" if status >= 500 else "invalid_request")
    return json_response({"error": error, "error_description": message, "code": code, "message": message}, status)


_PARAMETERS = {
    "response_type": "`code`.",
    "client_id": "The program's name for itself.",
    "redirect_uri": "An address on the user's machine, `http://127.0.0.1:PORT/…`, at which the program listens.",
    "code_challenge": "The SHA-256 of the program's secret, in base64url.",
    "code_challenge_method": "`S256`.",
    "state": "A text that is returned.",
    "scope": "What the program wants to do: `read`, `write`, `run`, or scopes of the hosted service.",
}
_METADATA = Record(
    "OAuthMetadata",
    "Where programs sign in (RFC 8414).",
    {
        **{name: string("An address.") for name in ("issuer", "authorization_endpoint", "token_endpoint")},
        **{
            name: array({"type": "string"}, "What is supported.")
            for name in (
                "response_types_supported",
                "grant_types_supported",
                "code_challenge_methods_supported",
                "token_endpoint_auth_methods_supported",
                "scopes_supported",
            )
        },
    },
)
_TOKEN = Record(
    "OAuthToken",
    "A token of the user (RFC 6749, 5.1).",
    {
        "access_token": string("The token, `comfyui-…`. It is not shown again."),
        "token_type": string("`Bearer`."),
        "expires_in": integer("Seconds until it is refused."),
        "scope": string("What it permits."),
    },
)
_TOKEN_ERROR = Record(
    "OAuthError",
    "Why there is no token (RFC 6749, 5.2).",
    {
        "error": string("A word for programs."),
        "error_description": string("A sentence for people."),
        "code": string("The code that other operations have."),
        "message": string("The same sentence."),
    },
)
_EXCHANGE = object_with(
    {
        "grant_type": string("`authorization_code`."),
        "code": string("The code."),
        "client_id": string("As in the address of the page."),
        "redirect_uri": string("As in the address of the page."),
        "code_verifier": string("The program's secret."),
    }
)

ROUTES = [
    login_route(
        "GET",
        "/.well-known/oauth-authorization-server",
        get_metadata,
        Operation(
            "getOAuthMetadata",
            "Login",
            "Get where programs sign in",
            {200: Response("The addresses.", _METADATA)},
            is_open=True,
        ),
    ),
    login_route(
        "GET",
        "/oauth/authorize",
        get_page,
        Operation(
            "getAuthorizePage",
            "Login",
            "Get the page on which a user lets a program in",
            {200: Response("The page.", {"type": "string"}, "text/html")},
            "A program on the user's machine opens it in the browser.",
            parameters=_PARAMETERS,
            errors=(AuthorizationError, SignInRequiredError),
        ),
    ),
    login_route(
        "POST",
        "/oauth/authorize",
        authorize,
        Operation(
            "authorizeProgram",
            "Login",
            "Let a program in, or refuse it",
            {200: Response("The address at which the browser continues.", AuthorizeResponse)},
            body=RequestBody(AuthorizeRequest, example={"query": {"client_id": "comfy-cli"}, "allow": True}),
            errors=(AuthorizationError, SignInRequiredError),
        ),
    ),
    login_route(
        "POST",
        "/oauth/token",
        create_token,
        Operation(
            "exchangeAuthorizationCode",
            "Login",
            "Exchange a code for a token",
            {200: Response("A token of the user who has agreed.", _TOKEN)},
            "A code works once, within a minute.",
            body=RequestBody(_EXCHANGE, _FORM_TYPE),
            errors=(AuthorizationError, InvalidBodyError, LoginUnavailableError),
            error_schema=_TOKEN_ERROR,
            is_open=True,
        ),
        media="any",
    ),
]
