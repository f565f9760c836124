"""``/settings``: what a user has chosen in the page, in one file of the user's folder."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from ...fs.atomic import replace_file
from ..base import UnknownUserError
from .http import Refusal, json_answer, read_json, read_object
from .users import Users

log = logging.getLogger("comfy_assets.standalone")

FILE_NAME = "comfy.settings.json"


class Settings:
    """Answers /settings. A file that is not a JSON object counts as empty, and is set aside before it is replaced."""

    def __init__(self, directory: Path, users: Users) -> None:
        self._directory = directory
        self._users = users
        self._lock = threading.Lock()

    async def list_all(self, request: web.Request) -> web.Response:
        return json_answer(await asyncio.to_thread(_read, self._file(request)))

    async def get(self, request: web.Request) -> web.Response:
        """The bare value, null when it was never set: that is what the page reads."""
        settings = await asyncio.to_thread(_read, self._file(request))
        return json_answer(settings.get(request.match_info["id"]))

    async def update(self, request: web.Request) -> web.Response:
        """Change the settings that the body names."""
        file = self._file(request)
        return json_answer(await asyncio.to_thread(self._merge, file, await read_object(request)))

    async def set(self, request: web.Request) -> web.Response:
        """Change one setting to the value that the body is."""
        file, value = self._file(request), await read_json(request)
        await asyncio.to_thread(self._merge, file, {request.match_info["id"]: value})
        return json_answer({"value": value})

    def _file(self, request: web.Request) -> Path:
        try:
            return self._directory / self._users.identify(request.headers) / FILE_NAME
        except UnknownUserError as error:
            raise Refusal("The server does not know this user.", status=401) from error

    def _merge(self, file: Path, changes: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            settings = {**_read(file), **changes}
            _set_aside_if_broken(file)
            _write(file, settings)
        return settings


def _parse(file: Path) -> Any:
    """What the file holds, an empty object when there is none. Raises ValueError or RecursionError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _is_broken(file: Path) -> bool:
    try:
        return not isinstance(_parse(file), dict)
    except (ValueError, RecursionError):
        return True


def _read(file: Path) -> dict[str, Any]:
    if _is_broken(file):
        log.warning("The settings in %s are not valid JSON; they count as empty.", file)
        return {}
    settings: dict[str, Any] = _parse(file)
    return settings


def _set_aside_if_broken(file: Path) -> None:
    if _is_broken(file):
        kept = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}")
        file.replace(kept)
        log.warning("The broken settings were kept as %s.", kept)


def _write(file: Path, settings: dict[str, Any]) -> None:
    replace_file(file, json.dumps(settings, indent=4).encode())
