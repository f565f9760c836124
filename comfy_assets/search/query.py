"""The language of searches, the same for assets and jobs (docs/search.md). Pure.

A search is made of terms, all of which must be met: words, words in quotes, fields such as ``model:``, and each of them
with a minus. People paste prompts into it, so whatever is no term is taken for words, and of a long text only the words
that say most are looked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, NoReturn

import msgspec

from ..asset_kinds import KINDS, SYNONYMS
from ..errors import InvalidQueryError
from ..models import MEDIA, KindTerm, RatingRange, SearchGroup, SearchWord
from .asset_words import HAS
from .generation import is_parameters, of_parameters
from .graph_generation import MODEL_SUFFIX, without_lora_tags
from .words import Field, words_of

Subject = Literal["assets", "jobs"]

_MAX_TERMS = 64  # with a field, quotes or a minus; and as many words without: those of a longer text that say most
_MAX_CHARACTERS = 64 << 10
MAX_RATING = 5

# A term: a minus, a field, and a value in quotes, in a LoRA's brackets, or up to the next space. An open quote is none.
_TERM = re.compile(
    r'(?P<minus>-(?=[^\s-]))?(?:(?P<field>[A-Za-z]{2,12}):(?=[^\s:]|$))?'
    r'(?:"(?P<quoted>[^"]*)"|<(?:lora|lyco):(?P<lora>[^:<>"]+)[^<>"]*>|(?P<bare>(?:[^"\s<]|<(?!lora:|lyco:))+)|["<]|(?=\s|$))'
)  # fmt: skip
_MODELS_FOLDER = re.compile(r"^.*?(?:^|[\\/])models[\\/][^\\/]+[\\/](?=.)")
_RANGE = re.compile(r"(?P<least>\d+(?:\.\d+)?)(?:\.\.(?P<most>\d+(?:\.\d+)?)?)?|\.\.(?P<upto>\d+(?:\.\d+)?)")
_COMPARED = re.compile(r"(>=|<=|>|<|=|≥|≤)(\d+(?:\.\d+)?)")
# Words of prompts, which models were trained with.
_PROMPTED_RATINGS = frozenset({"safe", "general", "questionable", "sensitive", "explicit", "nsfw", "sfw"})
_PUNCTUATION = ",;."  # behind a value in running text


class Search(msgspec.Struct, frozen=True):
    """A parsed search: see the members of the same names of ``AssetFilter`` and ``JobFilter``.

    ``media`` are kinds of outputs of jobs as bits of ``MEDIA``, each with True if it is excluded.
    """

    words: SearchGroup = ()
    excluded: tuple[SearchGroup, ...] = ()
    ratings: tuple[RatingRange, ...] = ()
    kinds: tuple[KindTerm, ...] = ()
    media: tuple[tuple[int, bool], ...] = ()


class _Term(NamedTuple):
    """A term with a field: its value, and where it stands in the query, counted from 1."""

    field: str
    value: str
    position: int
    is_whole: bool
    is_excluded: bool


def parse_query(text: str, subject: Subject = "assets") -> Search:
    """Parse a search; an empty one finds everything. Raises InvalidQueryError with the invalid term."""
    if not text.strip():
        return Search()
    if len(text) > _MAX_CHARACTERS:
        raise _invalid(f"At most {_MAX_CHARACTERS:,} characters can be looked for.")
    if is_parameters(text):
        return _of_pasted_parameters(text)
    parser = _Parser(subject)
    for match in _terms_in(text):
        parser.add(match)
    return parser.search()


def _invalid(reason: str, **details: object) -> InvalidQueryError:
    return InvalidQueryError(f"q cannot be used. {reason}", details={"field": "q", **details})


def _terms_in(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TERM.match(text, at)
        if match is None:
            at += 1
            continue
        yield match
        at = max(match.end(), at + 1)


def _of_pasted_parameters(text: str) -> Search:
    """Look for the prompts in parameters that were copied from another program, with any seed."""
    made = of_parameters(text)
    positive = [SearchWord(Field.POSITIVE.value + word, True) for word in words_of(without_lora_tags(made.positive))]
    negative = [SearchWord(Field.NEGATIVE.value + word, True) for word in words_of(made.negative)]
    words = (*_most_telling(positive), *_most_telling(negative))
    if not words:
        raise _invalid("There is no prompt in these parameters.")
    return Search(words)


class _Parser:
    """Collects the terms of one search."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._is_empty = True
        self._bare: dict[SearchWord, None] = {}
        self._stated: dict[SearchWord, None] = {}
        self._excluded: dict[SearchGroup, None] = {}
        self._ratings: dict[RatingRange, None] = {}
        self._kinds: dict[KindTerm, None] = {}
        self._media: dict[tuple[int, bool], None] = {}

    def add(self, match: re.Match[str]) -> None:
        """Add the term that was matched. Raises InvalidQueryError."""
        start = match.start()
        begins = start == 0 or match.string[start - 1].isspace()
        is_excluded = begins and match["minus"] is not None
        field = (match["field"] or "").lower()
        quoted, lora, bare = match["quoted"], match["lora"], match["bare"]
        if lora is not None:
            field, value, is_whole = "lora", lora, True
        else:
            value, is_whole = (quoted, True) if quoted is not None else (bare or "", False)
        if begins and field in _FIELDS and not (field == "rating" and value.lower() in _PROMPTED_RATINGS):
            self._add_field(_Term(field, value, start + 1, is_whole, is_excluded))
        elif lora is not None:
            self._add_field(_Term(field, value, start + 1, is_whole, False))
        else:
            self._add_words(f"{match['field'] or ''} ", value, is_whole, is_excluded)

    def _add_words(self, before: str, value: str, is_whole: bool, is_excluded: bool) -> None:
        words = [SearchWord(word, False, Field.NODE.value + word) for word in words_of(before)]
        words += [SearchWord(word, whole, Field.NODE.value + word) for word, whole in _words_of_value(value, is_whole)]
        if is_excluded and words:
            self._excluded[tuple(words)] = None
        else:
            (self._stated if is_whole else self._bare).update(dict.fromkeys(words))

    def _add_field(self, term: _Term) -> None:
        value = term.value if term.is_whole else term.value.rstrip(",;" if term.field == "rating" else _PUNCTUATION)
        if not value.strip():
            return  # a colon at the end of what is still being typed, or of a word in a text
        known = _FIELDS[term.field]
        if self._subject not in known.subjects:
            _refuse(term, f"{term.field}: can be looked for in the library only.")
        if term.field == "rating" or (term.field == "has" and value.lower() == "rating"):
            self._ratings[_rating(term, value)] = None
        elif term.field == "type" and self._subject == "jobs":
            self._media[_medium(term, value), term.is_excluded] = None
        elif term.field == "type" and (kind := SYNONYMS.get(value.lower(), value.lower())) in KINDS:
            self._kinds[KindTerm((kind,), term.is_excluded)] = None
        else:
            self._add_marked(known, term, value)

    def _add_marked(self, known: _KnownField, term: _Term, value: str) -> None:
        mark = known.mark.value
        words = [SearchWord(mark + word, whole) for word, whole in known.read(term, value)]
        if not words:
            _refuse(term, f"{term.field}: has no letter, digit or emoji to look for.")
        if term.is_excluded:
            self._excluded[tuple(words)] = None
        else:
            self._stated.update(dict.fromkeys(words))

    def search(self) -> Search:
        """Return the collected terms. Raises InvalidQueryError for no term, or too many."""
        others = len(self._ratings) + len(self._kinds) + len(self._media)
        count = len(self._stated) + sum(map(len, self._excluded)) + others
        if not count and not self._bare:
            raise _invalid("There is no letter, digit or emoji to look for.")
        if count > _MAX_TERMS:
            raise _invalid(f"At most {_MAX_TERMS} words can have a field, quotes or a minus; there are {count}.")
        words = [*self._stated, *_most_telling([word for word in self._bare if word not in self._stated])]
        return Search(tuple(words), tuple(self._excluded), tuple(self._ratings), tuple(self._kinds), tuple(self._media))


