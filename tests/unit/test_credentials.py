"""Which members of a prompt's extra data hold credentials, and how these are taken out, however deep they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.credentials import REDACTED, rebuilt, redactor, take_out, texts_in

SECRET = "sk-0123456789"


def words(text: str) -> list[str]:
    return text.split()


NAMES = words(
    "api_key_comfy_org auth_token_comfy_org apiKeyComfyOrg authTokenComfyOrg API_KEY api_key apikey "
    "api-key Api.Key api_keys api_key_2 x-api-key openai_api_key OPENAI_KEY FAL_KEY hf_token civitai_token "
    "access_token accessToken auth_token refresh_token session_token bot_token token Token Authorization "
    "authorization proxy-authorization bearer secret client_secret clientSecret aws_secret_access_key "
    "secret_key private_key password Password db.password passwd passphrase credentials credential cookie "
    "cookies pwd jwt auth session_id"
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


def test_any_depth_and_values_that_contain_themselves() -> None:
    deep: dict[str, Any] = {}
    inner: Any = deep
    for number in range(50_000):
        inner["a"] = [{}] if number % 2 else {}
        inner = inner["a"][0] if number % 2 else inner["a"]
    inner["api_key"] = SECRET
    found, secrets = take_out(deep)
    assert secrets == {SECRET}
    assert SECRET not in list(texts_in(found)) and REDACTED in list(texts_in(found))
    circle: dict[str, Any] = {"token": SECRET}
    circle["self"] = circle
    found, secrets = take_out(circle)
    assert found["token"] == REDACTED and found["self"] is found and secrets == {SECRET}


def test_objects_that_json_does_not_know() -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError(SECRET)

    redact = redactor([SECRET])
    assert redact is not None
    value = {"a": {1, 2}, "b": Odd(), 5: ValueError(SECRET), None: (1, "x")}
    assert rebuilt(value, redact) == {"a": "{1, 2}", "b": "<Odd>", 5: REDACTED, None: [1, "x"]}
    assert redactor(["abc", ""]) is None
