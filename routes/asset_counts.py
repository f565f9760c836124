"""Counts of the assets that pass the filters of a list: by kind, stars and the like, by day, folder and tag."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import folder_path
from ..comfy_assets.errors import InvalidCursorError
from ..comfy_assets.models import (
    AssetFilter,
    CursorKey,
    DayCount,
    DayRequest,
    FacetCounts,
    FolderCount,
    FolderTreeRequest,
    TagOrder,
    TagRequest,
)
from ..comfy_assets.search.query import Search, parse_query
from .asset_filters import DAY_MS, FILTER_ERRORS, AssetQuery, FolderQuery, asset_filter
from .context import RequestContext, endpoint
from .operations import Operation, Record, Response, Route, array, boolean, integer, mapping, string
from .params import After, Offset, SortDirection, TagLimit, Text, decode_cursor, doc, encode_cursor

_MAX_BASE_MODELS = 200
_MAX_DEPTH = 1000  # no file system has paths with more parts that are found by their names
_EPOCH = date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH.toordinal(), date.max.toordinal() - _EPOCH.toordinal()

# The parameter of each facet without a value. The facet itself is counted as if the list were not filtered by it.
_WITHOUT: dict[str, dict[str, Any]] = {
    "total": {},
    "kinds": {"kind": ()},
    "ratings": {"rating": ""},
    "favorites": {"favorite": None},
    "base_models": {"base_model": ()},
    "orientations": {"orientation": None},
    "has_workflow": {"has_workflow": None},
    "with_workflow": {"has_workflow": True},
}


class BaseModelBody(msgspec.Struct):
    """A base model."""

    name: Annotated[str, doc("The base model, as `base_model` takes it.")]
    count: Annotated[int, doc("Number of models of it.")]


class CategoryBody(msgspec.Struct):
    """A category of models."""

    name: Annotated[str, doc("The category, as in the tag `model_type:…`.")]
    count: Annotated[int, doc("Number of its models.")]
    size: Annotated[int, doc("Bytes of their files.", format="int64")]


class FacetsResponse(msgspec.Struct, omit_defaults=True):
    """Numbers of assets that pass the filters, by facet.

    Each facet is counted as if its own parameter were not given, so that it shows what another choice would list.
    """

    total: Annotated[int, doc("Number of assets that pass all filters.")]
    total_size: Annotated[int, doc("Bytes of their files.", format="int64")]
    categories: Annotated[
        list[CategoryBody], doc("Those of them that are models by category, the largest first; some are in several.")
    ]
    kinds: Annotated[dict[str, int], doc("By `kind`; kinds without assets are left out.")]
    ratings: Annotated[dict[str, int], doc("By whole stars, `1` to `5`, and `none`; 4.5 stars count as four.")]
    favorites: Annotated[dict[str, int], doc("Favourites as `true`, others as `false`.")]
    orientations: Annotated[dict[str, int], doc("By `orientation`; files without dimensions are in none.")]
    base_models: Annotated[list[BaseModelBody], doc(f"The {_MAX_BASE_MODELS} most frequent base models.")]
    has_workflow: Annotated[
        dict[str, int] | UnsetType,
        doc("Files with a graph as `true`, others as `false`; omitted while the search index is not ready."),
    ] = UNSET


@endpoint(query=FolderQuery)
async def list_facets(call: RequestContext[FolderQuery]) -> FacetsResponse:
    """Count the assets that pass the filters, by facet (listAssetFacets, an extension)."""
    search = parse_query(call.query.q)  # once: a long one takes milliseconds
    wanted = {name: _filter(call, search, change) for name, change in _WITHOUT.items()}
    await call.services.outputs_recorded()
    return _facets_body(await call.services.assets.facets(wanted))


def _filter(call: RequestContext[FolderQuery], search: Search, change: dict[str, Any]) -> AssetFilter:
    return asset_filter(msgspec.structs.replace(call.query, **change), call.user, search=search)


def _facets_body(found: FacetCounts) -> FacetsResponse:
    body = FacetsResponse(
        total=found.total,
        total_size=found.total_size,
        categories=[CategoryBody(each.name, each.count, each.size) for each in found.categories],
        kinds=found.kinds,
        ratings={"none" if stars == 0 else str(stars): count for stars, count in enumerate(found.ratings)},
        favorites={"true": found.favorites, "false": found.others},
        orientations=found.orientations,
        base_models=[BaseModelBody(each.name, each.count) for each in found.base_models[:_MAX_BASE_MODELS]],
    )
    if found.with_workflow is not None and found.without_workflow is not None:
        body.has_workflow = {"true": found.with_workflow, "false": found.without_workflow}
    return body


class ListDays(FolderQuery, frozen=True, kw_only=True):
    """Query of listAssetDays."""

    sort: Annotated[
        Literal["created_at", "updated_at"], doc("Whether days are those of the creation or of the last change.")
    ] = "created_at"
    stack: Annotated[
        Literal["job"] | None,
        doc("`job` counts the assets of a job as one, on the day of the first, as listAssets does."),
    ] = None
    order: SortDirection = "desc"
    limit: Annotated[int, msgspec.Meta(ge=1, le=5000), doc("Maximum number of days on a page.")] = 1000
    after: After | None = None


class DayBody(msgspec.Struct):
    """A day on which assets were created, or changed."""

    date: Annotated[str, doc("The day by the clocks of `utc_offset`.", format="date")]
    count: Annotated[int, doc("Number of its assets.")]
    cursor: Annotated[
        str, doc("The `after` of listAssets that begins with this day, with the same filters, `sort` and `order`.")
    ]


class ListDaysResponse(msgspec.Struct, omit_defaults=True):
    """A page of days."""

    days: Annotated[list[DayBody], doc("The days that have such assets, in the requested order.")]
    total: Annotated[int, doc("Number of all such days.")]
    has_more: Annotated[bool, doc("Whether another page follows.")]
    next_cursor: Annotated[str | None, doc("The `after` of the next page; omitted on the last page.")] = None


@endpoint(query=ListDays)
async def list_days(call: RequestContext[ListDays]) -> ListDaysResponse:
    """Return the days on which the matching assets were created, with their numbers (listAssetDays, an extension)."""
    query = call.query
    after = decode_cursor(query.after, _day_sort(query), query.order) if query.after is not None else None
    request = DayRequest(
        query.sort, query.order, query.utc_offset * 60_000, query.limit, int(after.value) if after is not None else None
    )
    wanted = msgspec.structs.replace(asset_filter(query, call.user), is_stacked=query.stack is not None)
    await call.services.outputs_recorded()
    days, total, has_more = await call.services.assets.days(wanted, request)
    cursor = encode_cursor(CursorKey(days[-1].day, 0), _day_sort(query), query.order) if has_more else None
    return ListDaysResponse([_day_body(day, query) for day in days], total, has_more, cursor)


def _day_sort(query: ListDays) -> str:
    """Return the name of the order in cursors: one of days, not of assets, and by the same clocks."""
    return f"days of {query.sort} at {query.utc_offset}"


def _day_body(found: DayCount, query: ListDays) -> DayBody:
    # A cursor stands behind an asset: here behind one that would be just before the day. No asset has row 0.
    start = found.day * DAY_MS - query.utc_offset * 60_000
    key = CursorKey(start + DAY_MS if query.order == "desc" else start, 0)
    day = _EPOCH + timedelta(days=min(max(found.day, _FIRST_DAY), _LAST_DAY))
    return DayBody(day.isoformat(), found.count, encode_cursor(key, query.sort, query.order))


class ListFolders(AssetQuery, frozen=True, kw_only=True):
    """Query of listAssetFolders."""

    prefix: Annotated[
        Text, doc("Only this folder and those in it, named from its root: `output/2026-01`, `models/loras/style`.")
    ] = ""
    depth: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=_MAX_DEPTH)] | None,
        doc("How many levels below `prefix`, or of the whole tree: 1 lists the roots. All if omitted."),
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000), doc("Maximum number of entries on a page.")] = 500
    after: After | None = None


class FolderBody(msgspec.Struct):
    """A folder of the library, by its path from the root on."""

    path: Annotated[str, doc("The path: `models/loras/style`. As `folder` it selects the folder's assets.")]
    name: Annotated[str, doc("The last part of the path.")]
    asset_count: Annotated[int, doc("Number of assets in the folder itself.")]
    total_count: Annotated[int, doc("Number of assets in the folder and in all folders in it.")]
    has_folders: Annotated[bool, doc("Whether folders in it have any of these assets.")]


class ListFoldersResponse(msgspec.Struct, omit_defaults=True):
    """A page of the tree of folders."""

    folders: Annotated[
        list[FolderBody], doc("The folders that have such assets, each before those in it, else by their names.")
    ]
    has_more: Annotated[bool, doc("Whether another page follows.")]
    next_cursor: Annotated[str | None, doc("The `after` of the next page; omitted on the last page.")] = None


@endpoint(query=ListFolders)
async def list_folders(call: RequestContext[ListFolders]) -> ListFoldersResponse:
    """Return a page of the tree of folders with the numbers of assets in them (listAssetFolders, an extension)."""
    query = call.query
    wanted = asset_filter(query, call.user)
    request = FolderTreeRequest(
        folder_path(query.prefix, "prefix") if query.prefix else "", query.depth, query.limit, _after(query)
    )
    await call.services.outputs_recorded()
    folders, has_more = await call.services.assets.folders(wanted, request)
    cursor = encode_cursor(CursorKey(folders[-1].path, 0), "path", "asc") if has_more else None
    return ListFoldersResponse([_folder_body(folder) for folder in folders], has_more, cursor)


def _after(query: ListFolders) -> str | None:
    return str(decode_cursor(query.after, "path", "asc").value) if query.after is not None else None


def _folder_body(folder: FolderCount) -> FolderBody:
    name = folder.path.rpartition("/")[2]
    return FolderBody(folder.path, name, folder.direct, folder.total, folder.total > folder.direct)


class TagHistogramQuery(FolderQuery, frozen=True, kw_only=True):
    """Query of getAssetTagHistogram."""

    limit: TagLimit = 100


@endpoint(query=TagHistogramQuery)
async def tag_histogram(call: RequestContext[TagHistogramQuery]) -> dict[str, Any]:
    """Count the tags of the assets that match the filters (getAssetTagHistogram)."""
    counts = await call.services.assets.histogram(asset_filter(call.query, call.user), call.query.limit)
    # The order is part of the response: members keep it in JSON, the largest count first.
    return {"tag_counts": {tag.name: tag.count for tag in counts}}


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Query of listTags."""

    prefix: Annotated[Text, doc("Only tags that begin with this text.")] = ""
    limit: TagLimit = 100
    offset: Offset = 0
    order: Annotated[TagOrder, doc("By the number of assets, the highest first, or by name.")] = "count_desc"
    include_zero: Annotated[bool, doc("Whether to include tags that no asset has any more.")] = False
    include_public: Annotated[bool, doc("Whether to count assets that belong to no user.")] = True


