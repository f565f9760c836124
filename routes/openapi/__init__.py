"""The project's OpenAPI document, built from the tables of operations in the routes. ``page`` displays it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import msgspec

from ...comfy_assets import VERSION
from ...comfy_assets.errors import (
    ApiError,
    BodyTooLargeError,
    FileInUseError,
    InvalidBodyError,
    InvalidQueryError,
    QueryTimeoutError,
    StorageError,
    StoreBusyError,
    StoreUnavailableError,
    UnauthorizedError,
    UnsupportedContentError,
)
from ..context import NoQuery, RequestContext
from ..operations import ERROR, JSON, HostOperation, Operation, Record, RequestBody, Response, Route, Schema

_DESCRIPTION = """\
The API of a hosted ComfyUI on your own machine: a library of models, inputs and outputs, the jobs that created them,
and workflows with versions.

**Errors** are `{"code", "message", "details"}`: `code` is a stable code for programs, `message` a sentence for people;
`details.field` names the parameter or member that caused the error. Errors in plain text, and the errors of submitted
prompts, are described at their operations.

**Access**: a page of another origin is refused with 403 `ORIGIN_NOT_ALLOWED`, a request under a host name that the
server does not have with 403 `HOST_NOT_ALLOWED`. A JSON body is sent as `application/json`: any other type is refused
with 415 `UNSUPPORTED_MEDIA_TYPE`. For submitted prompts this applies to browsers only.

**Times** are RFC 3339 in UTC; times of jobs are integers, in milliseconds since 1970. **Unknown members are omitted**,
never null, unless a description says so. **Users** are identified by the header `comfy-user` on servers started for
several users. While the login is on, a session or a token of the login determines the user; while it is off, keys and
tokens of the hosted service are accepted and ignored.
"""

_TAGS = {
    "Assets": "The files of the library, with names, tags and metadata.",
    "Trash": "Deleted assets: restore them, or remove them for good.",
    "Tags": "Labels of assets.",
    "Collections": "Lists of assets that a user puts together, in an order of their own.",
    "Saved searches": "Filters and orders of lists under names.",
    "Jobs": "Submitted prompts, with their graphs and results.",
    "Queue": "Submission of prompts; running and pending prompts.",
    "History": "Finished prompts.",
    "Workflows": "Saved workflows, whose versions never change.",
    "Sharing": "Publication of workflows, and import of the assets that they need.",
    "Secrets": "Keys for downloads from providers.",
    "Tasks": "Background tasks: scans, hash runs and the like.",
    "Files": "Images and other files of the server's folders.",
    "Models": "The folders of models, as loader nodes see them.",
    "Nodes": "The installed nodes, and what the page needs of node packs.",
    "Users": "The user of a request, and files that are kept for the page.",
    "Login": "Signing in and out, while the login is on.",
    "Settings": "The user's settings of the page.",
    "Server": "State and features of the server.",
}

_COMMON_ERRORS: tuple[type[ApiError], ...] = (UnauthorizedError, StoreUnavailableError, StoreBusyError)
_UNEXPECTED = "`INTERNAL_ERROR`: an unexpected error; the server's log has the details."
_SECURITY: dict[str, Schema] = {
    "User": {"type": "apiKey", "in": "header", "name": "comfy-user", "description": "The id of a user of this server."},
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A token, if the login is on."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same as `X-API-Key`."},
}
# Path parameters that several operations have.
_PARAMETERS = {"job_id": "The job's id, a UUID.", "workflow_id": "The workflow's id."}


class DocumentStyle(msgspec.Struct, frozen=True, kw_only=True):
    """Everything by which the documents of two APIs differ beside their operations.

    ``error`` is the body of every error, ``refusal`` returns the status and code of one, and ``example`` the body for a
    code and a message. ``headers`` are those of every response, with their descriptions.
    """

    title: str
    description: str
    tags: Mapping[str, str]
    security: Mapping[str, Schema]
    error: Record
    refusal: Callable[[type[ApiError]], tuple[int, str]]
    example: Callable[[str, str], Schema]
    unexpected: str
    parameters: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


_STYLE = DocumentStyle(
    title="Comfy Assets",
    description=_DESCRIPTION,
    tags=_TAGS,
    security=_SECURITY,
    error=ERROR,
    refusal=lambda error: (error.status, error.code),
    example=lambda code, message: {"code": code, "message": message},
    unexpected=_UNEXPECTED,
    parameters=_PARAMETERS,
)


def document(
    routes: Sequence[Route], host_operations: Sequence[HostOperation], style: DocumentStyle = _STYLE
) -> dict[str, Any]:
    """Build the document of these routes and of the host's operations.

    Raise LookupError for a parameter without a description, and for two schemas of one name.
    """
    components = Components()
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = route.operation
        writer = _OperationWriter(components, operation, route.path, operation.query or query_of(route), style)
        paths.setdefault(route.path, {})[route.method.lower()] = writer.own(route)
    for host in host_operations:
        writer = _OperationWriter(components, host.operation, host.path, host.operation.query or NoQuery, style)
        # A route counts: it handles some requests of an operation that the host has as well.
        paths.setdefault(host.path, {}).setdefault(host.method.lower(), writer.of_host(host.statuses))
    used = {tag for item in paths.values() for each in item.values() for tag in each["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": style.title,
            "version": VERSION,
            "description": style.description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, *({name: []} for name in style.security)],
        "tags": [{"name": name, "description": text} for name, text in style.tags.items() if name in used],
        # Sorted, so that the document changes only with its content.
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "securitySchemes": dict(style.security),
        },
    }


def query_of(route: Route) -> type[msgspec.Struct]:
    """Return the struct of a route's query, from the annotation of its handler."""
    # ``endpoint`` wraps the function; the annotation is on the innermost.
    hint = get_type_hints(inspect.unwrap(route.handler)).get("call", RequestContext[NoQuery])
    query: type[msgspec.Struct] = get_args(hint)[0]
    return query


