"""Sets of ids against Python's own."""

from __future__ import annotations

import numpy as np
import pytest
from comfy_assets_node.comfy_assets.db.listing import bitmap
from comfy_assets_node.comfy_assets.db.listing.bitmap import IdSet, parse
from hypothesis import given
from hypothesis import strategies as st

some = st.sets(st.integers(0, 60), max_size=20)


def array(ids: object) -> bitmap.Ids:
    return np.array(list(ids), dtype=np.int64)  # type: ignore[call-overload]


@given(one=some, other=some, last=st.integers(0, 70))
def test_like_sets(one: set[int], other: set[int], last: int) -> None:
    ids, others = IdSet.of(array(one)), array(other)
    assert (set(ids), len(ids), ids.ids.tolist()) == (one, len(one), sorted(one))
    assert set(ids & IdSet.of(others)) == one & other
    assert set(ids.plus(others)) == one | other
    assert set(ids.minus(others)) == one - other
    assert set(ids.upto(last)) == {each for each in one if each <= last}
    assert set(IdSet.unpacked(ids.packed())) == one
    assert ids.count(others) == len(one & other)
    assert ids.among(others).tolist() == [each for each in other if each in one]
    assert set(ids) == one  # and none of this has changed it


@given(ids=st.lists(st.integers(0, 2**62), max_size=30), size=st.integers(1, 40))
def test_texts(ids: list[int], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitmap, "_SLICE", size)
        assert parse(",".join(map(str, ids)) or None).tolist() == ids
