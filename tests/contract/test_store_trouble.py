"""What is answered while the store is locked by another process, or its disk is full: soon, and nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.prompts import output_recorder
from comfy_assets_node.comfy_assets.db import connection
from comfy_assets_node.comfy_assets.jobs import recorder
from comfy_assets_node.routes import ROUTES
from support.files import picture

pytestmark = pytest.mark.slow
NONE = "00000000-0000-4000-8000-000000000099"
WORKFLOW = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["gone.png"]}]}
SOON_S = 2.0  # for what is promised within a second: the machine may be busy
NEEDS_NO_STORE = {
    *("cancelAssetSeed", "pauseAssetSeed", "resumeAssetSeed", "freeMemory", "submitFeedback"),
    *("createSecret", "updateSecret", "replaceSecret", "deleteSecret"),
    *("signIn", "signOut", "changePassword"),
    *("endSession", "endSessions", "createToken", "revokeToken", "createLoginLink"),
    *("addLoginUser", "changeLoginUser", "removeLoginUser", "createLoginUserLink"),
    *("authorizeProgram", "exchangeAuthorizationCode"),
}
STOPS = {"cancelJob", "cancelJobs", "manageQueue", "interruptJob"}  # asked for in tests of their own
BEGINS_WORK = {"seedAssets", "exportWorkflow", "importWorkflow"}  # which meets the trouble later, as a task
ENDS_WORK = {"cancelTask"}
READS = {"checkAssetByHash", "postAssetsFromWorkflow", "showAssetInFolder"}
ASKS_OTHERS = {"createAssetDownload"}  # which is tried with servers of its own, in the tests of downloads


class Trouble:
    """What can be wrong with a library's store."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.path: Path = library.host.data_directory() / "library.db"

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Another connection, as that of another process, holds the lock for writing."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None, timeout=0)) as other:
            while not other.in_transaction:
                with contextlib.suppress(sqlite3.OperationalError):  # the library itself is writing
                    other.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(0.01)
            yield
            other.execute("ROLLBACK")

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncIterator[None]:
        """No page can be added."""
        db = self.library.services.db
        async with db._write_lock:
            ((pages,),) = await db._connections.writer.execute_fetchall("PRAGMA page_count")
            await db._connections.writer.execute_fetchall(f"PRAGMA max_page_count = {pages}")
        yield
        async with db._write_lock:
            await db._connections.writer.execute_fetchall("PRAGMA max_page_count = 1000000")

    def files(self) -> dict[str, bytes]:
        """Every file of the library but the store's own."""
        data = self.library.host.data_directory()
        found = (path for path in self.library.base.rglob("*") if path.is_file() and path.parent != data)
        return {
            path.relative_to(self.library.base).as_posix(): path.read_bytes()
            for path in found
            if "queue" not in path.parts
        }


@pytest.fixture
def trouble(library: Any) -> Trouble:
    return Trouble(library)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PATIENCE_S", 0.2)
    monkeypatch.setattr(recorder, "FLUSH_S", 0.05)
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)
    monkeypatch.setattr(connection, "PATIENCE_S", 0.2)


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    began = time.monotonic()
    answer = await work
    return answer, time.monotonic() - began


