"""seedAssets, getAssetSeedStatus, cancelAssetSeed and pruneAssets."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

STATUS = "/api/assets/seed/status"


@pytest.fixture
async def shelf(library: Any) -> Any:
    """Files in every root, none of them known yet."""
    for path in (
        "models/checkpoints/c.ckpt",
        "models/loras/l.safetensors",
        "models/readme.txt",
        "input/i.png",
        "output/o.png",
    ):
        library.write(path, path.encode())
    return library


async def seed(api: Any, body: Any = None) -> dict[str, Any]:
    """Start a scan; answers what was said."""
    answer: dict[str, Any] = (await api.send("POST", "/api/assets/seed", json=body)).json
    return answer


async def finished(library: Any, api: Any) -> dict[str, Any]:
    """The status when the scan and the hash run have ended."""
    await library.services.indexer.finish()
    return dict(await api.get(STATUS))


async def test_a_scan_from_start_to_end(shelf: Any, api: Any) -> None:
    assert await api.get(STATUS) == {"status": "idle", "phase": "idle", "on_hold": False}
    started = await seed(api, {})
    assert started["status"] == "started"
    uuid.UUID(started["task_id"])
    status = await finished(shelf, api)
    assert status["status"] == "completed"
    assert status["phase"] == "idle"
    assert status["scanned"] == status["created"] == 5
    assert status["errors"] == []
    assert "error_message" not in status
    assert set(await api.names()) == {"c.ckpt", "l.safetensors", "readme.txt", "i.png", "o.png"}
    assert all("hash" in asset for asset in await shelf.assets())


async def test_a_second_scan_finds_nothing_new(shelf: Any, api: Any) -> None:
    first = await seed(api)
    await finished(shelf, api)
    second = await seed(api)
    assert second["status"] == "started"
    assert second["task_id"] != first["task_id"]
    status = await finished(shelf, api)
    assert status["scanned"] == 5
    assert status["created"] == 0


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"roots": null}', b'{"other": 1}'])
async def test_everything_is_scanned_unless_roots_are_named(shelf: Any, api: Any, body: bytes | None) -> None:
    await api.send("POST", "/api/assets/seed", data=body)
    await finished(shelf, api)
    assert len(await api.names()) == 5


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["output"], {"o.png"}),
        (["input", "output"], {"i.png", "o.png"}),
        (["models"], {"c.ckpt", "l.safetensors", "readme.txt"}),
        (["loras"], {"l.safetensors"}),
        (["models/loras"], {"l.safetensors"}),
        (["/models/loras/"], {"l.safetensors"}),
        (["loras", "models/loras", "loras"], {"l.safetensors"}),
        (["checkpoints", "input/"], {"c.ckpt", "i.png"}),
    ],
)
async def test_some_roots(shelf: Any, api: Any, roots: list[str], names: set[str]) -> None:
    assert (await seed(api, {"roots": roots}))["status"] == "started"
    await finished(shelf, api)
    assert set(await api.names()) == names


async def test_what_is_not_scanned_is_not_taken_for_gone(shelf: Any, api: Any) -> None:
    await seed(api)
    await finished(shelf, api)
    for path in ("input/i.png", "output/o.png"):
        (shelf.base / path).unlink()
    await seed(api, {"roots": ["output"]})
    await finished(shelf, api)
    assert await api.names(include_tags="missing") == ["o.png"]


UNKNOWN_ROOTS = [
    (["nothing"], ["nothing"]),
    (["models", "x", "input", "y/z"], ["x", "y/z"]),
    (["models/input"], ["models/input"]),
    (["nothing/loras"], ["nothing/loras"]),
    (["loras/models"], ["loras/models"]),
    (["../models"], ["../models"]),
    (["MODELS"], ["MODELS"]),
    ([""], [""]),
    (["/"], ["/"]),
    (["models", "\0"], ["\0"]),
    (["/etc"], ["/etc"]),
]


async def test_unknown_roots_are_named(library: Any, api: Any) -> None:
    for roots, unknown in UNKNOWN_ROOTS:
        answer = await api.send("POST", "/api/assets/seed", 400, json={"roots": roots})
        assert answer.json["code"] == "INVALID_BODY"
        assert answer.json["details"] == {"field": "roots", "unknown": unknown}
    assert (await api.get(STATUS))["status"] == "idle"


BAD_BODIES: list[tuple[bytes, str | None]] = [
    (b'{"roots": []}', "roots"),
    (b'{"roots": "models"}', "roots"),
    (b'{"roots": {"models": 1}}', "roots"),
    (b'{"roots": [1]}', "roots[0]"),
    (b'{"roots": ["models", null]}', "roots[1]"),
    (b"[]", None),
    (b"null", None),
    (b'"models"', None),
    (b"{", None),
    (b"roots=models", None),
    (b"  ", None),
    (b"\xff\xfe", None),
    (b'{"roots": ["\xff"]}', None),
    (b'{"roots": ["\\ud800"]}', None),
    (b"[" * 100_000, None),
    (b'{"other": ' + b"[" * 100_000, None),
]


async def test_a_bad_body(library: Any, api: Any) -> None:
    for body, field in BAD_BODIES:
        answer = await api.send("POST", "/api/assets/seed", 400, data=body)
        assert answer.json["code"] == "INVALID_BODY", body[:50]
        assert answer.json.get("details", {}).get("field") == field, body[:50]
    assert (await api.get(STATUS))["status"] == "idle"


async def test_a_body_that_is_too_large(library: Any, api: Any) -> None:
    answer = await api.send("POST", "/api/assets/seed", 413, data=b" " * 2_000_000)
    assert answer.json["code"] == "BODY_TOO_LARGE"


async def test_a_body_that_cannot_be_unpacked(library: Any, api: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = await api.send("POST", "/api/assets/seed", 400, data=b"no gzip at all", headers=headers)
    assert answer.json["code"] == "INVALID_BODY"


async def test_one_scan_at_a_time(shelf: Any, api: Any) -> None:
    shelf.host.is_busy = True  # which holds the scan up
    first = await seed(api)
    second = await seed(api, {"roots": ["input"]})
    assert (first["status"], second["status"]) == ("started", "already_running")
    assert second["task_id"] == first["task_id"]
    status = await api.get(STATUS)
    assert status["status"] == "running"
    assert status["phase"] == "listing"
    shelf.host.is_busy = False
    assert (await finished(shelf, api))["status"] == "completed"
    assert len(await api.names()) == 5


async def test_a_scan_that_is_held_up_says_so(shelf: Any, api: Any) -> None:
    shelf.host.is_busy = True
    await seed(api)
    while not (await api.get(STATUS))["paused"]:
        await asyncio.sleep(0.01)
    shelf.host.is_busy = False
    assert (await finished(shelf, api))["paused"] is False


async def test_a_scan_that_is_paused_rests_until_it_is_resumed(shelf: Any, api: Any) -> None:
    paused = (await api.send("POST", "/api/assets/seed/pause")).json
    assert (paused["status"], paused["on_hold"]) == ("idle", True)
    await seed(api)
    status = await api.get(STATUS)
    assert (status["status"], status["phase"], status["paused"], status["on_hold"]) == (
        "running",
        "listing",
        True,
        True,
    )
    assert await api.names() == []
    assert (await api.send("POST", "/api/assets/seed/resume")).json["on_hold"] is False
    status = await finished(shelf, api)
    assert (status["status"], status["paused"], status["on_hold"]) == ("completed", False, False)
    assert len(await api.names()) == 5


async def test_pages_are_told(shelf: Any, api: Any) -> None:
    await seed(api)
    await finished(shelf, api)
    events = [event.type for event in shelf.host.events]
    assert events[0] == "assets.seed.started"
    assert events[-1] == "assets.seed.completed"
    assert "assets.seed.fast_complete" in events
    json.dumps([dict(event.data) for event in shelf.host.events])


async def test_nothing_to_cancel(library: Any, api: Any) -> None:
    assert (await api.send("POST", "/api/assets/seed/cancel")).json == {"status": "idle"}
    await library.scan()
    assert (await api.send("POST", "/api/assets/seed/cancel")).json == {"status": "idle"}
    assert (await api.get(STATUS))["status"] == "completed"


async def test_a_scan_is_cancelled(shelf: Any, api: Any) -> None:
    shelf.host.is_busy = True
    await seed(api)
    assert (await api.send("POST", "/api/assets/seed/cancel")).json == {"status": "cancelling"}
    status = await finished(shelf, api)
    assert status["status"] == "cancelled"
    assert status["phase"] == "idle"
    assert "assets.seed.cancelled" in [event.type for event in shelf.host.events]
    shelf.host.is_busy = False
    assert (await seed(api))["status"] == "started"
    assert (await finished(shelf, api))["status"] == "completed"
    assert len(await api.names()) == 5


async def test_a_hash_run_is_cancelled_and_taken_up_again(shelf: Any, api: Any) -> None:
    real_emit = shelf.host.emit

    def emit(event: str, data: Any) -> None:
        real_emit(event, data)
        if event == "assets.seed.fast_complete":  # the scan is over, the hash run about to begin
            shelf.host.is_busy = True

    shelf.host.emit = emit
    await seed(api)
    while (await api.get(STATUS))["phase"] != "hashing":
        await asyncio.sleep(0.005)
    assert all("hash" not in asset for asset in await shelf.assets())
    assert (await api.send("POST", "/api/assets/seed/cancel")).json == {"status": "cancelling"}
    assert (await finished(shelf, api))["status"] == "cancelled"
    shelf.host.emit = real_emit
    shelf.host.is_busy = False
    await seed(api)
    assert (await finished(shelf, api))["status"] == "completed"
    assert all("hash" in asset for asset in await shelf.assets())


async def prune(api: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.send("POST", "/api/assets/prune")).json
    return answer


async def test_prune_marks_what_is_gone_and_only_once(shelf: Any, api: Any, hand: Any) -> None:
    assert await prune(api) == {"status": "completed", "marked": 0}
    await seed(api)
    await finished(shelf, api)
    assert await prune(api) == {"status": "completed", "marked": 0}
    await hand.user_metadata("i.png", {"rating": 5})
    for path in ("input/i.png", "models/checkpoints/c.ckpt"):
        (shelf.base / path).unlink()
    shelf.write("output/new.png")  # finding files is the scan's
    assert await prune(api) == {"status": "completed", "marked": 2}
    assert set(await api.names(include_tags="missing")) == {"i.png", "c.ckpt"}
    assert await prune(api) == {"status": "completed", "marked": 0}
    assert len(await api.names()) == 5
    missing = await shelf.asset("i.png")
    assert missing["user_metadata"] == {"rating": 5}
    assert missing["tags"] == ["input", "missing"]


async def test_a_file_that_comes_back_loses_the_mark(shelf: Any, api: Any) -> None:
    await seed(api)
    await finished(shelf, api)
    before = await shelf.asset("i.png")
    (shelf.base / "input/i.png").rename(shelf.base / "away")
    assert (await prune(api))["marked"] == 1
    (shelf.base / "away").rename(shelf.base / "input/i.png")
    await seed(api)
    await finished(shelf, api)
    after = await shelf.asset("i.png")
    assert (after["id"], after["tags"], after["hash"]) == (before["id"], before["tags"], before["hash"])


async def test_prune_marks_nothing_below_a_root_that_is_out_of_reach(shelf: Any, api: Any) -> None:
    await seed(api)
    await finished(shelf, api)
    (shelf.base / "output").rename(shelf.base / "unplugged")
    assert (await prune(api))["marked"] == 0
    (shelf.base / "unplugged").rename(shelf.base / "output")
    assert (await prune(api))["marked"] == 0
    assert await api.names(include_tags="missing") == []


async def test_prunes_at_the_same_time_count_once_each_or_together(shelf: Any, api: Any) -> None:
    await seed(api)
    await finished(shelf, api)
    (shelf.base / "input/i.png").unlink()
    answers = await asyncio.gather(*(prune(api) for _ in range(5)))
    assert {answer["status"] for answer in answers} == {"completed"}
    assert {answer["marked"] for answer in answers} <= {0, 1}
    assert await api.names(include_tags="missing") == ["i.png"]


async def test_a_request_can_wait_for_the_scan(shelf: Any, api: Any) -> None:
    answer = (await api.send("POST", "/api/assets/seed?wait=true", json={})).json
    assert answer["status"] == "completed"
    assert answer["errors"] == []
    assert answer["progress"]["scanned"] == answer["progress"]["total"] == answer["progress"]["created"] == 5
    uuid.UUID(answer["task_id"])
    assert len(await api.names()) == 5
    assert (await api.send("POST", "/api/assets/seed?wait=perhaps", 400, json={})).json["code"] == "INVALID_QUERY"


async def test_a_scan_that_is_waited_for_sees_what_was_there_before_it(
    shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running scan may have been past a folder already, so another one follows."""
    held, scan = asyncio.Event(), shelf.services.indexer.scanner.scan

    async def slow(*arguments: Any) -> None:
        await scan(*arguments)
        await held.wait()

    monkeypatch.setattr(shelf.services.indexer.scanner, "scan", slow)
    assert (await seed(api))["status"] == "started"
    while len(await api.names()) < 5:
        await asyncio.sleep(0.01)
    shelf.write("input/late.png", b"late")
    waiting = [asyncio.create_task(api.send("POST", f"/api/assets/seed?wait={each}", json={})) for each in (1, 1)]
    waiting.append(asyncio.create_task(api.send("POST", "/api/assets/seed?wait=1", json={"roots": ["models"]})))
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in waiting)
    held.set()
    answers = [answer.json for answer in await asyncio.gather(*waiting)]
    assert {answer["status"] for answer in answers} == {"completed"}
    assert answers[0]["task_id"] == answers[1]["task_id"] != answers[2]["task_id"]
    assert "late.png" in await api.names()


async def test_a_cancelled_scan_ends_the_wait(shelf: Any, api: Any) -> None:
    shelf.services.indexer.pause()
    waiting = asyncio.create_task(api.send("POST", "/api/assets/seed?wait=true", json={}))
    while (await api.get(STATUS))["status"] != "running":
        await asyncio.sleep(0.01)
    await api.send("POST", "/api/assets/seed/cancel")
    assert (await waiting).json["status"] == "cancelled"
    shelf.services.indexer.resume()
