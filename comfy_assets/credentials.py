"""Credentials in prompts: detection by name, and removal from values that are stored or shown. No I/O.

Nothing here recurses: a value may be nested to any depth, and may contain itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

REDACTED = "[REDACTED]"  # replaces a credential

# Members of a prompt's extra data that ComfyUI itself treats as credentials.
CREDENTIALS = ("auth_token_comfy_org", "api_key_comfy_org")

# Names of members with credentials, in lower case and without other characters than letters: whole names, and ends of
# names. A name that only ends in "token" is none: tokenizers have an "eos_token".
_NAMES = frozenset(
    {"token", "auth", "pw", "pwd", "jwt", "cookie", "cookies", "setcookie", "sessionid", "hfkey", "falkey"}
)
_ENDINGS = (
    *("apikey", "apitoken", "apisecret", "accesskey", "accesskeyid", "secretkey", "privatekey", "signingkey"),
    *("accesstoken", "authtoken", "bearertoken", "bottoken", "idtoken", "refreshtoken", "sessiontoken", "usertoken"),
    *("githubtoken", "hftoken", "huggingfacetoken", "civitaitoken", "replicatetoken", "openaikey", "civitaikey"),
    *("authkey", "authorization", "bearer", "credential", "passcode", "passphrase", "password", "passwd", "secret"),
    *("csrftoken", "xsrftoken"),
)
_OWNERS = "comfyorg"  # a suffix of the names above, as in api_key_comfy_org
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_MAX_NAME = 200  # characters; a longer name is data
_PAIRS = (("name", "value"), ("key", "value"))  # {"name": "Authorization", "value": "..."}
_SCHEMES = ("bearer ", "basic ", "token ")  # of an Authorization header
_SCALARS = frozenset({str, int, float, bool, type(None)})  # contain no other values
_MIN_LENGTH = 4  # shorter texts occur everywhere
_MIN_WORD_LENGTH = 8  # the same for words, if only the member's name marks them as secret


@lru_cache(maxsize=4096)
def is_credential(name: object) -> bool:
    """Return whether a member with this name holds a credential."""
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        return False
    plain = _NOT_LETTERS.sub("", name).lower().removesuffix(_OWNERS)
    return plain in _NAMES or plain.removesuffix("s").endswith(_ENDINGS)


def texts_in(value: object) -> Iterator[str]:
    """Yield all texts in a value, at any depth."""
    # Written for speed: each submitted prompt is searched for names of files.
    if isinstance(value, str):
        yield value
    waiting, seen = [value], set[int]()
    while waiting:
        container = waiting.pop()
        if not isinstance(container, (dict, list, tuple, Mapping)) or id(container) in seen:
            continue
        seen.add(id(container))
        for item in _items(container):
            if isinstance(item, str):
                yield item
            elif type(item) not in _SCALARS:
                waiting.append(item)


def _containers(value: object) -> Iterator[Mapping[Any, Any] | Sequence[Any]]:
    """Yield all mappings and lists in a value, at any depth, each once."""
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, (dict, list, tuple, Mapping)) and id(item) not in seen:
            seen.add(id(item))
            yield item
            waiting += [member for member in _items(item) if type(member) not in _SCALARS]


def _items(container: Mapping[Any, Any] | Sequence[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, (dict, Mapping)) else container


def take_out(extra_data: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Return a prompt's extra data with credentials redacted at any depth, and the credentials for ``redactor``.

    Without credentials the same object is returned. Numbers, booleans and empty texts are no credentials. Short words
    are redacted in their member, but not returned: elsewhere they may be ordinary words.
    """
    found = {text for value in _credentials_in(extra_data) for text in texts_in(value) if text and text != REDACTED}
    if not found:
        return extra_data, frozenset()
    bare = {text[len(scheme) :].strip() for text in found for scheme in _SCHEMES if text.lower().startswith(scheme)}
    told_apart = frozenset(text for text in found | bare if len(text) >= _MIN_WORD_LENGTH or not text.isalpha())
    return rebuilt(extra_data, lambda text: text, redacts_names=True), told_apart


def _credentials_in(value: object) -> Iterator[Any]:
    """Yield the values of members that hold credentials."""
    names = _names_in(value)
    suspects = {name for name in names if is_credential(name)} | ({"value"} & names)
    for container in _containers(value) if suspects else ():
        if isinstance(container, (dict, Mapping)) and not suspects.isdisjoint(container):
            yield from (container[name] for name in container if is_credential(name))
            yield from (container[name] for name in _secret_halves(container))