class _OperationWriter:
    """Writes the description of one operation."""

    def __init__(
        self,
        components: Components,
        operation: Operation,
        path: str,
        query: type[msgspec.Struct],
        style: DocumentStyle,
    ) -> None:
        self._components = components
        self._operation = operation
        self._path = path
        self._query = query
        self._style = style

    def own(self, route: Route) -> Schema:
        """Describe an operation of the project, which some hosts may have too."""
        return self._describe("project" if route.when is None else "either", self._own_errors(route))

    def of_host(self, statuses: Mapping[int, str]) -> Schema:
        """Describe an operation of the host."""
        return self._describe("host", {status: ([], text) for status, text in statuses.items()})

    def _describe(self, answered_by: str, errors: Mapping[int, tuple[list[type[ApiError]], str]]) -> Schema:
        operation = self._operation
        schema: Schema = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
        if operation.description:
            schema["description"] = operation.description
        parameters = [*self._path_parameters(), *self._query_parameters(), *self._header_parameters()]
        if parameters:
            schema["parameters"] = parameters
        if operation.body is not None:
            schema["requestBody"] = self._body(operation.body)
        responses = {status: self._response(response) for status, response in operation.responses.items()}
        refusals = {status: self._refusal(*error) for status, error in errors.items() if status not in responses}
        schema["responses"] = {str(status): each for status, each in sorted({**responses, **refusals}.items())}
        schema["x-answered-by"] = answered_by
        # Structs name these by a reference only, so following their schemas does not find them.
        self._components.schema(operation.components, is_response=True)
        return schema

    def _path_parameters(self) -> Iterable[Schema]:
        for name in re.findall(r"\{(\w+)\}", self._path):
            yield {"name": name, "in": "path", "required": True, **self._parameter(name, {"type": "string"})}

    def _query_parameters(self) -> Iterable[Schema]:
        if not self._query.__struct_fields__:
            return
        schema = self._components.inline(self._query)
        for name, kind in schema["properties"].items():
            parameter = {"name": name, "in": "query", **self._parameter(name, _of_parameter(kind))}
            if name in schema.get("required", ()):
                parameter["required"] = True
            if parameter["schema"].pop("deprecated", False):
                parameter["deprecated"] = True
            if kind.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
            yield parameter

    def _header_parameters(self) -> Iterable[Schema]:
        for name, schema in self._operation.headers.items():
            rest = dict(schema)
            yield {"name": name, "in": "header", "description": rest.pop("description"), "schema": rest}

    def _parameter(self, name: str, schema: Schema) -> Schema:
        common = self._style.parameters
        description = self._operation.parameters.get(name) or schema.pop("description", None) or common.get(name)
        if description is None:
            raise LookupError(f"{self._operation.id}: its parameter {name} has no description")
        more = dict(description) if isinstance(description, dict) else {"description": description}
        schema.pop("description", None)
        return {"description": more.pop("description"), "schema": {**schema, **more}}

    def _body(self, body: RequestBody) -> Schema:
        content: Schema = {"schema": self._components.schema(body.schema)}
        if body.example is not None:
            content["example"] = body.example
        others = {media: {"schema": self._components.schema(schema)} for media, schema in body.others.items()}
        return {"required": body.is_required, "content": {body.media: content, **others}}

    def _response(self, response: Response) -> Schema:
        schema: Schema = {"description": response.description}
        if response.schema is not None:
            content = self._components.schema(response.schema, is_response=True)
            schema["content"] = {response.media: {"schema": content}}
        return self._with_headers(schema, response.headers)

    def _with_headers(self, schema: Schema, own: Mapping[str, str]) -> Schema:
        if headers := {**own, **self._style.headers}:
            schema["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
            }
        return schema

    def _own_errors(self, route: Route) -> dict[int, tuple[list[type[ApiError]], str]]:
        errors = [*self._operation.errors, *(() if self._operation.is_open else _COMMON_ERRORS)]
        if StorageError in errors:
            errors.append(FileInUseError)
        if self._query.__struct_fields__:
            errors.append(InvalidQueryError)
        errors += self._errors_of_body(route, errors)
        if route.media == "json" and route.method != "GET":
            errors.append(UnsupportedContentError)
        if route.method in ("GET", "HEAD") and not self._operation.is_open:
            errors.append(QueryTimeoutError)
        by_status: dict[int, tuple[list[type[ApiError]], str]] = {}
        for error in dict.fromkeys(errors):
            usual = self._style.refusal(error)[0]
            status = self._operation.statuses.get(usual, usual)
            by_status.setdefault(status, ([], ""))[0].append(error)
        known, _ = by_status.get(500, ([], ""))
        # Any handler may fail unexpectedly, beside the errors of the operation that have this status.
        by_status[500] = (known, self._style.unexpected)
        return by_status

    def _errors_of_body(self, route: Route, known: Sequence[type[ApiError]]) -> list[type[ApiError]]:
        """Return the errors that every operation with a JSON body has."""
        body = self._operation.body
        # Forms name their errors themselves: their readers differ.
        if body is None or body.media != JSON:
            return []
        errors: list[type[ApiError]] = [BodyTooLargeError]
        if not _reads_its_own(known):
            errors.append(InvalidBodyError)
        return errors

    def _refusal(self, errors: Sequence[type[ApiError]], more: str) -> Schema:
        style = self._style
        # Several errors may have one code there.
        told = {style.refusal(error)[1]: _first_sentence(error) for error in reversed(errors)}
        texts = [f"`{code}`: {sentence}" for code, sentence in reversed(told.items())]
        schema = self._operation.error_schema or style.error
        content: Schema = {"schema": self._components.schema(schema, is_response=True)}
        if errors and schema is style.error:
            content["example"] = style.example(style.refusal(errors[0])[1], _first_sentence(errors[0]))
        body = {
            "description": "\n\n".join([*texts, *([more] if more else [])]),
            "content": {self._operation.error_media: content},
        }
        return self._with_headers(body, {})


