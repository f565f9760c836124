"""Quotas of users on the standalone host: waiting jobs and bytes, at every way in, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.login.store import UNLIMITED
from comfy_assets_node.comfy_assets.plugin import attach
from held_node import Hold

pytestmark = pytest.mark.slow

MIB = 1 << 20


def graph(prefix: str, *, held: bool = False) -> dict[str, Any]:
    empty = {"width": 2, "height": 2, "batch_size": 1, "color": sum(prefix.encode())}
    nodes: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": empty},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
    if held:
        nodes["h"] = {"class_type": "Hold", "inputs": {"image": ["1", 0]}}
        nodes["2"]["inputs"]["images"] = ["h", 0]
    return nodes


class Served:
    """The standalone host for several users, with the users Ann and Bob."""

    def __init__(self, base: Path, services: Any, client: Any) -> None:
        self.base, self.services, self.client = base, services, client
        self.ann = self.bob = ""

    async def with_users(self) -> Served:
        self.ann, self.bob = [
            await (await self.client.post("/api/users", json={"username": name})).json() for name in ("ann", "bob")
        ]
        return self

    async def send(self, user: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"comfy-user": user, **options.pop("headers", {})}
        async with self.client.request(method, path, headers=headers, **options) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if answer.content_type == "application/json" else text

    async def submit(self, user: str, prefix: str, *, held: bool = False, path: str = "/prompt") -> tuple[int, Any]:
        return await self.send(user, "POST", path, json={"prompt": graph(prefix, held=held)})

    async def state(self, user: str, job_id: str, wanted: str) -> None:
        deadline = time.monotonic() + 20
        while (await self.send(user, "GET", f"/api/jobs/{job_id}"))[1]["status"] != wanted:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    def release(self) -> None:
        (self.base / "input" / "release").touch()


Make = Callable[..., Any]


@pytest.fixture
async def make_served(tmp_path: Path, aiohttp_client: Any) -> AsyncIterator[Make]:
    async def make(**config: Any) -> Served:
        host = StandaloneHost(tmp_path, multi_user=True)
        host.nodes.register("Hold", Hold)
        services = attach(host, Config(scan_on_start=False, **config))
        client = await aiohttp_client(host.application())
        await services.ready()
        return await Served(tmp_path, services, client).with_users()

    yield make


@pytest.mark.parametrize("path", ["/prompt", "/api/prompt"])
async def test_only_so_many_jobs_wait(make_served: Make, path: str) -> None:
    served = await make_served(user_max_jobs=2)
    _, running = await served.submit(served.ann, "running", held=True)
    await served.state(served.ann, running["prompt_id"], "in_progress")
    waiting = [(await served.submit(served.ann, f"w{number}", path=path))[0] for number in range(2)]
    assert waiting == [200, 200], "what runs does not wait"
    status, body = await served.submit(served.ann, "more", path=path)
    assert (status, body["error"]["type"]) == (429, "job_quota_exceeded")
    assert body["error"]["extra_info"] == {"quota": "jobs", "limit": 2, "used": 2}
    assert len((await served.send(served.ann, "GET", "/api/queue"))[1]["queue_pending"]) == 2
    assert (await served.submit(served.bob, "bobs", path=path))[0] == 200, "another user's jobs do not count"
    async with served.client.post("/prompt", json={"prompt": graph("nobodys")}) as answer:
        assert answer.status == 200
    assert (await served.send(served.ann, "POST", "/queue", json={"clear": True}))[0] == 200
    assert (await served.submit(served.ann, "again", path=path))[0] == 200
    served.release()


async def test_requests_that_come_at_once_share_what_is_left(make_served: Make) -> None:
    served = await make_served(user_max_jobs=3)
    _, running = await served.submit(served.ann, "running", held=True)
    await served.state(served.ann, running["prompt_id"], "in_progress")
    many = await asyncio.gather(*(served.submit(served.ann, f"w{number}") for number in range(12)))
    assert sorted(status for status, _ in many) == [200] * 3 + [429] * 9
    served.release()


def form(name: str, size: int, field: str = "image", **more: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field(field, b"\x89PNG" * (size // 4), filename=name, content_type="image/png")
    for key, value in more.items():
        made.add_field(key, value)
    return made


def bundle(size: int) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", b"x" * size, filename="w.zip", content_type="application/zip")
    return made


# Every way in that stores the body: method, path, and a body of more than so many bytes.
WAYS: list[tuple[str, str, Callable[[int], dict[str, Any]]]] = [
    ("POST", "/upload/image", lambda size: {"data": form("a.png", size)}),
    ("POST", "/api/upload/image", lambda size: {"data": form("a.png", size)}),
    ("POST", "/%75pload/image", lambda size: {"data": form("a.png", size)}),
    ("POST", "/upload/mask", lambda size: {"data": form("a.png", size, original_ref="{}")}),
    ("POST", "/api/assets", lambda size: {"data": form("a.png", size, "file", tags='["input"]')}),
    ("POST", "/userdata/a.json", lambda size: {"data": b" " * size}),
    ("POST", "/api/userdata/workflows%2Fa.json?overwrite=true", lambda size: {"data": b" " * size}),
    ("POST", "/api/workflows", lambda size: {"json": {"name": "w", "workflow_json": {"nodes": [], "x": "y" * size}}}),
    ("POST", "/api/workflows/import", lambda size: {"data": bundle(size)}),
]


@pytest.mark.parametrize(("method", "path", "body"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
async def test_no_way_in_goes_beyond_the_space(
    make_served: Make, method: str, path: str, body: Callable[[int], dict[str, Any]]
) -> None:
    served = await make_served(user_max_size=MIB)
    status, told = await served.send(served.ann, method, path, **body(MIB + 1))
    assert status == 413, told
    if isinstance(told, dict):
        assert told["code"] == "STORAGE_QUOTA_EXCEEDED"
        assert told["details"]["limit"] == MIB and told["details"]["needed"] > MIB
    else:
        assert "1,048,576 bytes" in told  # errors of user files are texts, as ComfyUI's are
    stored = [each for each in served.base.rglob("*") if each.is_file() and each.name.startswith(("a.", "w."))]
    assert stored == []
    assert (await served.send(served.ann, method, path, **body(1000)))[0] != 413, "what fits is taken"


async def test_files_count_until_the_trash_is_empty(make_served: Make) -> None:
    served = await make_served(user_max_size=MIB)
    size = 600_000
    assert (await served.send(served.ann, "POST", "/upload/image", data=form("a.png", size)))[0] == 200
    used = await served.services.quotas.used(served.ann)
    assert size <= used < size + 1000
    status, body = await served.send(served.ann, "POST", "/upload/image", data=form("b.png", size))
    assert (status, body["details"]["used"]) == (413, used)
    assert (await served.send(served.bob, "POST", "/upload/image", data=form("c.png", size)))[0] == 200
    (asset,) = (await served.send(served.ann, "GET", "/api/assets?include_tags=input"))[1]["assets"]
    assert (await served.send(served.ann, "DELETE", f"/api/assets/{asset['id']}?action=trash"))[0] == 204
    assert await served.services.quotas.used(served.ann) == used, "the trash takes space as well"
    assert (await served.send(served.ann, "POST", "/api/trash/empty", json={}))[0] in (200, 202)
    deadline = time.monotonic() + 20
    while await served.services.quotas.used(served.ann) >= size:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert (await served.send(served.ann, "POST", "/upload/image", data=form("b.png", size)))[0] == 200


async def test_whose_space_is_full_submits_nothing_more(make_served: Make) -> None:
    served = await make_served(user_max_size=MIB)
    assert (await served.send(served.ann, "POST", "/userdata/a.json", data=b" " * (MIB - 100)))[0] == 200
    _, job = await served.submit(served.ann, "first")
    await served.state(served.ann, job["prompt_id"], "completed")
    await served.services.outputs.drain()
    assert await served.services.quotas.used(served.ann) > MIB, "what a job makes is kept in any case"
    status, body = await served.submit(served.ann, "second")
    assert (status, body["error"]["type"]) == (413, "storage_quota_exceeded")
    assert (await served.submit(served.bob, "bobs"))[0] == 200


async def test_a_body_of_unknown_length_is_refused(make_served: Make) -> None:
    served = await make_served(user_max_size=MIB)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    status, _ = await served.send(served.ann, "POST", "/userdata/a.json", data=chunks())
    assert status == 411
    status, told = await served.send(
        served.ann, "POST", "/api/assets", data=chunks(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (status, told["code"]) == (411, "LENGTH_REQUIRED")


async def test_uploads_at_the_same_time_share_the_space(make_served: Make) -> None:
    served = await make_served(user_max_size=MIB)
    sent = [
        served.send(served.ann, "POST", "/upload/image", data=form(f"{number}.png", 400_000)) for number in range(6)
    ]
    statuses = sorted(status for status, _ in await asyncio.gather(*sent))
    assert statuses.count(200) <= 2 and set(statuses) == {200, 413}
    assert await served.services.quotas.used(served.ann) <= MIB


async def test_without_a_setting_nothing_is_limited(make_served: Make) -> None:
    served = await make_served()
    assert (await served.send(served.ann, "POST", "/upload/image", data=form("a.png", 3 * MIB)))[0] == 200
    for number in range(30):
        assert (await served.submit(served.ann, f"w{number}"))[0] == 200


OWN: list[tuple[int | None, int | None, int | None]] = [
    (None, 2, 2),
    (5, 2, 5),
    (0, 2, 0),
    (UNLIMITED, 2, None),
    (3, None, 3),
    (None, None, None),
]


@pytest.mark.parametrize(("own", "default", "wanted"), OWN)
async def test_a_users_own_quota_goes_before_the_setting(
    make_served: Make, own: int | None, default: int | None, wanted: int | None
) -> None:
    served = await make_served(user_max_jobs=default, user_max_size=default)
    quotas, accounts = served.services.quotas, served.services.login.accounts()
    accounts.add_user("ann", "member")
    accounts.change_user("ANN", max_jobs=own, max_bytes=own)
    quotas.know(served.ann, "ann")
    assert (quotas.of(served.ann).jobs, quotas.of(served.ann).size) == (wanted, wanted)
    assert (quotas.of(served.bob).jobs, quotas.of("").jobs) == (default, None)


async def test_what_a_user_of_the_login_takes(make_served: Make) -> None:
    served = await make_served(user_max_jobs=2)
    quotas, accounts = served.services.quotas, served.services.login.accounts()
    ann, never = accounts.add_user("ann", "member"), accounts.add_user("never", "member")
    _, running = await served.submit(served.ann, "running", held=True)
    await served.state(served.ann, running["prompt_id"], "in_progress")
    assert (await served.submit(served.ann, "waiting"))[0] == 200
    before = (await quotas.use_of(ann)).size
    assert (await served.send(served.ann, "POST", "/upload/image", data=form("a.png", MIB)))[0] == 200
    use = await quotas.use_of(accounts.change_user("ann", max_bytes=UNLIMITED))
    assert (use.jobs, use.quota.jobs, use.size - before, use.quota.size) == (1, 2, MIB, None)
    use = await quotas.use_of(never)
    assert (use.jobs, use.size, use.quota.jobs) == (0, 0, 2)
    assert len((await served.send(served.ann, "GET", "/api/users"))[1]["users"]) == 2, "nobody was added to the host"
    served.release()
