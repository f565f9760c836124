"""Lines of the audit log about what signed-in users do beside signing in."""

from __future__ import annotations

from typing import Any

from ..comfy_assets.host.login_gate import IDENTITY
from ..comfy_assets.login.service import Identity
from .context import RequestContext


def note_deletion(call: RequestContext[Any], **facts: str) -> None:
    """Note a deletion that the request alone does not tell; nothing while the login is off."""
    identity: Identity | None = call.request.get(IDENTITY)
    if identity is not None:
        call.services.login.note("deleted", user=identity.user, **facts)
