"""Growth of a server in use: ``python tests/benchmarks/soak.py [--comfyui CHECKOUT --python PYTHON] [--rounds N]``.

Each round does what a busy day does, and cleans up after itself: prompts and jobs with streams, uploads, edits,
searches, thumbnails, workflows, a trash that is emptied, websockets and streams that clients drop, uploads that break
off, and requests that are refused. After each round the memory, the open files and the threads of the server are
printed. The status is 1 if they grow from the middle of the run to its end by more than is left to chance.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import struct
import sys
import tempfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import aiohttp
from jobs_overhead import Server

JOBS, REQUESTS = 30, 20
MEMORY_GOAL_MIB, FILES_GOAL, THREADS_GOAL = 8.0, 4, 2  # of growth from the middle third to the last
WAIT_S = 120


def graph() -> dict[str, Any]:
    """A small picture that no other job has made."""
    inputs = {"width": 32, "height": 32, "batch_size": 1, "color": secrets.randbelow(1 << 24)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "soak"}},
    }


def picture() -> bytes:
    """A PNG of noise, unlike any other."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 64
    rows = b"".join(b"\0" + secrets.token_bytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Client:
    """The steps of a round, over HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, path: str, **options: Any) -> Any:
        async with self._session.request(method, path, **options) as response:
            body = await response.read()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {body[:300]!r}")
            return await response.json(content_type=None) if body and response.content_type.endswith("json") else body

    async def prompts(self) -> None:
        for _ in range(JOBS):
            await self.request("POST", "/prompt", json={"prompt": graph()})
        while (await self.request("GET", "/prompt"))["exec_info"]["queue_remaining"]:
            await asyncio.sleep(0.05)

    async def jobs_with_streams(self) -> None:
        for _ in range(REQUESTS):
            job = await self.request("POST", "/api/v2/jobs", json={"workflow": graph(), "metadata": {"made": "soak"}})
            async with self._session.get(job["urls"]["events"]) as stream:
                async for _ in stream.content:
                    pass
            await self.request("GET", job["urls"]["self"])

    async def uploads(self) -> None:
        ids = []
        for number in range(REQUESTS):
            form = aiohttp.FormData()
            form.add_field("tags", '["input"]')
            form.add_field("file", picture(), filename=f"{secrets.token_hex(6)}.png", content_type="image/png")
            asset = await self.request("POST", "/api/assets", data=form)
            ids.append(asset["id"])
            await self.request("PUT", f"/api/assets/{asset['id']}", json={"user_metadata": {"number": number}})
            await self.request("POST", f"/api/assets/{asset['id']}/tags", json={"tags": [f"tag{number % 7}"]})
        for asset_id in ids:
            await self.request("GET", (await self.request("GET", f"/api/assets/{asset_id}"))["preview_url"])
            await self.request("DELETE", f"/api/assets/{asset_id}")

    async def searches(self) -> None:
        for _ in range(REQUESTS):
            await self.request("GET", f"/api/assets?q={secrets.token_hex(2)}")
            await self.request("GET", "/api/assets?limit=50&include_tags=output")
            await self.request("GET", f"/api/jobs?q={secrets.token_hex(2)}&limit=20")
        await self.request("GET", "/api/assets/folders")

    async def workflows(self) -> None:
        for number in range(5):
            path = f"/api/userdata/workflows%2Fsoak{number}.json"
            for _ in range(3):
                body = {"nodes": [], "links": [], "version": 0.4, "extra": {"note": secrets.token_hex(20)}}
                await self.request("POST", f"{path}?overwrite=true", json=body)
            await self.request("DELETE", path)

    async def dropped_clients(self) -> None:
        for _ in range(REQUESTS):
            async with self._session.ws_connect(f"/ws?clientId={secrets.token_hex(8)}") as socket:
                await socket.receive()
            job = await self.request("POST", "/api/v2/jobs", json={"workflow": graph()})
            stream = await self._session.get(job["urls"]["events"])
            await stream.content.readany()
            stream.close()

    async def broken_uploads(self) -> None:
        async def half() -> Any:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + bytes(1 << 18)
            raise ConnectionAbortedError

        for _ in range(5):
            try:
                headers = {"Content-Type": "multipart/form-data; boundary=x"}
                async with self._session.post("/api/assets", data=half(), headers=headers):
                    pass
            except (aiohttp.ClientError, ConnectionAbortedError):
                pass

    async def refused(self) -> None:
        for path in ("/api/assets/none", "/api/jobs/none", "/api/v2/jobs/none", "/api/assets?limit=x", "/api/none"):
            for _ in range(REQUESTS):
                async with self._session.get(path) as response:
                    await response.read()
            async with self._session.post("/api/assets", data=b"{", headers={"Content-Type": "application/json"}) as r:
                await r.read()

    async def clean_up(self) -> None:
        """Delete what the round made, so that only what is kept by mistake can grow."""
        while True:
            assets = (await self.request("GET", "/api/assets?limit=500"))["assets"]
            if not assets:
                break
            for asset in assets:
                await self.request("DELETE", f"/api/assets/{asset['id']}")
        task = await self.request("POST", "/api/trash/empty", json={"kinds": ["trashed", "removed"]})
        while (await self.request("GET", f"/api/tasks/{task['task_id']}"))["status"] not in ("completed", "failed"):
            await asyncio.sleep(0.1)
        await self.request("POST", "/history", json={"clear": True})


ROUND: list[Callable[[Client], Awaitable[None]]] = [
    Client.prompts,
    Client.jobs_with_streams,
    Client.uploads,
    Client.searches,
    Client.workflows,
    Client.dropped_clients,
    Client.broken_uploads,
    Client.refused,
    Client.clean_up,
]


def usage(pid: int) -> tuple[float, int, int]:
    """MiB of memory, open files and threads of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = int(lines["VmRSS"].split()[0]) / 1024
    return memory, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(lines["Threads"])


async def run(server: Server, rounds: int) -> list[tuple[float, int, int]]:
    """The usage after each round."""
    found = []
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", timeout=timeout) as session:
        client = Client(session)
        for number in range(rounds):
            for step in ROUND:
                await step(client)
            await asyncio.sleep(1.5)  # jobs and assets are written by the second
            found.append(usage(server.process.pid))
            memory, files, threads = found[-1]
            print(f"round {number + 1:3}: {memory:7.1f} MiB, {files} files, {threads} threads", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "base", options, with_project=True, is_linked=True) as server,
    ):
        found = asyncio.run(run(server, options.rounds))
    third = max(1, len(found) // 3)
    missed = False
    goals = (("memory", MEMORY_GOAL_MIB), ("open files", FILES_GOAL), ("threads", THREADS_GOAL))
    for index, (name, goal) in enumerate(goals):
        middle, end = (
            statistics.median(each[index] for each in part) for part in (found[third:-third], found[-third:])
        )
        print(f"{name}: {middle:.1f} in the middle, {end:.1f} at the end (goal: {goal} more at most)")
        missed |= end - middle > goal
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