def _reads_its_own(errors: Iterable[type[ApiError]]) -> bool:
    """Return whether an operation refuses malformed bodies with an error of its own."""
    return any(issubclass(error, InvalidBodyError) for error in errors)


def _of_parameter(schema: Schema) -> Schema:
    """Return a parameter's schema, without null and empty defaults: a parameter is omitted instead."""
    rest = {key: value for key, value in schema.items() if key != "default" or value not in (None, "", [])}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del rest["anyOf"]
        return {**rest, **kinds[0]}
    return rest


def _first_sentence(error: type[ApiError]) -> str:
    sentence = (error.__doc__ or "").strip().partition("\n")[0]
    return sentence.replace("``", "`")


_TEMPLATE = "#/components/schemas/{name}"


class Components:
    """Collects the schemas that other schemas refer to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._owners: dict[str, object] = {}

    def schema(self, shape: Any, *, is_response: bool = False) -> Any:
        """Return the JSON schema of a struct, a Record, or a schema that contains some.

        A member with a default is optional in a request, but always present in a response.
        """
        if isinstance(shape, Record):
            return self._record(shape, is_response)
        if isinstance(shape, dict):
            return {key: self.schema(value, is_response=is_response) for key, value in shape.items()}
        if isinstance(shape, list | tuple):
            return [self.schema(item, is_response=is_response) for item in shape]
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            return self._struct(shape, is_response)
        return shape

    def inline(self, struct: type[msgspec.Struct]) -> Schema:
        """Return the schema of a struct itself, without making it a component."""
        _, parts = msgspec.json.schema_components([struct], ref_template=_TEMPLATE)
        return _cleaned(parts[struct.__name__], {})

    def _record(self, record: Record, is_response: bool) -> Schema:
        if self._register(record.name, record):
            schema: Schema = {
                "type": "object",
                "description": record.description,
                "properties": self.schema(dict(record.members), is_response=is_response),
            }
            if required := [name for name in record.members if name not in record.optional]:
                schema["required"] = required
            self.schemas[record.name] = schema
        return {"$ref": _TEMPLATE.format(name=record.name)}

    def _struct(self, struct: type[msgspec.Struct], is_response: bool) -> Schema:
        name = component_name(struct)
        if self._register(name, struct):
            inner = [each for each in _structs_in(struct) if each is not struct]
            for each in inner:
                self._struct(each, is_response)
            names = {each.__name__: component_name(each) for each in (struct, *inner)}
            _, parts = msgspec.json.schema_components([struct], ref_template=_TEMPLATE)
            schema = _cleaned(parts[struct.__name__], names)
            self.schemas[name] = _as_response(schema, struct) if is_response else schema
        return {"$ref": _TEMPLATE.format(name=name)}

    def _register(self, name: str, owner: object) -> bool:
        """Return whether the component is new. Raise LookupError if another one has the name."""
        if self._owners.setdefault(name, owner) is not owner:
            raise LookupError(f"two schemas are called {name}")
        is_new = name not in self.schemas
        self.schemas.setdefault(name, {})  # before its members are visited: a schema may contain itself
        return is_new


def component_name(struct: type[msgspec.Struct]) -> str:
    """Return a struct's name in a document: its own, without suffixes that keep the names of classes apart."""
    return struct.__name__.removesuffix("Body").removesuffix("V2")


