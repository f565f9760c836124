"""Give missing assets the files they moved to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec

from ...db import moves, tags
from ...db.connection import Database, Transaction
from ...db.moves import Candidate, Move
from ...models import MISSING_TAG
from ..media.mime import guess_mime
from ..roots import Roots
from .matching import Spot, nearest, only_pairs, parts_of

Pair = tuple[Candidate, Candidate]  # a missing file, and the new one that it is


@dataclass
class Plan:
    """What to do: which moves, the assets to tag anew by former categories (JSON) and new tags, new names and types."""

    moves: list[Move] = field(default_factory=list)
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = field(default_factory=lambda: defaultdict(list))
    names: list[tuple[int, str]] = field(default_factory=list)
    types: list[tuple[int, str]] = field(default_factory=list)


async def relocate(tx: Transaction, wanted: Sequence[Move], roots: Roots) -> int:
    """Carry out those moves whose new asset nobody has touched yet; answers how many.

    The old asset keeps its id, tags, and metadata. Its place's tags follow the file, and so does its name
    unless a user had given it another.
    """
    if not wanted:
        return 0
    at = {file.id: file for file in await moves.by_id(tx, [i for move in wanted for i in (move.old, move.new)])}

    def plan() -> Plan:
        marks = Marks(roots)
        return marks.plan((at[m.old], at[m.new]) for m in wanted if marks.is_untouched(at[m.new]))

    return await carry_out(tx, plan)


async def rejoin_by_look(tx: Transaction, after_id: int, roots: Roots) -> int:
    """Find missing files among those added after ``after_id`` by what they look like; answers how many.

    It is the same file if size, time and inode are the same; where there are no inodes, if size, time and name are, in
    whatever case that is written. On another drive it is taken for it, and read once more, if it has the same size,
    time and path below the root. Of several that it may be, none is taken. What a user deleted stays deleted under its
    new name.
    """
    olds, news = await moves.looking_alike(tx, after_id)
    if not olds:
        return 0
    marks = Marks(roots)
    sure, likely = await asyncio.to_thread(_pairs_by_look, olds, news, marks)
    moved = await carry_out(tx, lambda: marks.plan([*sure, *likely]))
    await moves.read_again(tx, [old.id for old, new in likely if new.content_id is None])
    return moved


async def rejoin_by_content(tx: Transaction, read: Sequence[int], roots: Roots) -> int:
    """Find missing files among those that were ``read`` for the first time, by what they hold; answers how many.

    Of several with equal content each goes where ``matching.nearest`` says. Those of which that cannot be said yet,
    because one that is still unread may hold the same, are remembered.
    """
    await moves.note_newcomers(tx, read)
    return await _decide(tx, await moves.decidable(tx, read), roots)


async def rejoin_the_rest(db: Database, roots: Roots) -> int:
    """Decide of all that is remembered still, since all has been read; answers how many missing files were found."""
    moved = 0
    while True:
        async with db.transaction() as tx:
            contents = await moves.undecided(tx)
            if not contents:
                await moves.forget_all_newcomers(tx)
                return moved
            moved += await _decide(tx, contents, roots)


async def _decide(tx: Transaction, contents: Sequence[int], roots: Roots) -> int:
    if not contents:
        return 0
    olds, news = await moves.of_contents(tx, contents)
    marks = Marks(roots)
    moved = await carry_out(tx, lambda: marks.plan(_pairs_by_content(olds, news, marks)))
    await moves.forget_newcomers(tx, contents)
    return moved


async def carry_out(tx: Transaction, make_plan: Callable[[], Plan]) -> int:
    """Make a plan, in a thread, and do what it says; answers how many moves that were."""
    # A renamed folder moves thousands of files: too much to think through on the event loop, or to write one by one.
    plan = await asyncio.to_thread(make_plan)
    if plan.moves:
        await moves.adopt_files(tx, plan.moves)
        await dress(tx, plan)
    return len(plan.moves)


async def dress(tx: Transaction, plan: Plan) -> None:
    """Give assets the tags, names and types that their files' new places ask for."""
    for (former, derived), ids in plan.alike.items():
        await tags.replace_place_tags(tx, ids, msgspec.json.decode(former, type=list[str]), derived)
    await moves.rename_assets(tx, plan.names)
    await moves.set_types(tx, plan.types)


