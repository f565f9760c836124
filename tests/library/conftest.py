"""What the tests of the index look at: rows as they are stored, and files as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import page_refresh
from comfy_assets_node.comfy_assets.assets.index import hash_run
from comfy_assets_node.comfy_assets.background.interruption import Throttle
from comfy_assets_node.comfy_assets.db import tags as tag_rows

TABLES = ("assets", "files", "folders", "tag_sets", "contents", "documents", "tag_set_tags", "tags", "asset_tags")


@pytest.fixture(autouse=True)
def _no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are told of changes by a message that comes later, and has tests of its own."""
    monkeypatch.setattr(page_refresh, "DELAY_S", 3600)


@pytest.fixture
def snapshot() -> Callable[[Any], Any]:
    """Every row of the library's tables."""

    async def snapshot(library: Any) -> dict[str, list[Any]]:
        db = library.services.db
        return {table: await db.fetch_all(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}

    return snapshot


@pytest.fixture
def annotate() -> Callable[..., Any]:
    """Give an asset what a user gives it: tags, metadata, a name."""

    async def annotate(library: Any, name: str, *tags: str, metadata: str | None = None) -> str:
        """Answers the asset's id."""
        db = library.services.db
        async with db.transaction() as tx:
            row_id = await tx.fetch_value("SELECT id FROM assets WHERE name = ?", (name,))
            await tag_rows.retag(tx, [row_id], add=tags)
            await tx.execute("UPDATE assets SET user_metadata = ? WHERE id = ?", (metadata, row_id))
            return str(await tx.fetch_value("SELECT uuid FROM assets WHERE id = ?", (row_id,)))

    return annotate


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on, in the order in which that begins."""
    names: list[str] = []
    real = hash_run.read_file

    def read_file(file: Any, *rest: Any) -> Any:
        names.append(file.name)
        return real(file, *rest)

    monkeypatch.setattr(hash_run, "read_file", read_file)
    return names


@pytest.fixture
def before_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """Functions that workers call before each folder, file and chunk, in their threads."""
    hooks: list[Callable[[], None]] = []
    real = Throttle.wait

    def wait(self: Throttle, token: Any) -> None:
        for hook in list(hooks):
            hook()
        real(self, token)

    monkeypatch.setattr(Throttle, "wait", wait)
    yield hooks
    hooks.clear()
