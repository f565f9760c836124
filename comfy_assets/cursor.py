"""Opaque cursors for keyset paging: base64url of ``[version, sort, order, value, row id]``."""

from __future__ import annotations

import base64
import binascii

import msgspec

from .errors import InvalidCursorError
from .models import CursorKey

_VERSION = 1
_MAX_LENGTH = 4096  # characters; a cursor contains the name of an asset


class _Token(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sort: str
    order: str
    value: int | str
    row_id: int


def encode(key: CursorKey, sort: str, order: str) -> str:
    """Return the cursor for the rows after ``key`` in this sort order."""
    raw = msgspec.json.encode(_Token(_VERSION, sort, order, key.value, key.row_id))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str, sort: str, order: str) -> CursorKey:
    """Return the key in a cursor. Raises InvalidCursorError if it is malformed or of another sort order."""
    token = _parse(text)
    if (token.sort, token.order) != (sort, order):
        raise InvalidCursorError(
            f"The cursor belongs to sort={token.sort}, order={token.order}.", details={"field": "after"}
        )
    if isinstance(token.value, str) != (sort == "name") or not _is_int64(token.row_id, token.value):
        raise InvalidCursorError("The cursor is malformed.", details={"field": "after"})
    return CursorKey(token.value, token.row_id)


def _is_int64(*values: int | str) -> bool:
    # SQLite raises OverflowError for larger integers.
    return all(isinstance(v, str) or -(2**63) <= v < 2**63 for v in values)


def _parse(text: str) -> _Token:
    try:
        if len(text) > _MAX_LENGTH:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_Token)
        if token.version != _VERSION:
            raise ValueError("another version")
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise InvalidCursorError("The cursor is malformed.", details={"field": "after"}) from error
    return token
