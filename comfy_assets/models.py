"""Values that cross layers. Times are integer milliseconds since 1970 (UTC); sizes are bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

AssetSort = Literal["name", "created_at", "updated_at", "size", "last_access_time", "rating", "kind", "collection"]
TagOrder = Literal["count_desc", "name_asc"]
Order = Literal["asc", "desc"]
# The channels in a thumbnail: colours over white, colours without transparency, or the transparency itself.
Plane = Literal["flat", "rgb", "alpha"]

FileStat = tuple[int, int, int]  # size in bytes, mtime in ns, inode (0 if the file system has none)

ZERO_ID = "00000000-0000-0000-0000-000000000000"  # never the id of an asset

# The origin of an asset: a scan, an upload, or a reference to existing content.
SCANNED, UPLOADED, REFERENCE = range(3)

MISSING_TAG = "missing"
MODEL_TYPE_PREFIX = "model_type:"


def categories_of(tags: Iterable[str]) -> list[str]:
    """Return the categories of models that tags name by their types."""
    return [tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags if tag.startswith(MODEL_TYPE_PREFIX)]


class Location(msgspec.Struct, frozen=True):
    """The location of an asset's file. ``folder`` is absolute; ``logical`` is the path below the namespace root.

    ``loader_prefix`` is the folder in the name that loaders use; ``loader_prefixes`` a JSON object of those by
    category, or None if they are the same.
    """

    folder: str
    name: str
    kind: str
    logical: str
    loader_prefix: str | None
    loader_prefixes: str | None
    missing: bool

    def prefix_in(self, category: str) -> str | None:
        """Return the folder in the name that loaders of a category use."""
        return self.prefixes().get(category, self.loader_prefix)

    def prefixes(self) -> dict[str, str]:
        """Return the folders in the names that loaders use, by category; empty if they are the same."""
        return msgspec.json.decode(self.loader_prefixes, type=dict[str, str]) if self.loader_prefixes else {}


class Preview(msgspec.Struct, frozen=True):
    """The file of an asset that is the preview of another; ``hash`` is None until the file has been hashed.

    ``metadata`` and ``thumbnail_failure`` are as in ``Asset``.
    """

    mime_type: str
    hash: bytes | None
    metadata: str | None
    thumbnail_failure: str | None
    location: Location


class UsedLora(NamedTuple):
    """A LoRA as a graph or a prompt names it, and its strength; None if that is not stated."""

    name: str
    weight: float | None = None


class Generation(msgspec.Struct, frozen=True):
    """Prompts and settings that made a picture, as far as its file says. Unknown texts are empty, unknown numbers None.

    ``models`` are checkpoints and diffusion models by the names that loaders take, with forward slashes. ``tool`` is
    the program: ComfyUI, A1111, InvokeAI …
    """

    positive: str = ""
    negative: str = ""
    models: tuple[str, ...] = ()
    loras: tuple[UsedLora, ...] = ()
    seed: int | None = None
    steps: int | None = None
    sampler: str = ""
    scheduler: str = ""
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    tool: str = ""


class Asset(msgspec.Struct, frozen=True):
    """An entry of the library.

    ``id`` is a UUID in canonical form; ``tags`` and ``metadata`` are JSON texts as stored (an array, an object).
    ``hash`` is the 32-byte blake3 digest, or None until the file has been hashed. ``row_id`` breaks ties in every sort
    order. ``thumbnail_failure`` is the version of the decoders that could make no thumbnail of the content
    (``decoders_version``), or None. ``location`` is the asset's own file, or a file of the same content if it has none.
    ``preview`` is the file of the asset that a user chose as the preview (``preview_id``). In a list of stacks the
    asset stands for ``stack_count`` assets of its job. ``copies`` is the number of files with its content that its
    reader may see, None unless there are several.
    """

    row_id: int
    id: str
    owner: str
    name: str
    mime_type: str
    size: int
    tags: str
    created_at: int
    updated_at: int
    last_access_at: int | None
    hash: bytes | None
    metadata: str | None
    thumbnail_failure: str | None
    user_metadata: str | None
    job_id: str | None
    origin: int
    preview_id: str | None
    location: Location | None
    preview: Preview | None = None
    stack_count: int | None = None
    copies: int | None = None

    @property
    def is_present(self) -> bool:
        """True if the file with the content was there at the last check."""
        return self.location is not None and not self.location.missing

    @property
    def categories(self) -> list[str]:
        """The categories of models that its tags name."""
        return categories_of(msgspec.json.decode(self.tags, type=list[str]))


class AssetEdit(msgspec.Struct, frozen=True):
    """New values of an asset's members; None keeps the old one. ``user_metadata`` is a JSON object."""

    name: str | None = None
    mime_type: str | None = None
    user_metadata: str | None = None
    preview_id: str | None = None


