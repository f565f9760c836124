"""Parts of JSON documents that are decoded only where that takes little memory. Pure.

Documents are read as structures of ``msgspec.Raw``, which refer to their text. A value that is decoded takes up to a
hundred bytes, even where its text has two: so the values are counted first.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

MAX_VALUES = 50_000
MALFORMED = (ValueError, msgspec.DecodeError, RecursionError)  # in old releases, DecodeError is no ValueError
ABSENT = msgspec.Raw(b"null")

_STEP = 64 << 10
_UNCOUNTED = bytes(byte for byte in range(256) if byte not in b"[{,")
_Value = TypeVar("_Value")


def decode_raw(text: msgspec.Raw, kind: type[_Value], values: int = MAX_VALUES) -> _Value | None:
    """Return the value of a part; None if it is malformed, not of this type, or has more values than ``values``.

    Commas and brackets in texts count as values, too.
    """
    view = memoryview(text)
    counted = (bytes(view[at : at + _STEP]).translate(None, _UNCOUNTED) for at in range(0, len(view), _STEP))
    if len(view) > values and sum(map(len, counted)) > values:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except MALFORMED:
        return None
