"""The thumbnail cache: size limit, restarts, damaged files; and thumbnails made once, by two threads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media import thumbnail_service, view_path
from comfy_assets_node.comfy_assets.assets.media.thumbnail_cache import ThumbnailCache
from comfy_assets_node.comfy_assets.assets.media.thumbnail_service import ThumbnailRequest, ThumbnailService
from comfy_assets_node.comfy_assets.assets.media.thumbnails import Thumbnailer
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import ImageUnreadableError
from comfy_assets_node.comfy_assets.fs.paths import ChangedWhileReading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

SEAL = 16
WAIT_S = 20


def key(number: int) -> str:
    return f"{number:02x}" * 20


def stored(folder: Path) -> dict[str, Path]:
    """Return all files below the folder by name."""
    return {path.name: path for path in folder.rglob("*") if path.is_file()}


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in stored(folder).values())


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path / "t", 10_000)
    assert cache.get(key(1)) is None
    cache.put(key(1), b"one")
    cache.put(key(2), b"two")
    cache.put(key(1), b"another")
    for opened in (cache, ThumbnailCache(tmp_path / "t", 10_000)):
        assert [opened.get(key(n)) for n in (1, 2, 3)] == [b"another", b"two", None]
    assert set(stored(tmp_path / "t")) == {f"{key(1)}.jpg", f"{key(2)}.jpg"}


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 10 * (100 + SEAL))
    for number in range(10):
        cache.put(key(number), bytes(100))
    assert cache.get(key(0)) and cache.get(key(2))
    for number in range(10, 13):
        cache.put(key(number), bytes(100))
    assert [number for number in range(13) if cache.get(key(number)) is None] == [1, 3, 4]
    assert sizes(tmp_path) == 10 * (100 + SEAL)


def test_what_was_used_is_remembered_across_a_restart(tmp_path: Path) -> None:
    """The last use is written to the file's modification time, at most once an hour."""
    cache = ThumbnailCache(tmp_path, 1 << 20)
    for number in range(4):
        cache.put(key(number), bytes(100))
    now = time.time()
    for name, path in sorted(stored(tmp_path).items()):
        assert abs(path.stat().st_mtime - now) < 60
        os.utime(path, (now - 9000 + int(name[:2], 16), now - 9000 + int(name[:2], 16)))
    assert ThumbnailCache(tmp_path, 1 << 20).get(key(0))
    assert ThumbnailCache(tmp_path, 2 * (100 + SEAL)).get(key(1)) is None
    assert set(stored(tmp_path)) == {f"{key(0)}.jpg", f"{key(3)}.jpg"}


def test_a_use_writes_nothing_for_an_hour(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 1 << 20)
    cache.put(key(1), bytes(100))
    (path,) = stored(tmp_path).values()
    os.utime(path, (1000, 1000))
    for _ in range(3):
        assert cache.get(key(1))
    assert path.stat().st_mtime == 1000


def test_a_smaller_limit_is_kept_from_the_start(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 1 << 20)
    for number in range(50):
        cache.put(key(number), bytes(1000))
    ThumbnailCache(tmp_path, 5000).get(key(60))
    assert sizes(tmp_path) <= 5000


def test_a_body_larger_than_all_is_not_kept(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 1000)
    cache.put(key(1), bytes(500))
    cache.put(key(2), bytes(1000))
    assert (cache.get(key(1)), cache.get(key(2))) == (bytes(500), None)