class CursorKey(msgspec.Struct, frozen=True):
    """The sort value and row id of the row before a page."""

    value: int | str
    row_id: int


class SearchWord(NamedTuple):
    """A search word (see ``words.words_of``): a prefix, or a whole word with ``is_whole``.

    ``also`` is a whole word that will do in its place, "" without one.
    """

    text: str
    is_whole: bool
    also: str = ""


SearchGroup = tuple[SearchWord, ...]


class RatingRange(NamedTuple):
    """A search for stars that a user has given: from ``least`` to ``most``, or none of these if excluded.

    Assets without a rating have 0 stars.
    """

    least: float
    most: float
    is_excluded: bool = False


class KindTerm(NamedTuple):
    """A search for kinds of media (``asset_kinds.KINDS``): one of these, or none of them if excluded."""

    kinds: tuple[str, ...]
    is_excluded: bool = False


class Span(NamedTuple):
    """A range of numbers or times (ms) that a value of an asset lies in: from ``least``, up to and with ``most``."""

    column: Literal["created_at", "updated_at", "size", "width", "height"]
    least: int
    most: int


Orientation = Literal["landscape", "portrait", "square"]


class FolderTerm(NamedTuple):
    """A folder that assets must lie in, or in a folder in it if it ``is_recursive``.

    ``path`` begins with a root: "models/loras/style". An asset without a file of its own lies in no folder.
    """

    path: str
    is_recursive: bool = True


class AssetFilter(msgspec.Struct, frozen=True):
    """The filter of a list of assets. ``metadata`` maps a field to a value or to a list of accepted values.

    An asset has every tag of ``tags_all``, at least one of ``tags_any`` unless there are none, and no tag of
    ``tags_none``. All ``words`` must occur in what is indexed of it, and of each group in ``excluded`` not all.
    ``file`` is a path below the folder of inputs or of outputs, as loader nodes have it ("sub/photo.png").
    An asset must pass every one of ``kinds``, ``ratings`` and ``spans``. ``is_favourite`` and ``is_used`` (by a saved
    workflow or a job) want assets that are, or that are not; None does not filter. ``job`` is the id of the job that
    made them. With ``is_stacked`` the first asset of each job stands for all that the job made. ``collection``
    is the id of one that has them. Jobs that used the content of the asset ``made_with`` made those that pass.
    """

    owner: str
    include_public: bool = True
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_none: tuple[str, ...] = ()
    name_contains: str = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    hash: bytes | None = None
    file: str | None = None
    words: SearchGroup = ()
    excluded: tuple[SearchGroup, ...] = ()
    ratings: tuple[RatingRange, ...] = ()
    kinds: tuple[KindTerm, ...] = ()
    spans: tuple[Span, ...] = ()
    orientation: Orientation | None = None
    is_favourite: bool | None = None
    is_used: bool | None = None
    job: str | None = None
    is_stacked: bool = False
    collection: str | None = None
    made_with: str | None = None
    folder: FolderTerm | None = None