@pytest.fixture
async def names(library: Any, api: Any, prompts: Any) -> dict[str, str]:
    """Something of everything, by names for paths."""
    library.write("output/held.png", picture(1))
    library.write("output/other.png", picture(2))
    library.write("output/doomed.png", picture(3))
    await library.scan()
    assets = {asset["name"]: asset for asset in (await api.get("/api/assets"))["assets"]}
    workflow = (await api.send("POST", "/api/workflows", 201, json={"workflow_json": WORKFLOW, "name": "one"})).json
    gone = (await api.send("POST", "/api/workflows", 201, json={"workflow_json": WORKFLOW, "name": "two"})).json
    await api.send("DELETE", f"/api/workflows/{gone['id']}", 204)
    await api.send("DELETE", f"/api/assets/{assets['doomed.png']['id']}", 204)
    rated = {"action": "rate", "rating": 2, "ids": [assets["other.png"]["id"]]}
    batch = (await api.send("POST", "/api/assets/batch", json=rated)).json["batch_id"]
    ones = {"name": "ones", "asset_ids": [assets["held.png"]["id"]]}
    collection = (await api.send("POST", "/api/collections", 201, json=ones)).json["id"]
    past = (await api.send("POST", "/api/collections", 201, json={"name": "past"})).json["id"]
    await api.send("DELETE", f"/api/collections/{past}", 204)
    search = (await api.send("POST", "/api/saved-searches", 201, json=SEARCH)).json["id"]
    over = prompts.run()
    await api.get("/api/jobs")
    return {
        "asset": assets["held.png"]["id"],
        "hash": assets["other.png"]["hash"],
        "doomed": assets["doomed.png"]["id"],
        "workflow": workflow["id"],
        "gone": gone["id"],
        "job": over,
        "batch": batch,
        "collection": collection,
        "past": past,
        "search": search,
    }


SEARCH = {"name": "all", "query": {"q": "held"}}
Case = tuple[str, str, dict[str, Any]]
WRITES: dict[str, Case] = {
    "pruneAssets": ("POST", "/api/assets/prune", {}),
    "createAsset": ("POST", "/api/assets", {"data": "a picture"}),
    "createAssetFromHash": (
        "POST", "/api/assets/from-hash", {"json": {"hash": "{hash}", "tags": ["input"], "name": "x.png"}},
    ),
    "createAssetExport": ("POST", "/api/assets/export", {"json": {"asset_ids": ["{asset}"]}}),
    "deleteJob": ("DELETE", "/api/jobs/{job}", {}),
    "updateAsset": ("PUT", "/api/assets/{asset}", {"json": {"name": "renamed.png"}}),
    "deleteAsset": ("DELETE", "/api/assets/{asset}", {}),
    "restoreAsset": ("POST", "/api/assets/{doomed}/restore", {}),
    "restoreTrashEntry": ("POST", "/api/trash/{doomed}/restore", {}),
    "deleteTrashEntry": ("DELETE", "/api/trash/{doomed}", {}),
    "emptyTrash": ("POST", "/api/trash/empty", {"json": {}}),
    "batchAssets": ("POST", "/api/assets/batch", {"json": {"action": "rate", "rating": 1, "ids": ["{asset}"]}}),
    "undoBatch": ("POST", "/api/assets/batch/{batch}/undo", {"json": {}}),
    "addAssetTags": ("POST", "/api/assets/{asset}/tags", {"json": {"tags": ["new"]}}),
    "removeAssetTags": ("DELETE", "/api/assets/{asset}/tags", {"json": {"tags": ["new"]}}),
    "manageHistory": ("POST", "/api/history", {"json": {"delete": ["{job}"], "clear": True}}),
    "createWorkflow": ("POST", "/api/workflows", {"json": {"workflow_json": WORKFLOW, "name": "three"}}),
    "updateWorkflow": ("PATCH", "/api/workflows/{workflow}", {"json": {"name": "renamed"}}),
    "deleteWorkflow": ("DELETE", "/api/workflows/{workflow}", {}),
    "restoreWorkflow": ("POST", "/api/workflows/{gone}/restore", {}),
    "forkWorkflow": ("POST", "/api/workflows/{workflow}/fork", {"json": {"source_version": 1}}),
    "createWorkflowVersion": (
        "POST", "/api/workflows/{workflow}/versions", {"json": {"base_version": 1, "workflow_json": {"nodes": []}}},
    ),
    "relinkWorkflow": (
        "POST",
        "/api/workflows/{workflow}/relink",
        {"json": {"base_version": 1, "links": [{"name": "gone.png", "asset_id": "{asset}"}]}},
    ),
    "postUserdataFilePublish": ("POST", "/api/userdata/workflows%2Fone.json/publish", {"json": {"asset_ids": []}}),
    "deleteUserdataFilePublish": ("DELETE", "/api/userdata/workflows%2Fone.json/publish", {}),
    "createCollection": ("POST", "/api/collections", {"json": {"name": "new"}}),
    "updateCollection": ("PATCH", "/api/collections/{collection}", {"json": {"name": "renamed"}}),
    "deleteCollection": ("DELETE", "/api/collections/{collection}", {}),
    "restoreCollection": ("POST", "/api/collections/{past}/restore", {}),
    "addCollectionAssets": ("POST", "/api/collections/{collection}/assets", {"json": {"asset_ids": ["{asset}"]}}),
    "removeCollectionAssets": ("DELETE", "/api/collections/{collection}/assets", {"json": {"asset_ids": ["{asset}"]}}),
    "moveCollectionAssets": ("POST", "/api/collections/{collection}/order", {"json": {"asset_ids": ["{asset}"]}}),
    "createSavedSearch": ("POST", "/api/saved-searches", {"json": {"name": "new", "query": {"q": "new"}}}),
    "replaceSavedSearch": ("PUT", "/api/saved-searches/{search}", {"json": {"name": "renamed", "query": {}}}),
    "deleteSavedSearch": ("DELETE", "/api/saved-searches/{search}", {}),
    "importPublishedAssets": ("POST", "/api/assets/import", {"json": {"published_asset_ids": [NONE]}}),
}  # fmt: skip
READ_FIRST = {"deleteUserdataFilePublish", "importPublishedAssets", "removeAssetTags"}  # may find nothing to write


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**names) if "{" in value else value
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    return [filled(item, names) for item in value] if isinstance(value, list) else value


