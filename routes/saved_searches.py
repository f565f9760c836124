"""Saved searches: the parameters of a list of assets under a name. Extensions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Raw
from multidict import MultiDict

from ..comfy_assets.assets.fields import normalize_title
from ..comfy_assets.errors import (
    InvalidBodyError,
    InvalidNameError,
    InvalidQueryError,
    SavedSearchExistsError,
    SavedSearchNotFoundError,
    TooManySavedSearchesError,
)
from ..comfy_assets.models import AssetFilter, PageRequest, SavedSearch
from .asset_filters import asset_filter
from .assets import ListAssets, list_filter, page_request
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, RequestBody, Response, Route
from .params import ANY_OBJECT, Text, doc, parse_body, parse_query

_PAGING = frozenset({"limit", "offset", "after"})
PARAMETERS = tuple(name for name in ListAssets.__struct_fields__ if name not in _PAGING)
_MAX_QUERY_BYTES = 64 << 10
_MAX_VALUES = 1000  # of one parameter
_EXAMPLE = {"name": "Best portraits", "query": {"q": "portrait", "rating": "4..", "sort": "rating"}}

_Scalar = Text | bool | int
_Values = Annotated[list[Text], msgspec.Meta(max_length=_MAX_VALUES)]
_Query = Annotated[dict[Text, _Scalar | _Values], msgspec.Meta(max_length=100)]
_QUERY = doc(
    "Parameters of listAssets except `limit`, `offset` and `after`, such as `q`, `kind` and `sort`; "
    "texts, numbers, booleans, or lists of texts."
)


class SavedSearchBody(msgspec.Struct):
    """A saved search of a user."""

    id: Annotated[str, doc("A UUID.", format="uuid")]
    name: Annotated[str, doc("The name, which no other saved search of the user has.")]
    query: Annotated[Raw, doc("The parameters of listAssets, as they were saved.", **ANY_OBJECT)]
    created_at: Annotated[datetime, doc("Time at which it was saved first.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]


class ListSavedSearchesResponse(msgspec.Struct):
    """The saved searches of a user."""

    saved_searches: Annotated[list[SavedSearchBody], doc("All of them, by name.")]
    total: Annotated[int, doc("Their number.")]


class SavedSearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createSavedSearch and replaceSavedSearch."""

    name: Annotated[Text, doc("A name of up to 255 characters.")]
    query: Annotated[_Query, _QUERY]


@endpoint()
async def list_saved_searches(call: RequestContext[NoQuery]) -> ListSavedSearchesResponse:
    """Return the user's saved searches (listSavedSearches)."""
    found = await call.services.saved_searches.list(call.user)
    return ListSavedSearchesResponse([_body(each) for each in found], len(found))


@endpoint()
async def create_saved_search(call: RequestContext[NoQuery]) -> web.Response:
    """Save a search (createSavedSearch)."""
    name, query = await _checked(call)
    return json_response(_body(await call.services.saved_searches.create(name, query, call.user)), 201)


@endpoint()
async def get_saved_search(call: RequestContext[NoQuery]) -> SavedSearchBody:
    """Return a saved search (getSavedSearch)."""
    return _body(await call.services.saved_searches.get(call.path["id"], call.user))


@endpoint()
async def replace_saved_search(call: RequestContext[NoQuery]) -> SavedSearchBody:
    """Replace name and query of a saved search (replaceSavedSearch)."""
    name, query = await _checked(call)
    return _body(await call.services.saved_searches.replace(call.path["id"], name, query, call.user))


@endpoint()
async def delete_saved_search(call: RequestContext[NoQuery]) -> web.Response:
    """Delete a saved search (deleteSavedSearch)."""
    await call.services.saved_searches.delete(call.path["id"], call.user)
    return web.Response(status=204)


