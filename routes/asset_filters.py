"""The filters of listings and histograms of assets, which clients spell in an older and a newer way."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import msgspec

from ..comfy_assets import json_limits
from ..comfy_assets.assets.fields import folder_path
from ..comfy_assets.errors import (
    CollectionNotFoundError,
    InvalidQueryError,
    InvalidTagFilterError,
    SearchNotReadyError,
    SearchUnavailableError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import (
    MISSING_TAG,
    AssetFilter,
    FolderTerm,
    KindTerm,
    Orientation,
    RatingRange,
    SearchWord,
    Span,
)
from ..comfy_assets.search.query import MAX_RATING, Search, parse_query, rating_range
from ..comfy_assets.search.words import Field
from .params import INT64_MAX, FilterNames, FilterTags, FilterText, Id, SearchText, Text, doc

_MAX_TAGS = 100  # of one parameter
_MAX_METADATA_KEYS = 32
_MAX_METADATA_VALUES = 100
_MAX_METADATA_DEPTH = 32  # as of the metadata of users
FILTER_ERRORS = (InvalidTagFilterError, CollectionNotFoundError, SearchUnavailableError, SearchNotReadyError)
"""The errors of operations with these filters."""
BASE_MODEL = "base_model"
DAY_MS = 24 * 60 * 60 * 1000
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME = "A day (`2026-01-31`), by the clocks of `utc_offset`, or a time (RFC 3339)."

Kind = Literal["image", "video", "audio", "3d", "model", "text", "other"]
Number = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
UtcOffset = Annotated[
    Annotated[int, msgspec.Meta(ge=-1440, le=1440)],
    doc("Minutes that the user's clocks are ahead of UTC, for days: `120` in Berlin in summer."),
]


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
    # Extensions.
    kind: Annotated[tuple[Kind, ...], msgspec.Meta(max_length=20), doc("Only these kinds of media.")] = ()
    rating: Annotated[
        Text, doc("Stars of the user: `4`, `4..` for four or more, `3..5`, `..2`, or `none` for assets without stars.")
    ] = ""
    favorite: Annotated[bool | None, doc("Only favourites, or only others.")] = None
    base_model: Annotated[
        FilterNames,
        doc(
            "Only models of one of these base models. Not together with `base_model` in `metadata_filter`. In a query, "
            "a comma or backslash in a name has a backslash before it."
        ),
    ] = ()
    created_from: Annotated[Text, doc(f"Only assets created at or after this. {_TIME}")] = ""
    created_to: Annotated[Text, doc(f"Only assets created up to this, or on this day. {_TIME}")] = ""
    created_days: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None,
        doc("Only assets created in the last so many days, today included, by the clocks of `utc_offset`."),
    ] = None
    updated_from: Annotated[Text, doc(f"Only assets changed at or after this. {_TIME}")] = ""
    updated_to: Annotated[Text, doc(f"Only assets changed up to this, or on this day. {_TIME}")] = ""
    utc_offset: UtcOffset = 0
    size_min: Annotated[Number | None, doc("Only files of at least so many bytes.")] = None
    size_max: Annotated[Number | None, doc("Only files of at most so many bytes.")] = None
    width_min: Annotated[Number | None, doc("Only pictures and videos at least so many pixels wide.")] = None
    width_max: Annotated[Number | None, doc("Only pictures and videos at most so many pixels wide.")] = None
    height_min: Annotated[Number | None, doc("Only pictures and videos at least so many pixels high.")] = None
    height_max: Annotated[Number | None, doc("Only pictures and videos at most so many pixels high.")] = None
    orientation: Annotated[Orientation | None, doc("Only pictures and videos of this orientation.")] = None
    has_workflow: Annotated[bool | None, doc("Only files with a graph of ComfyUI, or only others.")] = None
    missing: Annotated[
        Literal["include", "exclude", "only"], doc("Whether to list assets whose files are gone, or only these.")
    ] = "include"
    used: Annotated[
        bool | None, doc("Only assets that a saved workflow or a job in the history uses, or only others.")
    ] = None
    job_id: Annotated[Text, doc("Only assets that this job made.")] = ""
    made_with: Annotated[
        Id,
        doc(
            "Only outputs of jobs whose graph names this asset, or another with the same content: a model, or a file "
            "that the job loaded."
        ),
    ] = ""
    collection: Annotated[Id, doc("Only assets of this collection, by its id.")] = ""


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


def asset_filter(
    query: AssetQuery,
    user: str,
    digest: bytes | None = None,
    file: str | None = None,
    search: Search | None = None,
) -> AssetFilter:
    """Return the filter of a user's query, and of a digest or a file's path. ``search`` is ``q`` if it is parsed.

    Raise InvalidQueryError, InvalidTagFilterError.
    """
    tags_all, tags_none = _tags(query)
    if search is None:
        search = parse_query(query.q)
    workflow = (SearchWord(f"{Field.HAS.value}workflow", True),)
    return AssetFilter(
        owner=user,
        include_public=query.include_public,
        tags_all=tags_all,
        tags_any=query.tags_any,
        tags_none=tags_none,
        name_contains=query.name_contains,
        words=(*search.words, *workflow) if query.has_workflow else search.words,
        excluded=(*search.excluded, workflow) if query.has_workflow is False else search.excluded,
        ratings=(*search.ratings, *_ratings(query.rating)),
        kinds=(*search.kinds, *((KindTerm(query.kind),) if query.kind else ())),
        spans=_spans(query),
        orientation=query.orientation,
        is_favourite=query.favorite,
        is_used=query.used,
        job=query.job_id or None,
        made_with=query.made_with or None,
        collection=_collection(query.collection),
        metadata=_metadata(query),
        hash=digest,
        file=file,
        folder=_folder(query) if isinstance(query, FolderQuery) else None,
    )


def _folder(query: FolderQuery) -> FolderTerm | None:
    return FolderTerm(folder_path(query.folder, "folder"), query.folder_recursive) if query.folder else None


def _collection(text: str) -> str | None:
    found = canonical_id(text) if text else None
    if text and found is None:
        raise InvalidQueryError("collection must be the UUID of a collection.", details={"field": "collection"})
    return found


def _ratings(text: str) -> tuple[RatingRange, ...]:
    if not text:
        return ()
    if text.lower() == "none":
        return (RatingRange(0, 0),)
    found = rating_range(text)
    if found is None:
        reason = f"rating needs stars from 0 to {MAX_RATING}, as in 4, 4.. or 3..5, or none, not {text[:100]!r}."
        raise InvalidQueryError(reason, details={"field": "rating"})
    return (found,)


def _spans(query: AssetQuery) -> tuple[Span, ...]:
    """Return the ranges of times, sizes and dimensions. Raise InvalidQueryError for an empty one."""
    offset_ms = query.utc_offset * 60_000
    spans: list[Span] = []
    if query.created_days is not None:
        today = (int(time.time() * 1000) + offset_ms) // DAY_MS
        start = (today - query.created_days + 1) * DAY_MS - offset_ms
        spans.append(Span("created_at", start, INT64_MAX))
    for column, name in (("created_at", "created"), ("updated_at", "updated")):
        least = moment(getattr(query, f"{name}_from"), offset_ms, f"{name}_from", is_end=False)
        most = moment(getattr(query, f"{name}_to"), offset_ms, f"{name}_to", is_end=True)
        spans += _span(column, least, most, -INT64_MAX, (f"{name}_from", f"{name}_to"))
    for column in ("size", "width", "height"):
        least, most = getattr(query, f"{column}_min"), getattr(query, f"{column}_max")
        # Files without dimensions, which have 0, are neither small nor large pictures.
        floor = 0 if column == "size" else 1
        spans += _span(column, least, most, floor, (f"{column}_min", f"{column}_max"))
    return tuple(spans)


def _span(column: Any, least: int | None, most: int | None, floor: int, names: tuple[str, str]) -> list[Span]:
    if least is None and most is None:
        return []
    if least is not None and most is not None and least > most:
        message = f"No asset can pass: {names[1]} is below {names[0]}."
        raise InvalidQueryError(message, details={"field": names[1], "parameters": [*names]})
    return [Span(column, floor if least is None else max(least, floor), INT64_MAX if most is None else most)]


def moment(text: str, offset_ms: int, field: str, *, is_end: bool) -> int | None:
    """Return the time (ms) that a parameter states; None if it is empty. Raise InvalidQueryError.

    A day begins, and with ``is_end`` ends, by the clocks that are ``offset_ms`` ahead of UTC.
    """
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            start = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()
            return int(start) * 1000 - offset_ms + (DAY_MS - 1 if is_end else 0)
        if _TIMESTAMP.fullmatch(text):
            return math.floor(datetime.fromisoformat(_with_offset(text)).timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    reason = f"{field} needs a day such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z, not {text[:100]!r}."
    raise InvalidQueryError(reason, details={"field": field})


def _with_offset(text: str) -> str:
    """Return an RFC 3339 time as Python 3.10 reads it: three or six decimals, and an offset in digits."""
    base, fraction, zone = _TIMESTAMP.fullmatch(text).groups()  # type: ignore[union-attr]
    decimals = f".{(fraction or '.0')[1:7]:0<6}"
    return f"{base.upper()}{decimals}{'+00:00' if zone in 'Zz' else zone}"


def _metadata(query: AssetQuery) -> dict[str, Any]:
    wanted = _metadata_filter(query.metadata_filter)
    if not query.base_model:
        return wanted
    if BASE_MODEL in wanted:
        raise _bad_filter(f"It has {BASE_MODEL}, which is given as a parameter as well.")
    if len(query.base_model) > _MAX_METADATA_VALUES:
        reason = f"At most {_MAX_METADATA_VALUES} base models can be given."
        raise InvalidQueryError(reason, details={"field": BASE_MODEL})
    return {**wanted, BASE_MODEL: [*query.base_model]}


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
    if query.missing == "only":
        tags_all = (*tags_all, MISSING_TAG)
    elif query.missing == "exclude":
        tags_none = (*tags_none, MISSING_TAG)
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
