"""Holds the server by its answers: what was answered is there, as it was, and nothing that nobody has asked for."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from asking import Asker
from asset_client import differences
from blake3 import blake3
from impatient_client import PREFIX
from job_client import FINAL
from notes import AssetNote, FlowNote, JobNote, Json


class ApiAudit:
    """Every method answers what is amiss."""

    def __init__(self, ask: Asker) -> None:
        self._ask = ask
        self._notes = ask.notes
        self._base = ask.server.base

    async def _get(self, path: str) -> tuple[int, Any]:
        answer = await self._ask.learn("audit", path)
        return answer.status, answer.json if answer.body.startswith((b"{", b"[")) else None

    async def assets(self) -> list[str]:
        """Uploads and references by their notes, and the counts by a recount."""
        listed, found = await self._all_assets()
        for note in self._notes.assets.values():
            found += self._asset(note, listed.get(note.id))
        for given_up in self._notes.given_up_assets.values():
            if given_up.id in listed:
                found += self._asset(given_up, listed[given_up.id])
        counted = Counter(tag for asset in listed.values() for tag in asset["tags"])
        _, refined = await self._get("/api/assets/tags/refine?limit=1000")
        _, tags = await self._get("/api/tags?limit=1000")
        for told in (refined["tag_counts"], {tag["name"]: tag["count"] for tag in tags["tags"]}):
            found += [] if told == dict(counted) else [f"tags are counted {told}, there are {dict(counted)}"]
        return found

    async def _all_assets(self) -> tuple[dict[str, Json], list[str]]:
        assets: dict[str, Json] = {}
        after = ""
        while True:
            _, page = await self._get(f"/api/assets?limit=500&sort=name&order=asc{after}")
            assets |= {asset["id"]: asset for asset in page["assets"]}
            if "next_cursor" not in page:
                is_so = page["total"] == len(assets)
                return assets, [] if is_so else [f"{page['total']} assets are counted, {len(assets)} listed"]
            after = f"&after={page['next_cursor']}"

    def _asset(self, note: AssetNote, asset: Json | None) -> list[str]:
        if note.is_deleted or asset is None:
            is_so = note.is_deleted == (asset is None)
            return [] if is_so else [f"asset {note.id}: {'deleted and listed' if asset else 'gone'}"]
        found = differences(note, asset)
        is_missing = "missing" in asset["tags"]
        if not note.is_unsure and is_missing == note.is_present:
            found.append(
                f"asset {note.id} ({note.path}): missing is {is_missing}, its file is there: {note.is_present}"
            )
        if note.path is not None and note.is_present and not is_missing:
            if not note.is_unsure and asset.get("file_path") != note.path:
                found.append(f"asset {note.id} is at {asset.get('file_path')}, not at {note.path}")
            content = (self._base / asset["file_path"]).read_bytes()
            if "blake3:" + blake3(content).hexdigest() != note.hash:
                found.append(f"asset {note.id}: {asset['file_path']} holds other bytes")
        return found

    async def jobs(self) -> list[str]:
        """Jobs that were answered are in the list, over and with what they have made; and no others."""
        found: list[str] = []
        listed: dict[str, Json] = {}
        after = ""
        while True:
            _, page = await self._get(f"/api/jobs?limit=500{after}")
            listed |= {job["id"]: job for job in page["jobs"]}
            if not page["pagination"].get("next_cursor"):
                break
            after = f"&after={page['pagination']['next_cursor']}"
        if page["pagination"]["total"] != len(listed):
            found.append(f"{page['pagination']['total']} jobs are counted, {len(listed)} listed")
        known = self._notes.jobs.keys() | self._notes.given_up_jobs
        found += [f"job {job} is nobody's" for job in listed if job not in known]
        found += [f"job {job} is {each['status']}" for job, each in listed.items() if each["status"] not in FINAL]
        for job in self._notes.jobs.values():
            found += await self._job(job, listed.get(job.id))
        return found

    async def _job(self, job: JobNote, listed: Json | None) -> list[str]:
        if job.is_removed or listed is None:
            is_so = job.is_removed == (listed is None)
            return [] if is_so else [f"job {job.id}: {'removed and listed' if listed else 'gone'}"]
        if listed["status"] not in FINAL or (job.is_cancelled and listed["status"] != "cancelled"):
            return [f"job {job.id}, cancelled: {job.is_cancelled}, is {listed['status']}"]
        if listed["status"] != (job.ends or listed["status"]):
            return [f"job {job.id} is {listed['status']}, not {job.ends}"]
        if job.names:
            _, detail = await self._get(f"/api/jobs/{job.id}")
            is_named = job.names in json.dumps(detail.get("execution_error"))
            return [] if is_named else [f"the error of job {job.id} does not name {job.names}"]
        if listed["status"] != "completed" or not job.has_files:
            return []
        _, made = await self._get(f"/api/jobs/{job.id}/assets")
        paths = [asset.get("file_path") for asset in made["assets"]]
        is_there = bool(paths) and all(path and (self._base / path).is_file() for path in paths)
        return [] if is_there else [f"job {job.id} is completed and has made {paths}"]

    async def workflows(self) -> list[str]:
        """Workflows of one client are as it knows them; and there are no others but those that many work on."""
        found: list[str] = []
        listed: dict[str, Json] = {}
        while True:
            _, page = await self._get(f"/api/workflows?limit=100&offset={len(listed)}&sort=create_time&order=asc")
            listed |= {each["id"]: each for each in page["data"]}
            if not page["pagination"]["has_more"]:
                break
        if page["pagination"]["total"] != len(listed):
            found.append(f"{page['pagination']['total']} workflows are counted, {len(listed)} listed")
        known = {flow.id for flow in self._notes.flows}
        found += [
            f"workflow {each['id']} ({each.get('name')}) is nobody's"
            for each in listed.values()
            if each["id"] not in known and not each.get("name", "").startswith(("crowd ", "wild ", PREFIX))
        ]
        for flow in self._notes.flows:
            found += await self._flow(flow, listed.get(flow.id))
        return found

    async def _flow(self, flow: FlowNote, listed: Json | None) -> list[str]:
        who = f"workflow {flow.id} ({flow.path})"
        file = self._ask.workflows / flow.path
        if flow.is_deleted or listed is None:
            found = [] if flow.is_deleted == (listed is None) else [f"{who}: {'deleted, listed' if listed else 'gone'}"]
            return found + ([f"{who} is deleted, its file is not"] if flow.is_deleted and file.exists() else [])
        told = (listed["name"], listed["latest_version"])
        found = [] if told == (flow.name, flow.latest) else [f"{who} is {told}, not {(flow.name, flow.latest)}"]
        status, content = await self._get(f"/api/workflows/{flow.id}/content")
        if status != 200 or content["workflow_json"] != flow.versions[flow.latest]:
            found.append(f"{who}: its latest version is answered {status}, or other")
        if not file.is_file() or json.loads(file.read_bytes()) != flow.versions[flow.latest]:
            found.append(f"{who}: its file does not hold its latest version")
        if flow.share is not None:
            status, share = await self._get(f"/api/workflows/published/{flow.share[0]}")
            if status != 200 or share["workflow_json"] != flow.share[1]:
                found.append(f"{who}: its share is answered {status}, or other")
        return found
