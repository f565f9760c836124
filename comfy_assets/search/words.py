"""Split texts into words, as both the indexes and queries do. Pure.

A word of a *field*, such as the prompt, is indexed twice: as it is, and with the mark of the field before it. So a word
is looked for everywhere or in one field with the same index, and fields cost searches without them nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum

# The versions of the rules for texts, of this Python's Unicode data, and of the rules for documents. An index made by
# other rules is built again, because queries would not match its words.
RULES = f"2/{unicodedata.unidata_version}/3"

_MAX_WORD = 64  # characters; longer words are equal if these are

_ASCII_WORD = re.compile(r"[a-z0-9]+")
# Accents, and the characters that choose between a plain and a coloured form of an emoji.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]")
# Chinese and Japanese have no spaces between words, so each character counts as a word.
_IDEOGRAPHS = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# So does each pictograph. What joins several of them, and chooses colours, belongs to no word.
_PICTOGRAPHS = "\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_SINGLE = f"[{_IDEOGRAPHS}{_PICTOGRAPHS}]"
_WORD_OR_SINGLE = re.compile(f"{_SINGLE}|(?:(?!{_SINGLE}).)+", re.DOTALL)
_PICTOGRAPH = re.compile(f"[{_PICTOGRAPHS}]")


class Field(str, Enum):
    """The fields with words of their own, and their marks: characters that no word contains."""

    POSITIVE = "\ue000"
    NEGATIVE = "\ue001"
    MODEL = "\ue002"
    LORA = "\ue003"
    SEED = "\ue004"
    FOLDER = "\ue005"
    TYPE = "\ue006"
    TAG = "\ue007"
    HAS = "\ue008"
    NODE = "\ue009"


MARKS = frozenset(field.value for field in Field)
EVERY = "\ue00f"  # a word of every entry of an index, from which searches that only exclude words start


def words_of(text: str) -> list[str]:
    """Return the words of a text in order: runs of letters and digits without case and accents, and single emoji.

    No word contains an ASCII character other than ``a`` to ``z`` and ``0`` to ``9``.
    """
    if text.isascii():  # most names and prompts; much faster
        found = _ASCII_WORD.findall(text.lower())
        if len(text) <= _MAX_WORD:
            return found
    else:
        found = [word for part in _fold(text).split() for word in _WORD_OR_SINGLE.findall(part)]
    return [word[:_MAX_WORD] for word in found]


def _fold(text: str) -> str:
    """Return the text in lower case without accents, with spaces for characters that belong to no word."""
    # Folded twice: decomposition may produce capital letters, as of a mathematical bold A.
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    # Composed again, so that a Japanese kana and its voiced sound mark stay one character, and thus one word.
    composed = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    return "".join(character if _is_of_words(character) else " " for character in composed)


def _is_of_words(character: str) -> bool:
    """Return whether a character is a letter, a digit, an emoji, or a combining vowel sign of a script."""
    return character.isalnum() or unicodedata.category(character)[0] == "M" or bool(_PICTOGRAPH.match(character))


def marked(field: Field, words: Iterable[str]) -> Iterator[str]:
    """Yield the words of a field as they are indexed."""
    mark = field.value
    return (mark + word for word in words)
