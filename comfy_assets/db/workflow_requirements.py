"""Look up the files that a workflow names: at their places, by what is known of their contents, and by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import tags
from .asset_uses import WORKFLOW_USE
from .connection import Database, Transaction
from .job_links import PLACES, place
from .sql import json_array

_MAX_FOUND = 20  # assets of one name


class ExpectedContent(NamedTuple):
    """The content that a workflow needs under a path (forward slashes), of a category or ""."""

    path: str
    category: str
    hash: bytes
    size: int


async def assets_at(db: Database, owner: str, kind: str, file: tuple[str, str, str]) -> list[str]:
    """Return the ids of visible assets, of files of this kind of folder, that a name means; see ``link_files``."""
    rows = await db.fetch_all(
        f"SELECT a.uuid FROM {PLACES} JOIN folders k ON k.id = f.folder_id AND k.kind = ?6"
        f" JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE {tags.VISIBLE.replace('?', '?5')} LIMIT {_MAX_FOUND:d}",
        (*place(*file), owner, kind),
    )
    return [row[0] for row in rows]


async def assets_called(db: Database, owner: str, kind: str, name: str) -> list[str]:
    """Return the ids of visible assets of this name, in any case, whose files are there in such a kind of folder."""
    rows = await db.fetch_all(
        "SELECT a.uuid FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN files f ON f.id = a.id AND f.missing = 0 JOIN folders d ON d.id = f.folder_id AND d.kind = ?3"
        f" WHERE a.name_key = ?1 AND {tags.VISIBLE.replace('?', '?2')} ORDER BY a.id LIMIT {_MAX_FOUND:d}",
        (name.casefold(), owner, kind),
    )
    return [row[0] for row in rows]


async def assets_of_contents(db: Database, owner: str, digests: Iterable[bytes]) -> list[str]:
    """Return the ids of visible assets that have one of these contents."""
    found: list[str] = []
    for digest in dict.fromkeys(digests):
        rows = await db.fetch_all(
            "SELECT a.uuid FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
            " WHERE a.content_id = (SELECT id FROM contents WHERE hash = ?1)"
            f" AND {tags.VISIBLE.replace('?', '?2')} ORDER BY a.id LIMIT {_MAX_FOUND:d}",
            (digest, owner),
        )
        found += [row[0] for row in rows]
    return found


async def linked_by_name(db: Database, workflow_row: int, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the assets to which versions of a workflow were linked by these names, the latest first."""
    rows = await db.fetch_all(
        "SELECT u.named, a.uuid FROM workflow_versions v JOIN asset_uses u ON u.used_by = v.uuid"
        f" AND u.kind = '{WORKFLOW_USE}' JOIN assets a ON a.id = u.asset_id"
        " WHERE v.workflow_id = ? AND u.named IN (SELECT value FROM json_each(?)) ORDER BY v.version DESC",
        (workflow_row, json_array(names)),
    )
    found: dict[str, list[str]] = {}
    for name, asset_id in rows:
        ids = found.setdefault(name, [])
        if asset_id not in ids and len(ids) < _MAX_FOUND:
            ids.append(asset_id)
    return found


async def expected_contents(db: Database, workflow_row: int) -> list[ExpectedContent]:
    """Return the contents that a bundle or the share of a workflow states for its files."""
    rows = await db.fetch_all(
        "SELECT path, category, hash, size FROM workflow_contents WHERE workflow_id = ?1"
        " UNION SELECT a.path, coalesce(a.category, ''), a.hash, a.size FROM shares s"
        " JOIN shared_assets a ON a.share_id = s.id WHERE s.workflow_id = ?1",
        (workflow_row,),
    )
    return [ExpectedContent(*row) for row in rows]


async def expect_contents(tx: Transaction, workflow_row: int, contents: Iterable[ExpectedContent]) -> None:
    """Store the contents that a bundle states for the files of its workflow."""
    await tx.execute_many(
        "INSERT OR REPLACE INTO workflow_contents (workflow_id, path, category, hash, size) VALUES (?, ?, ?, ?, ?)",
        [(workflow_row, *each) for each in contents],
    )
