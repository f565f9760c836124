"""Files in the panel: deleting them, many at once, the trash, and renaming them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NOTES = 520  # more than are selected one by one
PICTURE = "castle_on_a_cliff_at_dusk_00000_.png"
LORA = "ink_style.safetensors"
TRASH, REMOVE = "Move file to trash", "Remove from library (keep file)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any) -> Iterator[Any]:
    """A server with a small library, many notes, and a workflow whose first version uses a picture and a LoRA."""
    base = small_library(tmp_path_factory.mktemp("library"))
    (base / "input" / "notes").mkdir()
    for number in range(NOTES):
        (base / "input" / "notes" / f"note_{number:03}.txt").write_text(f"note {number}")
    nodes = [
        {"type": "LoadImage", "widgets_values": [f"2026-11/{PICTURE} [output]"]},
        {"type": "LoraLoader", "widgets_values": [LORA, 1, 1]},
    ]
    with serve(base) as running:
        saved = running.request("/api/workflows", {"name": "Portrait", "workflow_json": {"nodes": nodes}})
        body = {"base_version": 1, "workflow_json": {"nodes": []}}
        running.request(f"/api/workflows/{saved['id']}/versions", body)
        yield running


def find(panel: Any, text: str, count: int) -> None:
    panel.root.get_by_label("Search the library").fill(text)
    panel.count_is(count)


def select_all(panel: Any) -> None:
    panel.root.get_by_role("listbox", name="Assets").press("Control+a")


def selected(panel: Any, text: str) -> Any:
    """The bar of the selection, once it has this text."""
    bar = panel.root.locator(".ca-selection:not([hidden])", has_text=text)
    bar.wait_for()
    return bar


def trashed(server: Any) -> list[str]:
    return sorted(entry["name"] for entry in server.request("/api/trash?limit=500")["entries"])


def test_what_a_file_is_used_by(panel: Any, server: Any) -> None:
    find(panel, PICTURE, 1)
    panel.option("castle").click()
    panel.page.keyboard.press("Delete")
    question = panel.page.get_by_role("dialog", name=f"{PICTURE} is in use")
    question.get_by_text("version 1 of Portrait").wait_for()
    question.get_by_text("No latest version of a workflow uses it.").wait_for()
    question.get_by_role("button", name="Cancel").click()
    panel.root.locator(".ca-detail h3", has_text=PICTURE).wait_for()  # it stays
    assert trashed(server) == []
    panel.page.keyboard.press("Delete")
    question.get_by_role("button", name=f"{TRASH} anyway").click()
    panel.says(f"{PICTURE} moved to the trash")
    assert trashed(server) == [PICTURE]
    panel.page.keyboard.press("Control+z")  # in the empty list
    panel.says(f"{PICTURE} restored")
    assert (server.base / "output" / "2026-11" / PICTURE).is_file() and trashed(server) == []


def test_a_model_is_asked_about(panel: Any, server: Any) -> None:
    find(panel, "ink_style", 1)
    select_all(panel)
    selected(panel, "1 selected").get_by_role("button", name=TRASH).click()
    question = panel.page.get_by_role("dialog", name=f"Move {LORA} to the trash?")
    question.get_by_text(f"{LORA}: used by version 1 of Portrait").wait_for()
    question.get_by_role("button", name="Cancel").click()
    assert trashed(server) == []


def test_many_with_one_in_use(panel: Any, server: Any) -> None:
    find(panel, "castle", 3)
    select_all(panel)
    selected(panel, "3 selected").get_by_role("button", name=TRASH).click()
    question = panel.page.get_by_role("dialog", name="1 asset is in use")
    question.get_by_text(f"{PICTURE}: used by version 1 of Portrait").wait_for()
    question.get_by_role("button", name="Cancel").click()
    panel.says("2 assets moved to the trash")
    panel.button("1 not changed").click()
    failures = panel.page.get_by_role("dialog", name="1 not changed")
    failures.get_by_text(f"{PICTURE}: in use").wait_for()
    failures.get_by_role("button", name="Close").click()
    panel.count_is(1)
    select_all(panel)
    selected(panel, "1 selected")
    panel.page.keyboard.press("Control+z")
    panel.says("2 assets restored")
    panel.count_is(3)
    assert trashed(server) == []


def test_the_whole_of_a_search(panel: Any, server: Any) -> None:
    find(panel, "note", NOTES)
    panel.options().first.click(modifiers=["Control"])
    selected(panel, "1 selected").get_by_role("button", name=f"Select all {NOTES} results").click()
    bar = selected(panel, f"All {NOTES} selected")
    panel.options().nth(1).click(modifiers=["Control"])
    bar = selected(panel, f"{NOTES - 1} selected")
    sent: list[Any] = []
    panel.page.on("request", lambda request: sent.append(request) if request.url.endswith("/assets/batch") else None)
    tags = bar.locator("input")
    tags.fill("bulk")
    tags.press("Enter")
    panel.says(f"{NOTES - 1} assets tagged bulk")
    (request,) = sent  # one for all
    assert "ids" not in request.post_data_json and len(request.post_data_json["exclude_ids"]) == 1
    assert server.request("/api/assets?tags_all=bulk&limit=1")["total"] == NOTES - 1
    bar.get_by_role("button", name="Rate").click()
    panel.page.get_by_role("menuitem", name="4 stars").click()
    panel.says(f"{NOTES - 1} assets rated 4")
    bar.get_by_role("button", name="Remove a tag").click()
    panel.page.get_by_role("menuitem", name="bulk").click()
    panel.says(f"Tag bulk removed from {NOTES - 1} assets")
    for _ in range(3):
        panel.root.get_by_role("listbox", name="Assets").press("Control+z")
        panel.says("Undone")
        panel.button("Close").click()
    assert server.request("/api/assets?tags_all=bulk&limit=1")["total"] == 0
    assert server.request("/api/assets?rating=4&limit=1")["total"] == 0


def test_cancelling_what_takes_long(panel: Any, server: Any) -> None:
    find(panel, "note", NOTES)
    select_all(panel)
    selected(panel, f"All {NOTES} selected").get_by_role("button", name=TRASH).click()
    question = panel.page.get_by_role("dialog", name=f"Move the files of {NOTES} assets to the trash?")
    question.get_by_role("button", name=TRASH).click()
    panel.root.locator(".ca-progress").get_by_role("button", name="Cancel").click()
    panel.says(" moved to the trash")
    gone = server.request("/api/trash?limit=1")["total"]
    assert 0 < gone < NOTES
    panel.button("Undo").click()
    panel.says(" restored")
    assert trashed(server) == []
    assert len(list((server.base / "input" / "notes").iterdir())) == NOTES


def delete(server: Any, *names: str, action: str = "trash") -> None:
    for name in names:
        server.request(f"/api/assets/{server.asset(name)['id']}?action={action}&force=true", method="DELETE")


def open_trash(panel: Any) -> Any:
    panel.button("Trash").click()
    return panel.root.get_by_role("region", name="Trash")


def rows(trash: Any) -> Any:
    return trash.locator(".ca-cell:not([hidden])")


def test_the_trash(panel: Any, server: Any) -> None:
    delete(server, PICTURE, "note_000.txt", "note_001.txt")
    delete(server, "note_002.txt", action="remove")
    trash = open_trash(panel)
    trash.get_by_text("4 deleted assets").wait_for()
    rows(trash).filter(has_text=PICTURE).locator("img.ca-loaded").wait_for()
    rows(trash).filter(has_text="note_002").get_by_text("file kept in input/notes/note_002.txt").wait_for()
    rows(trash).filter(has_text="note_001").get_by_text("was in input/notes/note_001.txt").wait_for()
    # One, whose place is taken meanwhile.
    (server.base / "input/notes/note_000.txt").write_text("another")
    rows(trash).filter(has_text="note_000").get_by_title("Restore").click()
    panel.says("note_000.txt restored as input/notes/note_000 (1).txt, as its place is taken")
    trash.get_by_text("3 deleted assets").wait_for()
    # Some, by keyboard.
    trash.get_by_role("listbox").press("Control+a")
    trash.get_by_text("3 selected").wait_for()
    panel.page.keyboard.press("Escape")
    rows(trash).filter(has_text="note_001").click()
    panel.page.keyboard.press("Delete")
    question = panel.page.get_by_role("dialog", name="Delete note_001.txt permanently?")
    question.get_by_text("1 file will be deleted, which frees 6 bytes.").wait_for()
    question.get_by_role("button", name="Delete permanently").click()
    panel.says("1 asset deleted permanently, 6 bytes freed")
    trash.get_by_text("2 deleted assets").wait_for()
    trash.get_by_label("Kind").select_option("removed")
    trash.get_by_text("1 deleted asset,").wait_for()
    trash.get_by_label("Kind").select_option("")
    trash.get_by_text("2 deleted assets").wait_for()
    trash.get_by_role("button", name="Select all").click()
    trash.get_by_role("button", name="Restore", exact=True).click()
    panel.says("2 assets restored")
    trash.get_by_text("The trash is empty").wait_for()
    panel.page.keyboard.press("Escape")
    trash.wait_for(state="hidden")
    assert panel.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Trash"
    assert (server.base / "output" / "2026-11" / PICTURE).is_file()


def test_emptying(panel: Any, server: Any) -> None:
    delete(server, "note_010.txt", "note_011.txt")
    delete(server, "note_012.txt", action="remove")
    trash = open_trash(panel)
    trash.get_by_text("3 deleted assets").wait_for()
    trash.get_by_role("button", name="Empty trash…").click()
    question = panel.page.get_by_role("dialog", name="Empty the trash?")
    question.get_by_text("2 files will be deleted, which frees 14 bytes.").wait_for()
    question.get_by_text("name of 1 removed asset will be deleted. Its file stays").wait_for()
    question.get_by_role("button", name="Delete permanently").click()
    panel.says("3 assets deleted permanently, 14 bytes freed")
    trash.get_by_text("The trash is empty").wait_for()
    trash.get_by_role("button", name="Library").click()
    assert not Path(server.base / "input/notes/note_010.txt").exists()
    assert Path(server.base / "input/notes/note_012.txt").exists()


def test_renaming_the_file(panel: Any, server: Any) -> None:
    find(panel, "note_100", 1)
    panel.option("note_100").click()
    panel.page.keyboard.press("F2")
    panel.root.get_by_label("Rename the file as well").check()
    panel.root.get_by_label("Name", exact=True).fill("renamed")
    panel.page.keyboard.press("Enter")
    panel.root.locator(".ca-detail").get_by_text("input/notes/renamed.txt").first.wait_for()
    notes = server.base / "input" / "notes"
    assert (notes / "renamed.txt").read_text() == "note 100" and not (notes / "note_100.txt").exists()
    panel.root.locator(".ca-detail").press("Control+z")
    panel.says("Undone: rename of note_100.txt")
    assert (notes / "note_100.txt").read_text() == "note 100" and server.asset("note_100.txt")["name"] == "note_100.txt"


def test_a_file_in_use_keeps_its_name(panel: Any) -> None:
    find(panel, PICTURE, 1)
    panel.option("castle").click()
    panel.page.keyboard.press("F2")
    panel.root.get_by_text("The file keeps its name, as it is used by version 1 of Portrait").wait_for()
    assert panel.root.get_by_label("Rename the file as well").count() == 0
    panel.page.keyboard.press("Escape")
    panel.root.locator(".ca-detail h3", has_text=PICTURE).wait_for()
