"""Which asset a file is that has moved, where it could be several: each keeps its id and what users have given it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.assets.index import hash_run, scanner, walker
from comfy_assets_node.comfy_assets.assets.index.scanner import ScanScope
from comfy_assets_node.comfy_assets.background.interruption import CancelToken
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import tags as tag_rows
from comfy_assets_node.comfy_assets.fs import paths
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples

Marks = dict[str, tuple[str, str]]  # by path below the roots: the id, and where the user had found the file then
SAME = b"the same"


def folders_of(base: Path) -> HostFolders:
    """Models, input and output below ``base``."""
    return HostFolders(
        (
            LibraryFolder("models", base / "models"),
            LibraryFolder("models", base / "models" / "loras", "loras", frozenset({".safetensors"})),
            LibraryFolder("input", base / "input"),
            LibraryFolder("output", base / "output"),
        )
    )


class Shelf:
    """A library whose folders are below a base that may change."""

    def __init__(self, services: Services, host: MemoryHost, base: Path) -> None:
        self.services, self.host, self.base = services, host, base
        self._time_ns = 1_600_000_000_123_456_700
        self.use(base)

    def use(self, base: Path) -> None:
        """Have the folders below another base."""
        self.base = base
        self.host.current_folders = folders_of(base)
        for kind in ("models/loras", "input", "output"):
            (base / kind).mkdir(parents=True, exist_ok=True)

    def write(self, relative: str, content: bytes) -> None:
        """Write a file with a time of its own."""
        path = self.base / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._time_ns += 1_000_000_000
        os.utime(path, ns=(1, self._time_ns))

    def move(self, *pairs: tuple[str, str]) -> None:
        """Move files or folders, all at once: what is to go where another lies goes there after that has gone."""
        for number, (source, _) in enumerate(pairs):
            (self.base / source).rename(self.base / f"output/.{number}")
        for number, (_, target) in enumerate(pairs):
            (self.base / target).parent.mkdir(parents=True, exist_ok=True)
            (self.base / f"output/.{number}").rename(self.base / target)

    async def scan(self, *, hash_files: bool = True) -> dict[str, Any]:
        """Scan and, if asked for, read to the end; answers the status."""
        indexer = self.services.indexer
        indexer._hash_files = hash_files
        task, _ = indexer.start_scan()
        await task.done.wait()
        await indexer.finish()
        status = indexer.status()
        assert status["status"] == "completed", status
        return status

    async def fill(self, contents: Mapping[str, bytes]) -> Marks:
        """Write files that come one after another, read them, and have a user mark each."""
        for relative, content in contents.items():
            self.write(relative, content)
            await self.scan()
        await self.mark(*contents)
        return await self.marks()

    async def mark(self, *paths: str) -> None:
        """Give assets, by path, a tag and metadata that tell where their file lies now."""
        async with self.services.db.transaction() as tx:
            for path in paths:
                folder, _, name = path.rpartition("/")
                row_id = await tx.fetch_value(
                    "SELECT f.id FROM files f JOIN folders d ON d.id = f.folder_id WHERE d.logical = ? AND f.name = ?",
                    (folder, name),
                )
                await tag_rows.retag(tx, [row_id], add=(f"at {path}",))
                await tx.execute(
                    "UPDATE assets SET user_metadata = json_object('at', ?) WHERE id = ?", (f"at {path}", row_id)
                )

    async def rows(self) -> list[tuple[str, str, bool, list[str], str | None]]:
        """Of each asset: path below the roots, id, whether it is missing, tags, and the user's metadata."""
        rows = await self.services.db.fetch_all(
            "SELECT d.logical || '/' || f.name, a.uuid, f.missing, l.tags, a.user_metadata ->> '$.at' FROM files f"
            " JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id"
            " JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id ORDER BY 1, f.missing"
        )
        return [(path, uuid, bool(missing), msgspec.json.decode(tags), at) for path, uuid, missing, tags, at in rows]

    async def marks(self, *, missing: bool = False) -> Marks:
        """What the assets have whose files are there, or are missing."""
        found: Marks = {}
        for path, uuid, is_missing, tags, at in await self.rows():
            own = [tag for tag in tags if tag.startswith("at ")]
            assert own == ([at] if at else []) and ("missing" in tags) == is_missing
            if is_missing == missing:
                assert path not in found
                found[path] = (uuid, at or "")
        return found