def saved_list(search: SavedSearch, user: str) -> tuple[AssetFilter, PageRequest]:
    """Return a saved search as a filter and an order, for a user. Raise InvalidQueryError, InvalidTagFilterError."""
    query = parse_query(ListAssets, _parameters(msgspec.json.decode(search.query)))
    return list_filter(query, user), page_request(query)


async def _checked(call: RequestContext[NoQuery]) -> tuple[str, str]:
    """Return name and query of a request, the query as JSON text. Raise InvalidNameError, InvalidBodyError."""
    body = await parse_body(SavedSearchRequest, call.request)
    name, query = normalize_title(body.name), dict(body.query)
    unknown = sorted(query.keys() - set(PARAMETERS))
    if unknown:
        raise _refused(f"{unknown[0]} is no parameter of a saved search.", unknown[0])
    text = msgspec.json.encode(query)
    if len(text) > _MAX_QUERY_BYTES:
        raise InvalidBodyError(f"query takes more than {_MAX_QUERY_BYTES} bytes.", details={"field": "query"})
    try:
        wanted = parse_query(ListAssets, _parameters(query))
        asset_filter(wanted, call.user)
        page_request(wanted)
    except InvalidQueryError as error:
        details = error.details or {}
        raise _refused(error.message, details.get("field"), details) from error
    return name, text.decode()


def _refused(reason: str, name: Any, details: Any = None) -> InvalidBodyError:
    return InvalidBodyError(f"query: {reason}", details={**(details or {}), "field": f"query.{name}"})


def _parameters(query: dict[str, Any]) -> MultiDict[str]:
    """Return the members of a query as the parameters of a URL."""
    parameters: MultiDict[str] = MultiDict()
    for name, value in query.items():
        for each in value if isinstance(value, list) else [value]:
            parameters.add(name, str(each).lower() if isinstance(each, bool) else str(each))
    return parameters


def _body(found: SavedSearch) -> SavedSearchBody:
    query = Raw(found.query.encode())
    return SavedSearchBody(found.id, found.name, query, utc_time(found.created_at), utc_time(found.updated_at))


_ID = {"id": {"description": "The id of the saved search.", "format": "uuid"}}
_TAG = "Saved searches"

ROUTES = [
    Route(
        "GET",
        "/api/saved-searches",
        list_saved_searches,
        Operation(
            "listSavedSearches", _TAG, "List saved searches", {200: Response("All of them.", ListSavedSearchesResponse)}
        ),
    ),
    Route(
        "POST",
        "/api/saved-searches",
        create_saved_search,
        Operation(
            "createSavedSearch",
            _TAG,
            "Save a search",
            {201: Response("The saved search.", SavedSearchBody)},
            body=RequestBody(SavedSearchRequest, example=_EXAMPLE),
            errors=(InvalidNameError, SavedSearchExistsError, TooManySavedSearchesError),
        ),
    ),
    Route(
        "GET",
        "/api/saved-searches/{id}",
        get_saved_search,
        Operation(
            "getSavedSearch",
            _TAG,
            "Get a saved search",
            {200: Response("The saved search.", SavedSearchBody)},
            parameters=_ID,
            errors=(SavedSearchNotFoundError,),
        ),
    ),
    Route(
        "PUT",
        "/api/saved-searches/{id}",
        replace_saved_search,
        Operation(
            "replaceSavedSearch",
            _TAG,
            "Replace a saved search",
            {200: Response("The saved search.", SavedSearchBody)},
            parameters=_ID,
            body=RequestBody(SavedSearchRequest, example=_EXAMPLE),
            errors=(InvalidNameError, SavedSearchNotFoundError, SavedSearchExistsError),
        ),
    ),
    Route(
        "DELETE",
        "/api/saved-searches/{id}",
        delete_saved_search,
        Operation(
            "deleteSavedSearch",
            _TAG,
            "Delete a saved search",
            {204: Response("It is deleted.")},
            parameters=_ID,
            errors=(SavedSearchNotFoundError,),
        ),
    ),
]
