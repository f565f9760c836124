"""Figures in the docs beside the constants that they come from, and names of controls beside the panel's texts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import feedback, ignored_files, image_limits
from comfy_assets_node.comfy_assets.assets import (
    batches,
    collections,
    export_selection,
    exports,
    fields,
    saved_searches,
)
from comfy_assets_node.comfy_assets.background import interruption
from comfy_assets_node.comfy_assets.db import idempotency, migrate
from comfy_assets_node.comfy_assets.host import remote_client
from comfy_assets_node.comfy_assets.login import accounts, authorizations, passwords, store
from comfy_assets_node.comfy_assets.login import service as login
from comfy_assets_node.comfy_assets.workflows import service as workflows
from comfy_assets_node.comfy_assets.workflows import shares
from comfy_assets_node.routes import batches as batch_routes
from comfy_assets_node.routes import collections as collection_routes
from comfy_assets_node.routes import exports as export_routes
from comfy_assets_node.routes import prompts, request_body
from comfy_assets_node.routes.v2 import events, submission

sys.path.append(str(Path(__file__).resolve().parent))
from docs_pages import ROOT, page

_DAY_MS = 86_400_000
_MILLION = 1_000_000

TOLD = [
    ("assets", f"up to {batch_routes.MOST_IDS:,}), or by `filter`"),
    ("assets", f"for up to {batches.MOST_SELECTED:,} assets that pass them now"),
    ("assets", f"A user can have {batches._MOST_OF_ONE} batches running"),
    ("assets", f"The latest {batches.KEPT} batches of {batches.KEPT_MS // _DAY_MS} days are kept"),
    ("assets", f"with up to {batches.KEPT_ITEMS:,} assets in all"),
    ("assets", f"up to {export_routes._MOST_IDS:,} ids of assets"),
    ("assets", f"if there are more than {export_selection.MAX_FILES:,} files"),
    ("assets", f"an asset has at most {fields.MAX_TAGS} tags"),
    ("api", f"members of a collection, or of deleted assets to remove for good | {collection_routes.MAX_IDS:,} |"),
    ("api", f"assets to publish or to import from a share | {shares.MAX_ASSETS} |"),
    ("api", f"exports of a user that run or wait: {exports._MOST_OF_ONE} |"),
    ("api", f"{prompts._MAX_NODES:,} nodes"),
    ("api", f"{request_body.MAX_FORM_FIELDS} fields of {request_body.MAX_FORM_FIELD_SIZE >> 10} KiB each"),
    ("collections", f"A collection has up to {collections.MAX_MEMBERS:,} assets"),
    ("collections", f"restore it, for {collections.TRASH_DAYS} days"),
    ("comfy-api-v2-reference", f"for {idempotency.LASTS_MS // 3_600_000} hours"),
    ("comfy-api-v2-reference", f"up to {submission.MAX_LABELS} labels"),
    ("comfy-api-v2-reference", f"More than {events.MAX_STREAMS} streams of a user"),
    ("downloads", f"| link | {remote_client.MAX_URL_LENGTH:,} characters |"),
    ("library", f"more than {image_limits.MAX_PIXELS // _MILLION} million pixels"),
    ("library", f"the limit is {image_limits.MAX_PIXELS_AT_ONCE // _MILLION} million pixels"),
    ("library", f"or more than {image_limits.MAX_BYTES >> 20} MiB"),
    ("login", f"{login.LONGEST_MS // _DAY_MS} days, or {login.IDLE_MS // _DAY_MS} days without use"),
    ("login", f"| once, {accounts.LINK_MS // 60_000} minutes |"),
    ("login", f"It lasts {authorizations.TOKEN_LASTS_DAYS} days"),
    ("search", f"a user has up to {saved_searches.MAX_SEARCHES:,}"),
    ("tasks", f"A file of {feedback._MAX_BYTES >> 20} MiB is renamed"),
    ("workflows", f"can be restored for {workflows.TRASH_DAYS} days"),
    ("workflows", f"at most {shares.MAX_ASSETS})"),
]


@pytest.mark.parametrize(("name", "text"), TOLD, ids=[f"{name}: {text}" for name, text in TOLD])
def test_a_figure_is_that_of_the_code(name: str, text: str) -> None:
    assert text in " ".join(page(f"docs/{name}.md").text.split())


IN_WORDS = [
    (
        "library",
        "for a second and a half out of every thirty",
        (interruption.TURN_S, interruption.PATIENCE_S),
        (1.5, 30),
    ),
    ("login", "After five wrong passwords", passwords.FREE_ATTEMPTS, 5),
    ("login", "up to five minutes, per user and per address", passwords.LONGEST_DELAY_S, 300),
    ("login", "four older files are kept", store.KEPT_AUDITS, 4),
    ("storage", "The newest three are kept", migrate.KEPT_BACKUPS, 3),
]


@pytest.mark.parametrize(("name", "text", "value", "told"), IN_WORDS, ids=[text for _, text, _, _ in IN_WORDS])
def test_a_figure_in_words_is_that_of_the_code(name: str, text: str, value: object, told: object) -> None:
    assert value == told
    assert text in " ".join(page(f"docs/{name}.md").text.split())


def test_ends_of_unfinished_downloads() -> None:
    text = page("docs/library.md").text
    told = text[text.index("Unfinished downloads: files that end in") :].partition("\n- ")[0]
    for end in (*ignored_files._SUFFIXES, ".download", ".downloading"):
        assert end == ".aria2__temp" or f"`{end}`" in told.lower(), end


def test_figures_of_the_panel() -> None:
    text = " ".join(page("docs/panel.md").text.split())
    for file, constant, told in (
        ("library/undo_stack.mjs", "MAX_CHANGES = 50;", "takes back the last 50 changes"),
        ("shared/notifications.mjs", "VISIBLE_MS = 8000;", "go after eight seconds"),
        ("status/scan_toast.mjs", "MIN_SCAN_MS = 20_000;", "a scan of more than 20 seconds"),
        ("viewer/solid_view.mjs", "MAX_BYTES = 256 * 1024 * 1024;", "of up to 256 MiB"),
        ("viewer/text_view.mjs", "MAX_BYTES = 256 * 1024;", "readable up to 256 KiB"),
        ("shared/shared.css", "(width >= 800px)", "From 800 pixels on"),
    ):
        assert constant in (ROOT / "web/panel" / file).read_text(encoding="utf-8"), file
        assert told in text, told


def texts_of(value: Any) -> Iterator[str]:
    """The texts in the values of nested objects."""
    for each in value.values() if isinstance(value, dict) else ():
        yield from texts_of(each)
    if isinstance(value, str):
        yield value


def test_controls_that_are_named_are_in_the_panel() -> None:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "locales/en").glob("*.json")]
    # A part like {name} stands for a value, which the docs write as … or as a number. Commands that ask end with ….
    texts = [text.removesuffix("…") for file in files for text in texts_of(file)]
    patterns = [re.sub(r"\\\{.*?\\\}", "(?:…|[0-9]+)", re.escape(text)) for text in texts]
    known = re.compile("|".join(f"(?:{pattern})…?" for pattern in patterns))
    prose = re.sub(r"\*\*.*?\*\*", "", " ".join(page("docs/panel.md").prose.split()))
    named = {part for label in re.findall(r"\*([^*]+)\*", prose) for part in label.split(" → ")}
    named = {name for name in named if re.search(r"\w", name)} - {"Settings", "Comfy Assets"}  # of ComfyUI's page
    assert len(named) > 30
    assert {name for name in named if not known.fullmatch(name)} == set()
