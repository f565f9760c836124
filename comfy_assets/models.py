"""Values that cross layers. Times are integer milliseconds since 1970 (UTC); sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

AssetSort = Literal["name", "created_at", "updated_at", "size", "last_access_time"]
TagOrder = Literal["count_desc", "name_asc"]
Order = Literal["asc", "desc"]
# What a thumbnail shows: colours over white, colours whatever the transparency, or the transparency itself.
Plane = Literal["flat", "rgb", "alpha"]

FileStat = tuple[int, int, int]  # size in bytes, mtime in ns, inode (0 where the file system tells none)

ZERO_ID = "00000000-0000-0000-0000-000000000000"  # no asset's

# Where an asset came from: a scan, an upload, or a reference to content that was there already.
SCANNED, UPLOADED, REFERENCE = range(3)

MISSING_TAG = "missing"
MODEL_TYPE_PREFIX = "model_type:"


class Location(msgspec.Struct, frozen=True):
    """Where an asset's file lies. ``folder`` is absolute; ``logical`` is its place under the namespace root."""

    folder: str
    name: str
    kind: str
    logical: str
    loader_prefix: str | None
    missing: bool


class Asset(msgspec.Struct, frozen=True):
    """One entry of the library.

    ``id`` is a UUID in canonical form; ``tags`` and ``metadata`` are JSON text as stored (an array, an object);
    ``hash`` is the 32-byte blake3 digest, or None until the file has been hashed; ``row_id`` breaks ties in every
    sort order. ``location`` is where the content lies: in the asset's own file, or for an asset without one in a
    file of the same content. ``preview`` is where the asset lies that a user chose as the preview (``preview_id``).
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
    user_metadata: str | None
    job_id: str | None
    origin: int
    preview_id: str | None
    location: Location | None
    preview: Location | None = None

    @property
    def is_present(self) -> bool:
        """Whether the content is in a file that was not missing when it was last checked."""
        return self.location is not None and not self.location.missing


@dataclass(frozen=True)
class AssetEdit:
    """The members of an asset to change; None leaves one as it is. ``user_metadata`` is a JSON object."""

    name: str | None = None
    mime_type: str | None = None
    user_metadata: str | None = None
    preview_id: str | None = None


@dataclass(frozen=True)
class CursorKey:
    """The place after which a page begins: the last row's sort value and row id."""

    value: int | str
    row_id: int


class SearchWord(NamedTuple):
    """A word to be found (see ``words.words_of``): at the beginning of one, or ``is_whole``."""

    text: str
    is_whole: bool


@dataclass(frozen=True)
class AssetFilter:
    """Which assets a request is about. ``metadata`` maps a field to a value or to a list of accepted values.

    All of ``words`` must be found in an asset's name, its tags, or what the graph in its file says.
    """

    owner: str
    include_public: bool = True
    include_tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    name_contains: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    hash: bytes | None = None
    words: tuple[SearchWord, ...] = ()


@dataclass(frozen=True)
class PageRequest:
    """A part of a listing: by cursor when ``after`` is given, else by ``offset``."""

    sort: AssetSort = "created_at"
    order: Order = "desc"
    limit: int = 20
    offset: int = 0
    after: CursorKey | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a listing. ``total`` counts the whole of it; ``next_key`` is None on the last page."""

    items: list[T]
    total: int
    has_more: bool
    next_key: CursorKey | None = None


@dataclass(frozen=True)
class TagRequest:
    """Which tags a listing is about, and which part of it; ``prefix`` is literal text."""

    owner: str
    include_public: bool = True
    prefix: str = ""
    include_zero: bool = False
    order: TagOrder = "count_desc"
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True)
class TagCount:
    """A tag, and how many of the assets in question carry it."""

    name: str
    count: int


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A file whose content must be read: never hashed, or changed since. ``path`` is its folder's."""

    id: int
    path: str
    name: str
    size: int
    mtime_ns: int
    state: int


# What becomes of a job, in this order; the last three are final.
PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED = range(5)
JOB_STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
FINAL = frozenset({COMPLETED, FAILED, CANCELLED})

JobSort = Literal["create_time", "execution_time"]
MEDIA = {"image": 1, "video": 2, "audio": 4, "3d": 8}  # kinds of outputs, as the bits of Job.media


