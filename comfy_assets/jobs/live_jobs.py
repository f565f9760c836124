"""The prompts that this server's queue holds, and whose they are: what has to be known of them without the store."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ids import canonical_id


@dataclass
class HeldJob:
    """A prompt from before it enters the queue until its end is in the store.

    ``job_id`` is its id in the store, which takes no halves of character pairs. ``is_over`` is true once it is in the
    queue no more.
    """

    prompt_id: str
    owner: str
    run: int
    job_id: str = field(init=False)
    is_over: bool = False
    is_interrupted: bool = False
    started_at: int | None = None  # ms since 1970

    def __post_init__(self) -> None:
        self.job_id = self.prompt_id.encode("utf-8", "backslashreplace").decode()

    def is_within_reach(self, owner: str) -> bool:
        """Return whether this user may see and change it."""
        return self.owner in ("", owner)


class HeldJobs:
    """The prompts by their ids. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, HeldJob] = {}
        self._prompt_ids: dict[str, str] = {}  # by the ids in the store, where those differ
        self._reserved: set[str] = set()

    def add(self, prompt_id: str, owner: str, run: int | None = None) -> HeldJob:
        """Note that a prompt is about to enter the queue. Without a run it gets a new one."""
        job = HeldJob(prompt_id, owner, run if run is not None else secrets.randbits(62) | 1)
        with self._lock:
            self._jobs[prompt_id] = job
            if job.job_id != prompt_id:
                self._prompt_ids[job.job_id] = prompt_id
        return job

    def get(self, prompt_id: str) -> HeldJob | None:
        """The prompt, as the queue spells its id."""
        return self._jobs.get(prompt_id)

    def find(self, job_id: str) -> HeldJob | None:
        """The job, as a client spells its id: as it is, or else as a UUID in another spelling."""
        with self._lock:
            for each in spellings(job_id):
                job = self._jobs.get(self._prompt_ids.get(each, each))
                if job is not None:
                    return job
        return None

    def is_active(self, prompt_id: str) -> bool:
        """Return whether the queue holds a prompt of this id."""
        job = self._jobs.get(prompt_id)
        return job is not None and not job.is_over

    def start(self, prompt_id: str, at: int) -> None:
        """Note that the prompt is being executed since ``at`` (ms since 1970)."""
        job = self._jobs.get(prompt_id)
        if job is not None:
            job.started_at = at

    def first_start(self) -> int | None:
        """Return when the first of the jobs started whose end, and with it their files, may not be in the store yet."""
        with self._lock:
            return min((job.started_at for job in self._jobs.values() if job.started_at is not None), default=None)

    def end(self, prompt_id: str) -> None:
        """Note that the prompt has left the queue."""
        job = self._jobs.get(prompt_id)
        if job is not None:
            job.is_over = True
            job.is_interrupted = False

    def forget(self, ended: Iterable[tuple[str, int]]) -> None:
        """Forget those of the jobs (ids in the store and runs) that are over."""
        with self._lock:
            for job_id, run in ended:
                prompt_id = self._prompt_ids.get(job_id, job_id)
                job = self._jobs.get(prompt_id)
                if job is not None and job.is_over and job.run == run:
                    del self._jobs[prompt_id]
                    self._prompt_ids.pop(job_id, None)

    def reserve(self, prompt_id: str) -> bool:
        """Keep the id for a prompt that is being submitted; False if it is taken."""
        with self._lock:
            job = self._jobs.get(prompt_id)
            if prompt_id in self._reserved or (job is not None and not job.is_over):
                return False
            self._reserved.add(prompt_id)
            return True

    def release(self, prompt_id: str) -> None:
        """Undo ``reserve``."""
        with self._lock:
            self._reserved.discard(prompt_id)


def spellings(job_id: str) -> tuple[str, ...]:
    """The id as it is, and as a UUID in canonical form if that is another text."""
    canonical = canonical_id(job_id)
    return (job_id,) if canonical in (None, job_id) else (job_id, canonical)