class Marks:
    """What assets carry by their files' places, and what by somebody's wish. Blocks."""

    def __init__(self, roots: Roots) -> None:
        self._place_of = lru_cache(maxsize=None)(lambda folder: roots.place(Path(folder)))
        self._given = lru_cache(maxsize=None)(_given_tags)

    def plan(self, pairs: Iterable[Pair]) -> Plan:
        """How to give the assets those files."""
        plan = Plan()
        for old, new in pairs:
            plan.moves.append(Move(old.id, new.id))
            plan.alike[old.categories, self._tags_at(new)].append(old.id)
            if old.asset_name == old.name != new.name:
                plan.names.append((old.id, new.name))
            if (mime_type := _type_at(old, new)) != old.mime_type:
                plan.types.append((old.id, mime_type))
        return plan

    def is_untouched(self, file: Candidate) -> bool:
        """Whether the asset is as the scanner made it."""
        if not _is_bare(file):
            return False
        return set(msgspec.json.decode(file.tags, type=list[str])) == set(self._tags_at(file))

    def is_plain(self, file: Candidate) -> bool:
        """Whether nobody has given the asset anything, or made use of it, wherever its file is."""
        return _is_bare(file) and not file.is_used and not self._given(file.tags, file.categories)

    def spot(self, file: Candidate) -> Spot:
        """The file's place, for ``matching``."""
        return Spot(file.id, parts_of(file.folder), file.logical, file.name, self.is_plain(file))

    def _tags_at(self, file: Candidate) -> tuple[str, ...]:
        place = self._place_of(file.folder)
        return place.tags_of(file.name) if place else ()


def _is_bare(file: Candidate) -> bool:
    """Whether nobody has given the asset anything but tags."""
    has_own_type = file.content_id is None and file.mime_type != guess_mime(file.name)
    return file.user_metadata is None and file.preview_id is None and file.asset_name == file.name and not has_own_type


def _type_at(old: Candidate, new: Candidate) -> str:
    """The type of a file that has moved, which is told by its content, a user, or else its name."""
    if old.content_id is None:
        is_guessed = old.mime_type == guess_mime(old.name)
    else:
        is_guessed = new.content_id not in (None, old.content_id)
    if not is_guessed:
        return old.mime_type
    return new.mime_type if new.content_id is not None else guess_mime(new.name)


def _given_tags(present: str, categories: str) -> set[str]:
    """The tags (of a JSON array) that came neither from the place, claimed by these categories, nor from a scan."""
    found = msgspec.json.decode(present, type=set[str])
    return found - tags.place_tags(found, msgspec.json.decode(categories, type=list[str])) - {MISSING_TAG}


def _pairs_by_look(olds: list[Candidate], news: list[Candidate], marks: Marks) -> tuple[list[Pair], list[Pair]]:
    """Which new file each missing one is: for sure, and in all likelihood."""
    news = [new for new in news if marks.is_untouched(new)]
    sure = _take(olds, news, _same_file) + _take(olds, news, _same_name)
    return sure, _take(olds, news, _same_path)


def _take(olds: list[Candidate], news: list[Candidate], key: Callable[[Candidate], object]) -> list[Pair]:
    """Take those out that have a key which is nobody else's; answers them."""
    pairs = [(old, new) for old, new in only_pairs(olds, news, key, key) if _may_be(old, new)]
    taken = {file.id for pair in pairs for file in pair}
    for side in (olds, news):
        side[:] = [file for file in side if file.id not in taken]
    return pairs


def _same_file(file: Candidate) -> object:
    return (file.size, file.mtime_ns, file.inode) if file.inode else None


def _same_name(file: Candidate) -> object:
    return None if file.inode else (file.size, file.mtime_ns, file.name.casefold())


def _same_path(file: Candidate) -> object:
    return file.size, file.mtime_ns, file.logical, file.name


def _may_be(old: Candidate, new: Candidate) -> bool:
    """Whether the file is newer, may become that asset's, and is not known to hold something else."""
    holds_other = None not in (old.content_id, new.content_id) and old.content_id != new.content_id
    return old.id < new.id and new.may_be(old) and not holds_other


def _pairs_by_content(olds: list[Candidate], news: list[Candidate], marks: Marks) -> Iterable[Pair]:
    """Which new file each missing one is, by what they hold; a user's own files first."""
    at = {file.id: file for file in (*olds, *news)}
    spots: dict[int | None, list[Spot]] = defaultdict(list)
    for old in olds:
        spots[old.content_id].append(marks.spot(old))
    found: dict[tuple[str, int | None], list[Spot]] = defaultdict(list)
    for new in news:
        if marks.is_untouched(new):
            found[new.owner, new.content_id].append(marks.spot(new))
    for owner, content_id in sorted(found, key=lambda key: key[0] == ""):
        wanting = [spot for spot in spots[content_id] if owner in ("", at[spot.id].owner)]
        pairs = nearest(wanting, found[owner, content_id])
        taken = {old.id for old, _ in pairs}
        spots[content_id] = [spot for spot in spots[content_id] if spot.id not in taken]
        yield from ((at[old.id], at[new.id]) for old, new in pairs)
