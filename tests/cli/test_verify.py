"""``comfy-assets verify``: files that changed, vanished or were damaged since they were read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.maintenance.verify import Verifier

SMALL, LARGE = b"s" * 1000, b"L" * (5 << 20)


def flipped(path: Path, place: int = -1) -> None:
    """One bit differs; the time is set back."""
    info = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def flipped_at_the_start(path: Path) -> None:
    flipped(path, 0)


def restored(path: Path) -> None:
    """Another file with the same bytes and time, as from a backup."""
    info = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(path)


def appended(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def cut_short(path: Path) -> None:
    """A shorter file with the old time."""
    info = path.stat()
    os.truncate(path, info.st_size - 1)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def without_its_folder(path: Path) -> None:
    path.unlink()
    path.parent.rename(path.parent.with_name("elsewhere"))


def a_folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def untouched(path: Path) -> None:
    pass


# What happens to the file, the reported problem, and the exit status.
FATES: list[tuple[Callable[[Path], None], str | None, int]] = [
    (untouched, None, 0),
    (restored, None, 0),
    (flipped, "damaged", 3),
    (flipped_at_the_start, "damaged", 3),
    (appended, "changed", 0),
    (cut_short, "changed", 0),
    (os.utime, "changed", 0),
    (os.unlink, "missing", 0),
    (without_its_folder, "missing", 0),
    (a_folder_in_its_place, "unreadable", 3),
]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("fate", "problem", "status"), FATES, ids=[fate.__name__ for fate, _, _ in FATES])
def test_fates(base: Any, content: bytes, fate: Callable[[Path], None], problem: str | None, status: int) -> None:
    path = base.write("output/sub/a.bin", content)
    base.write("output/b.bin", b"b")
    base.write("output/empty.bin", b"")
    base.scanned()
    before = base.everything()
    fate(path)
    ran = base.run("verify", "--json")
    assert (ran.status, ran.err) == (status, "")
    found = [(f["path"], f["problem"]) for f in ran.json["findings"]]
    assert found == ([] if problem is None else [(str(path), problem)])
    kinds = {"damaged": 0, "unreadable": 0, "changed": 0, "missing": 0, **({problem: 1} if problem else {})}
    assert {kind: ran.json[kind] for kind in kinds} == kinds
    assert (ran.json["complete"], ran.json["intact"]) == (True, 2 + (problem is None))
    assert base.everything() == before, "nothing is written"
    assert base.run("verify", "--json").json == ran.json, "so that it says the same again"


def test_what_is_said_of_damage(base: Any) -> None:
    path = base.write("output/a.bin", SMALL)
    base.scanned()
    flipped(path)
    ran = base.run("verify", "--json")
    assert ran.json["findings"] == [
        {
            "path": str(path),
            "problem": "damaged",
            "recorded": "blake3:" + blake3(SMALL).hexdigest(),
            "found": "blake3:" + blake3(path.read_bytes()).hexdigest(),
        }
    ]
    assert base.run("verify").out == (
        f"      DAMAGED  {path}\n0 files intact, 1 damaged, 0 unreadable, 0 changed, 0 missing\n"
    )


def test_a_bad_sector(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is reported and the others are read all the same."""
    for number in range(5):
        base.write(f"output/{number}.bin", b"%d" % number * 200)
    base.scanned()
    real = Verifier._digest

    def digest(self: Verifier, handle: int, size: int) -> bytes:
        found = real(self, handle, size)
        if found == blake3(b"3" * 200).digest():
            raise OSError(errno.EIO, "Input/output error")
        return found

    monkeypatch.setattr(Verifier, "_digest", digest)
    ran = base.run("verify", "--json")
    assert (ran.status, ran.json["intact"]) == (3, 4)
    assert ran.json["findings"][0]["reason"] == "Input/output error"


def test_what_is_written_while_it_is_read_has_changed(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = base.write("output/a.bin", SMALL)
    base.scanned()
    real = Verifier._digest

    def digest(self: Verifier, handle: int, size: int) -> bytes:
        appended(path)
        return real(self, handle, size)

    monkeypatch.setattr(Verifier, "_digest", digest)
    ran = base.run("verify", "--json")
    assert (ran.status, [f["problem"] for f in ran.json["findings"]]) == (0, ["changed"])


def test_hard_links_are_read_once_and_all_reported(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [base.write("output/0.bin", LARGE)]
    for number in range(1, 4):
        paths.append(base.path / f"input/{number}.bin")
        os.link(paths[0], paths[-1])
    base.scanned()
    flipped(paths[0])
    sizes: list[int] = []
    real = Verifier._digest

    def digest(self: Verifier, handle: int, size: int) -> bytes:
        sizes.append(size)
        return real(self, handle, size)

    monkeypatch.setattr(Verifier, "_digest", digest)
    ran = base.run("verify", "--json")
    assert sizes == [len(LARGE)]
    assert sorted(f["path"] for f in ran.json["findings"]) == sorted(map(str, paths))
    assert ran.json["damaged"] == 4


def test_pages_and_slices(base: Any) -> None:
    """More files than one page; each is counted once."""
    for number in range(1100):
        base.write(f"output/{number % 9}/{number}.bin", b"%d" % number)
    base.write("output/large.bin", LARGE)
    base.scanned()
    for number in range(0, 1100, 100):
        flipped(base.path / f"output/{number % 9}/{number}.bin")
    ran = base.run("verify", "--json")
    assert (ran.json["intact"], ran.json["damaged"], len(ran.json["findings"])) == (1090, 11, 11)


def test_what_is_not_on_record_is_not_read(base: Any) -> None:
    base.write("output/a.bin", SMALL)
    base.run("scan", "--no-hash")
    assert base.run("verify", "--json").json["intact"] == 0
    base.scanned()
    os.unlink(base.path / "output/a.bin")
    base.scanned()
    ran = base.run("verify", "--json")
    assert (ran.json["intact"], ran.json["findings"]) == (0, []), "known to be missing already"


def test_a_damaged_copy_is_not_linked(base: Any) -> None:
    base.write("output/a.bin", SMALL, days_old=2)
    base.write("output/b.bin", SMALL, days_old=1)
    base.scanned()
    flipped(base.path / "output/b.bin")
    assert base.run("duplicates", "--link", "--yes").status == 3
    assert base.run("verify", "--json").json["damaged"] == 1
