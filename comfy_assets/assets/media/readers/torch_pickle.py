"""Models that torch.save wrote, recognized without unpickling anything."""

from __future__ import annotations

import re

from .base import Format, read_nothing

# torch.save writes a zip file whose first entry is data.pkl; its older format begins with a pickled magic number.
_ZIP = re.compile(rb"PK\x03\x04.{26}[^/\x00-\x1f]{1,128}/data\.pkl", re.DOTALL)
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def _matches(head: bytes) -> bool:
    return _ZIP.match(head) is not None or head.startswith(_LEGACY)


FORMATS = (Format("pickle", None, "model", _matches, read_nothing),)
