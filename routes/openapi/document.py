"""The OpenAPI document: the route table and the tables of this package, put together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import msgspec

from ...comfy_assets import VERSION
from ...comfy_assets.errors import (
    ApiError,
    BodyTooLargeError,
    InvalidBodyError,
    InvalidQueryError,
    QueryTimeoutError,
    StoreBusyError,
    StoreUnavailableError,
    UnauthorizedError,
    UnsupportedContentError,
)
from ..context import RequestContext
from ..params import NoQuery
from ..router import Route
from .common import ERROR
from .components import Components
from .operation import JSON, Answer, Body, HostOperation, Operation
from .schema import Schema, Words

_DESCRIPTION = """\
The API of a hosted ComfyUI, answered on your own machine: a library of models, inputs and outputs, the jobs that made
them, and workflows in versions.

**Errors** are `{"code", "message", "details"}`: `code` is a stable word for programs, `message` a sentence for people;
`details.field` names the parameter or member that was at fault. Answers in plain text, and those to submitted prompts,
are marked where they occur.

**Who may ask**: a page of another origin is refused with 403 `ORIGIN_NOT_ALLOWED`, a request that gives the server a
name that it does not have with 403 `HOST_NOT_ALLOWED`. A JSON body is sent as `application/json`: any other type is
refused with 415 `UNSUPPORTED_MEDIA_TYPE`. Submitted prompts are held to that only if a browser sends them.

**Times** are RFC 3339 in UTC, those of jobs integer milliseconds since 1970. **What is unknown is left out**, never
null, unless a field says so. **Users** are told by the header `comfy-user` on servers started for several; keys and
tokens of the hosted service are taken and ignored.
"""

_TAGS = {
    "Assets": "The files of the library, with names, tags and metadata.",
    "Tags": "The words by which assets are found.",
    "Jobs": "Every prompt that was submitted, and what became of it.",
    "Queue": "Submitting prompts; what is executed and what waits.",
    "History": "What was executed.",
    "Workflows": "Saved workflows, whose versions never change.",
    "Sharing": "Published workflows, and taking over what they need.",
    "Tasks": "Work in the background: scans, hash runs and the like.",
    "Files": "Pictures and other files of the server's folders.",
    "Models": "The folders of models, as loader nodes see them.",
    "Nodes": "What nodes there are, and what the page needs of node packs.",
    "Users": "Who is asking, and files that are kept for the page.",
    "Settings": "What the user has set in the page.",
    "Server": "How the server is, and what it can do.",
}

_COMMON_ERRORS: tuple[type[ApiError], ...] = (UnauthorizedError, StoreUnavailableError, StoreBusyError)
_UNEXPECTED = "`INTERNAL_ERROR`: something went wrong; the server's log says what."
_SECURITY: dict[str, Schema] = {
    "User": {"type": "apiKey", "in": "header", "name": "comfy-user", "description": "The id of a user of this server."},
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Taken and ignored."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "Taken and ignored."},
}
# What is said of parameters that several operations have, unless an operation says otherwise.
_PARAMETERS = {
    "limit": "How many entries a page has at most.",
    "offset": "How many entries to leave out at the beginning.",
    "after": "The `next_cursor` of the page before; goes with the same filters and order.",
    "order": "Whether small values come first or last.",
    "sort_order": "Whether small values come first or last.",
    "job_id": "The job's id, a UUID.",
    "workflow_id": "The workflow's id.",
    "q": "Words that must all be found, in any order; the beginning of a word is enough, quotes make it a whole one.",
}


def build(
    routes: Sequence[Route],
    operations: Iterable[Operation],
    of_hosts: Iterable[HostOperation],
    words: Iterable[Words],
) -> dict[str, Any]:
    """The document of these routes and of the host's operations. A route that no table describes raises LookupError."""
    components = Components(words)
    described = {operation.id: operation for operation in operations}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        said = _said_of(route, described)
        item = _Writer(components, said, route.path, said.query or _query_of(route))
        paths.setdefault(route.path, {})[route.method.lower()] = item.own(route)
    for host in of_hosts:
        item = _Writer(components, host.operation, host.path, host.operation.query or NoQuery)
        paths.setdefault(host.path, {}).setdefault(host.method.lower(), item.of_host(host.statuses))
    used = {tag for item in paths.values() for operation in item.values() for tag in operation["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comfy Assets",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, *({name: []} for name in _SECURITY)],
        "tags": [{"name": name, "description": said} for name, said in _TAGS.items() if name in used],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(components.schemas.items())), "securitySchemes": _SECURITY},
    }


def _said_of(route: Route, described: Mapping[str, Operation]) -> Operation:
    if route.operation not in described:
        raise LookupError(f"{route.operation} is not described: it belongs into a table of this package")
    return described[route.operation]


def _query_of(route: Route) -> type[msgspec.Struct]:
    """The struct of a route's query, which its handler's annotation names."""
    hint = get_type_hints(inspect.unwrap(route.handler)).get("call", RequestContext[NoQuery])
    query: type[msgspec.Struct] = get_args(hint)[0]
    return query


