"""The jobs in this server's queue, known without the store: their owners, their live state, and readers of its changes.

The queue and the worker report what happens on their own threads. A report changes a few fields of the job's state, and
nothing waits for a reader. A reader has no queue of its own: it keeps its place in the list of outputs, and takes what
is new when it has time. Of progress, previews and places in the queue only the latest exists, so a slow reader misses
those in between, while outputs and ends stay to be read.

Starts, ends and outputs wake the readers of a job. Steps and previews do not: they come many times a second, on the
thread that executes prompts, and readers look at them twice a second at most.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import random
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ..host.execution import FinishedPrompt, NodePreview, SubmittedPrompt
from ..ids import canonical_id
from .progress import NodeProgress, ProgressMeter, ProgressSnapshot, begun_nodes

Phase = Literal["queued", "running", "canceling", "ended"]
_LARGE_GRAPH = 1000  # nodes; the progress of more takes milliseconds
_ENDED_KEPT = 256  # ended jobs whose last progress is remembered


@dataclass
class LiveJob:
    """A prompt, from just before it enters the queue until its end is stored.

    ``job_id`` is its id in the store, which cannot hold lone surrogates. ``is_over`` becomes true when it leaves the
    queue.
    """

    prompt_id: str
    owner: str
    run: int
    job_id: str = field(init=False)
    is_over: bool = False
    is_interrupted: bool = False
    created_at: int = 0  # ms since 1970
    started_at: int | None = None

    def __post_init__(self) -> None:
        self.job_id = self.prompt_id.encode("utf-8", "backslashreplace").decode()

    def is_accessible(self, owner: str) -> bool:
        """Return whether this user may see and change it."""
        return self.owner in ("", owner)


class LiveJobs:
    """The prompts by id. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, LiveJob] = {}
        self._prompt_ids: dict[str, str] = {}  # by id in the store, where the two differ
        self._reserved: set[str] = set()
        # Runs tell executions apart and are no secret: asking the system for each would cost a switch of threads.
        self._runs = random.Random()

    def add(self, prompt_id: str, owner: str, run: int | None = None) -> LiveJob:
        """Add a prompt that is about to enter the queue; it gets a new run if none is given."""
        # 0 means no run, and SQLite's integers have 63 bits.
        job = LiveJob(prompt_id, owner, run if run is not None else self._runs.getrandbits(62) | 1)
        with self._lock:
            self._jobs[prompt_id] = job
            if job.job_id != prompt_id:
                self._prompt_ids[job.job_id] = prompt_id
        return job

    def get(self, prompt_id: str) -> LiveJob | None:
        """Return the prompt with this id, exactly as the queue spells it."""
        # Without the lock, since a single access to a dict is atomic. The queue's own threads call this often.
        return self._jobs.get(prompt_id)

    def find(self, job_id: str) -> LiveJob | None:
        """Return the prompt with this id, or with the same UUID in canonical spelling."""
        with self._lock:
            for each in spellings(job_id):
                job = self._jobs.get(self._prompt_ids.get(each, each))
                if job is not None:
                    return job
        return None

    def is_active(self, prompt_id: str) -> bool:
        """Return whether the queue holds a prompt with this id."""
        job = self._jobs.get(prompt_id)
        return job is not None and not job.is_over

    def start(self, prompt_id: str, at: int) -> None:
        """Mark a prompt whose execution begins at ``at`` (ms since 1970)."""
        job = self._jobs.get(prompt_id)
        if job is not None:
            job.started_at = at

    def first_start(self) -> int | None:
        """Return the earliest start (ms) of the jobs whose end, and therefore whose files, may not be stored yet."""
        with self._lock:
            return min((job.started_at for job in self._jobs.values() if job.started_at is not None), default=None)

    def waiting(self, owner: str) -> int:
        """Return the number of a user's prompts that have not begun."""
        with self._lock:
            return sum(j.owner == owner and j.started_at is None and not j.is_over for j in self._jobs.values())

    def end(self, prompt_id: str) -> None:
        """Mark a prompt that has left the queue."""
        job = self._jobs.get(prompt_id)
        if job is not None:
            job.is_over = True
            job.is_interrupted = False

    def forget(self, ended: Iterable[tuple[str, int]]) -> None:
        """Remove jobs (ids in the store and runs) unless a prompt with the same id has entered the queue since."""
        with self._lock:
            for job_id, run in ended:
                prompt_id = self._prompt_ids.get(job_id, job_id)
                job = self._jobs.get(prompt_id)
                if job is not None and job.is_over and job.run == run:
                    del self._jobs[prompt_id]
                    self._prompt_ids.pop(job_id, None)

    def reserve(self, prompt_id: str) -> bool:
        """Reserve an id while its prompt is submitted; return False if it is in use."""
        with self._lock:
            job = self._jobs.get(prompt_id)
            if prompt_id in self._reserved or (job is not None and not job.is_over):
                return False
            self._reserved.add(prompt_id)
            return True

    def release(self, prompt_id: str) -> None:
        """Cancel a reservation."""
        with self._lock:
            self._reserved.discard(prompt_id)


