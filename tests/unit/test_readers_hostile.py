"""Every reader with damaged files: no exception, bounded reads, small facts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hostile import Damage, damaged, damages, fuzz, read_hostile, seeds
from support.reader_samples import FORMAT_NAMES, samples

_CUTS = 120  # of a sample
_DAMAGED = 80  # files of a format


def test_every_reader_has_a_sample() -> None:
    """A reader without one is not fuzzed: add a small valid file of its format to ``support.reader_samples``."""
    assert set(samples()) == set(FORMAT_NAMES)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_samples_are_read_as_their_format(name: str) -> None:
    found = [read_hostile(each.name, each.data) for each in samples()[name]]
    assert any("error" not in each.facts for each in found) or name == "git-lfs"


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_cut(name: str) -> None:
    chance = Random(name)
    for sample in samples()[name][:4]:
        length = len(sample.data)
        for end in {*range(min(length, 64)), *(chance.randrange(length) for _ in range(_CUTS))}:
            read_hostile(sample.name, sample.data[:end])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMAT_NAMES), st.integers(0, 11), damages())
def test_any_damage(name: str, number: int, damage: Damage) -> None:
    of_format = samples()[name]
    sample = of_format[number % len(of_format)]
    read_hostile(sample.name, damaged(sample.data, damage))


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_much_damage(name: str) -> None:
    """The same damage in every run; tests/fuzz_readers.py goes on for minutes."""
    left = iter(range(_DAMAGED))
    assert fuzz(samples()[name], Random(name), lambda: next(left, None) is None) == _DAMAGED


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_seeds(name: str) -> None:
    """The files that reached most code when the readers were fuzzed, and those that once broke one."""
    for seed in seeds(name):
        read_hostile(seed.name, seed.data)
