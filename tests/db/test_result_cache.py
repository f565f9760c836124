"""What searches have found is kept for one version of the indexes, up to a number."""

from __future__ import annotations

from comfy_assets_node.comfy_assets.db.caches import ResultCache


def test_one_version_at_a_time() -> None:
    memory = ResultCache()
    memory.put("a", 1, b"1")
    assert (memory.get("a", 1), memory.get("a", 2), memory.get("b", 1)) == (b"1", None, None)
    memory.put("b", 2, b"2")
    assert (memory.get("a", 1), memory.get("a", 2), memory.get("b", 2)) == (None, None, b"2")
    memory.put("a", 1, b"late")
    assert (memory.get("a", 1), memory.get("b", 2)) == (None, b"2")


def test_what_was_not_asked_for_longest_goes_first() -> None:
    memory = ResultCache(limit=2)
    memory.put("a", 1, b"a")
    memory.put("b", 1, b"b")
    assert memory.get("a", 1) == b"a"
    memory.put("c", 1, b"c")
    assert [memory.get(what, 1) for what in "abc"] == [b"a", None, b"c"]