def test_every_operation_that_writes_is_in_the_table() -> None:
    others = NEEDS_NO_STORE | STOPS | BEGINS_WORK | ENDS_WORK | READS | ASKS_OTHERS
    writing = {route.operation.id for route in ROUTES if route.method != "GET"}
    assert writing - others == set(WRITES)


async def everything(api: Any, names: dict[str, str]) -> list[Any]:
    paths = (
        *("/api/assets?sort=name", "/api/tags", "/api/workflows", "/api/jobs", f"/api/workflows/{names['workflow']}"),
        *("/api/collections", f"/api/assets?collection={names['collection']}", "/api/saved-searches"),
    )
    return [await api.get(path) for path in paths]


@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_to_a_locked_store(api: Any, names: Any, trouble: Trouble, operation: str) -> None:
    method, path, options = WRITES[operation]
    options = filled(options, names)
    if options.get("data") == "a picture":
        from aiohttp import FormData

        options = {"data": FormData({"name": "new.png", "tags": '["input"]'})}
        options["data"].add_field("file", picture(9), filename="new.png")
    before, files = await everything(api, names), trouble.files()
    async with trouble.locked():
        answer, took = await timed(api.send(method, filled(path, names), None, **options))
    assert took < SOON_S
    if operation not in READ_FIRST or answer.status >= 500:
        assert (answer.status, answer.json["code"]) == (503, "STORE_UNAVAILABLE")
    assert await everything(api, names) == before
    assert trouble.files() == files


async def test_what_reads_goes_on_while_the_store_is_locked(api: Any, names: Any, trouble: Trouble) -> None:
    async with trouble.locked():
        for path in ("/api/assets", "/api/tags", "/api/assets/tags/refine", "/api/jobs", f"/api/jobs/{names['job']}"):
            _, took = await timed(api.get(path))
            assert took < SOON_S
        await api.get(f"/api/assets/{names['asset']}")
        await api.get("/api/workflows")


