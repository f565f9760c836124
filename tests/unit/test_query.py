"""The language of searches: what each term asks for, and what is refused."""

from __future__ import annotations

import contextlib
import time

import pytest
from comfy_assets_node.comfy_assets.errors import InvalidQueryError
from comfy_assets_node.comfy_assets.models import SearchWord
from comfy_assets_node.comfy_assets.search.query import Search, parse_query
from comfy_assets_node.comfy_assets.search.words import Field
from hypothesis import given
from hypothesis import strategies as st

MARKS = {field.value: field.name.lower() for field in Field}


def shown(word: SearchWord) -> str:
    """A word as ``dragon*``, ``dragon`` if it is whole, ``model:dragon`` with its field."""
    name = MARKS.get(word.text[0])
    text = f"{name}:{word.text[1:]}" if name else word.text
    assert name or word.also == Field.NODE.value + word.text
    return text if word.is_whole else f"{text}*"


def said(found: Search) -> list[str]:
    """All terms, those that are excluded with a minus."""
    excluded = [f"-{' '.join(map(shown, group))}" for group in found.excluded]
    ratings = [f"{'-' * each.is_excluded}stars {each.least:.3g} to {each.most:.3g}" for each in found.ratings]
    kinds = [f"{'-' * each.is_excluded}kind {' '.join(each.kinds)}" for each in found.kinds]
    return [*map(shown, found.words), *excluded, *ratings, *kinds]


QUERIES = [
    ("", []),
    ("   ", []),
    ("dragon", ["dragon*"]),
    ("Red  DRAGON\tred", ["red*", "dragon*"]),
    ('"Dragon"', ["dragon"]),
    ('"red dragon" fly', ["red", "dragon", "fly*"]),
    ("sd_xl", ["sd*", "xl*"]),
    ('red "drag', ["red*", "drag*"]),
    ('re"d"ragon', ["d", "re*", "ragon*"]),
    ("日本", ["日*", "本*"]),
    ("🐉", ["🐉*"]),
    ('"" dragon', ["dragon*"]),
    ("NOT a OR b* ^d {e}:f (h)", ["not*", "a*", "or*", "b*", "d*", "e*", "f*", "h*"]),
    # exclusions: a minus before a term, not within one, and not as a dash
    ("-g", ["-g*"]),
    ('cat -dog -"red hat"', ["cat*", "-dog*", "-red hat"]),
    ("-sd_xl", ["-sd* xl*"]),
    ("a - b -- c --v 6", ["a*", "b*", "c*", "v*", "6*"]),
    ("sd-xl", ["sd*", "xl*"]),
    # fields
    ('prompt:cat Negative:"red dog"', ["positive:cat*", "negative:red", "negative:dog"]),
    ("-model:flux", ["-model:flux*"]),
    ("model:xl\\jugger_v9.safetensors", ["model:xl", "model:jugger", "model:v9"]),
    ('lora:"my ink.safetensors"', ["lora:my", "lora:ink"]),
    ("<lora:foo_bar:0.8> cat", ["lora:foo", "lora:bar", "cat*"]),
    ("cat,<lora:foo:1:0.5>,dog", ["lora:foo", "cat*", "dog*"]),
    ("-<lora:foo:1>", ["-lora:foo"]),
    ("seed:042,", ["seed:42"]),
    ("type:.PNG", ["type:png"]),
    ("type:pictures", ["kind image"]),
    ("tag:wip folder:a/b", ["tag:wip*", "folder:a*", "folder:b*"]),
    ("has:Workflow", ["has:workflow"]),
    ("rating:4", ["stars 4 to 4"]),
    ("rating:>=4", ["stars 4 to inf"]),
    ("rating:3..5", ["stars 3 to 5"]),
    ("rating:..2", ["stars 0 to 2"]),
    ("-rating:2..", ["-stars 2 to inf"]),
    # what people paste
    ("masterpiece:1.2", ["masterpiece*", "1*", "2*"]),
    ("http://a.b/c", ["http*", "a*", "b*", "c*"]),
    ("source:anime, rating:safe", ["source*", "anime*", "rating*", "safe*"]),
    ("model: flux", ["model*", "flux*"]),
    ("style/ink.safetensors", ["style", "ink"]),
    ("C:\\ai\\models\\loras\\Pony\\ink.safetensors", ["pony", "ink"]),
    (
        "a cat <lora:x:1>\nNegative prompt: dog\nSteps: 20, Seed: 5",
        ["positive:a", "positive:cat", "negative:dog"],
    ),
]


@pytest.mark.parametrize(("query", "words"), QUERIES)
def test_what_a_query_asks_for(query: str, words: list[str]) -> None:
    assert said(parse_query(query)) == words


REFUSED = [
    ("_", None),
    ('"', None),
    ("🏽", None),
    ("- !", None),
    ("prompt:", None),
    ("x" * (1 << 17), None),
    (" ".join(f"-w{n}" for n in range(65)), None),
    ("a seed:x", 3),
    ("rating:6", 1),
    ("rating:many", 1),
    ("has:", None),
    ("has:cats", 1),
    ('type:"two words"', 1),
    ("lora:!", 1),
]


@pytest.mark.parametrize(("query", "position"), REFUSED)
def test_what_is_refused(query: str, position: int | None) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_query(query)
    details = caught.value.details or {}
    assert (details["field"], details.get("position")) == ("q", position)


def test_of_a_long_text_the_longest_words_are_looked_for() -> None:
    words = ["a" * length for length in range(1, 65)] + [f"b{n}" for n in range(1000)]
    found = [word.text for word in parse_query(" ".join(words)).words]
    assert len(found) == 64
    assert "a" * 64 in found


@given(st.text(max_size=200) | st.text(alphabet=' -"<>:.,aseed0rting_\\/', max_size=40))
def test_any_query_is_terms_or_refused(query: str) -> None:
    for subject in ("assets", "jobs"):
        try:
            found = parse_query(query, subject)  # type: ignore[arg-type]
        except InvalidQueryError:
            continue
        assert (found == Search()) == (not query.strip())


@pytest.mark.parametrize("part", ["models/", "-", '"', "<lora:", "a:", "seed:1 ", "-a ", "x/models/y.safetensors"])
def test_hostile_queries_cost_little(part: str) -> None:
    query = (part * 10_000)[:60_000]
    started = time.process_time()
    with contextlib.suppress(InvalidQueryError):
        parse_query(query)
    assert time.process_time() - started < 2