class FolderTreeRequest(msgspec.Struct, frozen=True):
    """A page of the tree of folders: the folder ``prefix`` and those up to ``depth`` levels in it; all if it is empty.

    ``after`` is the path of the last folder of the page before.
    """

    prefix: str = ""
    depth: int | None = None
    limit: int = 500
    after: str | None = None


class FolderCount(msgspec.Struct, frozen=True):
    """A folder of the tree by its path ("models/loras"), with the numbers of assets in it and in all folders in it."""

    path: str
    direct: int
    total: int


class PageRequest(msgspec.Struct, frozen=True):
    """A page of a list of assets: after a cursor if ``after`` is given, else from ``offset``.

    ``collection`` is the id (a UUID) of the collection by whose order the assets are sorted.
    """

    sort: AssetSort = "created_at"
    order: Order = "desc"
    limit: int = 20
    offset: int = 0
    after: CursorKey | None = None
    collection: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list. ``total`` is the length of the whole list; ``next_key`` is None on the last page."""

    items: list[T]
    total: int
    has_more: bool
    next_key: CursorKey | None = None


DeletionKind = Literal["trashed", "removed", "left_out"]


class TrashFilter(msgspec.Struct, frozen=True):
    """The filter of a list of deleted assets: those of ``owner`` and public ones, or of all users if it is None.

    ``only_own`` leaves out the public ones. The file of a "trashed" one is in the trash; those of "removed" ones stayed
    in their places, and of "left_out" ones nothing but a note remains. ``name`` is a part of the name, in any case.
    ``before`` (ms) selects those that were deleted earlier, ``ids`` those with these ids.
    """

    owner: str | None
    kinds: tuple[DeletionKind, ...] = ("trashed", "removed")
    name: str = ""
    before: int | None = None
    only_own: bool = False
    ids: tuple[str, ...] | None = None


class TagRequest(msgspec.Struct, frozen=True):
    """The filter and page of a list of tags; ``prefix`` is literal text."""

    owner: str
    include_public: bool = True
    prefix: str = ""
    include_zero: bool = False
    order: TagOrder = "count_desc"
    limit: int = 100
    offset: int = 0


class TagCount(msgspec.Struct, frozen=True):
    """A tag and the number of its assets."""

    name: str
    count: int


class CategoryCount(msgspec.Struct, frozen=True):
    """The number of models of a category, and their size in bytes."""

    name: str
    count: int
    size: int


class FacetCounts(msgspec.Struct, frozen=True):
    """Numbers of assets by facet. ``ratings`` are those without stars and those with one to five whole stars.

    ``total_size`` is in bytes; ``categories`` of models are the largest first.

    ``with_workflow`` and ``without_workflow`` are None while the search index is not ready.
    """

    total: int
    kinds: dict[str, int]
    ratings: tuple[int, ...]
    favorites: int
    others: int
    base_models: list[TagCount]
    orientations: dict[str, int]
    with_workflow: int | None
    without_workflow: int | None
    total_size: int = 0
    categories: list[CategoryCount] = []


class DayRequest(msgspec.Struct, frozen=True):
    """A page of the days on which assets were created or changed, by clocks that are ``offset_ms`` ahead of UTC.

    ``after`` is the last day of the page before. Days are counted from 1970-01-01.
    """

    column: Literal["created_at", "updated_at"] = "created_at"
    order: Order = "desc"
    offset_ms: int = 0
    limit: int = 500
    after: int | None = None


class DayCount(msgspec.Struct, frozen=True):
    """A day, counted from 1970-01-01, and the number of its assets."""

    day: int
    count: int


class Collection(msgspec.Struct, frozen=True):
    """Assets that a user has put together. ``version`` grows with every change.

    ``cover_id`` is the asset whose picture stands for it: the chosen one, or else the first member.
    """

    row_id: int
    id: str
    owner: str
    name: str
    description: str | None
    version: int
    created_at: int
    updated_at: int
    cover_id: str | None


class CollectionEdit(msgspec.Struct, frozen=True):
    """New values of a collection's members; None keeps the old one, and an empty text removes it."""

    name: str | None = None
    description: str | None = None
    cover_id: str | None = None


