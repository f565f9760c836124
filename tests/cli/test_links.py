"""``comfy-assets duplicates --link`` and ``--undo``: copies become links and copies again, and no byte is lost."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import hash_run
from comfy_assets_node.comfy_assets.assets.maintenance import duplicates, hardlinks
from comfy_assets_node.comfy_assets.fs.paths import file_stat
from support.windows import symbolic_links

pytestmark = pytest.mark.slow
BIG = b"b" * 5000
NAMES = ("models/loras/kept.bin", "output/copy.bin")


def make(base: Any) -> None:
    """Two equal files, and two others that are equal."""
    base.write("models/loras/kept.bin", BIG, days_old=3)
    base.write("output/copy.bin", BIG, days_old=1).chmod(0o640)
    base.write("output/x.bin", b"x" * 300, days_old=2)
    base.write("output/y.bin", b"x" * 300, days_old=1)
    base.scanned()


def look(base: Any, name: str) -> tuple[bytes, int, int, bool]:
    """Return content, time, mode, and whether there is another hard link."""
    path = base.path / name
    info = path.stat()
    return path.read_bytes(), info.st_mtime_ns, stat.S_IMODE(info.st_mode), info.st_nlink > 1


def same_file(base: Any, *names: str) -> bool:
    return len({(base.path / name).stat().st_ino for name in names}) == 1


def rows_are_true(base: Any) -> None:
    """Check that every row matches the disk, so that no scan reads a file again."""
    for folder, name, size, mtime_ns, inode in base.query(
        "SELECT d.path, f.name, f.size, f.mtime_ns, f.inode FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.state = 1 AND f.missing = 0"
    ):
        assert (size, mtime_ns, inode) == file_stat(Path(folder, name).stat()), name


def link(base: Any, status: int = 0) -> dict[str, Any]:
    ran = base.run("duplicates", "--link", "--yes", "--json")
    assert ran.status == status, ran
    return dict(ran.json)


def undo(base: Any, log: str, status: int = 0) -> dict[str, Any]:
    ran = base.run("duplicates", "--undo", log, "--yes", "--json")
    assert ran.status == status, ran
    return dict(ran.json)


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of files that scans read from now on."""
    names: list[str] = []
    real = hash_run.read_file

    def read_file(file: Any, *rest: Any) -> Any:
        names.append(file.name)
        return real(file, *rest)

    monkeypatch.setattr(hash_run, "read_file", read_file)
    return names


def test_there_and_back(base: Any, read_names: list[str]) -> None:
    make(base)
    before = {name: look(base, name) for name in (*NAMES, "output/x.bin", "output/y.bin")}
    ids = base.query("SELECT id, uuid, content_id, tag_set_id, updated_at FROM assets ORDER BY id")
    read_names.clear()

    linked = link(base)
    assert (linked["linked"], linked["bytes"], linked["skipped"]) == (2, 5300, [])
    assert same_file(base, *NAMES) and same_file(base, "output/x.bin", "output/y.bin")
    assert look(base, NAMES[1]) == look(base, NAMES[0]) == (*before[NAMES[0]][:3], True)
    assert base.run("duplicates", "--json").json["groups"] == []
    rows_are_true(base)
    base.scanned()

    parted = undo(base, linked["log"])
    assert parted == {"parted": 2, "bytes": 5300, "skipped": [], "unchanged": 0}
    assert {name: look(base, name) for name in before} == before
    rows_are_true(base)
    base.scanned()

    assert read_names == []
    assert base.query("SELECT id, uuid, content_id, tag_set_id, updated_at FROM assets ORDER BY id") == ids
    assert base.hidden() == []
    assert undo(base, linked["log"]) == {"parted": 0, "bytes": 0, "skipped": [], "unchanged": 2}
    assert {name: look(base, name) for name in before} == before


def test_the_log_says_what_was_there(base: Any) -> None:
    make(base)
    was = (base.path / "output/copy.bin").stat()
    kept = (base.path / "models/loras/kept.bin").stat()
    log = Path(link(base)["log"])
    assert log.parent == base.store.parent and log.name.startswith("duplicates-")
    first = json.loads(log.read_text().splitlines()[0])
    assert first == {
        "path": str(base.path / "output/copy.bin"),
        "size": 5000,
        "hash": base.row("output/copy.bin").hash.hex(),
        "mtime_ns": was.st_mtime_ns,
        "mode": stat.S_IMODE(was.st_mode),
        "linked_to": str(base.path / "models/loras/kept.bin"),
        "linked_mtime_ns": kept.st_mtime_ns,
        "linked_inode": file_stat(kept)[2],
    }


