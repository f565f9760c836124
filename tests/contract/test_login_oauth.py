"""Programs that sign in by a browser: the code flow, which nobody but the signed-in user and the program can use."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from comfy_assets_node.comfy_assets import login_page
from comfy_assets_node.comfy_assets.errors import AuthorizationError
from comfy_assets_node.comfy_assets.login.authorizations import MAX_CODES, Authorizations, parse_request
from gated import Gated, Make
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "response_type": "code",
    "client_id": "comfy-cli",
    "redirect_uri": "http://127.0.0.1:49152/callback",
    "scope": "comfy-cloud:workflows:read comfy-cloud:jobs:write comfy-cloud:assets:write",
    "state": "a state",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "resource": "http://127.0.0.1:8188/api",
}
EXCHANGE = {
    "grant_type": "authorization_code",
    "client_id": ASKED["client_id"],
    "redirect_uri": ASKED["redirect_uri"],
    "code_verifier": VERIFIER,
    "resource": ASKED["resource"],
}
PAGE = {"Accept": "text/html"}


async def agree(gated: Gated, headers: dict[str, str], allow: bool = True, **changed: str) -> dict[str, list[str]]:
    """The query that the browser brings to the program."""
    body = {"query": {**ASKED, **changed}, "allow": allow}
    response = await gated.send("POST", "/oauth/authorize", json=body, headers=headers)
    assert response.status == 200, await response.text()
    location = (await response.json())["location"]
    assert location.startswith(ASKED["redirect_uri"] + "?")
    return parse_qs(urlsplit(location).query)


async def exchange(gated: Gated, **changed: str) -> tuple[int, Any]:
    response = await gated.send("POST", "/oauth/token", data={**EXCHANGE, **changed})
    return response.status, await response.json()


async def test_a_program_gets_a_token_of_the_user_who_agrees(gated: Gated) -> None:
    told = await (await gated.send("GET", "/.well-known/oauth-authorization-server")).json()
    assert told["authorization_endpoint"] == f"{told['issuer']}/oauth/authorize"
    assert told["issuer"] == str(gated.client.make_url("/")).rstrip("/")
    address = f"/oauth/authorize?{urlencode(ASKED)}"
    response = await gated.send("GET", address, headers=PAGE)
    assert response.status == 401 and 'id="sign-in"' in await response.text(), "the page to sign in comes first"
    ada = await gated.cookie()
    response = await gated.send("GET", address, headers={**ada, **PAGE})
    page = await response.text()
    assert response.status == 200 and "comfy-cli" in page and "Ada" in page and 'id="allow"' in page
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    answer = await agree(gated, ada)
    assert answer["state"] == ["a state"]
    status, token = await exchange(gated, code=answer["code"][0])
    assert (status, token["token_type"], token["scope"]) == (200, "Bearer", "read write run")
    assert token["expires_in"] == 90 * 86_400
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    who = await (await gated.send("GET", "/api/login", headers=headers)).json()
    assert (who["user"], who["kind"], who["scopes"]) == ("Ada", "token", ["read", "run", "write"])
    (listed,) = (await (await gated.send("GET", "/api/login/tokens", headers=ada)).json())["tokens"]
    assert listed["name"] == "comfy-cli" and listed["expires_at"]
    assert (await exchange(gated, code=answer["code"][0]))[1]["error"] == "invalid_grant", "a code works once"


async def test_a_user_refuses(gated: Gated) -> None:
    assert await agree(gated, await gated.cookie(), allow=False) == {"error": ["access_denied"], "state": ["a state"]}
    assert gated.login.state.file.tokens == ()


@pytest.mark.parametrize(
    ("user", "scope", "wanted"),
    [("Guest", "run write", "read"), ("Ada", "", "read"), ("Root", "admin read", "read"), ("Root", "run", "read run")],
)
async def test_a_token_permits_what_was_asked_for_and_the_user_may(
    gated: Gated, user: str, scope: str, wanted: str
) -> None:
    answer = await agree(gated, await gated.cookie(user), scope=scope)
    assert (await exchange(gated, code=answer["code"][0]))[1]["scope"] == wanted


WRONG = [
    {"code_verifier": "w" * 43},
    {"code_verifier": ""},
    {"code_verifier": CHALLENGE},
    {"client_id": "other"},
    {"redirect_uri": "http://127.0.0.1:49153/callback"},
    {"code": "x"},
    {"grant_type": "refresh_token"},
]


@pytest.mark.parametrize("changed", WRONG, ids=lambda changed: next(iter(changed)))
async def test_another_program_cannot_use_the_code(gated: Gated, changed: dict[str, str]) -> None:
    answer = await agree(gated, await gated.cookie())
    status, told = await exchange(gated, **{"code": answer["code"][0], **changed})
    assert status == 400 and told["error"] in ("invalid_grant", "unsupported_grant_type")
    assert gated.login.state.file.tokens == ()
    if "code" not in changed and "grant_type" not in changed:
        assert (await exchange(gated, code=answer["code"][0]))[0] == 400, "the attempt has used the code up"


async def test_neither_a_token_nor_another_page_agrees(gated: Gated) -> None:
    body = {"query": ASKED, "allow": True}
    for headers in (gated.token("admin", user="Root"), {}):
        assert (await gated.send("POST", "/oauth/authorize", json=body, headers=headers)).status == 401
    ada = await gated.cookie()
    for origin in ("http://evil.example", "http://127.0.0.1:49152", "null"):
        foreign = {**ada, "Origin": origin}
        assert (await gated.send("POST", "/oauth/authorize", json=body, headers=foreign)).status == 403
    simple = {**ada, "Content-Type": "text/plain"}
    assert (await gated.send("POST", "/oauth/authorize", data="{}", headers=simple)).status == 415


REFUSED: list[dict[str, str]] = [
    {"redirect_uri": address}
    for address in (
        "https://127.0.0.1:1/", "http://evil.example:1/", "http://127.0.0.1.evil.example:1/", "http://127.0.0.1/",
        "http://127.0.0.1:1@evil.example:2/", "http://a@127.0.0.1:1/", "http://127.0.0.1:1/#x", "javascript:alert(1)",
        "http://127.0.0.1:99999/", "http://127.0.0.1:1\\@evil.example/", "http://[::1", "//127.0.0.1:1/", "",
        "http://127.0.0.1:1/\r\nX: y", "http://127.0.0.1:1/" + "x" * 1000,
    )
] + [
    {"client_id": ""}, {"client_id": "x" * 101}, {"client_id": "a\nb"}, {"response_type": "token"},
    {"code_challenge_method": "plain"}, {"code_challenge": "short"}, {"state": "x" * 1001},
]  # fmt: skip


@pytest.mark.parametrize("changed", REFUSED, ids=str)
async def test_malformed_requests_lead_nowhere(gated: Gated, changed: dict[str, str]) -> None:
    ada = await gated.cookie()
    response = await gated.send("GET", f"/oauth/authorize?{urlencode({**ASKED, **changed})}", headers=ada)
    assert response.status == 400 and "Location" not in response.headers
    assert (await response.json())["code"] == "AUTHORIZATION_FAILED"
    body = {"query": {**ASKED, **changed}, "allow": True}
    assert (await gated.send("POST", "/oauth/authorize", json=body, headers=ada)).status == 400


async def test_without_the_login_there_is_none_of_it(make_gated: Make) -> None:
    gated = await make_gated(enabled=False)
    for method, path in (
        ("GET", "/.well-known/oauth-authorization-server"), ("GET", "/oauth/authorize"), ("POST", "/oauth/token"),
    ):  # fmt: skip
        assert (await gated.send(method, path)).status in (404, 405)


async def test_a_user_who_is_disabled_meanwhile_gets_no_token(gated: Gated) -> None:
    answer = await agree(gated, await gated.cookie())
    gated.login.accounts().set_disabled("Ada", True)
    assert (await exchange(gated, code=answer["code"][0]))[0] == 400


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_only_forms_are_exchanged(gated: Gated, kind: str) -> None:
    response = await gated.send("POST", "/oauth/token", data=b"{}", headers={"Content-Type": kind})
    assert response.status in (400, 415) and "error" in await response.json()


@pytest.mark.parametrize(
    ("body", "parameters", "headers"),
    [
        (b"\xff\xfe", "", {}),
        (b"a=b", "; charset=utf-16", {}),
        (b"a=b", "; charset=unknown", {}),
        (b"a=b", "; charset=zlib", {}),
        (b"a=b&" * 5000, "", {}),
        (b"no gzip", "", {"Content-Encoding": "gzip"}),
        (gzip.compress(gzip.compress(b"a=b", mtime=0), mtime=0), "", {"Content-Encoding": "gzip"}),
    ],
)
async def test_forms_that_cannot_be_read(gated: Gated, body: bytes, parameters: str, headers: dict[str, str]) -> None:
    """Nobody has signed in here."""
    kind = f"application/x-www-form-urlencoded{parameters}"
    response = await gated.send("POST", "/oauth/token", data=body, headers={"Content-Type": kind, **headers})
    assert response.status == 400 and (await response.json())["error"] in ("invalid_request", "unsupported_grant_type")


def test_codes_end_after_a_minute_and_are_few() -> None:
    now = 0.0
    codes = Authorizations(lambda: now)
    asked = parse_request(ASKED)
    first = codes.agree("ada", asked)
    now = 60.0
    with pytest.raises(AuthorizationError, match="too old"):
        codes.exchange(first, asked.client_id, asked.redirect_uri, VERIFIER)
    made = [codes.agree("ada", asked) for _ in range(MAX_CODES + 1)]
    with pytest.raises(AuthorizationError, match="used already"):
        codes.exchange(made[0], asked.client_id, asked.redirect_uri, VERIFIER)
    assert codes.exchange(made[-1], asked.client_id, asked.redirect_uri, VERIFIER) == ("ada", asked)


@given(st.text(), st.sampled_from(sorted(ASKED)))
def test_any_text_is_refused_or_stays_on_the_users_machine(text: str, name: str) -> None:
    try:
        asked = parse_request({**ASKED, name: text})
    except AuthorizationError:
        return
    location = asked.answer(code="x")
    assert re.match(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d+", location)
    assert urlsplit(location).hostname in ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize("language", login_page._languages())
def test_the_page_has_its_texts(language: str) -> None:
    page = login_page.consent_markup(root="../", languages=language, user="<Ada>", client="<b>cli</b>", days=90).html
    assert "&lt;b&gt;cli&lt;/b&gt;" in page and "&lt;Ada&gt;" in page and "90" in page and "<b>cli" not in page
    assert "{client}" not in page and "{name}" not in page and "{days}" not in page
