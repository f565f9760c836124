"""Attach the services and routes to a host: for the root package in ComfyUI, and for ``comfy-assets serve``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ..routes import middleware, outer_middleware, permissions
from ..routes.login import make_page
from ..routes.saved_searches import saved_list
from ..routes.server import page_flags
from . import advisories
from .app import Services
from .assets.prompts.references import apply_values
from .config import Config
from .errors import LoginUnavailableError
from .host.access import AccessRules, is_beyond_this_machine, parse_allowed_host
from .host.base import Host, Plugin
from .host.guard import names_of_this_machine, quote_no_requests
from .host.login_gate import LoginGate
from .jobs.submission import with_own_client, with_session
from .login.service import LoginService
from .login.store import name_key
from .logs import limit_repeats
from .quotas import Quotas

__all__ = ["attach", "attach_to_comfyui", "saved_list"]  # the last for the command line

log = logging.getLogger("comfy_assets")


def attach(host: Host, config: Config | None = None) -> Services:
    """Attach the project to a host; return the services, which open once the host accepts connections."""
    limit_repeats()
    quote_no_requests()
    services = Services(host, config or Config.from_environment())

    async def on_serving() -> None:
        await _begin_login(host, services.login)
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
    host.on_prompt(with_own_client)
    rules = _access(host, services.config)
    users = HostUsers(host, services.quotas) if host.is_multi_user() else None
    gate = LoginGate(
        services.login,
        rules,
        permissions(),
        make_page,
        users,
        services.proxies,
        services.config.proxy_new_users,
        services.is_open_share,
    )
    outer = outer_middleware(services)
    host.attach(Plugin(middleware(services), on_serving, services.close, rules, gate, outer))
    return services


class HostUsers:
    """The host's ids of users by their names; a user whom the host does not know is added to it."""

    def __init__(self, host: Host, quotas: Quotas) -> None:
        self._host = host
        self._quotas = quotas
        self._ids: dict[str, str] = {}

    def has_id(self, user: str) -> bool:
        """Return whether the host has a user of this id."""
        return user in self._host.user_ids()

    async def id_of(self, name: str) -> str:
        """Return the id of a user. Raises LoginUnavailableError if the host cannot add them."""
        known = self._ids.get(name)
        if known is None or known not in self._host.user_ids():  # somebody may have removed them
            try:
                known = self._ids[name] = await asyncio.to_thread(self._host.ensure_user, name)
            except (OSError, ValueError) as error:
                raise LoginUnavailableError(f"The server does not accept the user {name!r}: {error}.") from error
            self._quotas.know(known, name_key(name))
        return known


def _access(host: Host, config: Config) -> AccessRules:
    network = host.network()
    return AccessRules(
        is_checked=config.check_origin,
        allowed_hosts=[parse_allowed_host(each) for each in config.allowed_hosts],
        own_names=names_of_this_machine(network.listening),
        origins=network.origins,
        frame_ancestors=config.frame_ancestors,
    )


async def _begin_login(host: Host, login: LoginService) -> None:
    """Log the address for the first administrator if the login is on, or a warning if it is off and should not be."""
    listening = host.network().listening
    try:
        await login.refresh()
        if not login.is_enabled:
            if is_beyond_this_machine(listening):
                _warn_about_network(listening)
            return
        first = await asyncio.to_thread(login.first_link)
    except LoginUnavailableError as error:
        log.error("Nobody is let in: %s", error.message)
        return
    if first is not None:
        name, link = first
        log.warning(
            "No administrator can sign in with a password yet. This link signs in %s, once and within an hour:"
            " %s/?token=%s",
            name,
            host.network().url,
            link,
        )


def _warn_about_network(listening: Sequence[str]) -> None:
    log.warning(
        "The server listens on %s and has no login: everyone who can reach this machine can read the library, "
        "run prompts and delete files. Turn the login on with comfy-assets login enable, or listen on 127.0.0.1.",
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


def attach_to_comfyui() -> bool:
    """Attach to the ComfyUI that imports this package; return whether it is left to ComfyUI to register the panel.

    Nothing is attached, and no panel registered, if another copy of the pack is attached already.
    """
    from .host.comfyui import ComfyUIHost, claim, serve_panel  # here, because serve needs none of it

    if not claim():
        return False
    attach(ComfyUIHost())
    return not serve_panel()