def spellings(job_id: str) -> tuple[str, ...]:
    """Return the id as given and, if it is a UUID in another spelling, its canonical form."""
    canonical = canonical_id(job_id)
    return (job_id,) if canonical in (None, job_id) else (job_id, canonical)


class Watcher:
    """Waits for changes of one job, on the event loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Let ``wait`` return. On the event loop."""
        self._changed.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next change since the last call; return False if there was none in time."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        changed = self._changed.is_set()
        self._changed.clear()
        return changed


@dataclass(eq=False)
class LiveState:
    """A job from its submission to its end. ``shown`` are nodes with their outputs, in the order of their ends.

    ``place`` is its sort key in the queue. ``previews`` counts the previews, of which ``preview`` is the latest;
    ``steps`` counts the reports of progress.
    """

    prompt_id: str
    place: tuple[float, int]
    graph: Mapping[str, Any]
    targets: Sequence[str]
    phase: Phase = "queued"
    is_canceling: bool = False  # it was asked to stop, and may have ended since
    cached: Sequence[str] | None = None
    nodes: Mapping[str, Any] = field(default_factory=dict)
    shown: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    preview: NodePreview | None = None
    previews: int = 0
    steps: int = 0
    watchers: set[Watcher] = field(default_factory=set)
    recorded: int = 0  # of ``shown``: the outputs whose files are assets
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    encoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    encoded: tuple[int, bytes] | None = None  # ``previews`` as it was, and that preview as a JPEG
    _meter: ProgressMeter | None = None
    _reading: threading.Lock = field(default_factory=threading.Lock)
    _latest: tuple[int, ProgressSnapshot] | None = None  # with ``steps`` as it was

    def progress(self) -> ProgressSnapshot | None:
        """Return the progress; None while the job waits. Walks the graph at the first call. Thread-safe."""
        if self.phase == "queued":
            return None
        with self._reading:
            steps = self.steps  # first: a report that comes meanwhile is read the next time
            if self._latest is None or self._latest[0] != steps:
                if self._meter is None:
                    self._meter = ProgressMeter(self.graph, self.targets)
                self._latest = steps, self._meter.read(self.nodes, self.cached)
            return self._latest[1]

    async def progress_now(self) -> ProgressSnapshot | None:
        """Return the same, in a thread if the graph is large."""
        return await asyncio.to_thread(self.progress) if len(self.graph) > _LARGE_GRAPH else self.progress()


