"""What the tables of this package say of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...comfy_assets.errors import ApiError

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
FORM = "multipart/form-data"


@dataclass(frozen=True)
class Answer:
    """What an operation answers with one status: no body where there is no schema.

    ``schema`` is a struct, a Record, a JSON schema, or made of these; ``headers`` tells what each is for.
    """

    description: str
    schema: Any = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Body:
    """What an operation is sent."""

    schema: Any
    media: str = JSON
    is_required: bool = True
    example: Any = None


@dataclass(frozen=True)
class Operation:
    """An operation in words.

    ``parameters`` has a sentence for each parameter of the path and the query, a schema where more is to be said.
    Of the project's own routes the document takes method, path and query from the route, unless ``query`` is given.
    ``errors`` are those beyond what every route answers, ``statuses`` which of their statuses give way to others;
    ``is_open`` is one that needs no known user.
    """

    id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    query: type[msgspec.Struct] | None = None
    body: Body | None = None
    errors: tuple[type[ApiError], ...] = ()
    statuses: Mapping[int, int] = field(default_factory=dict)
    is_open: bool = False
    error_media: str = JSON
    error_schema: Any = None


@dataclass(frozen=True)
class HostOperation:
    """An operation that the server around the project answers, or the standalone host in its place.

    ``statuses`` are those of its errors.
    """

    method: str
    path: str
    operation: Operation
    statuses: Mapping[int, str] = field(default_factory=dict)
