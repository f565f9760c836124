"""Component schemas of structs and Records: each once, under its name in the document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec

from ..operations import Record, Schema

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
    """Return a struct's name in the document: its own, without a suffix ``Body`` that keeps names of classes apart."""
    return struct.__name__.removesuffix("Body")


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
    if isinstance(node, list):
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
