"""Which members of a prompt's extra data hold credentials, and how these are taken out, however deep they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pytest
from comfy_assets_node.comfy_assets.credentials import (
    REDACTED,
    PromptRedaction,
    is_credential,
    rebuilt,
    redactor,
    take_out,
    texts_in,
)

SECRET = "sk-0123456789"


def words(text: str) -> list[str]:
    return text.split()


NAMES = words(
    "api_key_comfy_org auth_token_comfy_org apiKeyComfyOrg authTokenComfyOrg API_KEY api_key apikey "
    "api-key Api.Key api_keys api_key_2 x-api-key openai_api_key OPENAI_KEY FAL_KEY hf_token civitai_token "
    "access_token accessToken auth_token refresh_token session_token bot_token token Token Authorization "
    "authorization proxy-authorization bearer secret client_secret clientSecret aws_secret_access_key "
    "secret_key private_key password Password db.password passwd passphrase credentials credential cookie "
    "Set-Cookie X-CSRF-Token xsrfToken pw passcode "
    "cookies pwd jwt auth session_id hf_key civitai_key auth_key api_token api_secret access_key_id signing_key "
    "id_token user_token bearer_token github_token huggingface_token replicate_token"
)
OTHERS = words(
    "tokens max_tokens max_new_tokens tokenizer token_count eos_token pad_token key keys keyword hotkey "
    "author authors monkey seed secretary password_length show_password_hint passes bearer_of_news text "
    "title name value id session authoring cookie_clicker"
)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_credentials(name: str) -> None:
    extra = {"client_id": "page", "deep": [{"er": ({name: SECRET},)}]}
    found, secrets = take_out(extra)
    assert SECRET not in json.dumps(found) and SECRET in secrets
    assert found["client_id"] == "page" and found["deep"][0]["er"][0] == {name: REDACTED}
    assert extra["deep"] == [{"er": ({name: SECRET},)}]  # the prompt that is executed keeps it


@pytest.mark.parametrize("name", [*OTHERS, "x" * 1000 + "token"])
def test_names_of_other_things(name: str) -> None:
    extra = {"extra_pnginfo": {"workflow": {"extra": {name: "some text of eight"}}}}
    assert take_out(extra) == (extra, frozenset())
    assert take_out(extra)[0] is extra


@pytest.mark.parametrize("value", [None, 5, 5.5, True, "", [], {}, [1, None], REDACTED])
def test_values_that_are_no_credentials(value: Any) -> None:
    extra = {"a": {"token": value, "api_key": value}}
    assert take_out(extra) == (extra, frozenset())


def test_texts_below_a_credential_are_all_credentials() -> None:
    extra = {"credentials": {"user": "ann-1234", "more": [{"x": "abc-9999"}, 7]}, "user": "ann-1234"}
    found, secrets = take_out(extra)
    assert found == {"credentials": {"user": REDACTED, "more": [{"x": REDACTED}, 7]}, "user": "ann-1234"}
    assert secrets == {"ann-1234", "abc-9999"}


@pytest.mark.parametrize("pair", [("name", "value"), ("key", "value")])
def test_credentials_that_another_member_names(pair: tuple[str, str]) -> None:
    first, second = pair
    extra = {"headers": [{first: "Authorization", second: f"Bearer {SECRET}"}, {first: "Accept", second: "text/plain"}]}
    found, secrets = take_out(extra)
    assert found["headers"] == [{first: "Authorization", second: REDACTED}, {first: "Accept", second: "text/plain"}]
    assert secrets == {SECRET, f"Bearer {SECRET}"}


def test_words_are_not_looked_for_elsewhere() -> None:
    found, secrets = take_out({"a": {"password": "image", "token": "hunter2"}})
    assert found == {"a": {"password": REDACTED, "token": REDACTED}}
    assert secrets == {"hunter2"}


def test_any_depth() -> None:
    deep: dict[str, Any] = {}
    inner: Any = deep
    for number in range(50_000):
        inner["a"] = [{}] if number % 2 else {}
        inner = inner["a"][0] if number % 2 else inner["a"]
    inner["api_key"] = SECRET
    found, secrets = take_out(deep)
    assert secrets == {SECRET}
    assert SECRET not in list(texts_in(found)) and REDACTED in list(texts_in(found))


@pytest.mark.parametrize(("name", "is_one"), [("x" * 194 + "apikey", True), ("x" * 195 + "apikey", False), (5, False)])
def test_a_name_has_at_most_200_characters(name: Any, is_one: bool) -> None:
    assert is_credential(name) is is_one


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer  ", "Basic ", "Token "])
def test_a_credential_is_found_elsewhere_without_its_scheme(scheme: str) -> None:
    _, secrets = take_out({"headers": {"authorization": f"{scheme}{SECRET}"}})
    assert secrets == {SECRET, f"{scheme}{SECRET}"}


@pytest.mark.parametrize(
    ("text", "is_told_apart"), [("letters", False), ("correcth", True), ("correcthorse", True), ("a1", True)]
)
def test_words_of_eight_letters_are_looked_for_elsewhere(text: str, is_told_apart: bool) -> None:
    found, secrets = take_out({"password": text})
    assert found == {"password": REDACTED} and secrets == ({text} if is_told_apart else set())


@pytest.mark.parametrize("half", [{"name": "password"}, {"key": "token", "name": 5}, {"name": [], "value": SECRET}])
def test_half_of_a_pair_names_nothing(half: dict[str, Any]) -> None:
    assert take_out({"headers": [half]}) == ({"headers": [half]}, frozenset())
    found, _ = take_out({"token": SECRET, "headers": [half]})
    assert found == {"token": REDACTED, "headers": [half]}
    assert take_out({"token": SECRET, "name": "password"})[0] == {"token": REDACTED, "name": "password"}


class Items(list[Any]):
    """A list as a node pack may make one."""


@pytest.mark.parametrize(
    "wrap", [MappingProxyType, lambda value: Items([value]), lambda value: (value,), lambda value: {"a": [value]}]
)
def test_containers_of_other_classes(wrap: Callable[[Any], Any]) -> None:
    for extra in ({"deep": wrap({"token": SECRET})}, {"token": wrap({"a": SECRET})}):
        found, secrets = take_out(extra)
        assert secrets == {SECRET}
        assert SECRET not in str(found) and REDACTED in list(texts_in(found))


def test_everything_below_a_credential_is_redacted() -> None:
    below = ["", SECRET, ValueError(SECRET), [{"a": (SECRET, 1.5, True, None)}]]
    found, _ = take_out({"token": below})
    assert found == {"token": ["", REDACTED, REDACTED, [{"a": [REDACTED, 1.5, True, None]}]]}


@pytest.mark.parametrize("names", [("token", "note"), ("note", "token")])
def test_what_occurs_below_a_credential_and_elsewhere(names: tuple[str, str]) -> None:
    shared = ["a word"]
    found, _ = take_out(dict.fromkeys(names, shared))
    assert found == {"token": [REDACTED], "note": ["a word"]}


def test_values_that_contain_themselves() -> None:
    circle: dict[str, Any] = {"token": SECRET}
    circle["self"] = circle
    found, secrets = take_out(circle)
    assert found["token"] == REDACTED and found["self"] is found and secrets == {SECRET}


def test_objects_that_json_does_not_know() -> None:
    redact = redactor([SECRET])
    assert redact is not None
    value = {"a": {1, 2}, 5: ValueError(SECRET), None: (1, "x")}
    assert rebuilt(value, redact) == {"a": "{1, 2}", 5: REDACTED, None: [1, "x"]}
    assert redactor(["abc", ""]) is None


ODD = "k\u00e4y \"/\\\n'1"
QUOTED: dict[str, tuple[Callable[[str], str], str]] = {
    "as it is": (str, "{}"),
    "JSON": (json.dumps, '"{}"'),
    "JSON with all letters": (lambda text: json.dumps(text, ensure_ascii=False), '"{}"'),
    "Python": (repr, "'{}'"),
    "a URL": (lambda text: "?key=" + quote(text, safe=""), "?key={}"),
}


@pytest.mark.parametrize(("written", "expected"), QUOTED.values(), ids=QUOTED)
def test_quoted_credentials(written: Callable[[str], str], expected: str) -> None:
    redact = redactor([ODD])
    assert redact is not None
    assert redact(f"it is {written(ODD)}!") == f"it is {expected.format(REDACTED)}!"


def test_the_longest_credential_goes_first() -> None:
    redact = redactor(["zkey", "a-zkey-b", "abc", "\ud800-half"])
    assert redact is not None
    assert redact("a-zkey-b, zkey, abc, \ud800-half") == f"{REDACTED}, {REDACTED}, abc, {REDACTED}"


def test_copies_keep_all_but_texts() -> None:
    value = {"token": "a", None: [1.5, True, None, 2], 2.5: {"b": "c"}, ValueError: "d"}
    assert rebuilt(value, str.upper) == {
        "TOKEN": "A", None: [1.5, True, None, 2], 2.5: {"B": "C"}, "<CLASS 'VALUEERROR'>": "D",
    }  # fmt: skip


def test_credentials_of_a_prompt_until_it_ends() -> None:
    redaction = PromptRedaction()
    redaction.add("one", {SECRET})
    redaction.add("two", {"abc"})  # too short to be looked for
    shown = {SECRET: [f"it is {SECRET}"]}
    assert redaction.of("one")(shown) == {REDACTED: [f"it is {REDACTED}"]}
    assert redaction.of("two")(shown) == redaction.of("three")(shown) == shown
    redaction.forget("one")
    redaction.forget("one")
    assert redaction.of("one")(shown) == shown