def _most_telling(words: list[SearchWord]) -> list[SearchWord]:
    """Return the distinct words, of many only the longest: they are the rarest. The order stays."""
    distinct = list(dict.fromkeys(words))
    kept = set(sorted(distinct, key=lambda word: -len(word.text))[:_MAX_TERMS])
    return [word for word in distinct if word in kept]


def _words_of_value(value: str, is_whole: bool) -> list[tuple[str, bool]]:
    """Return the words of a value, with True for whole ones. The name of a model's file may have suffix and folder."""
    bare = value.strip().rstrip(_PUNCTUATION)
    if not MODEL_SUFFIX.search(bare):
        return [(word, is_whole) for word in words_of(value)]
    name = MODEL_SUFFIX.sub("", _MODELS_FOLDER.sub("", bare))
    return [(word, True) for word in words_of(name)]


# Fields


def _refuse(term: _Term, reason: str) -> NoReturn:
    raise _invalid(f"At character {term.position}, {reason}", position=term.position, term=f"{term.field}:{term.value}")


def _some_words(term: _Term, value: str) -> list[tuple[str, bool]]:
    return _words_of_value(value, term.is_whole)


def _seed(term: _Term, value: str) -> list[tuple[str, bool]]:
    if not re.fullmatch(r"\d{1,20}", value.strip(), re.ASCII):
        _refuse(term, f"seed: needs a whole number, not {value!r}.")
    return [(str(int(value)), True)]


