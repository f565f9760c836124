"""The texts of the panel, its settings and its commands: each is there in every language, and used.

ComfyUI's page reads them as translations of a node pack: the files of `locales/<code>` and the keys that it looks up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import exclusions
from support.panel_locales import EXACT_FORMS, FORMS, LANGUAGES, LOCALES, USUAL_FORMS, document

ROOT = Path(__file__).resolve().parents[2]
PAGE = {"ar", "en", "es", "fa", "fr", "he", "it", "ja", "ko", "pt-BR", "ru", "tr", "zh", "zh-TW"}
"""The languages of ComfyUI's page 1.58."""
FILES = {"commands.json", "login.json", "main.json", "settings.json"}

NUMBERS = {"count", "number"}

WEB = [path for path in (ROOT / "web").rglob("*js") if "vendor" not in path.parts]
CODE = "\n".join(path.read_text(encoding="utf-8") for path in sorted(WEB))
SETTINGS = (ROOT / "web/panel/settings.mjs").read_text(encoding="utf-8")
ERRORS = (ROOT / "web/panel/shared/error_text.mjs").read_text(encoding="utf-8")
ENTRY = (ROOT / "web/comfy_assets.js").read_text(encoding="utf-8")


def texts(language: str) -> dict[str, Any]:
    """The panel's texts by their keys: a text, or the forms of a plural."""
    return dict(_flat(document(language)["comfyAssets"], ""))


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{path}.{name}".lstrip(".")
        if isinstance(value, dict) and "other" not in value:
            yield from _flat(value, key)
        else:
            yield key, value


def values(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


ENGLISH = texts("en")


def test_the_languages_are_those_of_the_page_and_can_be_chosen() -> None:
    choices = re.findall(r'text: "[^"]+", value: "([\w-]+)"', SETTINGS)
    assert sorted(choices) == sorted(["page", *LANGUAGES]) and set(LANGUAGES) == PAGE | {"de"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_the_texts_of_english(language: str) -> None:
    other = texts(language)
    missing = [key for key in ENGLISH if key not in other]
    assert missing == [], f"not in locales/{language}/main.json: {' '.join(missing)}"
    left_over = [key for key in other if key not in ENGLISH]
    assert left_over == [], f"not in locales/en/main.json: {' '.join(left_over)}"
    assert len(other) > 300


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_has_the_values_and_forms_of_english(language: str) -> None:
    wrong = [
        key
        for key, text in texts(language).items()
        if key in ENGLISH and not (_is_plain(text, ENGLISH[key]) or _is_plural(text, ENGLISH[key], language))
    ]
    assert wrong == []


def _is_plain(text: Any, english: Any) -> bool:
    return isinstance(text, str) and isinstance(english, str) and text.strip() != "" and values(text) == values(english)


def _is_plural(forms: Any, english: Any, language: str) -> bool:
    if not (isinstance(forms, dict) and isinstance(english, dict) and all(form.strip() for form in forms.values())):
        return False
    is_named = not values(english["one"]) & NUMBERS
    wanted = FORMS.get(language, USUAL_FORMS)
    if is_named:
        wanted = EXACT_FORMS.get(language, wanted)
    return list(forms) == wanted.split() and all(
        _fits(form, values(text), english, forms) for form, text in forms.items()
    )


def _fits(form: str, found: set[str], english: dict[str, str], forms: dict[str, str]) -> bool:
    """Return whether a form has the values of the English one. Words may stand for the numbers 0, 1 and 2."""
    one, other = values(english["one"]), values(english["other"])
    if form == "1" or (form == "one" and "1" not in forms and not one & NUMBERS):
        return found == one
    return found == other or (form in ("zero", "one", "two") and other - NUMBERS <= found < other)


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r"""\bt\(\s*"([\w.]+)\"""", CODE)) | set(re.findall(r"""#try\("([\w.]+)\"""", CODE))
    assert len(asked) > 60 and asked - ENGLISH.keys() == set()


def test_every_text_is_asked_for() -> None:
    """By its whole key, or as one of a family: ``t(`kind.${kind}`)``."""
    families = set(re.findall(r"`([\w.]+)\.\$\{", CODE))
    assert [key for key in ENGLISH if f'"{key}"' not in CODE and key.rpartition(".")[0] not in families] == []


def test_every_problem_of_a_scan_has_a_text() -> None:
    shown = (ROOT / "web/panel/status/scan_progress.mjs").read_text(encoding="utf-8")
    known = re.findall(r'"(\w+)"', shown.partition("CODES = new Set([")[2].partition("]")[0])
    texts = [key.removeprefix("scanProblem.") for key in ENGLISH if key.startswith("scanProblem.")]
    assert sorted(known) == sorted(texts) == sorted(exclusions.CODES)


