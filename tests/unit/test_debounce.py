"""When what was heard of is taken: by a clock that the test turns, over real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.assets.index import watcher
from comfy_assets_node.comfy_assets.assets.index.watcher import REMOVAL_S, STABLE_S, Debouncer
from comfy_assets_node.comfy_assets.fs.paths import FOLDER, path_state


class Bench:
    """A folder, a clock, and what settles there."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.now = 1000.0
        self.settling = Debouncer(clock=lambda: self.now)

    def write(self, name: str, content: str = "x") -> str:
        (self.base / name).write_text(content)
        return str(self.base / name)

    def hear(self, name: str) -> None:
        self.settling.note_event(str(self.base / name), path_state(str(self.base / name)))

    def taken(self, after: float = 0.0) -> set[str]:
        self.now += after
        return {Path(path).name for path in self.settling.pop_stable()}

    def is_stable(self, name: str) -> bool:
        return self.settling.is_stable(str(self.base / name), path_state(str(self.base / name)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_file_is_taken_once_it_has_been_quiet(bench: Bench) -> None:
    bench.write("a")
    bench.hear("a")
    assert bench.taken(STABLE_S - 0.01) == set()
    assert not bench.is_stable("a")
    assert bench.taken(0.01) == {"a"}
    assert bench.is_stable("a")
    assert bench.taken(STABLE_S) == set()


def test_whatever_is_heard_of_a_file_begins_the_wait_anew(bench: Bench) -> None:
    bench.write("a")
    for _ in range(5):
        bench.hear("a")
        assert bench.taken(STABLE_S - 0.01) == set()
    assert bench.taken(0.01) == {"a"}


def test_a_file_that_grows_while_nobody_tells_of_it(bench: Bench) -> None:
    bench.write("a")
    bench.hear("a")
    for length in range(2, 6):
        bench.write("a", "x" * length)
        assert bench.taken(STABLE_S) == set()
    assert bench.taken(STABLE_S) == {"a"}


def test_what_is_found_unsettled_is_waited_for_without_being_heard_of(bench: Bench) -> None:
    bench.write("a")
    assert not bench.is_stable("a")
    bench.now += STABLE_S / 2
    assert not bench.is_stable("a")  # found again, which says nothing new
    assert bench.taken(STABLE_S / 2) == {"a"}


def test_a_removal_takes_longer_than_an_arrival(bench: Bench) -> None:
    bench.write("new")
    bench.hear("old")
    bench.hear("new")
    assert bench.taken(STABLE_S) == {"new"}
    bench.hear("old")  # that it is gone is heard twice
    assert bench.taken(REMOVAL_S - STABLE_S) == {"old"}
    assert bench.settling.is_stable(str(bench.base / "old"), None)


def test_a_removal_that_nobody_has_told_of_takes_longer_still(bench: Bench) -> None:
    bench.settling.patience = 7.0
    assert not bench.is_stable("found")
    bench.hear("heard")
    assert bench.taken(REMOVAL_S) == {"heard"}
    assert bench.taken(7.0) == {"found"}


def test_a_file_that_is_back_in_time_was_never_away(bench: Bench) -> None:
    bench.hear("a")
    bench.write("a")
    assert bench.taken(REMOVAL_S) == set()
    assert bench.taken(STABLE_S) == {"a"}
    assert not bench.settling.is_stable(str(bench.base / "a"), None)


def test_a_folder(bench: Bench) -> None:
    (bench.base / "sub").mkdir()
    bench.hear("sub")
    assert bench.settling.is_stable(str(bench.base / "sub"), FOLDER) is False
    assert bench.taken(STABLE_S) == {"sub"}


def test_what_came_to_nothing_is_taken_again(bench: Bench) -> None:
    bench.write("a")
    bench.hear("a")
    assert bench.taken(STABLE_S) == {"a"}
    bench.settling.restore()
    assert bench.taken(STABLE_S) == {"a"}


def test_no_more_is_taken_than_can_be_written_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_MOST_AT_ONCE", 2)
    for name in "abc":
        bench.write(name)
        bench.hear(name)
    assert (bench.taken(STABLE_S), bench.taken(), bench.taken()) == ({"a", "b"}, {"c"}, set())