def _type(term: _Term, value: str) -> list[tuple[str, bool]]:
    words = words_of(value.lower().lstrip("."))
    if len(words) != 1:
        _refuse(term, f"type: needs image, video, audio, 3d, model, text, or a suffix such as png, not {value!r}.")
    return [(words[0], True)]


def _has(term: _Term, value: str) -> list[tuple[str, bool]]:
    if value.lower() not in HAS:
        _refuse(term, f"has: needs one of {', '.join([*HAS, 'rating'])}, not {value!r}.")
    return [(value.lower(), True)]


class _KnownField(NamedTuple):
    mark: Field
    read: Callable[[_Term, str], list[tuple[str, bool]]] = _some_words
    subjects: tuple[Subject, ...] = ("assets", "jobs")


_FIELDS = {
    "prompt": _KnownField(Field.POSITIVE),
    "positive": _KnownField(Field.POSITIVE),
    "negative": _KnownField(Field.NEGATIVE),
    "model": _KnownField(Field.MODEL),
    "lora": _KnownField(Field.LORA),
    "seed": _KnownField(Field.SEED, _seed),
    "node": _KnownField(Field.NODE),
    "has": _KnownField(Field.HAS, _has),
    "type": _KnownField(Field.TYPE, _type),
    "folder": _KnownField(Field.FOLDER, subjects=("assets",)),
    "tag": _KnownField(Field.TAG, subjects=("assets",)),
    "rating": _KnownField(Field.HAS, subjects=("assets",)),
}


def _rating(term: _Term, value: str) -> RatingRange:
    """Read ``4``, ``>=4``, ``3..5``, ``..2`` or ``3..``; of ``has:rating`` any stars at all."""
    if term.field == "has":
        return RatingRange(math.nextafter(0, 1), math.inf, term.is_excluded)
    found = rating_range(value)
    if found is None:
        _refuse(term, f"rating: needs stars from 0 to {MAX_RATING}, as in 4, >=4 or 3..5, not {value!r}.")
    return found._replace(is_excluded=term.is_excluded)


def rating_range(text: str) -> RatingRange | None:
    """Return the range that a text states: ``4``, ``>=4``, ``3..5``, ``..2`` or ``3..``; None if it states none."""
    compared, span = _COMPARED.fullmatch(text), _RANGE.fullmatch(text)
    if compared is not None:
        least, most = _compared(compared[1], float(compared[2]))
    elif span is not None and span["upto"] is None:
        least = float(span["least"])
        most = float(span["most"]) if span["most"] is not None else math.inf if ".." in text else least
    elif span is not None:
        least, most = 0.0, float(span["upto"])
    else:
        return None
    return RatingRange(least, most) if least <= MAX_RATING and most >= least else None


def _compared(sign: str, stars: float) -> tuple[float, float]:
    if sign in ("<=", "≤"):
        return 0.0, stars
    if sign == "<":
        return 0.0, math.nextafter(stars, -1)
    if sign == ">":
        return math.nextafter(stars, math.inf), math.inf
    return (stars, math.inf) if sign in (">=", "≥") else (stars, stars)


def _medium(term: _Term, value: str) -> int:
    name = SYNONYMS.get(value.lower(), value.lower())
    if name not in MEDIA:
        _refuse(term, f"type: of the outputs of jobs is one of {', '.join(MEDIA)}, not {value!r}.")
    return MEDIA[name]