def _structs_in(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs that the fields of a struct refer to directly."""
    pending = list(get_type_hints(struct).values())
    while pending:
        hint = pending.pop()
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield hint
        else:
            pending += get_args(hint)


def _cleaned(schema: Schema, names: dict[str, str]) -> Schema:
    """Return a schema of msgspec without titles and empty lists, and with the document's names of components."""
    cleaned: Schema = {key: value for key, value in _renamed(schema, names).items() if key != "title" and value != []}
    if "description" in cleaned:
        cleaned["description"] = cleaned["description"].replace("``", "`")
    return {**cleaned, "properties": cleaned.get("properties", {})}


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, list | tuple):  # defaults of lists are tuples
        return [_renamed(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return {**node, "$ref": _TEMPLATE.format(name=names.get(name, name))}
    return {key: _renamed(value, names) for key, value in node.items()}


def _as_response(schema: Schema, struct: type[msgspec.Struct]) -> Schema:
    """Require every member that may not be unset, and remove defaults; ``omit_defaults`` structs stay as they are."""
    if struct.__struct_config__.omit_defaults:
        return schema
    fields = msgspec.structs.fields(struct)
    always = [field.encode_name for field in fields if not _may_be_unset(field.type)]
    properties = {
        name: {key: value for key, value in member.items() if key != "default"}
        for name, member in schema["properties"].items()
    }
    return {**schema, "properties": properties, **({"required": always} if always else {})}


def _may_be_unset(hint: Any) -> bool:
    return hint is msgspec.UnsetType or any(_may_be_unset(part) for part in get_args(hint))
