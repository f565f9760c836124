"""The panel in the language of ComfyUI's page, and on its own page in that of the browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.panel_locales import FORMS, LANGUAGES, USUAL_FORMS, document

pytestmark = pytest.mark.slow
TIMEOUT_MS = 60_000
MODULE = "extensions/comfy-assets/panel/shared/translations.mjs"
WANTED = {
    ("de",): "de",
    ("DE-at",): "de",
    ("pt",): "pt-BR",
    ("pt-PT", "es"): "pt-BR",
    ("zh-CN",): "zh",
    ("zh-HK",): "zh-TW",
    ("zh-Hant",): "zh-TW",
    ("sr", "fr-CA"): "fr",  # the first one that there is
    ("sr",): "en",
    ("not a tag", ""): "en",
    (): "en",
}


MESSAGE = "There is no such thing."
ERRORS = {
    "COLLECTION_NOT_FOUND": "Die Sammlung gibt es nicht mehr.",
    "INVALID_QUERY": f"Der Server nimmt das nicht an: {MESSAGE}",
    "NOT_IN_THE_DOCUMENTATION": MESSAGE,
}


@pytest.fixture(scope="module")
def japanese(browser: Any, server: Any, open_panel: Any) -> Iterator[Any]:
    server.request("/api/settings/Comfy.Locale", "ja")
    with open_panel(browser, server) as panel:
        yield panel


def test_the_language_of_the_page(japanese: Any) -> None:
    root, page, texts = japanese.root, japanese.page, document("ja")
    assert (root.get_attribute("lang"), root.get_attribute("dir")) == ("ja", "ltr")
    japanese.options().nth(0).click()
    root.get_by_role("button", name=texts["comfyAssets"]["deletion"]["trash"], exact=True).wait_for()
    page.keyboard.press("?")
    shortcuts = page.get_by_role("dialog", name=texts["comfyAssets"]["keysIn"]["title"])
    shortcuts.wait_for()
    keys = shortcuts.locator("kbd").all_inner_texts()
    assert {"スペース", "Shift", "Enter", "F2", "X"} <= set(keys)
    assert not [key for key in keys if key.isascii() and key.islower()]
    page.keyboard.press("Escape")
    shortcuts.wait_for(state="hidden")
    page.get_by_role("button", name=texts["Asset library (comfy-assets)"]).wait_for()  # in the page's own sidebar
    page.evaluate("app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Comfy Assets", exact=True).first.click()
    dialog.get_by_text(document("ja", "settings.json")["ComfyAssets_Panel_ThumbnailSize"]["name"]).wait_for()
    dialog.get_by_text(document("ja", "settings.json")["ComfyAssets_Panel_Language"]["options"]["Same as ComfyUI"])
    page.keyboard.press("Escape")


def test_the_language_that_comes_closest(japanese: Any) -> None:
    closest = """async ([path, wanted, available]) => {
        const { closestLanguage } = await import(new URL(path, document.baseURI).href)
        return wanted.map(tags => closestLanguage(tags, available))
    }"""
    found = japanese.page.evaluate(closest, [MODULE, [list(tags) for tags in WANTED], LANGUAGES])
    assert dict(zip(WANTED, found, strict=True)) == WANTED


@pytest.mark.parametrize("language", LANGUAGES)
def test_plurals_have_the_forms_that_the_browser_selects(japanese: Any, language: str) -> None:
    select = """language => {
        const plurals = new Intl.PluralRules(language)
        return [...new Set(Array.from({ length: 1001 }, (_, count) => plurals.select(count)))]
    }"""
    categories = set(japanese.page.evaluate(select, language)) - ({"two"} if language == "he" else set())
    assert categories | {"other"} == set(FORMS.get(language, USUAL_FORMS).split())


def test_a_text_that_a_language_lacks_is_english(japanese: Any) -> None:
    translate = """async ([path, all, language, calls]) => {
        const { Translations } = await import(new URL(path, document.baseURI).href)
        const translations = new Translations()
        const page = { setting: () => "page", languages: () => [language] }
        await translations.load(page, { get: () => Promise.resolve(all) })
        return calls.map(([key, values]) => translations.t(key, values))
    }"""
    english = {"things": {"one": "{count} thing", "other": "{count} things"}, "gone": "{name} is gone"}
    japan = {"gone": {"1": "{name}は消えた", "other": "{count}件は消えた"}}
    texts = {
        "en": {"comfyAssets": english},
        "ja": {"comfyAssets": japan},
        "he": {"comfyAssets": {"gone": "{name} הלך"}},
    }

    def shown(language: str, *calls: Any) -> Any:
        return japanese.page.evaluate(translate, [MODULE, texts, language, calls])

    gone = [["gone", {"name": "a.png", "count": count}] for count in (1, 2)]
    things = [["things", {"count": count}] for count in (1, 2)]
    assert shown("ja", *gone, *things) == ["a.pngは消えた", "2件は消えた", "1 thing", "2 things"]
    assert shown("he", gone[0]) == ["\u2068a.png\u2069 הלך"]  # the name stays together in a line of the other direction


def test_sizes_and_durations_have_the_units_of_the_language(japanese: Any) -> None:
    shown = japanese.page.evaluate(
        """async module => {
            const format = await import(new URL(module, document.baseURI).href)
            return ["en", "ru", "fr"].map(language => [
                ...[812, 6300, 123_456_789].map(count => format.bytes(count, language)),
                ...[840, 42_000, 125_000, 4_805_000].map(time => format.duration(time, language)),
            ].map(text => text.replaceAll(/\\s/g, " ")))
        }""",
        MODULE.replace("translations", "format"),
    )
    assert shown == [
        ["812 bytes", "6.3 kB", "123 MB", "0.8 sec", "42 sec", "2 min 05 sec", "1 hr 20 min"],
        ["812 байт", "6,3 кБ", "123 МБ", "0,8 с", "42 с", "2 мин 05 с", "1 ч 20 мин"],
        ["812 octets", "6,3 ko", "123 Mo", "0,8 s", "42 s", "2 min 05 s", "1 h 20 min"],
    ]


def test_right_to_left_on_the_own_page(browser: Any, server: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, locale="ar-EG", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(server.url + "/assets")
    first, second = (page.locator(f".ca-cell[data-index='{index}']:not([hidden])") for index in (0, 1))
    first.wait_for()
    assert page.locator(".ca-root").get_attribute("dir") == "rtl"
    # Pictures keep their order, which the arrow keys follow, and none is cut off.
    boxes = [cell.bounding_box() for cell in (first, second)]
    assert 0 <= boxes[0]["x"] < boxes[1]["x"] <= 390 - boxes[1]["width"]
    tabs = [tab.bounding_box()["x"] for tab in page.get_by_role("tab").all()]
    assert tabs == sorted(tabs, reverse=True)
    page.get_by_role("tab").first.press("ArrowLeft")  # the next one
    assert page.get_by_role("tab").nth(1).get_attribute("aria-selected") == "true"
    page.get_by_role("tab").nth(1).press("ArrowRight")
    first.click(button="right")
    assert page.get_by_role("menu").evaluate("menu => getComputedStyle(menu).direction") == "rtl"
    context.close()


def test_a_comparison_from_right_to_left(browser: Any, server: Any, open_alone: Any) -> None:
    """Pictures keep their order, side by side and on top of each other, and their columns are below them."""
    with open_alone(browser, server, locale="he-IL") as panel:
        for number in (0, 1):
            panel.options().nth(number).click(modifiers=["Control"])
        panel.button(document("he")["comfyAssets"]["selection"]["compare"]).click()
        dialog = panel.page.get_by_role("dialog")
        dialog.locator("th").nth(2).wait_for()
        names = panel.root.locator(".ca-cell .ca-name").all_inner_texts()[:2]

        def in_order(parts: Any) -> list[str]:
            found = [(part.bounding_box()["x"], part.inner_text()) for part in parts.all()]
            return [text for _, text in sorted(found) if text in names]

        assert in_order(dialog.locator(".ca-compare-name")) == names
        assert in_order(dialog.locator("thead th")) == names
        dialog.get_by_role("button", name=document("he")["comfyAssets"]["compare"]["overlay"]).click()
        dialog.get_by_role("slider").wait_for()
        assert in_order(dialog.locator(".ca-compare-name")) == names


def _refuse(answer: dict[str, str], route: Any) -> None:
    route.fulfill(status=404, json=answer)


def test_errors_in_the_language_of_the_panel(browser: Any, server: Any, open_alone: Any) -> None:
    with open_alone(browser, server, locale="de-AT") as panel:
        panel.options().first.wait_for()
        for code, text in ERRORS.items():
            answer = {"code": code, "message": MESSAGE}
            panel.page.route("**/api/assets?*", partial(_refuse, answer))
            panel.root.get_by_label("Bibliothek durchsuchen").fill(code)
            alert = panel.root.locator(".ca-tab-panel:not([hidden])").get_by_role("alert")
            alert.get_by_text(text, exact=True).wait_for()
            panel.page.unroute("**/api/assets?*")


def test_problems_of_a_scan_in_the_language_of_the_panel(browser: Any, server: Any, open_alone: Any) -> None:
    link = server.base / "output" / "loop"
    link.symlink_to(server.base / "output", target_is_directory=True)
    try:
        server.request("/api/assets/seed", {"roots": ["output"]})
        server.wait_for("/api/assets/seed/status", lambda status: status.get("problems") and status["phase"] == "idle")
        with open_alone(browser, server, locale="de-AT") as panel:
            panel.root.get_by_text("1 Problem", exact=True).click()
            panel.root.get_by_text("verweist auf einen Ordner, in dem die Verknüpfung liegt").wait_for()
    finally:
        link.unlink()
        server.request("/api/assets/seed", {"roots": ["output"]})
        server.wait_for(
            "/api/assets/seed/status", lambda status: status.get("problems") == 0 and status["phase"] == "idle"
        )


# Return the names of properties that reach into their values, and the choices that are cut off.
TOO_LONG = """
() => {
    const pen = document.createElement('canvas').getContext('2d')
    const isCutOff = select => {
        pen.font = getComputedStyle(select).font
        return pen.measureText(select.selectedOptions[0].text).width > select.clientWidth - 12
    }
    const visible = selector => [...document.querySelectorAll(selector)].filter(each => each.checkVisibility())
    return [...visible('.ca-property dt').filter(each => each.scrollWidth > each.clientWidth),
        ...visible('.ca-filters select').filter(isCutOff)].map(each => each.innerText)
}
"""


@pytest.mark.parametrize("language", ["de", "ru", "pt-BR"])
def test_long_words_fit_into_a_narrow_panel(browser: Any, server: Any, open_alone: Any, language: str) -> None:
    with open_alone(browser, server, locale=language, viewport={"width": 320, "height": 800}) as panel:
        panel.options().first.click()
        panel.root.locator(".ca-property").first.wait_for()
        assert panel.page.evaluate(TOO_LONG) == []
        panel.root.get_by_role("tab").nth(2).click()
        panel.root.locator(".ca-filters select:visible").wait_for()
        assert panel.page.evaluate(TOO_LONG) == []
