"""The text of a workflow brought into the form of the store. Blocks for as long as it takes to read and compress it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from blake3 import blake3

from .. import json_limits
from ..db.contents import Document
from ..errors import InvalidBodyError, UnprocessableBodyError
from .document import graph_digest, graph_id
from .graphs import Named, names_in

_LEVEL = 6


@dataclass(frozen=True)
class Draft:
    """A text as it is stored, what it names, the id that it gives itself, and the digest of what is executed."""

    document: Document
    named: Named
    graph_id: str | None
    graph_digest: bytes


def draft(text: bytes) -> Draft:
    """The draft of a workflow's text. Raises UnprocessableBodyError for what is no JSON object in UTF-8."""
    try:
        shape = json_limits.check(text, json_limits.LARGE)
        workflow = json_limits.decode(text, shape)
        if not isinstance(workflow, dict):
            raise UnprocessableBodyError("workflow_json must be a JSON object.", details={"field": "workflow_json"})
        document = Document("", blake3(text).digest(), zlib.compress(text, _LEVEL))
        return Draft(document, names_in(workflow), graph_id(workflow), graph_digest(workflow, in_steps=shape.is_large))
    except UnprocessableBodyError:
        raise
    except InvalidBodyError as error:
        raise UnprocessableBodyError(error.message, details={"field": "workflow_json"}) from error
    except (ValueError, RecursionError) as error:
        raise UnprocessableBodyError(
            f"workflow_json is not valid JSON: {error}.", details={"field": "workflow_json"}
        ) from error