@symbolic_links
def test_every_name_of_a_copy_is_linked(base: Any) -> None:
    base.write("output/kept.bin", BIG, days_old=3)
    base.write("output/a.bin", BIG, days_old=1)
    os.link(base.path / "output/a.bin", base.path / "input/b.bin")
    (base.path / "input/c.bin").symlink_to(base.path / "output/a.bin")
    linked = link(base.scanned())
    assert (linked["linked"], linked["bytes"], linked["skipped"]) == (1, 5000, [])
    assert same_file(base, "output/kept.bin", "output/a.bin", "input/b.bin", "input/c.bin")
    assert (base.path / "input/c.bin").is_symlink()
    rows_are_true(base)


@symbolic_links
def test_bytes_outside_the_library_are_linked_to_and_left_alone(base: Any) -> None:
    base.write("elsewhere/a.bin", BIG, days_old=1)
    (base.path / "input/a.bin").symlink_to(base.path / "elsewhere/a.bin")
    base.write("output/old.bin", BIG, days_old=2)
    link(base.scanned())
    assert same_file(base, "elsewhere/a.bin", "input/a.bin", "output/old.bin")
    assert (base.path / "input/a.bin").is_symlink() and not (base.path / "output/old.bin").is_symlink()
    rows_are_true(base)


def test_nothing_to_do_leaves_no_log(base: Any) -> None:
    base.write("output/a.bin", b"a")
    assert link(base.scanned()) == {"linked": 0, "bytes": 0, "skipped": [], "log": None}
    assert list(base.store.parent.glob("*.jsonl")) == []


def test_as_people_read_it(base: Any) -> None:
    make(base)
    ran = base.run("duplicates", "--link", "--yes")
    assert ran.out.startswith("2 copies replaced by links, 5.3 kB freed\nTo undo: comfy-assets duplicates --undo ")
    assert "changes all of them" in ran.err
    log = ran.out.split()[-1]
    assert base.run("duplicates", "--undo", log, "--yes").out == "2 links replaced by copies, 5.3 kB used\n"
    assert base.run("duplicates", "--undo", log, "--yes").out == (
        "0 links replaced by copies, 0 B used\n2 files already separate\n"
    )


@pytest.mark.parametrize("command", ["link", "undo"])
@pytest.mark.parametrize(
    ("answer", "arguments", "status", "changes"),
    [
        ("y\n", (), 0, True),
        ("YES\n", (), 0, True),
        ("n\n", (), 1, False),
        ("\n", (), 1, False),
        ("", (), 1, False),
        (None, (), 2, False),
        (None, ("--yes",), 0, True),
        ("n\n", ("--yes",), 0, True),
    ],
)
def test_confirmation(
    base: Any,
    someone_says: Callable[[str], None],
    command: str,
    answer: str | None,
    arguments: tuple[str, ...],
    status: int,
    changes: bool,
) -> None:
    make(base)
    wanted = ("--link",) if command == "link" else ("--undo", link(base)["log"])
    if answer is not None:
        someone_says(answer)
    before = same_file(base, *NAMES)
    ran = base.run("duplicates", *wanted, *arguments)
    assert ran.status == status
    assert same_file(base, *NAMES) == (before != changes)
    assert ("[y/N]" in ran.err) == (answer is not None and not arguments)
    if status == 2:
        assert (ran.out, ran.err) == ("", "comfy-assets: --yes is required if there is no terminal\n")


# Moment, file (the copy or the one to keep), what happens to it, and the reason that is reported.
def rewritten(path: Path) -> None:
    """Other bytes of the same length; the time is set back."""
    info = path.stat()
    with path.open("r+b") as stream:
        stream.seek(10)
        stream.write(b"!")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def appended(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def replaced(path: Path) -> None:
    """Another file of the same size and time has taken the place."""
    info = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"o" * info.st_size)
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(path)


def touched_just_now(path: Path) -> None:
    os.utime(path)


def removed(path: Path) -> None:
    path.unlink()


