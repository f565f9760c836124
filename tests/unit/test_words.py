"""Words: what texts are taken apart into, and what a query asks for."""

from __future__ import annotations

import time

import pytest
from comfy_assets_node.comfy_assets.errors import InvalidQueryError
from comfy_assets_node.comfy_assets.models import SearchWord
from comfy_assets_node.comfy_assets.search.words import parse_query, words_of
from hypothesis import given
from hypothesis import strategies as st

TEXTS = [
    ("", []),
    ("ComfyUI_00001_.png", ["comfyui", "00001", "png"]),
    ("sd_xl-base 1.5", ["sd", "xl", "base", "1", "5"]),
    ("juggernautXL_v9.safetensors", ["juggernautxl", "v9", "safetensors"]),
    ("Größe ÉCOLE naïve", ["grosse", "ecole", "naive"]),
    ("Gro\u0308\u00dfe", ["grosse"]),
    ("İstanbul", ["istanbul"]),
    ("ﬁne ① ²", ["fine", "1", "2"]),
    ("日本の城 castle", ["日", "本", "の", "城", "castle"]),
    ("red猫blue", ["red", "猫", "blue"]),
    ("한국어 테스트", ["한국어", "테스트"]),
    ("हिन्दी शब्द", ["हिन्दी", "शब्द"]),
    ("🎨 !?", []),
    ("x" * 100, ["x" * 64]),
]


@pytest.mark.parametrize(("text", "words"), TEXTS)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_words_of_any_text_are_their_own_words(text: str) -> None:
    """So that a word can be looked for as it is indexed, and the index takes none apart."""
    for word in words_of(text):
        assert words_of(word) == [word]
        assert " " not in word
        assert word == "".join(word.split())
        assert not any(character.isascii() and not character.isalnum() for character in word)


QUERIES = [
    ("", []),
    ("   ", []),
    ("dragon", ["dragon*"]),
    ("Red  DRAGON\tred", ["red*", "dragon*"]),
    ('"Dragon"', ["dragon"]),
    ('"red dragon" fly', ["red", "dragon", "fly*"]),
    ("sd_xl", ["sd*", "xl*"]),
    ('"sd_xl"', ["sd", "xl"]),
    ('red "drag', ["red*", "drag*"]),
    ('re"d"ragon', ["re*", "d", "ragon*"]),
    ("日本", ["日*", "本*"]),
    ('"" dragon', ["dragon*"]),
    ("NOT a OR b AND c* ^d {e}:f -g (h)", ["not*", "a*", "or*", "b*", "and*", "c*", "d*", "e*", "f*", "g*", "h*"]),
]


@pytest.mark.parametrize(("query", "words"), QUERIES)
def test_what_a_query_asks_for(query: str, words: list[str]) -> None:
    assert parse_query(query) == tuple(SearchWord(word.rstrip("*"), not word.endswith("*")) for word in words)


@pytest.mark.parametrize("query", ["_", '"', '""', "🎨", "*", "- !", "x" * 501, " ".join(f"w{n}" for n in range(21))])
def test_a_query_that_asks_for_nothing_or_for_too_much(query: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_query(query)
    assert caught.value.details == {"field": "q"}


@given(st.text(max_size=500))
def test_any_query_is_words_or_refused(query: str) -> None:
    try:
        found = parse_query(query)
    except InvalidQueryError:
        return
    assert bool(found) == bool(query.strip())


def test_long_texts_take_time_in_proportion() -> None:
    started = time.perf_counter()
    words_of("é" * 200_000)
    words_of("猫" * 200_000)
    words_of("a " * 200_000)
    assert time.perf_counter() - started < 5
