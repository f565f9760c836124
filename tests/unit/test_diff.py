"""What has to change so that the store says what the disk says."""

from __future__ import annotations

import pytest
from comfy_assets_node.comfy_assets.assets.index.apply import FileChanges, KnownFile, defer_unstable, reconcile
from comfy_assets_node.comfy_assets.models import FileStat
from hypothesis import given
from hypothesis import strategies as st

S = (10, 1000, 7)
PRESENT, MISSING = KnownFile(1, S, False), KnownFile(1, S, True)


@pytest.mark.parametrize(
    ("known", "seen", "expected"),
    [
        ({}, {}, FileChanges()),
        ({}, {"a": S}, FileChanges(new={"a": S})),
        ({"a": PRESENT}, {"a": S}, FileChanges()),
        ({"a": PRESENT}, {"a": (11, 1000, 7)}, FileChanges(changed=[(PRESENT, (11, 1000, 7))])),
        ({"a": PRESENT}, {"a": (10, 999, 7)}, FileChanges(changed=[(PRESENT, (10, 999, 7))])),
        ({"a": PRESENT}, {"a": (10, 1000, 8)}, FileChanges(renumbered=[(PRESENT, (10, 1000, 8))])),
        ({"a": PRESENT}, {}, FileChanges(gone=[PRESENT])),
        ({"a": PRESENT}, {"b": S}, FileChanges(new={"b": S}, gone=[PRESENT])),
        ({"a": MISSING}, {}, FileChanges()),
        ({"a": MISSING}, {"a": S}, FileChanges(back=[(MISSING, S)])),
        ({"a": MISSING}, {"a": (10, 1000, 8)}, FileChanges(back=[(MISSING, (10, 1000, 8))])),
        ({"a": MISSING}, {"a": (11, 1000, 7)}, FileChanges(changed=[(MISSING, (11, 1000, 7))])),
    ],
)
def test_table(known: dict[str, KnownFile], seen: dict[str, FileStat], expected: FileChanges) -> None:
    assert reconcile(known, seen) == expected


names = st.sampled_from("abcdef")
stats = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@given(known=st.dictionaries(names, st.tuples(stats, st.booleans())), seen=st.dictionaries(names, stats))
def test_applying_the_changes_gives_what_was_seen(
    known: dict[str, tuple[FileStat, bool]], seen: dict[str, FileStat]
) -> None:
    rows = {name: KnownFile(i, stat, missing) for i, (name, (stat, missing)) in enumerate(known.items())}
    names_by_id = {row.id: name for name, row in rows.items()}
    changes = reconcile(rows, seen)
    model = {name: (row.stat, row.missing) for name, row in rows.items()}
    for name, stat in changes.new.items():
        assert name not in model
        model[name] = (stat, False)
    for row, stat in (*changes.changed, *changes.back, *changes.renumbered):
        model[names_by_id[row.id]] = (stat, False)
    for row in changes.gone:
        model[names_by_id[row.id]] = (row.stat, True)
    assert {name: stat for name, (stat, missing) in model.items() if not missing} == seen
    assert reconcile({n: KnownFile(0, s, m) for n, (s, m) in model.items()}, seen) == FileChanges()


@given(
    known=st.dictionaries(names, st.tuples(stats, st.booleans())),
    seen=st.dictionaries(names, stats),
    believed=st.sets(names),
)
def test_what_is_held_back_is_neither_new_nor_changed_nor_gone(
    known: dict[str, tuple[FileStat, bool]], seen: dict[str, FileStat], believed: set[str]
) -> None:
    """The names that are believed are treated as if there were no others."""
    rows = {name: KnownFile(i, stat, missing, name) for i, (name, (stat, missing)) in enumerate(known.items())}
    changes, everything = reconcile(rows, seen), reconcile(rows, seen)

    def believe(name: str, stat: FileStat | None) -> bool:
        assert stat == seen.get(name)
        return name in believed

    held = defer_unstable(changes, believe)
    part = reconcile(
        {name: row for name, row in rows.items() if name in believed},
        {name: stat for name, stat in seen.items() if name in believed},
    )
    assert (changes.new, changes.changed, changes.gone) == (part.new, part.changed, part.gone)
    assert (changes.back, changes.renumbered) == (everything.back, everything.renumbered)
    assert held == (changes != everything)
