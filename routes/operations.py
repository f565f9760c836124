"""Operations: the routes of the project's own, those of the host, and the vocabulary of their descriptions.

The descriptions become the OpenAPI document, which ``openapi`` builds on the first request for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, LengthRequiredError, StorageQuotaError
from ..comfy_assets.host.login_gate import NAMED_USER
from .context import RequestHandler
from .request_body import SMALL, BodyLimit, BodyType

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
FORM = "multipart/form-data"

Schema = dict[str, Any]


# Descriptions are structs: the tables are made when the server starts, and a dataclass takes a millisecond to define.
# A Record is compared by identity, as the builder finds two of one name even if their members are equal.
class Record(msgspec.Struct, frozen=True, eq=False):
    """An object schema that becomes a component of the document. Members are required unless ``optional``."""

    name: str
    description: str
    members: Mapping[str, Any]
    optional: tuple[str, ...] = ()


class Response(msgspec.Struct, frozen=True):
    """The response of an operation with one status; it has no body without ``schema``.

    ``schema`` is a struct, a Record, a JSON schema, or a combination of them. ``headers`` gives a description of each.
    """

    description: str
    schema: Any = None
    media: str = JSON
    headers: Mapping[str, str] = {}


class RequestBody(msgspec.Struct, frozen=True):
    """The body of an operation's requests. ``others`` are schemas of other media types that it may have."""

    schema: Any
    media: str = JSON
    is_required: bool = True
    example: Any = None
    others: Mapping[str, Any] = {}


class Operation(msgspec.Struct, frozen=True):
    """The description of an operation.

    Method, path and query of the project's own operations come from their routes, unless ``query`` is given.
    ``parameters`` describes the parameters of the path, by a sentence or a schema; it also overrides the descriptions
    in the query's struct. ``headers`` are those of requests, with their schemas. ``errors`` are those beyond the errors
    of every route, ``statuses`` replaces statuses of errors. ``components`` are records that its structs refer to by
    name. ``is_open`` marks an operation that needs no known user.
    """

    id: str
    tag: str
    summary: str
    responses: Mapping[int, Response]
    description: str = ""
    parameters: Mapping[str, Any] = {}
    headers: Mapping[str, Schema] = {}
    query: type[msgspec.Struct] | None = None
    body: RequestBody | None = None
    errors: tuple[type[ApiError], ...] = ()
    statuses: Mapping[int, int] = {}
    components: tuple[Record, ...] = ()
    is_open: bool = False
    error_media: str = JSON
    error_schema: Any = None


@dataclass(frozen=True)
class Route:
    """An operation of the project. ``{name}`` in ``path`` stands for one segment; GET includes HEAD.

    A request for which ``when`` returns False is left to the host. A request that fails with one of the ``shared``
    errors is passed on to the host as well, if it has a route of its own for it: the id may be one of the host's. Such
    an operation reads no body before it knows the id. ``body`` bounds the request's body, ``media`` is its type.
    ``stores``: the body takes space of the user, so that their quota applies.
    """

    method: str
    path: str
    handler: RequestHandler
    operation: Operation
    when: Callable[[web.Request, Services], bool] | None = None
    body: BodyLimit = SMALL
    media: BodyType = "json"
    shared: tuple[type[ApiError], ...] = ()
    stores: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The request methods of the operation."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


def is_missing_at_host(request: web.Request, _: Services) -> bool:
    """Return whether the host has no route of its own for a request (a condition for ``Route.when``)."""
    match = request.match_info
    # Static files do not count: their route matches every path.
    return match.http_exception is not None or isinstance(match.route.resource, web.StaticResource)


def is_hosted_client(request: web.Request) -> bool:
    """Return whether a request is from a client of the hosted service, which shows the credentials of the service.

    The page names its user instead. A ``Bearer`` token beside that name is from a proxy that authenticates users, and
    so is every token of another scheme.
    """
    if "X-API-Key" in request.headers:
        return True
    scheme = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[0]
    names_user = request.get(NAMED_USER, "Comfy-User" in request.headers)  # the login sets the header itself
    return scheme.lower() == "bearer" and not names_user


STORAGE_ERRORS = (StorageQuotaError, LengthRequiredError)
"""The errors of operations that store their body."""


class HostOperation(msgspec.Struct, frozen=True):
    """An operation of the server around the project, or of the standalone host in its place.

    ``statuses`` describes its error statuses.
    """

    method: str
    path: str
    operation: Operation
    statuses: Mapping[int, str] = {}


def string(description: str, **more: Any) -> Schema:
    """Make the schema of a string."""
    return {"type": "string", "description": description, **more}


def timestamp(description: str) -> Schema:
    """Make the schema of an RFC 3339 time in UTC."""
    return string(description, format="date-time")


def integer(description: str, **more: Any) -> Schema:
    """Make the schema of an integer."""
    return {"type": "integer", "description": description, **more}


def number(description: str, **more: Any) -> Schema:
    """Make the schema of a number."""
    return {"type": "number", "description": description, **more}


def boolean(description: str) -> Schema:
    """Make the schema of a boolean."""
    return {"type": "boolean", "description": description}


def array(items: Any, description: str = "", **more: Any) -> Schema:
    """Make the schema of a list."""
    return _described({"type": "array", "items": items, **more}, description)


def mapping(values: Any = True, description: str = "", **more: Any) -> Schema:
    """Make the schema of an object with arbitrary member names."""
    return _described({"type": "object", "additionalProperties": values, **more}, description)


def object_with(required: Mapping[str, Any], description: str = "", **optional: Any) -> Schema:
    """Make the schema of an object with these members."""
    schema: Schema = {"type": "object", "properties": {**required, **optional}}
    if required:
        schema["required"] = list(required)
    return _described(schema, description)


def nullable(schema: Schema) -> Schema:
    """Make the schema of the same value or null."""
    # OpenAPI 3.1 has no ``nullable``: null is one of the types.
    return {**schema, "type": [schema["type"], "null"]}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema


# OpenAPI 3.1 describes bytes by JSON Schema's media type; the ``format: binary`` of 3.0 is no longer defined.
BINARY: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
PLAIN: Schema = {"type": "string"}

# Descriptions of error statuses that several of the host's operations have.
UNKNOWN_USER = {401: "The server does not know this user."}
UNEXPECTED_ERROR = {500: "An unexpected error; the server's log has the details."}

PAGINATION = Record(
    "PaginationInfo",
    "The position of a page in its list.",
    {
        "offset": integer("Number of entries before the page.", minimum=0),
        "limit": integer("Maximum number of entries on the page.", minimum=1),
        "total": integer("Number of entries in the list.", minimum=0),
        "has_more": boolean("Whether another page follows."),
        "next_cursor": string("The `after` of the next page, for lists with cursors."),
    },
    optional=("next_cursor",),
)
ERROR = Record(
    "ErrorResponse",
    "The reason for which a request failed.",
    {
        "code": string("A stable code for programs, in capital letters."),
        "message": string("A sentence for people."),
        "details": mapping(True, "Details for programs: the field, the ids, the limit."),
    },
    optional=("details",),
)