async def test_a_locked_store_and_what_happens_meanwhile(api: Any, prompts: Any, trouble: Trouble) -> None:
    running, waiting = prompts.submit(), prompts.submit()
    prompts.start()
    await api.get("/api/jobs")
    assert (await api.send("GET", "/health")).text == "OK"
    async with trouble.locked():
        late = prompts.submit()
        answers = await asyncio.gather(*(timed(api.send("GET", "/api/jobs", 503)) for _ in range(10)))
        for answer, took in answers:
            assert answer.json["code"] == "STORE_UNAVAILABLE" and took < SOON_S
        for path in (
            f"/api/jobs/{running}",
            f"/api/job/{running}/status",
            "/api/history_v2",
            f"/api/jobs/{late}/assets",
        ):
            _, took = await timed(api.send("GET", path, 503))
            assert took < SOON_S
        health, took = await timed(api.send("GET", "/health", 503))
        assert took < SOON_S and "STORE_UNAVAILABLE" in health.text
        _, took = await timed(api.send("POST", f"/api/jobs/{late}/cancel"))
        assert took < SOON_S
        assert (await api.send("POST", f"/api/jobs/{waiting}/cancel")).json == {"cancelled": True}
        assert (await api.send("POST", f"/api/jobs/{waiting}/cancel")).json == {"cancelled": False}
        last = prompts.submit()
        assert (await api.send("POST", "/api/queue", json={"delete": [last]})).json == {"deleted": [last]}
        _, took = await timed(api.send("POST", "/api/interrupt"))
        assert took < SOON_S and prompts.queue.interrupted[0] == running
        queue = await api.get("/api/queue")
        assert [item[1] for item in queue["queue_running"]] == [running]
        assert queue["queue_pending"] == []
        prompts.finish({})
    page = await api.get("/api/jobs")
    assert {job["id"]: job["status"] for job in page["jobs"]} == dict.fromkeys(
        (running, waiting, late, last), "cancelled"
    )
    assert (await api.send("GET", "/health")).text == "OK"


async def test_other_users_jobs_cannot_be_stopped_while_the_store_is_locked(
    make_library: Callable[..., Any], api_of: Any, prompts_of: Any
) -> None:
    library = await make_library(users=frozenset({"ann", "ben"}))
    api, prompts = api_of(library), prompts_of(library)
    running, waiting = prompts.submit(owner="ben"), prompts.submit(owner="ben")
    prompts.start()
    await api.as_user("ben").get("/api/jobs")
    async with Trouble(library).locked():
        ann = api.as_user("ann")
        await ann.send("POST", "/api/interrupt")
        await ann.send("POST", "/api/interrupt", json={"prompt_id": running})
        await ann.send("POST", f"/api/jobs/{running}/cancel", 404)
        await ann.send("POST", "/api/jobs/cancel", 404, json={"job_ids": [waiting]})
        assert (await ann.send("POST", "/api/queue", json={"delete": [running, waiting]})).json == {"deleted": []}
        await ann.send("POST", "/api/queue", json={"clear": True})
    assert prompts.queue.interrupted == []
    assert [prompt.prompt_id for prompt in prompts.queue.waiting] == [waiting]


async def test_restored_jobs_are_known_without_the_store(
    make_library: Callable[..., Any], api_of: Any, prompts_of: Any
) -> None:
    users = frozenset({"ann", "ben"})
    first = await make_library(users=users)
    job = prompts_of(first).submit(owner="ann")
    await first.services.stop()
    second = await make_library(users=users)
    async with Trouble(second).locked():
        await api_of(second).as_user("ben").send("POST", "/api/queue", json={"clear": True})
        assert len(second.host.execution.waiting) == 1
        await api_of(second).as_user("ann").send("POST", f"/api/jobs/{job}/cancel")
        assert second.host.execution.waiting == []