class Job(msgspec.Struct, frozen=True):
    """A prompt, as lists show it. ``preview`` and ``error`` are JSON objects; ``duration`` is in milliseconds."""

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


class JobRecord(msgspec.Struct, frozen=True):
    """All there is of a job.

    ``graph``, ``workflow`` (the page's own form of it), ``extra_data`` (without that) and ``result`` (an object of
    outputs, meta and status) are JSON objects, ``targets`` (the nodes to execute) a JSON array. ``problem`` says what
    could not be recorded, and why; ``run`` tells this execution from others of the same id.
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
    """An asset that a job has shown: which node did, under which key, and the how manieth of that it is, from 0."""

    asset: Asset
    node_id: str
    output_key: str
    output_index: int


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a request is about: an owner's and everybody's, or all for None.

    ``asset_id`` wants those whose graph names the asset's content, ``words`` those whose graph says all of these.
    """

    owner: str | None
    statuses: tuple[int, ...] = tuple(range(len(JOB_STATUSES)))
    workflow_id: str | None = None
    media: int = 0
    asset_id: str | None = None
    words: tuple[SearchWord, ...] = ()


@dataclass(frozen=True)
class JobPage:
    """A part of a list of jobs: by cursor when ``after`` is given, else by ``offset``."""

    sort: JobSort = "create_time"
    order: Order = "desc"
    limit: int = 100
    offset: int = 0
    after: CursorKey | None = None


WorkflowView = Literal["workflow", "app"]
WorkflowSort = Literal["create_time", "update_time", "name"]


class Workflow(msgspec.Struct, frozen=True):
    """A saved workflow, without what it consists of. ``forked_from_…`` are the ids of what it was made of.

    ``path`` is that of its file in the owner's folder of workflows; None while it has none.
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


class WorkflowVersion(msgspec.Struct, frozen=True):
    """A state of a workflow that was saved: ``number`` counts from 1."""

    row_id: int
    id: str
    number: int
    created_by: str
    created_at: int


@dataclass(frozen=True)
class WorkflowContent:
    """A version, its text as it was saved, and the ids of the assets that it names."""

    version: WorkflowVersion
    text: bytes
    asset_ids: tuple[str, ...]


@dataclass(frozen=True)
class WorkflowEdit:
    """The members of a workflow to change; None leaves one as it is."""

    name: str | None = None
    description: str | None = None
    default_view: WorkflowView | None = None


@dataclass(frozen=True)
class WorkflowFilter:
    """Which workflows a request is about."""

    owner: str
    name_contains: str = ""
    default_view: WorkflowView | None = None


@dataclass(frozen=True)
class WorkflowPage:
    """A part of a list of workflows."""

    sort: WorkflowSort = "create_time"
    order: Order = "desc"
    limit: int = 20
    offset: int = 0


class SharedAsset(msgspec.Struct, frozen=True):
    """An asset as it was when it was published. ``id`` is a UUID that it has in the share alone.

    ``hash`` is the 32-byte blake3 digest. ``kind`` is the kind of folder that it lay in (models, input, output or
    temp), ``category`` that of a model; ``path`` leads from the category's folder, or else from that of the kind, to
    the file: "style/ink.safetensors", with forward slashes.
    """

    id: str
    hash: bytes
    name: str
    size: int
    mime_type: str
    kind: str
    category: str | None
    path: str


class Snapshot(msgspec.Struct, frozen=True):
    """What is published under a share id: a version of a workflow, its text as it was saved, and assets."""

    share_id: str
    owner: str
    workflow_id: str
    version: int
    name: str
    published_at: int
    text: bytes
    assets: tuple[SharedAsset, ...]


TaskState = Literal["created", "running", "completed", "failed"]


class TaskRecord(msgspec.Struct, frozen=True):
    """A piece of background work as it is recorded. ``payload`` and ``result`` are JSON objects."""

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


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks a request is about: an owner's and everybody's. ``since`` and ``until`` are both inclusive."""

    owner: str
    name: str | None = None
    idempotency_key: str | None = None
    statuses: tuple[TaskState, ...] = ()
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class TaskPage:
    """A part of a list of tasks, in the order in which they began."""

    order: Order = "desc"
    limit: int = 20
    offset: int = 0