class _Writer:
    """Writes one operation."""

    def __init__(self, components: Components, said: Operation, path: str, query: type[msgspec.Struct]) -> None:
        self._components = components
        self._said = said
        self._path = path
        self._query = query

    def own(self, route: Route) -> Schema:
        """An operation that the project answers, or leaves to some hosts."""
        return self._operation("project" if route.when is None else "either", self._own_errors(route))

    def of_host(self, statuses: Mapping[int, str]) -> Schema:
        """An operation that the host answers."""
        return self._operation("host", {status: ([], said) for status, said in statuses.items()})

    def _operation(self, answered_by: str, errors: Mapping[int, tuple[list[type[ApiError]], str]]) -> Schema:
        said = self._said
        schema: Schema = {"operationId": said.id, "tags": [said.tag], "summary": said.summary}
        if said.description:
            schema["description"] = said.description
        if parameters := [*self._path_parameters(), *self._query_parameters()]:
            schema["parameters"] = parameters
        if said.body is not None:
            schema["requestBody"] = self._body(said.body)
        answers = {status: self._answer(answer) for status, answer in said.answers.items()}
        refusals = {status: self._refusal(*error) for status, error in errors.items() if status not in answers}
        schema["responses"] = {str(status): answer for status, answer in sorted({**answers, **refusals}.items())}
        schema["x-answered-by"] = answered_by
        return schema

    def _path_parameters(self) -> Iterable[Schema]:
        for name in re.findall(r"\{(\w+)\}", self._path):
            yield {"name": name, "in": "path", "required": True, **self._parameter(name, {"type": "string"})}

    def _query_parameters(self) -> Iterable[Schema]:
        if not self._query.__struct_fields__:
            return
        schema = self._components.whole(self._query)
        for name, kind in schema["properties"].items():
            parameter = {"name": name, "in": "query", **self._parameter(name, _as_given(kind))}
            if name in schema.get("required", ()):
                parameter["required"] = True
            if kind.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
            yield parameter

    def _parameter(self, name: str, schema: Schema) -> Schema:
        said = self._said.parameters.get(name) or _PARAMETERS.get(name)
        if said is None:
            raise LookupError(f"{self._said.id}: nothing is said of its parameter {name}")
        if isinstance(said, str):
            return {"description": said, "schema": schema}
        more = dict(said)
        return {"description": more.pop("description"), "schema": {**schema, **more}}

    def _body(self, body: Body) -> Schema:
        content: Schema = {"schema": self._components.schema(body.schema)}
        if body.example is not None:
            content["example"] = body.example
        return {"required": body.is_required, "content": {body.media: content}}

    def _answer(self, answer: Answer) -> Schema:
        schema: Schema = {"description": answer.description}
        if answer.schema is not None:
            schema["content"] = {answer.media: {"schema": self._components.schema(answer.schema, is_answer=True)}}
        if answer.headers:
            schema["headers"] = {
                name: {"description": said, "schema": {"type": "string"}} for name, said in answer.headers.items()
            }
        return schema

    def _own_errors(self, route: Route) -> dict[int, tuple[list[type[ApiError]], str]]:
        errors = [*self._said.errors, *(() if self._said.is_open else _COMMON_ERRORS)]
        if self._query.__struct_fields__:
            errors.append(InvalidQueryError)
        errors += self._errors_of_body(route, errors)
        if route.media == "json" and route.method != "GET":
            errors.append(UnsupportedContentError)
        if route.method in ("GET", "HEAD") and not self._said.is_open:
            errors.append(QueryTimeoutError)
        by_status: dict[int, tuple[list[type[ApiError]], str]] = {}
        for error in dict.fromkeys(errors):
            status = self._said.statuses.get(error.status, error.status)
            by_status.setdefault(status, ([], ""))[0].append(error)
        known, _ = by_status.get(500, ([], ""))
        by_status[500] = (known, _UNEXPECTED)
        return by_status

    def _errors_of_body(self, route: Route, known: Sequence[type[ApiError]]) -> list[type[ApiError]]:
        """Return the errors of every operation for a body that is malformed or too large."""
        body = self._said.body
        if body is None or body.media != JSON:
            return []
        errors: list[type[ApiError]] = [BodyTooLargeError]
        if not _reads_its_own(known):
            errors.append(InvalidBodyError)
        return errors

    def _refusal(self, errors: Sequence[type[ApiError]], more: str) -> Schema:
        said = [f"`{error.code}`: {_first_sentence(error)}" for error in errors]
        schema = self._said.error_schema or ERROR
        content: Schema = {"schema": self._components.schema(schema, is_answer=True)}
        if errors and schema is ERROR:
            content["example"] = {"code": errors[0].code, "message": _first_sentence(errors[0])}
        return {
            "description": "\n\n".join([*said, *([more] if more else [])]),
            "content": {self._said.error_media: content},
        }


def _reads_its_own(errors: Iterable[type[ApiError]]) -> bool:
    """Whether an operation has a way of its own to refuse a body."""
    return any(issubclass(error, InvalidBodyError) for error in errors)


def _as_given(schema: Schema) -> Schema:
    """A parameter's schema: what is not given is neither null nor empty."""
    rest = {key: value for key, value in schema.items() if key != "default" or value not in (None, "", ())}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del rest["anyOf"]
        return {**rest, **kinds[0]}
    return rest


def _first_sentence(error: type[ApiError]) -> str:
    sentence = (error.__doc__ or "").strip().partition("\n")[0]
    return sentence.replace("``", "`")