def _names_in(value: object) -> set[Any]:
    """Return the names of all members."""
    # Written for speed: a submission waits for it, and nearly all prompts have no credentials. ``isinstance`` with an
    # abstract class takes longer than all else that is done for a list.
    names, seen = set[Any](), set[int]()
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        kind = type(item)
        if kind is dict:
            names.update(item)
            members: Iterable[Any] = item.values()
        elif kind is list or isinstance(item, (list, tuple)):
            members = item
        elif isinstance(item, Mapping):
            names.update(item)
            members = item.values()
        else:
            continue
        for member in members:
            if type(member) not in _SCALARS:
                waiting.append(member)
    return names


def _secret_halves(container: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the members that hold a credential because a sibling names it: ``{"name": "token", "value": …}``."""
    for name, value in _PAIRS:
        if value in container and is_credential(container.get(name) if isinstance(container.get(name), str) else None):
            yield value


def redactor(secrets: Iterable[str]) -> Callable[[str], str] | None:
    """Return a function that redacts the secrets in a text, also quoted ones; None if there are no secrets."""
    spellings = {spelling for secret in secrets if len(secret) >= _MIN_LENGTH for spelling in _spellings(secret)}
    if not spellings:
        return None
    longest_first = sorted(spellings, key=len, reverse=True)

    def redact(text: str) -> str:
        for spelling in longest_first:
            text = text.replace(spelling, REDACTED)
        return text

    return redact


def _spellings(secret: str) -> tuple[str, ...]:
    """Return the secret, and its quoted forms in JSON, in Python, and in a URL."""
    quoted = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    return (secret, *(text[1:-1] for text in quoted), quote(secret, safe="", errors="replace"))


def rebuilt(value: Any, change: Callable[[str], str], *, redacts_names: bool = False) -> Any:
    """Return a copy of a value in which every text is changed, including names of members.

    With ``redacts_names``, the texts of members that hold credentials become REDACTED. Tuples become lists, and objects
    of other classes become texts. A value that occurs twice, or in itself, does so in the copy as well. Raises any
    exception of an object's ``str``.
    """
    result: list[Any] = [None]
    waiting: list[tuple[Any, Any, Any, bool]] = [(result, 0, value, False)]
    made: dict[tuple[int, bool], Any] = {}
    while waiting:
        target, place, item, redacts = waiting.pop()
        if item is None or isinstance(item, (bool, int, float)):
            target[place] = item
        elif isinstance(item, str):
            target[place] = REDACTED if redacts and item else change(item)
        elif isinstance(item, (Mapping, list, tuple)):
            key = (id(item), redacts)
            if key not in made:
                made[key] = _begun(item, change)
                hidden = _hidden_members(item) if redacts_names else ()
                members = item.items() if isinstance(item, Mapping) else enumerate(item)
                waiting.extend(
                    (made[key], _changed(n, change), member, redacts or n in hidden) for n, member in members
                )
            target[place] = made[key]
        else:
            target[place] = REDACTED if redacts else change(str(item))
    return result[0]


def _hidden_members(item: Mapping[Any, Any] | Sequence[Any]) -> Container[Any]:
    if not isinstance(item, Mapping):
        return ()
    return {*(name for name in item if is_credential(name)), *_secret_halves(item)}


def _begun(item: Any, change: Callable[[str], str]) -> dict[Any, Any] | list[Any]:
    """Return the copy of a container with None for each member, so that their order is fixed."""
    if isinstance(item, Mapping):
        return {_changed(name, change): None for name in item}
    return [None] * len(item)


def _changed(name: Any, change: Callable[[str], str]) -> Any:
    if name is None or isinstance(name, (bool, int, float)):
        return name
    return change(name if isinstance(name, str) else str(name))


class PromptRedaction:
    """The credentials of each prompt that has not ended, which are never written down and never shown."""

    def __init__(self) -> None:
        self._redactors: dict[str, Callable[[str], str]] = {}

    def add(self, prompt_id: str, secrets: Iterable[str]) -> None:
        """Set the credentials of a prompt."""
        redact = redactor(secrets)
        if redact is not None:
            self._redactors[prompt_id] = redact

    def forget(self, prompt_id: str) -> None:
        """Remove the credentials of a prompt that has ended."""
        self._redactors.pop(prompt_id, None)

    def of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the prompt's credentials, which may be in any text of it."""
        redact = self._redactors.get(prompt_id)
        if redact is None:
            return lambda value: value
        # Values, not JSON texts: replacing a credential such as ``1234`` or ``null`` would break the JSON.
        return lambda value: rebuilt(value, redact)
