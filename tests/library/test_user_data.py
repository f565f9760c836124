"""Tell what users have set on an asset from what its file gives it, column by column."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.moves import user_data
from comfy_assets_node.comfy_assets.db import assets, collections, files, moves, tags
from comfy_assets_node.comfy_assets.models import AssetEdit

EDITS = {
    "name": AssetEdit(name="My own"),
    "mime_type": AssetEdit(mime_type="application/x-mine"),
    "user_metadata": AssetEdit(user_metadata='{"stars":4}'),
    "preview_id": AssetEdit(preview_id="of the other"),
}


async def test_every_column_is_a_users_or_not(library: Any) -> None:
    """A column that users can set must be in ``user_data``, or it is lost when assets are merged."""
    columns = {row[1] for row in await library.services.db.fetch_all("PRAGMA table_info(assets)")}
    members = set(AssetEdit.__struct_fields__)
    assert members | assets.OTHER_COLUMNS == columns
    assert not members & assets.OTHER_COLUMNS
    assert members == EDITS.keys()


async def stored(library: Any) -> tuple[Any, Any]:
    """The rows of two files that nobody has given anything."""
    for name in ("a.bin", "b.bin"):
        library.write(f"output/{name}", name.encode())
    library.services.indexer._hash_files = False
    await library.scan()
    async with library.services.db.transaction() as tx:
        first, second = await moves.by_id(tx, [1, 2])
    assert user_data(first).is_empty and user_data(second).is_empty
    return first, second


@pytest.mark.parametrize("member", EDITS)
async def test_the_edit_gives_another_asset_the_same(library: Any, member: str) -> None:
    first, second = await stored(library)
    edit = EDITS[member]
    async with library.services.db.transaction() as tx:
        if member == "preview_id":
            uuid = await tx.fetch_value("SELECT uuid FROM assets WHERE id = ?", (second.id,))
            edit = AssetEdit(preview_id=str(uuid))
        await assets.edit(tx, first.id, edit, 1)
        [first] = await moves.by_id(tx, [first.id])
        found = user_data(first)
        assert found.edit == edit and not found.is_empty
        await assets.edit(tx, second.id, found.edit, 1)
        [second] = await moves.by_id(tx, [second.id])
    assert user_data(second) == found


async def test_places_in_collections(library: Any) -> None:
    """They follow an asset that adopts the file of another, where it has none itself."""
    first, second = await stored(library)
    async with library.services.db.transaction() as tx:
        both, one = [await collections.add(tx, name, "", name, None, 1) for name in ("both", "one")]
        await collections.put(tx, both, [second.id, first.id], None, 1)
        await collections.put(tx, one, [second.id], None, 1)
        await tx.execute("UPDATE collections SET cover_id = ?", (second.id,))
        rows = await moves.by_id(tx, [first.id, second.id])
        assert [user_data(row).is_collected for row in rows] == [True, True]
        assert not any(user_data(row).is_empty for row in rows)
        await moves.adopt_files(tx, {second.id: first.id})
        members = await tx.fetch_all("SELECT collection_id, asset_id FROM collection_members ORDER BY 1")
        assert members == [(both, first.id), (one, first.id)]
        assert await tx.fetch_all("SELECT DISTINCT cover_id FROM collections") == [(first.id,)]


async def test_tags(library: Any) -> None:
    first, _ = await stored(library)
    async with library.services.db.transaction() as tx:
        await files.mark_missing(tx, [first.id])
        [row] = await moves.by_id(tx, [first.id])
        assert user_data(row).is_empty
        await tags.retag(tx, [first.id], add=("mine",))
        [row] = await moves.by_id(tx, [first.id])
    assert user_data(row).tags == {"mine"} and not user_data(row).is_empty
