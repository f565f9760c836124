"""Prompts in this server's queue and their owners, known without the store."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ids import canonical_id


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
