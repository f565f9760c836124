"""Queries and JSON bodies, decoded into msgspec structs with bounds; the types of their fields; cursors of lists."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web
from multidict import MultiMapping

from ..comfy_assets import json_limits
from ..comfy_assets.errors import (
    InvalidBodyError,
    InvalidCursorError,
    InvalidHashError,
    InvalidPreviewError,
    InvalidQueryError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import CursorKey
from . import request_body

Q = TypeVar("Q", bound=msgspec.Struct)

Parts = Callable[[str], list[str]]

_ESCAPED_PART = re.compile(r"(?:[^\\,]|\\.|\\$)+", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\,])")
_HASH = re.compile(r"(?:blake3:)?([0-9a-f]{64})")
# The end of msgspec's messages: the path of the field.
_FIELD = re.compile(r" - at `\$\.?([^`]*)`$")
# Of members that a message names itself: the path that follows is that of the object.
_MEMBER = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`", re.DOTALL)
_MAX_USER_METADATA_BYTES = 64 << 10
_MAX_USER_METADATA_DEPTH = 32
INT64_MAX = 2**63 - 1
_CURSOR_VERSION = 1  # to be increased if the meaning of a member changes: clients may keep cursors over an update
_MAX_CURSOR = 8192  # characters; a cursor contains the name of an asset or the path of a folder
_TEXT_SORTS = ("name", "path")


def doc(description: str, **schema: Any) -> msgspec.Meta:
    """Describe a field in the OpenAPI document, with more members for its JSON schema. Costs nothing at decoding."""
    return msgspec.Meta(description=description, extra_json_schema=schema or None)


Offset = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX), doc("Number of entries to skip.")]
# Every text, list and object from outside has a bound. Stricter rules refuse with errors of their own.
Text = Annotated[str, msgspec.Meta(max_length=10_000)]
FilterText = Annotated[str, msgspec.Meta(max_length=64 << 10)]
Id = Annotated[str, msgspec.Meta(max_length=256)]
Ids = Annotated[list[Id], msgspec.Meta(max_length=1000)]
Tags = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=1000)]
OptionalTags = Annotated[list[Text], msgspec.Meta(max_length=1000)]
# No request line is long enough for more: the rules for tags, not this bound, refuse too many.
FilterTags = Annotated[tuple[Text, ...], msgspec.Meta(max_length=10_000)]
# Names that may have commas: in a query, a backslash before a comma or a backslash takes it as it is.
FilterNames = Annotated[tuple[Text, ...], msgspec.Meta(max_length=10_000, extra={"is_escaped": True})]
Members = Annotated[dict[Text, Any], msgspec.Meta(max_length=10_000)]
_limit = doc("Maximum number of entries on a page.")
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=500), _limit]
TagLimit = Annotated[int, msgspec.Meta(ge=1, le=1000), _limit]
JobLimit = Annotated[int, msgspec.Meta(ge=1, le=1000), _limit]
ShortPageLimit = Annotated[int, msgspec.Meta(ge=1, le=100), _limit]
SortDirection = Annotated[Literal["asc", "desc"], doc("Ascending or descending.")]
SearchText = Annotated[
    Text,
    doc(
        "Words to find, all of them and in any order. The beginning of a word is enough; quotes match whole words, a "
        "minus excludes, and fields such as `prompt:`, `model:` and `type:` say where to look."
    ),
]
After = Annotated[Text, doc("The `next_cursor` of the previous page, requested with the same filters and order.")]

# JSON schemas of fields that hold ready-made JSON (msgspec.Raw).
ANY_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
HASH = "The blake3 hash of the content: `blake3:` and 64 hexadecimal digits."
HASH_PATTERN = "^blake3:[0-9a-f]{64}$"
HASH_OR_DIGITS_PATTERN = "^(blake3:)?[0-9a-f]{64}$"  # of requests


def parse_query(schema: type[Q], query: MultiMapping[str]) -> Q:
    """Return the parameters as the struct of the schema. Unknown parameters are ignored.

    A tuple receives repeated or comma-separated values, any other type the last value. Raise InvalidQueryError with
    the field's name.
    """
    raw: dict[str, Any] = {}
    for name, parts in _fields(schema) if query else ():  # most requests have no query
        values = query.getall(name, [])
        if not values:
            continue
        _check_unicode(name, values)
        raw[name] = values[-1] if parts is None else _split(values, parts)
    try:
        return msgspec.convert(raw, schema, strict=False)
    except msgspec.ValidationError as error:
        message, field = split_error(error)
        field = field.partition("[")[0]  # of a list, the parameter
        reason = message.removesuffix(", got `str`")  # every parameter is a string
        raise InvalidQueryError(f"{field}: {reason}.", details={"field": field}) from error


@cache
def _fields(schema: type[msgspec.Struct]) -> tuple[tuple[str, Parts | None], ...]:
    """Return the names of a schema's fields, each with what separates the values of a list, or None."""
    hints = get_type_hints(schema, include_extras=True)
    return tuple((name, _parts_of(hint)) for name, hint in hints.items())


def _parts_of(hint: Any) -> Parts | None:
    if get_origin(_bare(hint)) is not tuple:
        return None
    metas = [each for each in get_args(hint)[1:] if isinstance(each, msgspec.Meta)]
    return _escaped_parts if any((meta.extra or {}).get("is_escaped") for meta in metas) else _plain_parts


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def check_encoding(raw_query: str) -> None:
    """Raise InvalidQueryError for a parameter that is not valid UTF-8: aiohttp leaves its percent signs undecoded."""
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        try:
            unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidQueryError("The value is not valid Unicode.", details={"field": name}) from None


