"""The text of a workflow brought into the form of the store. Blocks for as long as it takes to read and compress it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from blake3 import blake3

from ..db.contents import Document
from ..errors import UnprocessableBodyError
from ..jobs import json_text
from .graphs import Named, names_in

_LEVEL = 6


@dataclass(frozen=True)
class Draft:
    """A text as it is stored, and what it names."""

    document: Document
    named: Named


def draft(text: bytes) -> Draft:
    """The draft of a workflow's text. Raises UnprocessableBodyError for what is no JSON object in UTF-8."""
    try:
        workflow = json_text.decode(text)
    except (ValueError, RecursionError) as error:
        raise UnprocessableBodyError(
            f"workflow_json is not valid JSON: {error}.", details={"field": "workflow_json"}
        ) from error
    if not isinstance(workflow, dict):
        raise UnprocessableBodyError("workflow_json must be a JSON object.", details={"field": "workflow_json"})
    return Draft(Document("", blake3(text).digest(), zlib.compress(text, _LEVEL)), names_in(workflow))
