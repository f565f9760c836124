"""Which file is which missing asset's, where there are several that it could be. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

_Old = TypeVar("_Old")
_New = TypeVar("_New")


class Spot(NamedTuple):
    """Where a file lies or lay: see ``db.moves.Candidate``. ``parts`` are its folder's, the innermost first.

    ``is_plain`` where nobody has given its asset anything.
    """

    id: int
    parts: tuple[str, ...]
    logical: str
    name: str
    is_plain: bool


def parts_of(folder: str) -> tuple[str, ...]:
    """The parts of a folder's path, on whatever system it was written, case-folded, the innermost first."""
    return tuple(reversed(re.split(r"[\\/]", folder.casefold())))


def only_pairs(
    olds: Iterable[_Old], news: Iterable[_New], old_key: Callable[[_Old], Hashable], new_key: Callable[[_New], Hashable]
) -> list[tuple[_Old, _New]]:
    """Those of one key of which there is a single one on both sides. What has the key None is left out."""
    return [
        (some_olds[0], some_news[0])
        for some_olds, some_news in _by_key(olds, news, old_key, new_key)
        if len(some_olds) == len(some_news) == 1
    ]


def nearest(olds: Sequence[Spot], news: Sequence[Spot]) -> list[tuple[Spot, Spot]]:
    """A new file for each missing one, as far as there are, all of them of equal content.

    Those at the same path below the root go first, then those of the same name, in both cases as it is spelled before
    as it reads in any case; then any. Among these go first those whose folders' paths end alike, the more the sooner.
    """
    pairs: list[tuple[Spot, Spot]] = []
    for key in (_path, _folded_path, _name, _folded_name, _nothing):
        for some_olds, some_news in list(_by_key(olds, news, key, key)):
            pairs += _by_ends(some_olds, some_news)
        olds, news = _left(olds, news, pairs)
    return pairs


def _path(spot: Spot) -> Hashable:
    return spot.logical, spot.name


def _folded_path(spot: Spot) -> Hashable:
    return spot.logical.casefold(), spot.name.casefold()


def _name(spot: Spot) -> Hashable:
    return spot.name


def _folded_name(spot: Spot) -> Hashable:
    return spot.name.casefold()


def _nothing(_: Spot) -> Hashable:
    return ()


def _by_ends(olds: Sequence[Spot], news: Sequence[Spot]) -> list[tuple[Spot, Spot]]:
    """Pairs, until there is nothing left on one side: first of the files of which the folders have most ends alike."""
    if len(olds) == len(news) == 1:
        return [(olds[0], news[0])]
    pairs: list[tuple[Spot, Spot]] = []
    deepest = min(max(len(spot.parts) for spot in side) for side in (olds, news))
    for length in range(deepest, -1, -1):

        def end(spot: Spot, length: int = length) -> Hashable:
            return spot.parts[:length]

        for some_olds, some_news in list(_by_key(olds, news, end, end)):
            order = _deepest_first if length else _marked_first
            pairs += zip(sorted(some_olds, key=order), sorted(some_news, key=order))  # noqa: B905 - one side has more
        olds, news = _left(olds, news, pairs)
        if not olds or not news:
            break
    return pairs


def _deepest_first(spot: Spot) -> tuple[object, ...]:
    """Of folders that end alike, one is inside the other: what lies deeper has moved from what lay deeper."""
    return -len(spot.parts), *_marked_first(spot)


def _marked_first(spot: Spot) -> tuple[object, ...]:
    return spot.is_plain, spot.parts[::-1], spot.name, spot.id


def _left(
    olds: Sequence[Spot], news: Sequence[Spot], pairs: Iterable[tuple[Spot, Spot]]
) -> tuple[list[Spot], list[Spot]]:
    taken = {spot.id for pair in pairs for spot in pair}
    return [spot for spot in olds if spot.id not in taken], [spot for spot in news if spot.id not in taken]


def _by_key(
    olds: Iterable[_Old], news: Iterable[_New], old_key: Callable[[_Old], Hashable], new_key: Callable[[_New], Hashable]
) -> Iterator[tuple[list[_Old], list[_New]]]:
    """Both sides' files of the same key, for every key that there is on both sides."""
    by_key: defaultdict[Hashable, tuple[list[_Old], list[_New]]] = defaultdict(lambda: ([], []))
    for old in olds:
        by_key[old_key(old)][0].append(old)
    for new in news:
        by_key[new_key(new)][1].append(new)
    return (sides for key, sides in by_key.items() if key is not None and all(sides))