def test_without_room_nothing_is_kept(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path / "t", 0)
    cache.put(key(1), b"one")
    assert cache.get(key(1)) is None
    assert not (tmp_path / "t").exists()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut to less than its seal": lambda path: path.write_bytes(b"x" * 5),
    "a seal alone": lambda path: path.write_bytes(path.read_bytes()[-SEAL:]),
    "filled with zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "changed": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "removed": lambda path: path.unlink(),
    "removed with its folder": lambda path: (path.unlink(), path.parent.rmdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_broken_entry_is_none(tmp_path: Path, damage: str, restarted: bool) -> None:
    cache = ThumbnailCache(tmp_path, 1 << 20)
    cache.put(key(1), b"a picture" * 10)
    (path,) = stored(tmp_path).values()
    DAMAGE[damage](path)
    if restarted:
        cache = ThumbnailCache(tmp_path, 1 << 20)
    assert cache.get(key(1)) is None
    assert stored(tmp_path) == {}
    cache.put(key(1), b"made again")
    assert cache.get(key(1)) == b"made again"


def test_what_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t").write_text("a file where the folder should be")
    cache = ThumbnailCache(tmp_path / "t", 1 << 20)
    for number in range(5):
        cache.put(key(number), b"body")
        assert cache.get(key(number)) is None
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_leftovers_go_and_other_files_stay(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 1000)
    cache.put(key(1), b"one")
    shelf = tmp_path / key(1)[:2]
    old, new = shelf / f"{key(1)}-old.tmp", shelf / f"{key(1)}-new.tmp"
    others = [shelf / "notes.txt", shelf / "of another shelf.jpg", tmp_path / "notes.jpg"]
    for path in (old, new, *others):
        path.write_bytes(bytes(900))
    os.utime(old, (1000, 1000))
    assert ThumbnailCache(tmp_path, 1000).get(key(1)) == b"one"
    assert not old.exists()
    assert new.exists() and all(path.exists() for path in others)


def test_a_file_in_use_stays_until_it_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where an open file can be neither removed nor replaced."""
    cache = ThumbnailCache(tmp_path, 3 * (100 + SEAL))
    for number in range(3):
        cache.put(key(number), bytes(100))
    unlink, replace = Path.unlink, Path.replace

    def in_use(path: Path, real: Callable[..., Any], *rest: Any, **more: Any) -> Any:
        if key(0) in str(rest[0] if rest else path):
            raise PermissionError(13, "in use")
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "unlink", lambda path, **more: in_use(path, unlink, **more))
    cache.put(key(3), bytes(100))
    assert [cache.get(key(number)) is not None for number in range(4)] == [True, False, True, True]
    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(Path, "replace", lambda path, target: in_use(path, replace, target))
    cache.put(key(0), bytes(100))
    assert cache.get(key(0)) == bytes(100)
    assert len(stored(tmp_path)) == 3
    monkeypatch.undo()
    for number in range(4, 8):
        cache.put(key(number), bytes(100))
    assert len(stored(tmp_path)) == 3 and cache.get(key(0)) is None


def test_many_threads(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, 20_000)

    def work(seed: int) -> int:
        found = 0
        for step in range(60):
            number = (seed * 7 + step * 3) % 40
            body = bytes([number]) * (200 + 37 * number)
            kept = cache.get(key(number))
            assert kept in (None, body)
            found += kept is not None
            cache.put(key(number), body)
        return found

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) > 0
    assert sizes(tmp_path) <= 20_000
    assert all(name.endswith(".jpg") for name in stored(tmp_path))


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 700)), max_size=60))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_bound_holds_after_any_steps(tmp_path_factory: Any, steps: list[tuple[bool, int, int]]) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache, put = ThumbnailCache(folder, 2000), dict[int, bytes]()
    for is_put, number, size in steps:
        if is_put:
            put[number] = bytes([number]) * size
            cache.put(key(number), put[number])
            assert cache.get(key(number)) == put[number]
        else:
            assert cache.get(key(number)) in (None, put.get(number))
        assert sizes(folder) <= 2000


class Workshop:
    """Counts the thumbnails made and the threads at work; after ``hold`` they wait for ``release``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.most = 0
        self.started = threading.Semaphore(0)
        self._active = 0
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        real = Thumbnailer.make

        def make(thumbnailer: Thumbnailer, path: Path, *rest: Any) -> bytes:
            with self._lock:
                self.made.append(path.name)
                self._active += 1
                self.most = max(self.most, self._active)
            self.started.release()
            try:
                assert self._open.wait(WAIT_S)
                return real(thumbnailer, path, *rest)
            finally:
                with self._lock:
                    self._active -= 1

        monkeypatch.setattr(Thumbnailer, "make", make)

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def wait(self, count: int = 1) -> None:
        """Wait until this many more have been started."""
        for _ in range(count):
            assert await asyncio.to_thread(self.started.acquire, timeout=WAIT_S)


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Any:
    shop = Workshop(monkeypatch)
    yield shop
    shop.release()


def draw(library: Any, name: str, colour: Any = "red", size: tuple[int, int] = (300, 200)) -> Path:
    path = library.base / "output" / name
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path, "PNG")
    return path


async def show(library: Any, name: str, res: int = 64, plane: Any = "flat") -> Any:
    """Request the thumbnail of a file in the output folder."""
    wanted = ThumbnailRequest("output", "", name, res, plane)
    return await library.services.thumbnails.get(wanted, "", lambda _: False)