def made_a_symlink(path: Path) -> None:
    info = path.stat()
    elsewhere = path.parents[1] / "elsewhere.bin"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def words_for_nothing() -> str:
    """Return what the system says of a file that is not there."""
    with pytest.raises(FileNotFoundError) as caught:
        Path(__file__).with_name("not there").lstat()
    return str(caught.value.strerror)


COPY, KEPT = "output/copy.bin", "models/loras/kept.bin"
NOTHING = words_for_nothing()
CHANGES = [
    ("before", COPY, rewritten, "differs although it was recorded as equal"),
    ("before", COPY, appended, "the file changed since it was read"),
    ("before", COPY, replaced, "differs although it was recorded as equal"),
    ("before", COPY, touched_just_now, "the file changed since it was read"),
    ("before", COPY, removed, NOTHING),
    ("before", COPY, made_a_symlink, "the file is a symbolic link"),
    ("before", COPY, made_a_folder, "the file changed since it was read"),
    ("before", KEPT, rewritten, "differs although it was recorded as equal"),
    ("before", KEPT, appended, "the file to keep changed since it was read"),
    ("before", KEPT, replaced, "differs although it was recorded as equal"),
    ("before", KEPT, removed, NOTHING),
    ("before", KEPT, made_a_folder, "the file to keep changed since it was read"),
    ("compared", COPY, rewritten, "it changed while it was compared"),
    ("compared", COPY, appended, "it changed while it was compared"),
    ("compared", COPY, replaced, "it changed while it was compared"),
    ("compared", COPY, removed, NOTHING),
    ("compared", KEPT, rewritten, "the file to keep changed while it was compared"),
    ("compared", KEPT, appended, "the file to keep changed while it was compared"),
    ("compared", KEPT, replaced, "the file to keep changed while it was compared"),
    ("noted", COPY, rewritten, "it changed while it was being replaced"),
    ("noted", COPY, appended, "it changed while it was being replaced"),
    ("noted", COPY, replaced, "it changed while it was being replaced"),
    ("noted", COPY, removed, NOTHING),
    ("noted", KEPT, rewritten, "the file to keep changed while it was being linked to"),
    ("noted", KEPT, appended, "the file to keep changed while it was being linked to"),
    ("noted", KEPT, replaced, "the file to keep changed while it was being linked to"),
    ("noted", KEPT, removed, NOTHING),
]


def marks(moment: str, change: Callable[[Path], None]) -> list[pytest.MarkDecorator]:
    """Return the marks of a change that not all systems allow."""
    if change is made_a_symlink:
        return [symbolic_links]
    return [IN_THE_PLACE_OF_AN_OPEN_FILE] if moment == "compared" and change is replaced else []


IN_THE_PLACE_OF_AN_OPEN_FILE = pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is open")


@pytest.mark.parametrize(
    ("moment", "name", "change", "reason"),
    [
        pytest.param(*each, id=f"{each[0]}-{Path(each[1]).stem}-{each[2].__name__}", marks=marks(each[0], each[2]))
        for each in CHANGES
    ],
)
def test_what_changes_meanwhile_is_left_alone(
    base: Any,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    name: str,
    change: Callable[[Path], None],
    reason: str,
) -> None:
    make(base)
    at = {
        "before": (duplicates, "replace_by_link"),
        "compared": (hardlinks, "_common_digest"),
        "noted": (hardlinks, "_swap_in_link"),
    }
    module, function = at[moment]
    real = getattr(module, function)
    after: dict[str, Any] = {}

    def wrapped(*arguments: Any) -> Any:
        answer = real(*arguments) if moment == "compared" else None
        if not after:
            change(base.path / name)
            after.update(contents(base))
            if change is removed:
                after.pop(name, None)  # Wine lists it until it is closed, and so did Windows before version 10
        return answer if moment == "compared" else real(*arguments)

    monkeypatch.setattr(module, function, wrapped)
    linked = link(base, status=3)
    [skipped] = linked["skipped"]
    assert skipped["path"] == str(base.path / COPY)
    assert reason in skipped["reason"]
    assert (linked["linked"], linked["bytes"]) == (1, 300), "the other group is dealt with all the same"
    assert same_file(base, "output/x.bin", "output/y.bin")
    assert {n: c for n, c in contents(base).items() if n in after} == after
    assert base.hidden() == []
    # The log may contain the copy. Undoing changes only files that are as linking left them.
    undone = undo(base, linked["log"], status=3 if moment == "noted" and name == COPY and change in LOST else 0)
    assert undone["parted"] == 1
    assert {n: c for n, c in contents(base).items() if n in after} == after