class CollectionPage(msgspec.Struct, frozen=True):
    """The filter and page of a list of collections: those whose names contain a text, and those with an asset."""

    name_contains: str = ""
    asset_id: str | None = None
    sort: Literal["name", "created_at", "updated_at"] = "name"
    order: Order = "asc"
    limit: int = 100
    offset: int = 0


class SavedSearch(msgspec.Struct, frozen=True):
    """A search that a user has saved. ``query`` is a JSON object: the parameters of a list of assets."""

    row_id: int
    id: str
    name: str
    query: str
    created_at: int
    updated_at: int


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A file to hash: a new or changed one. ``path`` is the path of its folder."""

    id: int
    path: str
    name: str
    size: int
    mtime_ns: int
    state: int


# The states of a job, in this order; the last three are final.
PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED = range(5)
JOB_STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
FINAL = frozenset({COMPLETED, FAILED, CANCELLED})

# "state" has running jobs first, then waiting ones in the order of the queue, then ended ones, the latest first.
JobSort = Literal["create_time", "execution_time", "state"]
MEDIA = {"image": 1, "video": 2, "audio": 4, "3d": 8}  # kinds of outputs, as the bits of Job.media


class Job(msgspec.Struct, frozen=True):
    """A job in a list. ``preview`` and ``error`` are JSON objects; ``duration`` is in milliseconds.

    ``prompt`` are the first words of the prompt, None if they are not known yet. ``workflow_name`` is None unless the
    workflow is saved and has a name. ``deleted_outputs`` counts the output assets that were deleted and are in the
    trash.
    """

    row_id: int
    id: str
    owner: str
    status: int
    number: float
    workflow_id: str | None
    workflow_version_id: str | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    updated_at: int
    duration: int
    outputs_count: int
    previewable_count: int
    preview: str | None
    error: str | None
    prompt: str | None
    workflow_name: str | None
    deleted_outputs: int


class JobRecord(msgspec.Struct, frozen=True):
    """A job with its prompt and outputs.

    ``graph``, ``workflow`` (the page's form of it), ``extra_data`` (without the workflow) and ``result`` (outputs, meta
    and status) are JSON objects, ``targets`` (the nodes to execute) a JSON array. ``problem`` names the part that could
    not be recorded, and the reason; ``run`` distinguishes executions with the same id.
    """

    job: Job
    graph: bytes
    workflow: bytes | None
    extra_data: bytes
    targets: bytes
    result: bytes
    problem: str | None = None
    run: int = 0


class JobOutput(msgspec.Struct, frozen=True):
    """An output asset of a job, with its node id, output key and zero-based index."""

    asset: Asset
    node_id: str
    output_key: str
    output_index: int


class JobFilter(msgspec.Struct, frozen=True):
    """The filter of a list of jobs: those of ``owner`` and those without an owner, or all if it is None.

    ``asset_id`` selects jobs whose graph uses the asset's content, ``words`` jobs whose graph contains all of them, and
    ``excluded`` jobs whose graph lacks a word of each group. ``outputs`` are further media, each of which a job must
    have, or must not have with True. ``labels`` are names and values that the job must have.
    """

    owner: str | None
    statuses: tuple[int, ...] = tuple(range(len(JOB_STATUSES)))
    workflow_id: str | None = None
    media: int = 0
    asset_id: str | None = None
    words: SearchGroup = ()
    excluded: tuple[SearchGroup, ...] = ()
    outputs: tuple[tuple[int, bool], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


class JobPage(msgspec.Struct, frozen=True):
    """A page of a list of jobs: after a cursor if ``after`` is given, else from ``offset``."""

    sort: JobSort = "create_time"
    order: Order = "desc"
    limit: int = 100
    offset: int = 0
    after: CursorKey | None = None


WorkflowView = Literal["workflow", "app"]
WorkflowSort = Literal["create_time", "update_time", "name", "starred"]


class Workflow(msgspec.Struct, frozen=True):
    """A saved workflow, without its content. ``forked_from_…`` are the ids of the workflow and version it copies.

    ``path`` is the path of its file in the owner's folder of workflows; None without a file. ``preview`` is the output
    of its latest job, as of ``Job``. ``deleted_at`` is None unless it is deleted.
    """

    row_id: int
    id: str
    owner: str
    name: str | None
    description: str | None
    default_view: WorkflowView
    latest_version: int
    forked_from_id: str | None
    forked_from_version_id: str | None
    created_at: int
    updated_at: int
    path: str | None
    preview: str | None
    deleted_at: int | None
    is_starred: bool = False


class WorkflowVersion(msgspec.Struct, frozen=True):
    """A saved version of a workflow; ``number`` counts from 1."""

    row_id: int
    id: str
    number: int
    created_by: str
    created_at: int


class WorkflowContent(msgspec.Struct, frozen=True):
    """A version with its text as saved, and the ids of the assets it uses."""

    version: WorkflowVersion
    text: bytes
    asset_ids: tuple[str, ...]


class WorkflowEdit(msgspec.Struct, frozen=True):
    """New values of a workflow's members; None keeps the old one."""

    name: str | None = None
    description: str | None = None
    default_view: WorkflowView | None = None
    is_starred: bool | None = None