async def test_requests_at_the_same_time_share_the_work(library: Any, workshop: Workshop) -> None:
    draw(library, "a.png")
    workshop.hold()
    asked = [asyncio.create_task(show(library, "a.png")) for _ in range(20)]
    await workshop.wait()
    workshop.release()
    answers = await asyncio.gather(*asked)
    assert len({answer.body for answer in answers}) == len({answer.key for answer in answers}) == 1
    assert workshop.made == ["a.png"]
    await show(library, "a.png")
    assert workshop.made == ["a.png"]


async def test_what_differs_is_made_for_itself(library: Any, workshop: Workshop) -> None:
    draw(library, "a.png")
    keys = {
        (await show(library, "a.png", *options)).key
        for options in ((64,), (128,), (64, "rgb"), (64, "alpha"), (64, "flat"))
    }
    assert len(keys) == len(workshop.made) == 4


async def test_two_are_made_at_a_time_and_the_server_answers_meanwhile(library: Any, workshop: Workshop) -> None:
    for number in range(6):
        draw(library, f"{number}.png", (number, 0, 0))
    workshop.hold()
    asked = [asyncio.create_task(show(library, f"{number}.png")) for number in range(6)]
    await workshop.wait(2)
    async with library.client.get("/health") as response:
        assert response.status == 200
    assert workshop.most == len(workshop.made) == 2
    workshop.release()
    await asyncio.gather(*asked)
    assert (workshop.most, len(workshop.made)) == (2, 6)


async def test_who_goes_away_takes_nothing_from_the_others(library: Any, workshop: Workshop) -> None:
    draw(library, "a.png")
    workshop.hold()
    first, second = (asyncio.create_task(show(library, "a.png")) for _ in range(2))
    await workshop.wait()
    first.cancel()
    await asyncio.wait([first])
    workshop.release()
    assert (await second).body
    assert first.cancelled() and workshop.made == ["a.png"]


async def test_a_failure_is_remembered_until_the_file_changes(library: Any, workshop: Workshop) -> None:
    whole = draw(library, "a.png").read_bytes()
    library.write("output/a.png", whole[:-60])
    errors = []
    for _ in range(3):
        with pytest.raises(ImageUnreadableError) as raised:
            await show(library, "a.png")
        errors.append(raised.value)
    assert workshop.made == ["a.png"]
    assert len({error.message for error in errors}) == 1 and len({id(error) for error in errors}) == 3
    library.write("output/a.png", whole)
    assert (await show(library, "a.png")).body
    assert workshop.made == ["a.png"] * 2


