"""A client that submits jobs, cancels some, looks at them and removes some that are over."""

from __future__ import annotations

import uuid

from asking import Unanswered
from client import Client, Deed
from notes import JobNote, Json
from users import mark_of

FINAL = ("completed", "failed", "cancelled")
MAX_WAITING = 40


class JobClient(Client):
    """Knows of each job of its own what it must have become."""

    pause_s = 0.02

    def deeds(self) -> list[tuple[int, Deed]]:
        return [(6, self.submit), (2, self.cancel), (3, self.look), (2, self.remove)]

    @property
    def _own(self) -> list[JobNote]:
        return [job for job in self.notes.jobs.values() if job.owner == self.ask.who and not job.is_removed]

    async def submit(self) -> None:
        """A prompt under an id of our own, unless too many wait."""
        queue = await self.ask.ask("queue", "GET", "/api/queue")
        if len(queue.json["queue_pending"]) > MAX_WAITING:
            return
        job = JobNote(str(uuid.uuid4()), self.ask.who)
        body = {"prompt": graph(self.chance.randrange(1 << 24), self.ask.user), "prompt_id": job.id}
        body["client_id"] = self.notes.session
        try:
            answer = await self.ask.ask("submit", "POST", "/api/prompt", json=body)
        except Unanswered:
            found = await self.ask.learn("job", f"/api/jobs/{job.id}")
            if self.must(found.status in (200, 404), "a job is answered", found) and found.status == 200:
                self.notes.jobs[job.id] = job
            raise
        if self.must(answer.status == 200, "a prompt is answered", answer):
            self.must(answer.json["prompt_id"] == job.id, f"a prompt with the id {job.id} is", answer.json)
            self.notes.jobs[job.id] = job

    async def cancel(self) -> None:
        """One of the latest."""
        if not self._own:
            return
        job = self.chance.choice(self._own[-5:])
        answer = await self.ask.ask("cancel", "POST", f"/api/jobs/{job.id}/cancel")
        if self.must(answer.status == 200, f"cancelling job {job.id} is answered", answer):
            job.is_cancelled |= answer.json["cancelled"]

    async def look(self) -> None:
        """Lists, the history, and one of the own, with what it has made."""
        paths = ("/api/jobs?limit=50", "/api/history_v2?max_items=50", "/api/queue", "/api/jobs?limit=20&q=EmptyImage")
        await self.ask.ask("list jobs", "GET", self.chance.choice(paths))
        if self._own:
            job = self.chance.choice(self._own)
            answer = await self.ask.ask("job", "GET", f"/api/jobs/{job.id}")
            self.must(answer.status == 200, f"job {job.id} is answered", answer)

    async def remove(self) -> None:
        """The record of one that is over."""
        if not self._own:
            return
        job = self.chance.choice(self._own)
        found = await self.ask.ask("job", "GET", f"/api/jobs/{job.id}")
        if not self.must(found.status == 200, f"job {job.id} is answered", found) or found.json["status"] not in FINAL:
            return
        try:
            answer = await self.ask.ask("remove job", "POST", "/api/history", json={"delete": [job.id]})
        except Unanswered:
            job.is_removed = (await self.ask.learn("job", f"/api/jobs/{job.id}")).status == 404
            raise
        job.is_removed = self.must(answer.status == 200, "removing a job is answered", answer)


def graph(color: int, user: str) -> Json:
    """Return the graph of a picture of one colour, saved under a name with the user's mark."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"{mark_of(user)}made"}},
    }