# Codes of requests that the panel does not send: imports by link, their keys, pictures, previews, nodes, Comfy API v2.
OF_OTHER_REQUESTS = {
    "ACCESS_FORBIDDEN",
    "ADDRESS_NOT_ALLOWED",
    "AUTHORIZATION_FAILED",
    "BLOB_NOT_FOUND",
    "BUSY",
    "CONNECTION_REFUSED",
    "DEPLOYMENT_NOT_READY",
    "DOWNLOADS_DISABLED",
    "DUPLICATE_NAME",
    "DUPLICATE_PROVIDER",
    "HASH_MISMATCH",
    "HTTP_ERROR",
    "IDEMPOTENCY_KEY_REUSE",
    "IMAGE_TOO_LARGE",
    "IMAGE_UNREADABLE",
    "INVALID_HOST",
    "INVALID_METADATA_FILTER",
    "INVALID_PREVIEW_ID",
    "INVALID_PROMPT_ID",
    "INVALID_PROVIDER",
    "INVALID_URL_FORMAT",
    "INVALID_WORKFLOW",
    "LENGTH_REQUIRED",
    "METADATA_FETCH_FAILED",
    "METADATA_INVALID",
    "MISSING_ASSET",
    "NETWORK_ERROR",
    "NETWORK_TIMEOUT",
    "NO_THUMBNAIL",
    "PROMPT_ID_IN_USE",
    "QUEUE_FULL",
    "RANGE_NOT_SATISFIABLE",
    "RATE_LIMITED",
    "RESOURCE_NOT_FOUND",
    "SOURCE_SERVER_ERROR",
    "SUBGRAPH_NOT_FOUND",
    "TOO_MANY_DOWNLOADS",
    "TOO_MANY_STREAMS",
    "UNAUTHORIZED_SOURCE",
    "UNSAFE_PICKLE_SCAN",
    "UNSAFE_VIRUS_SCAN",
    "USER_TOKEN_ACCESS_DENIED",
    "USER_TOKEN_INVALID",
    "VIDEO_UNREADABLE",
    "WORKFLOW_FORMAT_UI",
}


def test_every_error_that_the_panel_can_meet_has_a_text() -> None:
    """Other tests hold that each language has the texts, and that the documentation has every code."""
    documented = set(
        re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    keys = dict(re.findall(r'^  ([A-Z_]+): "([\w.]+)",$', ERRORS, re.MULTILINE))
    assert documented - keys.keys() == OF_OTHER_REQUESTS and keys.keys() <= documented
    assert [key for key in keys.values() if values(ENGLISH[key]) - {"details", "seconds"}] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_settings_are_those_of_the_panel(language: str) -> None:
    """The page looks for the id with "_" for ".", and for options by their English text."""
    settings = {id_.replace(".", "_"): texts for id_, texts in _settings_in_code().items()}
    translated = document(language, "settings.json")
    assert translated.keys() == settings.keys()
    for id_, english in settings.items():
        assert translated[id_].keys() == english.keys(), id_
        if language == "en":
            assert translated[id_] == english


def _settings_in_code() -> dict[str, dict[str, Any]]:
    constants = dict(re.findall(r'const (\w+) = "([\w.]+)"', SETTINGS))
    found: dict[str, dict[str, Any]] = {}
    for block in re.findall(r"^  \{\n(.*?)^  \}", SETTINGS, re.MULTILINE | re.DOTALL):
        texts = dict(re.findall(r'^    (name|tooltip): "([^"]+)"', block, re.MULTILINE))
        options = re.findall(r'text: "([^"]+)", value: "page"', block)  # the others are names of languages
        found[constants[re.findall(r"id: (\w+)", block)[0]]] = texts | (
            {"options": {text: text for text in options}} if options else {}
        )
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_menu_and_sidebar_are_those_of_the_entry_point(language: str) -> None:
    """The page looks for commands by id, and for entries of its menu and sidebar by their English text."""
    commands = dict(re.findall(r'id: (\w+),\s+label: "([^"]+)"', ENTRY))
    ids = dict(re.findall(r'const (\w+) = "([\w.]+)"', ENTRY))
    translated = document(language, "commands.json")
    main = document(language)
    assert translated.keys() == {ids[name].replace(".", "_") for name in commands} and len(commands) == 3
    (menu,) = re.findall(r'path: \["Extensions", "([^"]+)"\]', ENTRY)
    assert main["menuLabels"].keys() == {menu, *commands.values()}
    for name, label in commands.items():
        assert translated[ids[name].replace(".", "_")] == {"label": main["menuLabels"][label]}
    sidebar = re.findall(r'(?:title|tooltip): "([^"]+)"', ENTRY)
    assert main.keys() == {"comfyAssets", "menuLabels", "settingsCategories", *sidebar} and len(sidebar) == 2
    assert main["settingsCategories"].keys() == set(re.findall(r'"Comfy Assets", "(\w+)"', SETTINGS))
    if language == "en":
        assert all(key == text for key, text in main["menuLabels"].items()) and all(main[key] == key for key in sidebar)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_can_compile_its_texts(language: str) -> None:
    """Vue's translations take some characters as syntax; the panel's own texts are none of its business."""
    main = {key: value for key, value in document(language).items() if key != "comfyAssets"}
    others = [document(language, name) for name in ("settings.json", "commands.json")]
    for _key, text in _flat({"main": main, "settings": others[0], "commands": others[1]}, ""):
        assert isinstance(text, str) and text.strip() and not re.search(r"[@{}|$%\\]", text), text
    assert {path.name for path in (LOCALES / language).iterdir()} == FILES
