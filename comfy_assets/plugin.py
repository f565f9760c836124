"""Put the services into a host: what the root package does in ComfyUI, and ``comfy-assets serve`` without it."""

from __future__ import annotations

from ..routes import middleware
from .app import Services
from .assets.portability import apply_values
from .config import Config
from .host.base import Host, Plugin
from .jobs.sessions import with_session


def attach(host: Host, config: Config | None = None) -> Services:
    """Attach the project to a host; answers the services, which open once the host serves."""
    services = Services(host, config or Config.from_environment())

    async def on_serving() -> None:
        await services.start()
        await services.start_indexing()

    services.watch_queue()
    host.on_prompt(apply_values)
    if host.is_multi_user():
        host.on_prompt(with_session)
    host.attach(Plugin(middleware(services), on_serving, services.stop))
    return services


def attach_to_comfyui() -> Services | None:
    """Attach to the ComfyUI that is importing us; None when another copy of the pack already has."""
    from .host.comfyui import ComfyUIHost, claim

    return attach(ComfyUIHost()) if claim() else None
