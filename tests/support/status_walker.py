"""Send one request to a server process and check everything that must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

ACTIVE_JOBS = "/api/jobs?status=pending,in_progress&limit=1"


class ServerWorld:
    """A server over a library of its own; requests are of ``user``, where there are several.

    ``ids`` holds what the requests name in braces.
    """

    def __init__(self, server: Any, ids: Mapping[str, str] | None = None, user: str | None = None) -> None:
        self.server = server
        self.base: Path = server.base
        self.ids = dict(ids or {})
        self.user = user

    def send(self, method: str, path: str, **options: Any) -> Any:
        headers = {"comfy-user": self.user} if self.user else {}
        return self.server.send(method, path, options.get("body"), {**headers, **options.get("headers", {})})

    def filled(self, text: str) -> str:
        """The text with the names in braces replaced; other braces stay."""
        for name, value in self.ids.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def listed(self) -> list[dict[str, Any]]:
        return list(self.send("GET", "/api/assets?limit=500").json.get("assets", ()))

    def rest(self) -> None:
        """Wait until no job, scan or hash run is at work. A server without a store has none."""
        if self.send("GET", ACTIVE_JOBS).status != 200:
            return
        headers = {"comfy-user": self.user} if self.user else {}
        self.server.wait_for(ACTIVE_JOBS, lambda page: not page["pagination"]["total"], **headers)
        self.server.wait_for("/api/assets/seed/status", _is_at_rest, **headers)

    def state(self) -> dict[str, Any]:
        """All that a request might have changed, save what the server itself writes."""
        assets = sorted(self.listed(), key=lambda asset: str(asset["id"]))
        for asset in assets:
            asset.pop("last_access_time", None)
        files = {
            str(path.relative_to(self.base)): (path.stat().st_size, path.stat().st_mtime_ns)
            for kind in ("models", "input", "output", "temp", "user/__comfy_assets/trash")
            for path in (self.base / kind).rglob("*")
            if path.is_file()
        }
        return {
            "assets": assets,
            "files": files,
            "tags": self.send("GET", "/api/tags?limit=1000&include_zero=true").json,
            "histogram": self.send("GET", "/api/assets/tags/refine?limit=1000").json,
        }


def _is_at_rest(status: dict[str, Any]) -> bool:
    return status["status"] not in ("running", "cancelling") and status.get("phase", "idle") == "idle"


@dataclass(frozen=True)
class Case:
    """A request, and what must come of it. ``path`` may name things of the world in braces."""

    id: str
    method: str
    path: str
    status: int
    expected: dict[str, Any] = field(default_factory=dict)
    request: Callable[[Any], dict[str, Any]] = lambda world: {}
    check: Callable[[Any, Any], bool] = lambda world, answer: True
    has_error_response: bool = True


def json_request(value: Any) -> dict[str, Any]:
    """The body and the headers of a request with JSON."""
    return {"body": json.dumps(value).encode(), "headers": {"Content-Type": "application/json"}}


def member(answer: Any, path: str) -> Any:
    """The member at a path with dots."""
    for part in path.split("."):
        answer = answer[part]
    return answer


def take(world: ServerWorld, case: Case) -> None:
    """Send the request and check the response. One that is refused, or only reads, changes nothing."""
    changes_nothing = case.status >= 400 or case.method in ("GET", "HEAD")
    if changes_nothing:
        world.rest()
    before = world.state() if changes_nothing else {}
    answer = world.send(case.method, quote(world.filled(case.path), safe="/?=&:,%"), **case.request(world))
    assert answer.status == case.status, (case.id, answer)
    has_body = case.method != "HEAD"
    is_json = answer.headers.get_content_type() == "application/json" and has_body
    content = answer.json if is_json else answer.body
    for name, value in case.expected.items() if has_body else ():
        wanted = world.filled(value) if isinstance(value, str) else value
        assert member(content, name) == wanted, (case.id, name, answer)
    assert case.check(world, content), (case.id, answer)
    if changes_nothing:
        assert world.state() == before, case.id
    if answer.status >= 400 and has_body and case.has_error_response:
        assert is_json and set(content) <= {"code", "message", "details"} and content["message"], answer