LOST = (appended, removed)


def contents(base: Any) -> dict[str, bytes | None]:
    """Return the content of files, None for folders."""
    files = (path for kind in ("models/loras", "output") for path in (base.path / kind).iterdir())
    return {base.relative(str(path)): path.read_bytes() if path.is_file() else None for path in files}


def test_equal_damage_on_both_sides_is_noticed(base: Any) -> None:
    """Both files have the same new content, which is not recorded: an undo could not verify it."""
    make(base)
    for name in NAMES:
        rewritten(base.path / name)
    linked = link(base, status=3)
    assert "not the recorded one" in linked["skipped"][0]["reason"]
    assert not same_file(base, *NAMES)


def test_fresh_files_are_left_to_rest(base: Any) -> None:
    base.write("output/a.bin", BIG, days_old=1)
    base.write("output/b.bin", BIG, days_old=0)
    linked = link(base.scanned(), status=3)
    assert linked["skipped"] == [
        {"path": str(base.path / "output/b.bin"), "reason": "the file was written a moment ago"}
    ]


class Stat:
    """A stat result with other members."""

    def __init__(self, info: os.stat_result, **members: int) -> None:
        self._info = info
        vars(self).update(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._info, name)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"st_dev": -1}, "the files are on different volumes"),
        ({"st_uid": 12345}, "the files belong to different users or groups"),
        ({"st_gid": 12345}, "the files belong to different users or groups"),
        ({"st_ino": 0}, "the file system does not tell files apart"),
    ],
)
def test_pairs_that_cannot_share(
    base: Any, monkeypatch: pytest.MonkeyPatch, members: dict[str, int], reason: str
) -> None:
    make(base)
    real = Path.lstat
    monkeypatch.setattr(
        Path, "lstat", lambda self: Stat(real(self), **members) if self.name == "copy.bin" else real(self)
    )
    assert link(base, status=3)["skipped"] == [{"path": str(base.path / COPY), "reason": reason}]
    monkeypatch.undo()
    assert not same_file(base, *NAMES)
    assert base.hidden() == []


@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        ("replace", PermissionError(errno.EACCES, "The file is in use"), "The file is in use"),
        ("hardlink_to", OSError(errno.EPERM, "Operation not permitted"), "Operation not permitted"),
        ("hardlink_to", OSError(errno.EXDEV, "Cross-device link"), "Cross-device link"),
    ],
)
def test_what_the_system_refuses(
    base: Any, monkeypatch: pytest.MonkeyPatch, method: str, error: OSError, reason: str
) -> None:
    make(base)
    real = getattr(Path, method)

    def refuse(self: Path, other: Path) -> Any:
        if COPY in (base.relative(str(self)), base.relative(str(other))) or other.name == "kept.bin":
            raise error
        return real(self, other)

    before = {name: look(base, name) for name in NAMES}
    monkeypatch.setattr(Path, method, refuse)
    linked = link(base, status=3)
    assert (linked["linked"], linked["skipped"]) == (1, [{"path": str(base.path / COPY), "reason": reason}])
    assert {name: look(base, name) for name in NAMES} == before
    assert base.hidden() == []
    rows_are_true(base)


