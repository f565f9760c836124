"""The filters of listings and histograms of assets, which clients spell in an older and a newer way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from ..comfy_assets import json_limits
from ..comfy_assets.assets.fields import folder_path
from ..comfy_assets.errors import InvalidQueryError, InvalidTagFilterError
from ..comfy_assets.models import AssetFilter, FolderTerm
from ..comfy_assets.search.query import parse_query
from .params import INT64_MAX, FilterTags, FilterText, SearchText, Text, doc

_MAX_TAGS = 100  # of one parameter
_MAX_METADATA_KEYS = 32
_MAX_METADATA_VALUES = 100
_MAX_METADATA_DEPTH = 32  # as of the metadata of users


class AssetQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of listings and histograms. ``q``, a full-text search, is an extension."""

    tags_all: Annotated[FilterTags, doc("Only assets that have all of these tags.")] = ()
    tags_any: Annotated[FilterTags, doc("Only assets that have at least one of these tags.")] = ()
    tags_none: Annotated[FilterTags, doc("Only assets that have none of these tags.")] = ()
    include_tags: Annotated[FilterTags, doc("The older name of `tags_all`.", deprecated=True)] = ()
    exclude_tags: Annotated[FilterTags, doc("The older name of `tags_none`.", deprecated=True)] = ()
    name_contains: Annotated[Text, doc("Only assets whose name contains this text; case does not matter.")] = ""
    q: SearchText = ""
    metadata_filter: Annotated[
        FilterText | None,
        doc(
            "A JSON object: members of the metadata, each with the value, or a list of values, that it may have. "
            "A member that is a list matches by any of its elements."
        ),
    ] = None
    include_public: Annotated[bool, doc("Whether to include assets that belong to no user.")] = True


class FolderQuery(AssetQuery, frozen=True, kw_only=True):
    """The same with a folder, an extension."""

    folder: Annotated[
        Text,
        doc(
            "Only assets whose file is in this folder, named from its root: `output/2026-01`, `models/loras/style`. "
            "Several folders of a model category are one."
        ),
    ] = ""
    folder_recursive: Annotated[bool, doc("Whether to include the files of folders in the folder.")] = True


def asset_filter(query: AssetQuery, user: str, digest: bytes | None = None, file: str | None = None) -> AssetFilter:
    """Return the filter of a user's query, and of a digest or a file's path.

    Raise InvalidQueryError, InvalidTagFilterError.
    """
    tags_all, tags_none = _tags(query)
    search = parse_query(query.q)
    return AssetFilter(
        owner=user,
        include_public=query.include_public,
        tags_all=tags_all,
        tags_any=query.tags_any,
        tags_none=tags_none,
        name_contains=query.name_contains,
        words=search.words,
        excluded=search.excluded,
        ratings=search.ratings,
        metadata=_metadata_filter(query.metadata_filter),
        hash=digest,
        file=file,
        folder=_folder(query) if isinstance(query, FolderQuery) else None,
    )


def _folder(query: FolderQuery) -> FolderTerm | None:
    return FolderTerm(folder_path(query.folder, "folder"), query.folder_recursive) if query.folder else None


def _tags(query: AssetQuery) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tags that assets must have and those they must not have, by either name. Raise InvalidTagFilterError.

    Older clients, which use only the older names, get an empty page for a tag that is wanted and refused.
    """
    for name in ("tags_all", "tags_any", "tags_none", "include_tags", "exclude_tags"):
        count = len(getattr(query, name))
        if count > _MAX_TAGS:
            raise InvalidTagFilterError(
                f"{name} has {count} tags, but at most {_MAX_TAGS} can be given.",
                details={"field": name, "parameter": name, "count": count, "max": _MAX_TAGS},
            )
    wanted = _either(query, "include_tags", "tags_all")
    refused = _either(query, "exclude_tags", "tags_none")
    tags_all, tags_none = getattr(query, wanted), getattr(query, refused)
    conflicting = sorted({*tags_all} & {*tags_none})
    if conflicting and (query.tags_all or query.tags_any or query.tags_none):
        raise InvalidTagFilterError(
            f"No asset can pass: {', '.join(map(repr, conflicting))} is in both {wanted} and {refused}.",
            details={"field": refused, "parameters": [wanted, refused], "conflicting_tags": conflicting},
        )
    return tags_all, tags_none


def _either(query: AssetQuery, older: str, newer: str) -> str:
    """Return the name that the query uses of two for the same. Raise InvalidTagFilterError if it uses both."""
    if getattr(query, older) and getattr(query, newer):
        raise InvalidTagFilterError(
            f"{older} is the older name of {newer}; use {newer} alone.",
            details={"field": older, "parameters": [older, newer]},
        )
    return older if getattr(query, older) else newer


def _metadata_filter(text: str | None) -> dict[str, Any]:
    """Return the filter: for each field the value, or the list of values, that it may have. Raise InvalidQueryError."""
    if not text:
        return {}
    try:
        if json_limits.shape_of(text.encode()).depth > _MAX_METADATA_DEPTH:
            raise _bad_filter(f"It is nested more than {_MAX_METADATA_DEPTH} deep.")
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad_filter(f"It is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise _bad_filter("It must be a JSON object.")
    if len(value) > _MAX_METADATA_KEYS:
        raise _bad_filter(f"At most {_MAX_METADATA_KEYS} fields can be given.")
    scalars = [scalar for wanted in value.values() for scalar in _scalars(wanted)]
    if len(scalars) > _MAX_METADATA_VALUES:
        raise _bad_filter(f"At most {_MAX_METADATA_VALUES} values can be given.")
    if not all(-INT64_MAX - 1 <= scalar <= INT64_MAX for scalar in scalars if isinstance(scalar, int)):
        raise _bad_filter("A number is too large.")
    return value


def _scalars(value: Any) -> Iterable[Any]:
    """Return the scalars in a value, and an empty list or object as one."""
    inner = [*value.values()] if isinstance(value, dict) else value
    return [scalar for each in inner for scalar in _scalars(each)] or [None] if isinstance(inner, list) else [value]


def _bad_filter(reason: str) -> InvalidQueryError:
    return InvalidQueryError(f"metadata_filter cannot be used. {reason}", details={"field": "metadata_filter"})