@endpoint(query=ListTags)
async def list_tags(call: RequestContext[ListTags]) -> dict[str, Any]:
    """Return a page of tags with the number of assets of each (listTags)."""
    query = call.query
    page = await call.services.assets.list_tags(
        TagRequest(
            call.user,
            include_public=query.include_public,
            prefix=query.prefix,
            include_zero=query.include_zero,
            order=query.order,
            limit=query.limit,
            offset=query.offset,
        )
    )
    return {
        "tags": [{"name": tag.name, "count": tag.count} for tag in page.items],
        "total": page.total,
        "has_more": page.has_more,
    }


_HISTOGRAM = Record(
    "AssetTagHistogramResponse",
    "Number of assets with each tag.",
    {"tag_counts": mapping({"type": "integer"}, "Counts by tag, the largest first.")},
)
_TAG = Record(
    "TagInfo", "A tag in use.", {"name": string("The tag."), "count": integer("Number of assets with the tag.")}
)
_TAG_LIST = Record(
    "ListTagsResponse",
    "A page of tags.",
    {
        "tags": array(_TAG, "The tags, in the requested order."),
        "total": integer("Number of tags."),
        "has_more": boolean("Whether another page follows."),
    },
)

ROUTES = [
    Route(
        "GET",
        "/api/assets/facets",
        list_facets,
        Operation(
            "listAssetFacets",
            "Assets",
            "Count assets by kind, stars, base model and the like",
            {200: Response("The counts.", FacetsResponse)},
            "Each facet is counted as if its own parameter were not given.",
            errors=FILTER_ERRORS,
        ),
    ),
    Route(
        "GET",
        "/api/assets/days",
        list_days,
        Operation(
            "listAssetDays",
            "Assets",
            "List the days on which assets were created",
            {200: Response("The page.", ListDaysResponse)},
            errors=(InvalidCursorError, *FILTER_ERRORS),
        ),
    ),
    Route(
        "GET",
        "/api/assets/folders",
        list_folders,
        Operation(
            "listAssetFolders",
            "Assets",
            "List the folders of the library",
            {200: Response("The page.", ListFoldersResponse)},
            errors=(InvalidCursorError, *FILTER_ERRORS),
        ),
    ),
    Route(
        "GET",
        "/api/assets/tags/refine",
        tag_histogram,
        Operation(
            "getAssetTagHistogram",
            "Assets",
            "Count the tags of the assets that match the filters",
            {200: Response("The counts.", _HISTOGRAM)},
            errors=FILTER_ERRORS,
        ),
    ),
    Route(
        "GET",
        "/api/tags",
        list_tags,
        Operation("listTags", "Tags", "List tags", {200: Response("The page.", _TAG_LIST)}),
    ),
]
