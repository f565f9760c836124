"""Changes of many assets by one request, and undoing them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.assets.batch_actions import ACTIONS, BatchParameters
from ..comfy_assets.assets.batches import BatchRequest, BatchRun
from ..comfy_assets.assets.fields import normalize_tags
from ..comfy_assets.errors import (
    BatchNotFoundError,
    BatchRunningError,
    CollectionNotFoundError,
    InvalidBodyError,
    InvalidQueryError,
    InvalidTagFilterError,
    InvalidTagsError,
    ReservedTagError,
    SearchNotReadyError,
    SearchUnavailableError,
    SelectionTooLargeError,
    TooManyBatchesError,
    UndoBlockedError,
    UndoImpossibleError,
)
from ..comfy_assets.host.login_gate import IDENTITY
from ..comfy_assets.login.service import Identity
from ..comfy_assets.models import AssetFilter, AssetSort, Order, PageRequest, TaskState
from .asset_filters import FolderQuery, asset_filter
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, RequestBody, Response, Route
from .params import ANY_OBJECT, Id, OptionalTags, ShortPageLimit, Text, check_texts, doc, parse_body

MOST_IDS = 10_000


class SelectionFilter(FolderQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search: the filters of listAssets, with lists where the query has commas. An unknown member is refused."""


class BatchAssetsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of batchAssets: an action, and the assets to which it applies, by `ids` or by `filter`."""

    action: Annotated[Text, doc("What to do with the assets.", enum=list(ACTIONS))]
    ids: Annotated[
        Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MOST_IDS)] | UnsetType, doc("Ids of assets.")
    ] = UNSET
    filter: Annotated[
        SelectionFilter | UnsetType,
        doc("All assets that pass these filters now, up to 100,000. An empty object selects all assets."),
    ] = UNSET
    exclude_ids: Annotated[
        Annotated[list[Id], msgspec.Meta(max_length=MOST_IDS)], doc("Assets to leave out of those that pass `filter`.")
    ] = []
    sort: Annotated[
        AssetSort | UnsetType,
        doc("The order of those that pass `filter`, as in listAssets: `add_to_collection` adds them in it."),
    ] = UNSET
    order: Annotated[Order, doc("Direction of `sort`.")] = "desc"
    tags: Annotated[OptionalTags, doc("The tags to add (`tag`) or to remove (`untag`).")] = []
    rating: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=5)] | UnsetType, doc("The stars to give (`rate`), 0 for none.")
    ] = UNSET
    favourite: Annotated[
        bool | UnsetType, doc("Whether they become favourites (`favourite`), or are none any more.")
    ] = UNSET
    collection_id: Annotated[Id | UnsetType, doc("The collection (`add_to_collection`, `remove_from_collection`).")] = (
        UNSET
    )
    force: Annotated[
        bool, doc("Whether `remove` and `trash` apply to assets that workflows, shares or jobs of the user use.")
    ] = False
    wait: Annotated[
        int, msgspec.Meta(ge=0, le=10), doc("Seconds to wait for the end, so that the response has the result.")
    ] = 2


class UndoBatchRequest(msgspec.Struct, frozen=True):
    """Body of undoBatch."""

    wait: Annotated[
        int, msgspec.Meta(ge=0, le=10), doc("Seconds to wait for the end, so that the response has the result.")
    ] = 2


class FailedChangeBody(msgspec.Struct):
    """An asset that was not changed."""

    id: Annotated[str, doc("The id, as the request has it.")]
    code: Annotated[str, doc("The code of the error.")]
    message: Annotated[str, doc("A sentence for people.")]


class BatchResult(msgspec.Struct, kw_only=True):
    """The result of a batch or of its undoing; also the result of the task."""

    batch_id: Annotated[str, doc("The batch, for undoBatch.", format="uuid")]
    action: Annotated[str, doc("The action.")]
    total: Annotated[int, doc("Number of selected assets.")]
    done: Annotated[int, doc("Number of assets that are done, whatever became of them.")]
    changed: Annotated[int, doc("Number of assets that were changed: others were so already, or failed.")]
    failed: Annotated[int, doc("Number of assets that could not be changed.")]
    failures: Annotated[list[FailedChangeBody], doc("Up to 1,000 of these.")]
    can_undo: Annotated[bool | UnsetType, doc("Whether undoBatch has something to do; once it has ended.")] = UNSET


class BatchResponse(msgspec.Struct, kw_only=True):
    """A batch, and how far it is."""

    batch_id: Annotated[str, doc("The batch, for undoBatch.", format="uuid")]
    task_id: Annotated[
        str | UnsetType, doc("The task, see getTask and cancelTask. Omitted if there is nothing to do.", format="uuid")
    ] = UNSET
    status: Annotated[TaskState, doc("State of the task.")]
    result: Annotated[BatchResult | UnsetType, doc("The result, or what is known of it so far.")] = UNSET
    error_message: Annotated[str | UnsetType, doc("Reason of its failure.")] = UNSET


class ListBatches(msgspec.Struct, frozen=True):
    """Query of listBatches."""

    limit: ShortPageLimit = 20


class BatchEntry(msgspec.Struct, kw_only=True):
    """A batch that was made."""

    id: Annotated[str, doc("The batch, for undoBatch.", format="uuid")]
    action: Annotated[str, doc("The action.")]
    parameters: Annotated[
        Raw, doc("What it was given: `tags`, `rating`, `favourite`, `collection_id`, `force`.", **ANY_OBJECT)
    ]
    changed: Annotated[int, doc("Number of assets that it changed.")]
    created_at: Annotated[datetime, doc("Time of the request.")]
    is_undone: Annotated[bool, doc("Whether it has been undone.")]


class ListBatchesResponse(msgspec.Struct):
    """The latest batches of a user."""

    batches: Annotated[list[BatchEntry], doc("The batches, the latest first.")]


@endpoint()
async def batch_assets(call: RequestContext[NoQuery]) -> web.Response:
    """Start an action on many assets (batchAssets, an extension)."""
    body = await parse_body(BatchAssetsRequest, call.request)
    wanted = selection_filter(body.filter, call.user) if body.filter is not UNSET else None
    if (body.ids is UNSET) == (wanted is None):
        raise InvalidBodyError("Give either ids or filter.", details={"field": "ids"})
    if body.exclude_ids and wanted is None:
        raise InvalidBodyError("exclude_ids needs a filter.", details={"field": "exclude_ids"})
    order = _order(body, wanted)
    parameters = BatchParameters(
        tags=normalize_tags(body.tags) if body.tags else (),
        rating=body.rating if body.rating is not UNSET else None,
        favourite=body.favourite if body.favourite is not UNSET else None,
        collection_id=body.collection_id if body.collection_id is not UNSET else None,
        force=body.force,
    )
    ids = tuple(body.ids) if body.ids is not UNSET else None
    run = await call.services.batches.start(
        BatchRequest(body.action, parameters, ids, wanted, tuple(body.exclude_ids), order), call.user
    )
    if body.action in ("remove", "trash"):
        _note_deletion(call, batch=run.batch.id, assets="all that match" if ids is None else str(len(ids)))
    return await _response(run, body.wait)


def _order(body: BatchAssetsRequest, wanted: AssetFilter | None) -> PageRequest | None:
    if body.sort is UNSET:
        return None
    if wanted is None:
        raise InvalidBodyError("sort needs a filter; ids are taken in their order.", details={"field": "sort"})
    if body.sort == "collection" and wanted.collection is None:
        raise InvalidBodyError("sort=collection needs a collection in filter.", details={"field": "sort"})
    return PageRequest(body.sort, body.order, collection=wanted.collection)


def _note_deletion(call: RequestContext[Any], **facts: str) -> None:
    """Write a deletion to the audit log, as its request does not show it; do nothing while the login is off."""
    identity: Identity | None = call.request.get(IDENTITY)
    if identity is not None:
        call.services.login.note("deleted", user=identity.user, **facts)


def selection_filter(query: SelectionFilter, user: str) -> AssetFilter:
    """Return the filter of a selection in a body. Raise InvalidBodyError, which names the member."""
    try:
        check_texts(query)
        return asset_filter(query, user)
    except InvalidQueryError as error:
        details = dict(error.details or {})
        details["field"] = f"filter.{details.get('field', '')}".rstrip(".")
        raise InvalidBodyError(error.message, details=details) from error


@endpoint()
async def undo_batch(call: RequestContext[NoQuery]) -> web.Response:
    """Restore what the assets of a batch had before (undoBatch, an extension)."""
    body = await parse_body(UndoBatchRequest, call.request)
    return await _response(await call.services.batches.undo(call.path["batch_id"], call.user), body.wait)


@endpoint(query=ListBatches)
async def list_batches(call: RequestContext[ListBatches]) -> ListBatchesResponse:
    """List the latest batches of the user (listBatches, an extension)."""
    found = await call.services.batches.latest(call.user, call.query.limit)
    return ListBatchesResponse(
        [
            BatchEntry(
                id=batch.id,
                action=batch.action,
                parameters=Raw(batch.parameters.encode()),
                changed=batch.changed,
                created_at=utc_time(batch.created_at),
                is_undone=batch.is_undone,
            )
            for batch in found
        ]
    )


async def _response(run: BatchRun, wait: int) -> web.Response:
    """Wait for the task, but no longer than the client does, and return its state: 202 while it runs."""
    task = run.task
    if task is None:
        return json_response(BatchResponse(batch_id=run.batch.id, status="completed"))
    # The task goes on if the client has gone.
    await asyncio.wait([asyncio.ensure_future(task.done.wait())], timeout=wait)
    body = BatchResponse(batch_id=run.batch.id, task_id=str(task.id), status=task.status)
    if task.result:
        body.result = msgspec.convert(task.result, BatchResult)
    if task.error is not None:
        body.error_message = task.error
    return json_response(body, 202 if task.is_running else 200)


_BATCH_ID: dict[str, Any] = {"batch_id": {"description": "The batch's id.", "format": "uuid"}}
ROUTES = [
    Route(
        "POST",
        "/api/assets/batch",
        batch_assets,
        Operation(
            "batchAssets",
            "Assets",
            "Change many assets",
            {200: Response("It has ended.", BatchResponse), 202: Response("It is running.", BatchResponse)},
            "Assets that cannot be changed are named in the result and do not keep the others from it. Pages get the "
            "event `asset_batch` meanwhile.",
            body=RequestBody(
                BatchAssetsRequest,
                example={"action": "tag", "tags": ["best"], "ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]},
            ),
            errors=(
                InvalidTagsError,
                InvalidTagFilterError,
                SelectionTooLargeError,
                ReservedTagError,
                TooManyBatchesError,
                CollectionNotFoundError,
                SearchUnavailableError,
                SearchNotReadyError,
            ),
        ),
    ),
    Route(
        "GET",
        "/api/assets/batches",
        list_batches,
        Operation(
            "listBatches",
            "Assets",
            "List the latest changes of many assets",
            {200: Response("The batches.", ListBatchesResponse)},
            "The latest hundred of thirty days are kept.",
        ),
    ),
    Route(
        "POST",
        "/api/assets/batch/{batch_id}/undo",
        undo_batch,
        Operation(
            "undoBatch",
            "Assets",
            "Undo a change of many assets",
            {
                200: Response("It has ended, or was undone before.", BatchResponse),
                202: Response("It is running.", BatchResponse),
            },
            "What was changed otherwise since then stays, with the code `CHANGED_SINCE` among the failures.",
            parameters=_BATCH_ID,
            body=RequestBody(UndoBatchRequest, example={"wait": 2}),
            errors=(BatchNotFoundError, BatchRunningError, UndoBlockedError, UndoImpossibleError),
        ),
    ),
]
