"""A stand-in for a local agent that mounts its application on the server's, as a node pack beside ours.

The module needs nothing but aiohttp, so that a test can put its text into a pack of a real server.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

AGENT_ID = "folder/plan.json"  # the agent's ids are relative paths


def agent_answer(method: str, text: str) -> dict[str, Any]:
    """The agent's answer: what it received."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    return {"agent": True, "method": method, "body": body}


class StubAgent:
    """Serves ``/api/agent`` and everything below ``/api/workflows``, and notes what reaches it.

    It knows every id that is no UUID, and the UUID ``known``. Until it is ready, each answer is 503.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.known = ""
        self.is_ready = True

    def register(self, app: web.Application) -> None:
        """Mount the agent on a server's application."""
        for path in ("/api/workflows", "/api/workflows/{tail:.*}"):
            app.router.add_route("*", path, self.respond)
        agent = web.Application()
        for path in ("", "/{tail:.*}"):
            agent.router.add_route("*", path, self.respond)
        app.add_subapp("/api/agent", agent)

    async def respond(self, request: web.Request) -> web.Response:
        """Say what was received."""
        text = await request.text()
        self.requests.append((request.method, request.path))
        if not self.is_ready:
            return web.Response(status=503, text="the local agent is not ready")
        name = request.match_info.get("tail", "").partition("/")[0]
        if len(name) == 36 and name.count("-") == 4 and name != self.known:
            return web.json_response({"detail": "no such workflow"}, status=404)
        return web.json_response(agent_answer(request.method, text))