async def test_a_store_that_could_not_be_opened_keeps_nobody_from_stopping(
    tmp_path: Path, make_library: Callable[..., Any], api_of: Any, prompts_of: Any
) -> None:
    (tmp_path / "user" / "__comfy_assets" / "library.db").mkdir(parents=True)
    library = await make_library()
    api, prompts = api_of(library), prompts_of(library)
    running, waiting = prompts.submit(), prompts.submit()
    prompts.start()
    assert (await api.send("POST", f"/api/jobs/{waiting}/cancel")).json == {"cancelled": True}
    await api.send("POST", "/api/interrupt", json={"prompt_id": running})
    assert prompts.queue.interrupted == [running]
    assert len((await api.get("/api/queue"))["queue_running"]) == 1
    assert (await api.send("POST", f"/api/jobs/{NONE}/cancel", 500)).json["code"] == "STORE_UNAVAILABLE"
    await api.send("GET", "/health", 503)


async def test_a_full_disk(api: Any, prompts: Any, trouble: Trouble) -> None:
    import random

    noise = random.Random(1).randbytes(200_000).hex()  # takes many pages, however it is compressed
    graph = {"1": {"class_type": "X", "inputs": {"noise": noise}}}
    running = prompts.submit()
    prompts.start()
    await api.get("/api/jobs")
    async with trouble.full():
        late = prompts.submit(graph=graph)
        for path in ("/api/jobs", f"/api/jobs/{running}", "/api/history_v2"):
            answer, took = await timed(api.send("GET", path, 503))
            assert answer.json["code"] == "STORE_UNAVAILABLE" and took < SOON_S
        await api.get("/api/assets")
        assert "full" in (await api.send("GET", "/health", 503)).text
        assert (await api.send("POST", f"/api/jobs/{late}/cancel")).json == {"cancelled": True}
        await api.send("POST", "/api/interrupt")
        assert prompts.queue.interrupted == [running]
        prompts.finish({})
    states = {job["id"]: job["status"] for job in (await api.get("/api/jobs"))["jobs"]}
    assert states == {running: "cancelled", late: "cancelled"}
    assert (await api.send("GET", "/health")).text == "OK"


async def test_a_mistake_of_ours_is_still_told_as_one(api: Any, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("no such column: nonsense")

    monkeypatch.setattr(library.services.jobs, "list", fail)
    assert (await api.get("/api/jobs", 500))["code"] == "INTERNAL_ERROR"


async def test_an_end_is_told_when_its_assets_are_there(library: Any, api: Any, prompts: Any) -> None:
    output_recorder.IDLE_S, before = 60.0, output_recorder.IDLE_S
    try:
        for number in range(5):
            library.write(f"output/made_{number}.png", picture(number))
            prompts.submit()
            job = prompts.start()
            file = {"filename": f"made_{number}.png", "subfolder": "", "type": "output"}
            prompts.finish({"2": {"images": [file]}})
            if number % 2:
                await api.get("/api/jobs")
            assert (await api.get(f"/api/jobs/{job}"))["status"] == "completed"
            assert [each["name"] for each in (await api.get(f"/api/jobs/{job}/assets"))["assets"]] == [file["filename"]]
    finally:
        output_recorder.IDLE_S = before


async def test_assets_that_cannot_be_taken_in_keep_no_job_from_its_end(
    library: Any, api: Any, prompts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise LookupError("a mistake")

    monkeypatch.setattr(library.services.outputs, "_record_batch", fail)
    library.write("output/made_00001_.png", picture(1))
    job = prompts.run()
    assert (await api.get(f"/api/jobs/{job}"))["status"] == "completed"


async def test_an_end_that_is_held_back_is_in_the_journal(
    library: Any, prompts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def wait(*_: Any) -> None:
        await released.wait()

    monkeypatch.setattr(library.services.outputs, "_record_batch", wait)
    library.write("output/made_00001_.png", picture(1))
    job = prompts.run()
    mine = library.services._recorder
    await mine.write()
    rows = await library.services.db.fetch_all("SELECT status FROM jobs")
    assert rows == [(1,)]  # it has its row, but not its end
    lines = b"".join(path.read_bytes() for path in (library.host.data_directory() / "queue").glob("*.log"))
    assert lines.count(b'"Ended"') == 1 and job.encode() in lines
    released.set()
    assert (await library.get(f"/api/jobs/{job}"))["status"] == "completed"
