"""Split texts into words. Indexed texts and queries follow the same rules."""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidQueryError
from ..models import SearchWord

# Part of the index's rules: words made by other rules are not found.
RULES = f"1/{unicodedata.unidata_version}"

_MAX_WORD = 64  # characters; longer words are equal if these are
_MAX_QUERY = 500  # characters
_MAX_QUERY_WORDS = 20

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Chinese and Japanese have no spaces between words, so each character counts as a word.
_IDEOGRAPH = "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WORD_OR_IDEOGRAPH = re.compile(f"{_IDEOGRAPH}|(?:(?!{_IDEOGRAPH}).)+", re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"|([^"\s]+)')


def words_of(text: str) -> list[str]:
    """Return the words of a text in order: runs of letters and digits, without case and accents.

    No word contains an ASCII character other than ``a`` to ``z`` and ``0`` to ``9``.
    """
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    else:
        found = [word for part in _fold(text).split() for word in _WORD_OR_IDEOGRAPH.findall(part)]
    return [word[:_MAX_WORD] for word in found]


def _fold(text: str) -> str:
    """Return the text in lower case without accents, with spaces for characters that belong to no word."""
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    composed = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    return "".join(character if _is_of_words(character) else " " for character in composed)


def _is_of_words(character: str) -> bool:
    """Return whether a character is a letter, a digit, or a combining vowel sign of a script."""
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def parse_query(text: str) -> tuple[SearchWord, ...]:
    """Parse a query: each word is the beginning of a word; words in double quotes are whole.

    An unclosed quote is ignored, and an empty query has no words. Raises InvalidQueryError for a query that is too
    long, or without a letter or digit.
    """
    if not text.strip():
        return ()
    if len(text) > _MAX_QUERY:
        raise _invalid(f"At most {_MAX_QUERY} characters can be looked for.")
    found = dict.fromkeys(
        SearchWord(word, bool(quoted)) for quoted, bare in _QUOTED.findall(text) for word in words_of(quoted or bare)
    )
    if not found:
        raise _invalid("There is no letter or digit to look for.")
    if len(found) > _MAX_QUERY_WORDS:
        raise _invalid(f"At most {_MAX_QUERY_WORDS} words can be looked for.")
    return tuple(found)


def _invalid(reason: str) -> InvalidQueryError:
    return InvalidQueryError(f"q cannot be used. {reason}", details={"field": "q"})
