"""Attach the services and routes to a host: for the root package in ComfyUI, and for ``comfy-assets serve``."""

from __future__ import annotations

import asyncio
import logging

from ..routes import middleware
from . import advisories
from .app import Services
from .assets.prompts.references import apply_values
from .config import Config
from .host.access import AccessRules, is_beyond_this_machine, parse_allowed_host
from .host.base import Host, Plugin
from .host.guard import names_of_this_machine
from .jobs.submission import with_session
from .logs import limit_repeats
from .page_flags import page_flags

log = logging.getLogger("comfy_assets")


def attach(host: Host, config: Config | None = None) -> Services:
    """Attach the project to a host; return the services, which open once the host accepts connections."""
    limit_repeats()
    services = Services(host, config or Config.from_environment())

    async def on_serving() -> None:
        _warn_about_network(host)
        _report_other_index(host)
        await services.start()
        await _warn_about_packages()
        await services.start_indexing()

    host.add_features(page_flags(services.config))
    # Before the server accepts connections, so that no prompt is executed unrecorded.
    services.watch_queue()
    host.on_prompt(apply_values)
    if host.is_multi_user():
        host.on_prompt(with_session)
    host.attach(Plugin(middleware(services), on_serving, services.stop, _access(host, services.config)))
    return services


def _access(host: Host, config: Config) -> AccessRules:
    network = host.network()
    return AccessRules(
        is_checked=config.check_origin,
        allowed_hosts=[parse_allowed_host(each) for each in config.allowed_hosts],
        own_names=names_of_this_machine(network.listening),
        origins=network.origins,
        frame_ancestors=config.frame_ancestors,
    )


def _warn_about_network(host: Host) -> None:
    listening = host.network().listening
    if is_beyond_this_machine(listening):
        log.warning(
            "The server listens on %s and has no login: everyone who can reach this machine can read the library, "
            "run prompts and delete files. Listen on 127.0.0.1, or put a proxy with a login in front.",
            ", ".join(listening),
        )


async def _warn_about_packages() -> None:
    for warning in await asyncio.to_thread(advisories.warnings):
        log.warning(warning)


def _report_other_index(host: Host) -> None:
    if advice := host.index_option():
        log.warning(
            "ComfyUI also keeps an index of assets of its own, which nothing reads while this pack is installed. "
            "To save the work, %s.",
            advice,
        )


def attach_to_comfyui() -> Services | None:
    """Attach to the ComfyUI that imports this package; return None if another copy of the pack is attached already."""
    from .host.comfyui import ComfyUIHost, claim  # here, because serve needs none of it

    return attach(ComfyUIHost()) if claim() else None
