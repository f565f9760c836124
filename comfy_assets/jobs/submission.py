"""The sessions of clients that want to hear how their prompts go."""

from __future__ import annotations

import uuid
from typing import Any


def with_session(body: dict[str, Any]) -> dict[str, Any]:
    """Give a submitted body that names no session one of its own.

    Servers send the progress and the previews of a prompt without a session to every open page, whoever's it is.
    """
    extra = body.get("extra_data")
    if body.get("client_id") or (isinstance(extra, dict) and extra.get("client_id")):
        return body
    return {**body, "client_id": uuid.uuid4().hex}