def check_texts(query: msgspec.Struct) -> None:
    """Raise InvalidQueryError for a text that ``parse_query`` would refuse, in parameters that came as JSON."""
    for name in query.__struct_fields__:
        value = getattr(query, name)
        texts = value if isinstance(value, tuple) else (value,)
        _check_unicode(name, [text for text in texts if isinstance(text, str)])


def _check_unicode(name: str, values: list[str]) -> None:
    for value in values:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidQueryError("The value is not valid Unicode.", details={"field": name}) from None
        if "\0" in value:
            raise InvalidQueryError("The value contains a NUL character.", details={"field": name})


def _split(values: list[str], parts: Parts) -> list[str]:
    return list(dict.fromkeys(part for value in values for part in parts(value) if part))


def _plain_parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",")]


def _escaped_parts(value: str) -> list[str]:
    return [_ESCAPE.sub(r"\1", part.strip()) for part in _ESCAPED_PART.findall(value)]


def split_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return an error's message without the path, and the path of the field, also of one that is missing."""
    text = str(error)
    match = _FIELD.search(text)
    message, parent = (text[: match.start()], match[1]) if match else (text, "")
    member = _MEMBER.fullmatch(message)
    return message, ".".join(part for part in (parent, member[1] if member else "") if part)


def parse_hash(text: str, field: str = "hash") -> bytes:
    """Return the digest of ``blake3:<64 hex digits>``, or of the digits alone. Raise InvalidHashError."""
    match = _HASH.fullmatch(text)
    if match is None:
        raise InvalidHashError("A hash looks like blake3: and 64 hexadecimal digits.", details={"field": field})
    return bytes.fromhex(match[1])


def parse_preview_id(text: str) -> str:
    """Return the id of a preview asset in canonical form. Raise InvalidPreviewError if it is not a UUID."""
    preview_id = canonical_id(text)
    if preview_id is None:
        raise InvalidPreviewError("preview_id must be a UUID.", details={"field": "preview_id"})
    return preview_id


class _CursorToken(msgspec.Struct, array_like=True, frozen=True):
    """The content of a cursor, which is opaque to clients: base64url of this as a JSON array."""

    version: int
    sort: str
    order: str
    value: int | str
    row_id: int


def encode_cursor(key: CursorKey, sort: str, order: str) -> str:
    """Return the cursor for the rows after ``key`` in this sort order."""
    raw = msgspec.json.encode(_CursorToken(_CURSOR_VERSION, sort, order, key.value, key.row_id))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_cursor(text: str, sort: str, order: str) -> CursorKey:
    """Return the key in a cursor. Raises InvalidCursorError if it is malformed or of another sort order."""
    token = _parse_cursor(text)
    # Its value would be compared with another column, and the page would begin anywhere.
    if (token.sort, token.order) != (sort, order):
        raise InvalidCursorError(
            f"The cursor belongs to sort={token.sort}, order={token.order}.", details={"field": "after"}
        )
    numbers = [value for value in (token.row_id, token.value) if isinstance(value, int)]
    if isinstance(token.value, str) != (sort in _TEXT_SORTS) or not all(map(_is_int64, numbers)):
        raise InvalidCursorError("The cursor is malformed.", details={"field": "after"})
    return CursorKey(token.value, token.row_id)


def _is_int64(value: int) -> bool:
    """Return whether SQLite can compare with this integer: it raises OverflowError for a larger one."""
    return -(2**63) <= value <= INT64_MAX


def _parse_cursor(text: str) -> _CursorToken:
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_CursorToken)
        if token.version != _CURSOR_VERSION:
            raise ValueError("another version")
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise InvalidCursorError("The cursor is malformed.", details={"field": "after"}) from error
    return token


async def parse_body(schema: type[Q], request: web.Request) -> Q:
    """Return the JSON body as the struct of the schema; an empty body is an empty object. Raise InvalidBodyError."""
    body, limits = await request_body.read(request), request_body.json_limits()

    def decode(raw: bytes) -> Q:
        json_limits.check(raw, limits)
        return msgspec.json.decode(raw or b"{}", type=schema)

    try:
        return await request_body.decode(decode, body)
    except msgspec.ValidationError as error:
        message, field = split_error(error)
        raise InvalidBodyError(message, details={"field": field} if field else None) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error


async def json_body(request: web.Request) -> Any:
    """Return the body of one of the host's operations, as the host will decode it. Raise InvalidBodyError."""
    limits = request_body.json_limits()
    try:
        return await request_body.decode(
            lambda raw: json_limits.decode(raw, json_limits.check(raw, limits)), await request_body.read(request)
        )
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError("The body is not valid JSON.") from error


async def object_body(request: web.Request) -> dict[str, Any]:
    """Return the same, for a body that must be a JSON object. Raise InvalidBodyError."""
    body = await json_body(request)
    if not isinstance(body, dict):
        raise InvalidBodyError("The body must be a JSON object.")
    return body


def check_user_metadata(value: Any) -> str:
    """Return user metadata as JSON text. Raise InvalidBodyError unless it is an object of bounded size and depth."""
    if not isinstance(value, dict):
        raise _bad_metadata("must be a JSON object")
    try:
        text = msgspec.json.encode(value)
    except (OverflowError, msgspec.MsgspecError) as error:
        raise _bad_metadata("contains a number that is too large") from error
    if json_limits.shape_of(text).depth > _MAX_USER_METADATA_DEPTH:
        raise _bad_metadata(f"is nested more than {_MAX_USER_METADATA_DEPTH} deep")
    if len(text) > _MAX_USER_METADATA_BYTES:
        raise _bad_metadata(f"takes more than {_MAX_USER_METADATA_BYTES} bytes")
    return text.decode()


def _bad_metadata(reason: str) -> InvalidBodyError:
    return InvalidBodyError(f"user_metadata {reason}.", details={"field": "user_metadata"})
