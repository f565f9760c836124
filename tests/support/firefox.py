"""Firefox without a window, driven by WebDriver BiDi, which it speaks itself (https://www.w3.org/TR/webdriver-bidi)."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

FIREFOX = next((path for name in ("firefox-esr", "firefox") if (path := shutil.which(name))), None)
TIMEOUT_S = 60.0
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
# It asks nobody for updates, and shows no page of its own.
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


class FirefoxPage:
    """A tab. Scripts are expressions of JavaScript, which may be promises; their values come back as JSON."""

    def __init__(self, socket: Any, context: str = "") -> None:
        self._socket = socket
        self._context = context
        self._number = 0

    async def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=TIMEOUT_S)
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                return answer["result"]

    async def open_tab(self) -> None:
        """Begin: make a session and a tab of it."""
        await self.send("session.new", capabilities={})
        self._context = (await self.send("browsingContext.create", type="tab"))["context"]

    async def goto(self, url: str) -> None:
        """Show a page, and wait until it is loaded."""
        await self.send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        code = f"(async () => JSON.stringify(await ({expression})) ?? 'null')()"
        result = await self.send(
            "script.evaluate", expression=code, target={"context": self._context}, awaitPromise=True
        )
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"])

    async def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true; the page may be another one meanwhile."""
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while True:
            try:
                if value := await self.evaluate(expression):
                    return value
            except AssertionError:  # the page is being loaded
                if asyncio.get_running_loop().time() > deadline:
                    raise
            assert asyncio.get_running_loop().time() < deadline, expression
            await asyncio.sleep(0.1)


@asynccontextmanager
async def firefox_page(profile: Path) -> AsyncIterator[FirefoxPage]:
    """Start Firefox with a new profile in a folder, and open a tab."""
    profile.mkdir()
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    options = ("--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0")
    process = await asyncio.create_subprocess_exec(
        str(FIREFOX), *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        address = await asyncio.wait_for(_address(process), TIMEOUT_S)
        reading = asyncio.create_task(_discard(process))
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}/session", max_msg_size=0) as socket,
        ):
            page = FirefoxPage(socket)
            await page.open_tab()
            yield page
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    printed = b""
    while (match := _LISTENING.search(printed)) is None:
        line = await process.stderr.readline()
        assert line, printed.decode(errors="replace")
        printed += line
    return match[1].decode()


async def _discard(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65536):
        pass
