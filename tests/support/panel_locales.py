"""The translations of the panel as they lie in `locales`, and the forms that their plurals have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOCALES = Path(__file__).resolve().parents[2] / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir())

# Forms of a plural by the categories of Unicode CLDR. Left out are those that read like "other": "many" of the Romance
# languages, which begins with a million, and "two" of Hebrew, which is for words, not for the digit.
FORMS = {"ar": "zero one two few many other", "ru": "one few many other"} | dict.fromkeys(
    ("ja", "ko", "zh", "zh-TW"), "other"
)
USUAL_FORMS = "one other"
# Where the English "one" names the asset, the other languages need a form for exactly one: their category "one" has
# other numbers as well, or they have none.
EXACT_FORMS = {"ru": "1 one few many other"} | dict.fromkeys(
    ("fa", "fr", "ja", "ko", "pt-BR", "zh", "zh-TW"), "1 other"
)


def document(language: str, name: str = "main.json") -> Any:
    """Return a file of a language."""
    return json.loads((LOCALES / language / name).read_text(encoding="utf-8"))