async def test_a_failure_is_forgotten_after_a_while(
    library: Any, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write("output/a.png", b"\x89PNG\r\n\x1a\n" + bytes(50))
    monkeypatch.setattr(thumbnail_service, "_FAILURE_S", 0)
    for _ in range(3):
        with pytest.raises(ImageUnreadableError):
            await show(library, "a.png")
    assert workshop.made == ["a.png"] * 3


async def test_only_so_many_failures_are_remembered(
    library: Any, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnail_service, "_MAX_FAILURES", 3)
    for number in (0, 1, 2, 3, 3, 2, 1, 0):
        library.write(f"output/{number}.png", b"\x89PNG\r\n\x1a\n" + bytes(50))
        os.utime(library.base / f"output/{number}.png", (1000, 1000))
        with pytest.raises(ImageUnreadableError):
            await show(library, f"{number}.png")
    assert workshop.made == ["0.png", "1.png", "2.png", "3.png", "0.png"]


async def test_a_thumbnail_survives_a_restart(make_library: Any, workshop: Workshop) -> None:
    library = await make_library()
    draw(library, "a.png")
    before = await show(library, "a.png")
    await library.services.stop()
    after = await show(await make_library(), "a.png")
    assert (after.key, after.body) == (before.key, before.body)
    assert workshop.made == ["a.png"]


async def test_a_broken_entry_is_made_again(library: Any, workshop: Workshop) -> None:
    draw(library, "a.png")
    before = await show(library, "a.png")
    (kept,) = stored(library.host.data_directory() / "thumbnails").values()
    kept.write_bytes(kept.read_bytes()[:-40])
    assert (await show(library, "a.png")).body == before.body
    assert workshop.made == ["a.png"] * 2
    assert (await show(library, "a.png")).body == before.body
    assert workshop.made == ["a.png"] * 2


async def test_equal_content_has_one_thumbnail_once_it_is_hashed(library: Any, workshop: Workshop) -> None:
    draw(library, "a.png")
    draw(library, "b.png")
    first, second = await show(library, "a.png"), await show(library, "b.png")
    assert first.key != second.key and first.body == second.body
    await library.scan()
    third, fourth = await show(library, "a.png"), await show(library, "b.png")
    assert third.key == fourth.key not in (first.key, second.key)
    assert workshop.made == ["a.png", "b.png", "a.png"]
    (library.base / "output/a.png").rename(library.base / "output/c.png")
    await library.scan()
    assert (await show(library, "c.png")).key == third.key
    assert workshop.made == ["a.png", "b.png", "a.png"]


async def test_a_changed_file_has_another_thumbnail_at_once(library: Any) -> None:
    draw(library, "a.png")
    await library.scan()
    before = await show(library, "a.png")
    draw(library, "a.png", "blue")
    after = await show(library, "a.png")
    assert after.key != before.key and after.body != before.body
    await library.scan()
    assert (await show(library, "a.png")).body == after.body


async def test_a_file_that_changes_under_way_is_read_again(
    library: Any, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(library, "a.png")
    workshop.hold()
    asked = asyncio.create_task(show(library, "a.png"))
    await workshop.wait()
    os.utime(path, (1000, 1000))
    workshop.release()
    assert (await asked).body
    assert workshop.made == ["a.png"] * 2


async def test_a_file_that_never_rests_is_an_error_and_not_remembered(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(library, "a.png")

    def changed(*_: Any) -> bytes:
        raise ChangedWhileReading

    with monkeypatch.context() as patch:
        patch.setattr(Thumbnailer, "make", changed)
        with pytest.raises(ImageUnreadableError, match="written"):
            await show(library, "a.png")
    assert (await show(library, "a.png")).body


async def test_without_room_on_disk_it_is_made_each_time(make_library: Any, workshop: Workshop) -> None:
    library = await make_library(Config(scan_on_start=False, thumbnail_cache_size=0))
    draw(library, "a.png")
    bodies = {(await show(library, "a.png")).body for _ in range(3)}
    assert (len(bodies), len(workshop.made)) == (1, 3)
    assert not (library.host.data_directory() / "thumbnails").exists()


async def test_the_bound_is_that_of_the_configuration(make_library: Any) -> None:
    library = await make_library(Config(scan_on_start=False, thumbnail_cache_size=5000))
    for number in range(20):
        draw(library, f"{number}.png", (number, 0, 0))
        await show(library, f"{number}.png")
    assert 0 < sizes(library.host.data_directory() / "thumbnails") <= 5000


async def test_stopping_waits_for_no_picture(library: Any, workshop: Workshop) -> None:
    for number in range(4):
        draw(library, f"{number}.png", (number, 0, 0))
    workshop.hold()
    asked = [asyncio.create_task(show(library, f"{number}.png")) for number in range(4)]
    await workshop.wait(2)
    await asyncio.wait_for(library.services.stop(), WAIT_S / 2)
    workshop.release()
    done, _ = await asyncio.wait(asked)
    assert all(task.cancelled() for task in done)
    assert len(workshop.made) == 2


async def test_a_request_that_is_still_looking_is_given_up_too(
    library: Any, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would use the database and threads after they are gone."""
    draw(library, "a.png")
    looking, found = threading.Event(), threading.Event()
    real = view_path.parse

    def named(*arguments: Any) -> Any:
        looking.set()
        assert found.wait(WAIT_S)
        return real(*arguments)

    monkeypatch.setattr(view_path, "parse", named)
    service = library.services.thumbnails
    request = asyncio.create_task(show(library, "a.png"))
    await asyncio.to_thread(looking.wait, WAIT_S)
    await asyncio.wait_for(library.services.stop(), WAIT_S / 2)
    found.set()
    await asyncio.wait([request])
    assert request.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await service.get(ThumbnailRequest("output", "", "a.png", 64, "flat"), "", lambda _: False)
    assert workshop.made == []


def test_a_service_without_requests_starts_no_thread_and_reads_nothing(tmp_path: Path) -> None:
    before = threading.active_count()
    cache = ThumbnailCache(tmp_path / "t", 1 << 20)
    ThumbnailService(None, None, cache)  # type: ignore[arg-type]
    assert threading.active_count() == before
    assert not (tmp_path / "t").exists()
