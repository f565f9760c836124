"""Credentials that come with prompts: the names they go by, and how they are taken out of what is kept or shown. Pure.

Nothing here recurses: a value may be as deep as its sender likes, and may contain itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

REDACTED = "[REDACTED]"  # stands for a credential that a client has sent along

# Members of a prompt's extra data that are credentials on every server, whatever they hold.
CREDENTIALS = ("auth_token_comfy_org", "api_key_comfy_org")

# Names of members that hold credentials, in lower case and of letters alone: whole names, and ends of names. A bare
# "token" at the end of a name is none: tokenizers have an "eos_token".
_NAMES = frozenset({"token", "auth", "pwd", "jwt", "cookie", "cookies", "sessionid", "hfkey", "falkey"})
_ENDINGS = (
    *("apikey", "apitoken", "apisecret", "accesskey", "accesskeyid", "secretkey", "privatekey", "signingkey"),
    *("accesstoken", "authtoken", "bearertoken", "bottoken", "idtoken", "refreshtoken", "sessiontoken", "usertoken"),
    *("githubtoken", "hftoken", "huggingfacetoken", "civitaitoken", "replicatetoken", "openaikey", "civitaikey"),
    *("authkey", "authorization", "bearer", "credential", "passphrase", "password", "passwd", "secret"),
)
_OWNERS = "comfyorg"  # follows the names above: api_key_comfy_org
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_MAX_NAME = 200
_PAIRS = (("name", "value"), ("key", "value"))  # {"name": "Authorization", "value": "..."}
_SCHEMES = ("bearer ", "basic ", "token ")  # of an Authorization header
_SCALARS = frozenset({str, int, float, bool, type(None)})  # hold nothing more
_MIN_LENGTH = 4  # shorter credentials are in every text
_MIN_WORD_LENGTH = 8  # the same for words, if only the name of the member tells that they are secret


@lru_cache(maxsize=4096)
def is_credential(name: object) -> bool:
    """Return whether a member of this name holds a credential."""
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        return False
    plain = _NOT_LETTERS.sub("", name).lower().removesuffix(_OWNERS)
    return plain in _NAMES or plain.removesuffix("s").endswith(_ENDINGS)


def texts_in(value: object) -> Iterator[str]:
    """The texts that a value is, or holds however deep."""
    if isinstance(value, str):
        yield value
    for container in _containers(value):
        yield from (item for item in _items(container) if isinstance(item, str))


def _containers(value: object) -> Iterator[Mapping[Any, Any] | Sequence[Any]]:
    """The mappings and lists that a value is, or holds however deep, each once."""
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
    """The extra data of a prompt with its credentials redacted at any depth, and these, for ``redactor``.

    The same object is returned if it holds none. Numbers, booleans and empty texts are no credentials. Short words are
    redacted where they are, but not looked for elsewhere: they may well be there for another reason.
    """
    found = {text for value in _credentials_in(extra_data) for text in texts_in(value) if text and text != REDACTED}
    if not found:
        return extra_data, frozenset()
    bare = {text[len(scheme) :].strip() for text in found for scheme in _SCHEMES if text.lower().startswith(scheme)}
    told_apart = frozenset(text for text in found | bare if len(text) >= _MIN_WORD_LENGTH or not text.isalpha())
    return rebuilt(extra_data, lambda text: text, redacts_names=True), told_apart


def _credentials_in(value: object) -> Iterator[Any]:
    """The values of the members that hold credentials."""
    names = _names_in(value)
    suspects = {name for name in names if is_credential(name)} | ({"value"} & names)
    for container in _containers(value) if suspects else ():
        if isinstance(container, (dict, Mapping)) and not suspects.isdisjoint(container):
            yield from (container[name] for name in container if is_credential(name))
            yield from (container[name] for name in _secret_halves(container))


def _names_in(value: object) -> set[Any]:
    """The names of all members. Nearly all prompts hold no credentials, and a submission waits for this to be known."""
    names, seen = set[Any](), set[int]()
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        kind = type(item)
        if kind is dict or isinstance(item, Mapping):
            names.update(item)
            members: Iterable[Any] = item.values()
        elif kind is list or isinstance(item, (list, tuple)):
            members = item
        else:
            continue
        waiting += [member for member in members if type(member) not in _SCALARS]
    return names


def _secret_halves(container: Mapping[Any, Any]) -> Iterator[str]:
    """The members that hold a credential because another one names it."""
    for name, value in _PAIRS:
        if value in container and is_credential(container.get(name) if isinstance(container.get(name), str) else None):
            yield value


def redactor(secrets: Iterable[str]) -> Callable[[str], str] | None:
    """A function that takes the secrets, however they are quoted, out of a text; None where there are none to find."""
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
    """The secret, and how a text may quote it: as JSON, as Python, in an address."""
    quoted = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    return (secret, *(text[1:-1] for text in quoted), quote(secret, safe="", errors="replace"))


def rebuilt(value: Any, change: Callable[[str], str], *, redacts_names: bool = False) -> Any:
    """A copy of a value in which every text is changed, names of members too.

    With ``redacts_names`` the texts of members that hold credentials become REDACTED. Raises what the ``str`` of an
    object raises.

    Tuples become lists, and objects that JSON does not know texts. What the value holds twice, or itself, the copy
    does.
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
    """The copy of a container before its members are: they have their order already."""
    if isinstance(item, Mapping):
        return {_changed(name, change): None for name in item}
    return [None] * len(item)


def _changed(name: Any, change: Callable[[str], str]) -> Any:
    if name is None or isinstance(name, (bool, int, float)):
        return name
    return change(name if isinstance(name, str) else str(name))