class LiveEvents:
    """Implements ``QueueListener`` and ``ProgressListener``. Its readers live on one event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, LiveState] = {}
        self._waiting: list[tuple[tuple[float, int], str]] = []  # sorted: the queue
        self._arrivals = itertools.count()
        self._watched: set[LiveState] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._to_wake: set[LiveState] = set()
        self._ended: OrderedDict[str, ProgressSnapshot] = OrderedDict()
        self.is_closed = False

    # Readers, on the event loop.

    def find(self, job_id: str) -> LiveState | None:
        """Return the job's state if it is in this server's queue; its id may be a UUID in any spelling."""
        return next((state for each in spellings(job_id) if (state := self._states.get(each)) is not None), None)

    def position(self, state: LiveState) -> int | None:
        """Return the job's place in the queue, from 1; None if it does not wait."""
        with self._lock:
            if state.phase != "queued":
                return None
            return bisect.bisect_left(self._waiting, (state.place, state.prompt_id)) + 1

    def last_progress(self, job_id: str) -> ProgressSnapshot | None:
        """Return the last progress of a job that ended lately and was read before; None if it is not known."""
        return self._ended.get(job_id)

    def begun_nodes(self, job_id: str) -> dict[str, NodeProgress]:
        """Return the progress of the nodes that have begun, by id; empty unless the job runs."""
        state = self.find(job_id)
        return begun_nodes(state.nodes) if state is not None else {}

    def length(self) -> int:
        """Return the number of jobs that wait."""
        return len(self._waiting)

    @contextmanager
    def watching(self, state: LiveState) -> Iterator[Watcher]:
        """Receive the changes of a job within the block."""
        watcher = Watcher()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            state.watchers.add(watcher)
            self._watched.add(state)
        try:
            yield watcher
        finally:
            with self._lock:
                state.watchers.discard(watcher)
                if not state.watchers:
                    self._watched.discard(state)

    @property
    def watched(self) -> int:
        """The number of jobs that somebody watches."""
        return len(self._watched)

    def close(self) -> None:
        """Wake all readers, which end then. On the event loop."""
        self.is_closed = True
        for state in list(self._watched):
            _wake_all(state)

    # Events of the queue, on any thread.

    def is_free(self, prompt_id: str) -> bool:
        return True

    def submitted(self, prompt: SubmittedPrompt) -> None:
        try:
            number = float(prompt.number)
        except (TypeError, ValueError, OverflowError):
            number = 0.0
        state = LiveState(prompt.prompt_id, (number, next(self._arrivals)), prompt.graph, list(prompt.outputs))
        with self._lock:
            self._leave_queue(self._states.get(prompt.prompt_id))
            self._states[prompt.prompt_id] = state
            bisect.insort(self._waiting, (state.place, state.prompt_id))
            self._ended.pop(prompt.prompt_id, None)

    def restored(self, prompts: Iterable[SubmittedPrompt]) -> None:
        """Add prompts of an earlier run that are about to return to the queue."""
        for prompt in prompts:
            self.submitted(prompt)

    def started(self, prompt_id: str) -> None:
        with self._lock:
            state = self._states.get(prompt_id)
            if state is not None and state.phase == "queued":
                self._leave_queue(state)
                state.phase = "running"
                self._wake(state)

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        state = self._states.get(prompt_id)
        if state is not None:
            state.shown.append((node_id, output))
            self._wake_watched(state)

    def completing(self, prompt_id: str) -> None:
        """Do nothing: the end follows."""

    def interrupting(self, prompt_id: str) -> None:
        state = self._states.get(prompt_id)
        if state is not None and state.phase == "running":
            state.is_canceling = True
            state.phase = "canceling"
            self._wake_watched(state)

    def finished(self, prompt: FinishedPrompt) -> None:
        self._end(prompt.prompt_id)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        for prompt_id in prompt_ids:
            self._end(prompt_id)

    def _end(self, prompt_id: str) -> None:
        with self._lock:
            state = self._states.pop(prompt_id, None)
            if state is None:
                return
            self._leave_queue(state)
            state.phase, state.preview = "ended", None
            if state._latest is not None:  # as it was read last: the worker must not wait for a reader
                self._remember(prompt_id, state._latest[1])
            self._wake(state)

    def _remember(self, prompt_id: str, progress: ProgressSnapshot) -> None:
        self._ended[prompt_id] = progress
        if len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)

    def _leave_queue(self, state: LiveState | None) -> None:
        if state is None or state.phase != "queued":
            return
        key = (state.place, state.prompt_id)
        index = bisect.bisect_left(self._waiting, key)
        if index < len(self._waiting) and self._waiting[index] == key:
            del self._waiting[index]

    # Progress, on the thread that executes prompts.

    def cached(self, prompt_id: str, node_ids: Sequence[str]) -> None:
        state = self._states.get(prompt_id)
        if state is not None:
            state.cached = node_ids
            state.steps += 1

    def progressed(self, prompt_id: str, nodes: Mapping[str, Any]) -> None:
        state = self._states.get(prompt_id)
        if state is not None:
            state.nodes = nodes
            state.steps += 1

    def previewed(self, prompt_id: str, preview: NodePreview) -> None:
        state = self._states.get(prompt_id)
        if state is not None and state.phase != "ended":
            state.preview = preview
            state.previews += 1

    # Waking.

    def _wake_watched(self, state: LiveState) -> None:
        """Wake the readers of a job; take no lock if there are none."""
        if state.watchers:
            with self._lock:
                self._wake(state)

    def _wake(self, state: LiveState) -> None:
        """Wake the readers of a job, with the lock held."""
        if not state.watchers or self._loop is None:
            return
        is_asleep = not self._to_wake
        self._to_wake.add(state)
        if is_asleep:
            # One call for all changes until the loop has time: a fast node must not fill the loop with calls.
            try:
                self._loop.call_soon_threadsafe(self._wake_up)
            except RuntimeError:  # the loop has been closed
                self._to_wake.clear()

    def _wake_up(self) -> None:
        with self._lock:
            states, self._to_wake = self._to_wake, set()
        for state in states:
            _wake_all(state)


def _wake_all(state: LiveState) -> None:
    for watcher in list(state.watchers):
        watcher.wake()