def test_a_file_system_that_runs_out_of_names(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        base.write(f"output/{number}.bin", BIG, days_old=9 - number)
    base.scanned()
    real = Path.hardlink_to

    def hardlink_to(self: Path, target: Path) -> None:
        if target.stat().st_nlink == 2:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        real(self, target)

    monkeypatch.setattr(Path, "hardlink_to", hardlink_to)
    linked = link(base)
    assert (linked["linked"], linked["bytes"]) == (2, 10_000)
    assert same_file(base, "output/0.bin", "output/1.bin")
    assert same_file(base, "output/2.bin", "output/3.bin")
    assert not same_file(base, "output/3.bin", "output/4.bin")
    assert undo(base, linked["log"])["parted"] == 2


def test_without_a_log_nothing_is_replaced(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(base)

    def full(self: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hardlinks.LinkLog, "_create", full)
    ran = base.run("duplicates", "--link", "--yes")
    assert ran.status == 1
    assert "The undo log cannot be written" in ran.err
    assert not same_file(base, *NAMES)
    assert base.hidden() == []


# What happens to a linked copy before the undo, and the reason that is reported.
PARTINGS = [
    (rewritten, "its content is not the one that was linked"),
    (appended, "it changed after it was linked"),
    (touched_just_now, "it changed after it was linked"),
    (removed, NOTHING),
    (made_a_folder, "it changed after it was linked"),
]


@pytest.mark.parametrize(("change", "reason"), PARTINGS, ids=[change.__name__ for change, _ in PARTINGS])
def test_undo_leaves_alone_what_changed(base: Any, change: Callable[[Path], None], reason: str) -> None:
    make(base)
    log = link(base)["log"]
    change(base.path / COPY)
    before = contents(base)
    parted = undo(base, log, status=3)
    [skipped] = parted["skipped"]
    assert (skipped["path"], parted["parted"]) == (str(base.path / COPY), 1)
    assert reason in skipped["reason"]
    assert contents(base) == before
    assert not same_file(base, "output/x.bin", "output/y.bin")
    assert base.hidden() == []


def test_undo_leaves_alone_what_is_written_while_it_copies(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(base)
    log = link(base)["log"]
    real = hardlinks._restore_attributes

    def restore_attributes(path: Path, *rest: Any) -> None:
        real(path, *rest)
        if rest[1].path == str(base.path / COPY):
            appended(base.path / COPY)

    monkeypatch.setattr(hardlinks, "_restore_attributes", restore_attributes)
    assert undo(base, log, status=3)["skipped"] == [
        {"path": str(base.path / COPY), "reason": "it changed while it was copied"}
    ]
    assert (base.path / COPY).read_bytes() == BIG + b"more"
    assert base.hidden() == []


def test_undo_when_the_kept_name_is_gone(base: Any) -> None:
    make(base)
    was = look(base, COPY)
    log = link(base)["log"]
    (base.path / KEPT).unlink()
    assert undo(base, log)["parted"] == 2
    assert look(base, COPY) == was


def test_undo_with_a_full_disk(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(base)
    log = link(base)["log"]
    real = hardlinks._copy

    def copy(source: Path, *rest: Any) -> None:
        real(source, *rest)
        if source.name == "copy.bin":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hardlinks, "_copy", copy)
    parted = undo(base, log, status=3)
    assert parted["skipped"] == [{"path": str(base.path / COPY), "reason": "No space left on device"}]
    assert same_file(base, *NAMES)
    assert base.hidden() == []
    monkeypatch.undo()
    assert undo(base, log) == {"parted": 1, "bytes": 5000, "skipped": [], "unchanged": 1}


@pytest.mark.parametrize(
    ("text", "status", "parted"),
    [
        ("", 0, 0),
        ("{first}\n", 0, 1),
        ("{first}\n{second}", 0, 1),
        ('{first}\n{"path": "/x', 0, 1),
        ('{first}\n{"path": "/x"}\n', 1, 0),
        ("not json\n{first}\n", 1, 0),
        ("\n", 1, 0),
        ("[]\n", 1, 0),
    ],
)
def test_logs_as_they_may_be(base: Any, text: str, status: int, parted: int) -> None:
    make(base)
    log = Path(link(base)["log"])
    first, second = log.read_text().splitlines()
    log.write_text(text.replace("{first}", first).replace("{second}", second))
    ran = base.run("duplicates", "--undo", str(log), "--yes", "--json")
    assert ran.status == status
    if status == 0:
        assert ran.json["parted"] == parted
    else:
        assert "is not an entry of an undo log" in ran.err
        assert same_file(base, *NAMES)


def test_a_log_cannot_touch_what_was_never_linked(base: Any) -> None:
    """A log is an untrusted file: its entries are checked against the disk."""
    make(base)
    log = Path(link(base)["log"])
    victim = base.write("input/victim.bin", b"v" * 5000, days_old=5)
    entry = json.loads(log.read_text().splitlines()[0])
    log.write_text(json.dumps({**entry, "path": str(victim)}) + "\n")
    before = look(base, "input/victim.bin")
    assert len(undo(base, str(log), status=3)["skipped"]) == 1
    assert look(base, "input/victim.bin") == before
