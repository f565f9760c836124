"""Words: what texts are taken apart into, and what a query asks for."""

from __future__ import annotations

import time

import pytest
from comfy_assets_node.comfy_assets.search.words import words_of
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
    ("🎨 !?", ["🎨"]),
    ("a🐉dragon❤️", ["a", "🐉", "dragon", "❤"]),
    ("👩‍👩‍👧 👍🏽", ["👩", "👩", "👧", "👍"]),
    ("\ue000hidden", ["hidden"]),
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


def test_long_texts_take_time_in_proportion() -> None:
    started = time.process_time()
    words_of("é" * 200_000)
    words_of("猫" * 200_000)
    words_of("a " * 200_000)
    assert time.process_time() - started < 5