@pytest.fixture
async def shelf(make_library: Callable[..., Any], tmp_path: Path) -> Shelf:
    """An empty library below a base of its own."""
    library = await make_library(Config(scan_on_start=False))
    return Shelf(library.services, library.host, tmp_path / "one")


def moved_as(before: Marks, *pairs: tuple[str, str]) -> Marks:
    """What is to be where, after these files have moved."""
    renames = dict(pairs)
    return {renames.get(path, path): found for path, found in before.items()}


# How a base folder comes to be elsewhere: as the very same files, or as others, with or without their times.
def renamed(source: Path, target: Path) -> None:
    source.rename(target)


def copied(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    shutil.rmtree(source)


def copied_with_times(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=shutil.copy2)
    for path in source.rglob("*"):
        if path.is_file():
            os.utime(target / path.relative_to(source), ns=(1, path.stat().st_mtime_ns))
    shutil.rmtree(source)


WAYS = (renamed, copied, copied_with_times)

# The order of ids is not the order of names, which is not that of paths.
EQUAL = {
    "other names": ["output/b.png", "output/a.png", "output/c.png"],
    "other folders": ["output/z/x.png", "output/a/x.png", "output/x.png", "output/a/z/x.png"],
    "other roots": ["output/x.png", "input/x.png", "models/x.png", "models/loras/x.png"],
    "folders with equal names": ["output/a/b/x.png", "output/b/x.png", "output/b/a/x.png", "output/a/x.png"],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("paths", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("batch", [1, 2, 1024])
async def test_a_base_folder_elsewhere(
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[Path, Path], None],
    paths: list[str],
    batch: int,
) -> None:
    """ComfyUI was moved to another place; files are read, and so known again, some at a time."""
    monkeypatch.setattr(hash_run, "_SMALL_BATCH", batch)
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", batch)
    contents = dict.fromkeys(paths, SAME) | {"output/other.png": b"another!", "output/long.png": b"longer than it"}
    before = await shelf.fill(contents)
    way(tmp_path / "one", tmp_path / "two")
    shelf.use(tmp_path / "two")
    status = await shelf.scan()
    assert await shelf.marks() == before
    assert await shelf.marks(missing=True) == {}
    assert status["moved"] == len(contents)
    assert await shelf.services.db.fetch_all("SELECT * FROM newcomers") == []


@pytest.mark.parametrize("way", [renamed, copied])
@pytest.mark.parametrize("target", ["output/other", "input/deep/er/tree", "output/other/b", "models/loras/tree"])
async def test_a_folder_elsewhere(shelf: Shelf, way: Callable[[Path, Path], None], target: str) -> None:
    """Also where folders in it are called as it was, or is now."""
    paths = ["x.png", "b/x.png", "tree/x.png", "b/tree/x.png", "tree/b/x.png", "tree/tree/x.png", "b/b/x.png"]
    before = await shelf.fill({f"output/tree/{path}": SAME for path in reversed(paths)})
    (shelf.base / target).parent.mkdir(parents=True, exist_ok=True)
    way(shelf.base / "output/tree", shelf.base / target)
    await shelf.scan()
    assert await shelf.marks() == moved_as(before, *((f"output/tree/{path}", f"{target}/{path}") for path in paths))


A, B, C, D = "output/a.png", "output/b.png", "output/c.png", "input/d.png"
FEW = {B: SAME, A: SAME, D: b"another!"}

# What is moved, and where each of the assets is then that had files in the first place.
AT_ONCE: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "one of two": ([(B, C)], [(B, C)]),
    "one of two, to a folder": ([(A, "input/x/a.png")], [(A, "input/x/a.png")]),
    "both, to other names": ([(A, "output/z.png"), (B, "output/y.png")], [(A, "output/z.png"), (B, "output/y.png")]),
    "both, to another folder": ([(A, "input/a.png"), (B, "input/b.png")], [(A, "input/a.png"), (B, "input/b.png")]),
    "names are exchanged": ([(A, B), (B, A)], [(A, B), (B, A)]),
    "names of different files are exchanged": ([(A, D), (D, A)], [(A, D), (D, A)]),
    "round a circle": ([(A, B), (B, D), (D, A)], [(A, B), (B, D), (D, A)]),
    "one after the other": ([(A, B), (B, D), (D, C)], [(A, B), (B, D), (D, C)]),
}


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize(("moves", "expected"), AT_ONCE.values(), ids=AT_ONCE)
@pytest.mark.parametrize("batch", [1, 500])
async def test_several_move_at_once(
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    moves: list[tuple[str, str]],
    expected: list[tuple[str, str]],
    hashed: bool,
    batch: int,
) -> None:
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", batch)
    before = await shelf.fill(FEW)
    if not hashed:
        async with shelf.services.db.transaction() as tx:
            await tx.execute("UPDATE files SET state = 0")
            await tx.execute("UPDATE assets SET content_id = NULL")
    shelf.move(*moves)
    await shelf.scan(hash_files=hashed)
    assert await shelf.marks() == moved_as(before, *expected)
    assert await shelf.marks(missing=True) == {}
    await shelf.scan()
    assert await shelf.marks() == moved_as(before, *expected)
    for asset in await names_and_files(shelf):
        assert asset[0] == asset[1]


async def names_and_files(shelf: Shelf) -> list[tuple[str, str]]:
    rows = await shelf.services.db.fetch_all("SELECT a.name, f.name FROM assets a JOIN files f ON f.id = a.id")
    return [tuple(row) for row in rows]


@dataclass(frozen=True)
class Replaced:
    """Files that move to where others are, of assets that somebody has marked or nobody has; and what is where then.

    Places and assets are told by the letters of their first paths; ``written`` are files that are written anew.
    """

    moves: str
    marked: str
    there: str
    missing: str
    written: str = ""


PLACES = {"a": A, "b": B, "c": C, "d": D, "k": "output/kept/a.png", "~": "output/a.png~", "%": "output/a.bak"}
REPLACED = {
    "written over, both marked": Replaced("ab", "ab", there="ba cc", missing="bb"),
    "written over, that alone marked": Replaced("ab", "b", there="bb cc", missing="aa"),
    "written over, the other marked": Replaced("ab", "a", there="ba cc", missing="bb"),
    "written over, none marked": Replaced("ab", "", there="ba cc", missing="bb"),
    "the first of a row is gone": Replaced("bc ab", "abc", there="cb ba", missing="cc"),
    "a row whose end alone is marked": Replaced("bc ab", "c", there="cc ba", missing="bb"),
    "a row whose beginning alone is marked": Replaced("bc ab", "a", there="cb ba", missing="cc"),
    "the name is used anew": Replaced("ak", "abc", written="a", there="ka a- bb cc", missing=""),
    "the name is used anew by nobody's file": Replaced("ak", "", written="a", there="ka a- bb cc", missing=""),
    "a row at whose end a name is used anew": Replaced("bk ab", "abc", written="a", there="kb ba a- cc", missing=""),
    "another has moved and its name is used anew": Replaced("ab", "ab", written="a", there="ba a- cc", missing="bb"),
    "a program keeps what was there before": Replaced("a~", "abc", written="a", there="aa ~- bb cc", missing=""),
    "a program keeps it with another suffix": Replaced("a%", "abc", written="a", there="aa %- bb cc", missing=""),
    "written over in place": Replaced("", "abc", written="a", there="aa bb cc", missing=""),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("has_inodes", [True, False])
async def test_files_in_the_places_of_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, case: Replaced, has_inodes: bool
) -> None:
    if not has_inodes:
        without_inodes(monkeypatch)
    contents = {PLACES[letter]: letter.encode() * 100 for letter in "abc"}
    for path, content in contents.items():
        shelf.write(path, content)
    await shelf.scan()
    ids = {letter: (await shelf.marks())[PLACES[letter]][0] for letter in "abc"}
    await shelf.mark(*(PLACES[letter] for letter in case.marked))
    for source, target in (tuple(move) for move in case.moves.split()):
        (shelf.base / PLACES[target]).parent.mkdir(exist_ok=True)
        (shelf.base / PLACES[source]).replace(shelf.base / PLACES[target])
    for letter in case.written:
        shelf.write(PLACES[letter], b"new")
    await shelf.scan()

    def expected(text: str) -> dict[str, str | None]:
        return {place: ids.get(asset) for place, asset in (tuple(pair) for pair in text.split())}

    for _ in range(2):
        there, missing = await shelf.marks(), await shelf.marks(missing=True)
        found = {letter: there[path][0] for letter, path in PLACES.items() if path in there}
        assert {i if i in ids.values() else None for i in found.values()} == {*expected(case.there).values()}
        assert {k: v if v in ids.values() else None for k, v in found.items()} == expected(case.there)
        assert {i for i, _ in missing.values()} == {*expected(case.missing).values()}
        for asset_id, mark in (*there.values(), *missing.values()):
            letter = next((letter for letter, known in ids.items() if known == asset_id), "-")
            assert mark == (f"at {PLACES[letter]}" if letter in case.marked else "")
        assert await hashes(shelf) == {
            path: blake3((shelf.base / path).read_bytes()).digest() for path in await shelf.marks()
        }
        await shelf.scan()


def without_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have listings tell no inodes, as on Windows."""
    for module in (walker, paths):
        real = module.file_stat
        monkeypatch.setattr(module, "file_stat", lambda info, real=real: (*real(info)[:2], 0))


async def hashes(shelf: Shelf) -> dict[str, bytes]:
    """By path below the roots, what the files hold that are there."""
    rows = await shelf.services.db.fetch_all(
        "SELECT d.logical || '/' || f.name, c.hash FROM files f JOIN folders d ON d.id = f.folder_id"
        " JOIN assets a ON a.id = f.id JOIN contents c ON c.id = a.content_id WHERE f.missing = 0"
    )
    return dict(rows)


@pytest.mark.parametrize("is_link", [False, True])
async def test_what_one_place_alone_does_not_tell_waits_for_the_other(shelf: Shelf, is_link: bool) -> None:
    """A file that looks as another did is that one if it is not there any more; else they are links of one file."""
    before = await shelf.fill({A: b"one", B: b"two!"})
    if is_link:
        (shelf.base / B).unlink()
        os.link(shelf.base / A, shelf.base / B)
    else:
        shelf.move((A, B), (B, A))

    async def look(*paths: str) -> list[str]:
        wanted = ScanScope()
        for path in paths:
            wanted.add(str(shelf.base / path))
        progress = await shelf.services.indexer.scanner.scan_scope(wanted, lambda *_: True, CancelToken())
        return progress.deferred

    both = [str(shelf.base / B), str(shelf.base / A)]
    known = await shelf.services.db.fetch_all("SELECT * FROM files")
    assert await look(B) == ([] if is_link else both)
    assert (await shelf.services.db.fetch_all("SELECT * FROM files") == known) is not is_link
    assert await look(A, B) == []
    assert await shelf.marks() == (before if is_link else moved_as(before, (A, B), (B, A)))


# What may lie in a tree, and in which order it came there.
TREES = st.dictionaries(
    st.builds(
        lambda folders, name: "/".join((*folders, name)),
        st.lists(st.sampled_from(["a", "b", "tree", "other"]), max_size=3),
        st.sampled_from(["x.png", "y.png", "z.png"]),
    ),
    st.sampled_from([b"one", b"two", b"another", b"a longer one"]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=examples(15, 60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    contents=TREES,
    target=st.sampled_from(["", "output/other", "output/x.png", "input/other/tree"]),
    way=st.sampled_from(WAYS),
    batch=st.sampled_from([1, 3, 1024]),
)
def test_whatever_moves_as_a_whole_stays_what_it_was(
    contents: dict[str, bytes], target: str, way: Callable[[Path, Path], None], batch: int
) -> None:
    """A tree, or all of the base folder when ``target`` is empty, with whatever files in it are equal."""

    async def check() -> None:
        with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
            patch.setattr(hash_run, "_SMALL_BATCH", batch)
            patch.setattr(scanner, "_BATCH_FOLDERS", batch)
            one, two = Path(scratch) / "one", Path(scratch) / "two"
            host = MemoryHost(Path(scratch) / "store", HostFolders(()))
            services = Services(host, Config(scan_on_start=False))
            await services.start()
            try:
                shelf = Shelf(services, host, one)
                before = await shelf.fill({f"output/tree/{path}": content for path, content in contents.items()})
                if target:
                    (one / target).parent.mkdir(parents=True, exist_ok=True)
                    way(one / "output/tree", one / target)
                    before = {path.replace("output/tree", target, 1): found for path, found in before.items()}
                else:
                    way(one, two)
                    shelf.use(two)
                await shelf.scan()
                assert await shelf.marks() == before
                assert await shelf.marks(missing=True) == {}
            finally:
                await services.stop()

    asyncio.run(check())