class WorkflowFilter(msgspec.Struct, frozen=True):
    """The filter of a list of workflows: those of ``owner``, or all if it is None.

    ``folder`` selects those whose files are in this folder, "" for the uppermost, and not in a folder of it. The latest
    versions of those with ``asset_id`` name its content.
    """

    owner: str | None
    name_contains: str = ""
    default_view: WorkflowView | None = None
    asset_id: str | None = None
    folder: str | None = None
    is_deleted: bool = False
    is_starred: bool | None = None


class WorkflowPage(msgspec.Struct, frozen=True):
    """A page of a list of workflows: after a cursor if ``after`` is given, else from ``offset``."""

    sort: WorkflowSort = "create_time"
    order: Order = "desc"
    limit: int = 20
    offset: int = 0
    after: CursorKey | None = None


class SharedAsset(msgspec.Struct, frozen=True):
    """A published asset, as it was when it was published. ``id`` is a UUID of this share only.

    ``hash`` is the 32-byte blake3 digest. ``kind`` is the kind of its folder (models, input, output or temp),
    ``category`` the category of a model. ``path`` is relative to the category's folder, or else to the folder of the
    kind, with forward slashes: "style/ink.safetensors".
    """

    id: str
    hash: bytes
    name: str
    size: int
    mime_type: str
    kind: str
    category: str | None
    path: str


class PublishedWorkflow(msgspec.Struct, frozen=True):
    """The content of a share: a version of a workflow with its text as saved, and its assets.

    ``is_open``: whoever knows the id may read it without signing in.
    """

    share_id: str
    owner: str
    workflow_id: str
    version: int
    name: str
    published_at: int
    text: bytes
    assets: tuple[SharedAsset, ...]
    is_open: bool = False


TaskState = Literal["created", "running", "completed", "failed", "cancelled"]


class TaskRecord(msgspec.Struct, frozen=True):
    """A background task in the store. ``payload`` and ``result`` are JSON objects."""

    id: bytes
    name: str
    idempotency_key: str
    status: TaskState
    payload: str
    result: str | None
    error_message: str | None
    created_at: int
    updated_at: int
    started_at: int | None
    completed_at: int | None


class TaskFilter(msgspec.Struct, frozen=True):
    """The filter of a list of tasks: those of ``owner`` and of nobody. ``since`` and ``until`` are inclusive."""

    owner: str
    name: str | None = None
    idempotency_key: str | None = None
    statuses: tuple[TaskState, ...] = ()
    since: int | None = None
    until: int | None = None


class TaskPage(msgspec.Struct, frozen=True):
    """A page of a list of tasks, in the order in which they began."""

    order: Order = "desc"
    limit: int = 20
    offset: int = 0
