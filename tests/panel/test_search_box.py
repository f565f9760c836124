"""The search box of the library: help with examples, errors in words, and pasted texts."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

pytestmark = pytest.mark.slow
ASSETS = 28
PARAMETERS = "castle on a cliff\nat dusk\nNegative prompt: people\nSteps: 20, Sampler: Euler a, Seed: 42"


@pytest.fixture
def box(panel: Any) -> Any:
    return panel.root.get_by_label("Search the library")


def paste(panel: Any, box: Any, text: str) -> None:
    panel.page.evaluate("text => navigator.clipboard.writeText(text)", text)
    box.press("Control+v")


def test_examples_of_the_help_can_be_tried(panel: Any, box: Any) -> None:
    panel.button("How to search").click()
    section = panel.root.get_by_role("region", name="How to search")
    found = Axe().run(panel.page, context=".ca-root").response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    section.get_by_role("button", name="prompt:castle").click()
    panel.count_is(3)
    assert box.input_value() == "prompt:castle"
    examples = section.get_by_role("button").all_inner_texts()[1:]  # the first closes the help
    assert len(examples) > 12
    for example in examples:  # none is refused
        panel.server.request(f"/api/assets?limit=1&q={panel.page.evaluate('encodeURIComponent', example)}")
    section.press("Escape")
    section.wait_for(state="hidden")
    assert panel.page.evaluate("document.activeElement.ariaLabel") == "How to search"


def test_a_wrong_term_is_told_in_words(panel: Any, box: Any) -> None:
    box.fill("castle seed:red")
    alert = panel.root.locator(".ca-search-error")
    alert.get_by_text("“seed:red” is not understood: a seed is a whole number.").wait_for()
    assert box.get_attribute("aria-invalid") == "true"
    panel.root.get_by_text("This search is not understood").wait_for()
    box.fill("castle rating:9")
    alert.get_by_text("“rating:9” is not understood: stars are from 0 to 5").wait_for()
    box.fill('castle folder:"?"')
    alert.get_by_text("folder: has no letter").wait_for()
    box.fill("castle")
    panel.count_is(3)
    assert box.get_attribute("aria-invalid") == "false" and not alert.is_visible()


def test_pasted_texts_are_searched_as_they_are(panel: Any, box: Any) -> None:
    sent = []
    panel.page.on("request", lambda request: sent.append(parse_qs(urlsplit(request.url).query).get("q")))
    box.focus()
    paste(panel, box, PARAMETERS)
    panel.root.get_by_text("No matching assets").wait_for()  # no picture has the negative prompt
    assert [PARAMETERS] in sent
    assert box.input_value() == PARAMETERS.replace("\n", " ")
    box.fill("")
    paste(panel, box, "castle on a cliff\r\nat dusk")
    panel.count_is(3)
    box.press("End")
    box.press_sequentially(" -castle")  # goes on as one line
    panel.root.get_by_text("No matching assets").wait_for()
    for text, count in (("<lora:ink_style:0.8>", 1), ("output/2026-11/castle_on_a_cliff_at_dusk_00000_.png", 1)):
        box.fill("")
        panel.count_is(ASSETS)
        paste(panel, box, text)
        panel.count_is(count)
