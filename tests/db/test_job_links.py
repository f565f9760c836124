"""Links of jobs to assets, and the owners that they keep apart, over a store with two users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.db import files, job_links, tags
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.files import FolderRow
from comfy_assets_node.comfy_assets.db.job_links import JobOwner, NamedWorkflow, PublicOutput, place
from comfy_assets_node.comfy_assets.models import REFERENCE

JOBS = {1: ("of-ann", "ann", 7), 2: ("of-bob", "bob", None), 3: ("of-all", "", None)}
# The owner of each asset, its content, its job, and whether it is deleted.
ASSETS: dict[int, tuple[str, int | None, str | None, bool]] = {
    1: ("", 1, "of-ann", False),
    2: ("ann", 2, "of-ann", False),
    3: ("bob", 3, "of-bob", False),
    4: ("ann", 4, "of-ann", True),
    5: ("bob", 2, None, False),
    6: ("bob", 4, None, True),
    7: ("bob", None, "of-bob", False),
    8: ("", 5, "of-ann", False),
    9: ("", 6, "of-bob", False),
    10: ("", 7, "of-all", False),
    11: ("", 8, None, False),
    12: ("", 8, "of-ann", False),
}
FOLDERS = (
    FolderRow("/out", "output", "output", None, "[]", "", None),
    FolderRow("/in/a", "input", "input/a", None, "[]", "", None),
    FolderRow("/in/b", "input", "input/b", None, "[]", "", None),
    FolderRow("/loras", "models", "models/loras/a", "a", "[]", "", None),
)


async def fill(tx: Transaction) -> None:
    folders = await files.put_folders(tx, FOLDERS)
    for job, (job_id, owner, started_at) in JOBS.items():
        await tx.execute(
            "INSERT INTO jobs (id, uuid, owner, status, number, seat, created_at, started_at, updated_at, run)"
            " VALUES (?, ?, ?, 2, 0, 0, 5, ?, 5, 9)",
            (job, job_id, owner, started_at),
        )
    for content in range(1, 9):
        await tx.execute("INSERT INTO contents (id, hash, size) VALUES (?, ?, 0)", (content, bytes([content]) * 32))
    for asset, (owner, content_id, made_by, hidden) in ASSETS.items():
        set_id = await tags.intern(tx, owner, ["output", "a category"], hidden=int(hidden))
        await tx.execute(
            "INSERT INTO assets (id, uuid, tag_set_id, content_id, name, name_key, mime_type, size, created_at,"
            " updated_at, job_id) VALUES (?1, 'id-' || ?1, ?2, ?3, 'n' || ?1, 'n' || ?1, 'm', 0, 1, 1, ?4)",
            (asset, set_id, content_id, made_by),
        )
        await tx.execute(
            "INSERT INTO files (id, folder_id, name, size, mtime_ns, inode) VALUES (?1, ?2, ?1, 0, 0, 0)",
            (asset, folders["/out"]),
        )
    await tx.execute("INSERT INTO asset_uses (asset_id, kind, used_by) VALUES (8, 'share', 'x')")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "library.db")
    async with opened.transaction() as tx:
        await fill(tx)
    yield opened
    await opened.close()


async def show(tx: Transaction, job_id: str, *assets: int) -> None:
    """Link the assets to the job, in the order of their numbers as outputs of its node."""
    await job_links.link_outputs(tx, [(job_id, "1", "images", asset, "/out", str(asset)) for asset in assets])


async def test_a_user_sees_their_own_outputs_and_public_ones(db: Database) -> None:
    async with db.transaction() as tx:
        shown = [("of-all", node, kind, number, "/out", name) for node, kind, number, name in (
            ("2", "images", 0, "3"), ("1", "images", 1, "2"), ("1", "images", 0, "1"), ("1", "gifs", 5, "4"),
            ("1", "gifs", 6, "none"),
        )]  # fmt: skip
        await job_links.link_outputs(tx, [*shown, ("none", "1", "images", 0, "/out", "1")])
        await job_links.link_outputs(tx, [("of-all", "3", "images", 0, "/in/a", "1")])  # no such file in this folder
    for owner, expected in (("ann", [1, 2]), ("bob", [1, 3]), ("eve", [1]), ("", [1])):
        found = await job_links.outputs_of(db, 3, owner)
        assert [output.asset.row_id for output in found] == expected, owner
        assert await job_links.outputs_of(db, 1, owner) == []
    found = await job_links.outputs_of(db, 3, "ann")
    assert [msgspec.structs.astuple(output)[1:] for output in found] == [("1", "images", 0), ("1", "images", 1)]


async def rows(db: Database, sql: str, *parameters: Any) -> list[Any]:
    return list(await db.fetch_all(sql, parameters))


async def shown_by(db: Database, job: int) -> list[int]:
    found = await rows(db, "SELECT asset_id FROM job_outputs WHERE job_id = ? ORDER BY output_index", job)
    return [row[0] for row in found]


async def test_others_outputs_become_references(db: Database) -> None:
    """Each user's job gets an asset of that user, and no other user's asset changes."""
    before = await rows(db, "SELECT * FROM assets ORDER BY id")
    new_ids = iter(["new-1", "new-2"])
    async with db.transaction() as tx:
        await show(tx, "of-ann", 1, 2, 3, 4, 7)
        await show(tx, "of-bob", 1, 2, 3, 4)
        await show(tx, "of-all", 1, 2, 3)
        assert await job_links.refer_to_others(tx, ["of-ann", "of-all", "none"], lambda: next(new_ids), 99) == 1
        assert await job_links.refer_to_others(tx, ["of-bob"], lambda: next(new_ids), 99) == 1
        assert await job_links.refer_to_others(tx, [job_id for job_id, *_ in JOBS.values()], str, 99) == 0
    # A reference of Ann's stands for Bob's 3; his 7 has no content yet. Bob has 2 as 5; 6 is deleted, so 4 is new.
    assert await shown_by(db, 1) == [1, 2, 13, 4, 7]
    assert await shown_by(db, 2) == [1, 5, 3, 14]
    assert await shown_by(db, 3) == [1, 2, 3]
    made = await rows(
        db,
        "SELECT a.id, a.uuid, s.owner, s.tags, s.hidden, a.content_id, a.name, a.origin, a.job_id, a.created_at"
        " FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id > 12 ORDER BY a.id",
    )
    assert [tuple(row) for row in made] == [
        (13, "new-1", "ann", '["output"]', 0, 3, "n3", REFERENCE, "of-ann", 99),
        (14, "new-2", "bob", '["output"]', 0, 4, "n4", REFERENCE, "of-bob", 99),
    ]
    assert await rows(db, "SELECT * FROM assets WHERE id <= 12 ORDER BY id") == before


async def test_public_outputs_of_users_jobs(db: Database) -> None:
    async with db.transaction() as tx:
        await show(tx, "of-ann", 1, 2, 8, 9, 11)
        await show(tx, "of-bob", 3, 9)
        await show(tx, "of-all", 10)
    anns, bobs = PublicOutput(1, "ann", 1), PublicOutput(9, "bob", 2)
    for users, after, limit, expected in (
        (["ann", "bob", ""], 0, 9, [anns, bobs]),
        (["ann"], 0, 9, [anns]),
        (["bob"], 0, 9, [bobs]),
        (["", "eve"], 0, 9, []),
        (["ann", "bob"], 0, 1, [anns]),
        (["ann", "bob"], 1, 9, [bobs]),
        (["ann", "bob"], 2, 9, []),
    ):
        assert await job_links.public_outputs(db, users, after, limit) == expected, (users, after)


async def test_owners_of_jobs(db: Database) -> None:
    async with db.transaction() as tx:
        found = await job_links.owners_of_jobs(tx, ["of-ann", "of-all", "none"])
    assert found == {"of-ann": JobOwner("ann", 7), "of-all": JobOwner("", 5)}


async def test_assets_that_graphs_name(db: Database) -> None:
    async with db.transaction() as tx:
        for asset, folder in ((5, "/in/a"), (6, "/loras"), (7, "/in/b")):
            sql = "UPDATE files SET folder_id = (SELECT id FROM folders WHERE path = ?), name = 'x' WHERE id = ?"
            await tx.execute(sql, (folder, asset))
        named = [
            ("of-ann", 9, ("output", "", "1")),
            ("of-ann", 9, ("", "a", "x")),  # a loader's folder, or one of the input folder
            ("of-bob", 9, ("input", "a", "x")),
            ("of-bob", 8, ("output", "", "2")),  # another run
            ("of-bob", 9, ("output", "a", "x")),
            ("of-all", 9, ("", "", "3")),
            ("none", 9, ("output", "", "1")),
        ]
        await job_links.link_inputs(tx, named)
    linked = await rows(db, "SELECT job_id, asset_id FROM job_inputs ORDER BY 1, 2")
    assert [tuple(row) for row in linked] == [(1, 1), (1, 5), (1, 6), (2, 5)]


# The owner of each workflow, the id in its graph, and whether it is deleted; each has one version.
WORKFLOWS = {
    "w1": ("ann", "shared", False),
    "w2": ("bob", "shared", False),
    "w3": ("ann", "anns", False),
    "w4": ("ann", "anns", True),
    "w5": ("bob", "bobs", False),
}


@pytest.fixture
async def workflows(db: Database) -> Database:
    """Two users' workflows, some with the same graph."""
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO documents (id, hash, body) VALUES (1, x'00', x'00')")
        for number, (workflow_id, (owner, graph_id, is_deleted)) in enumerate(WORKFLOWS.items(), 1):
            await tx.execute(
                "INSERT INTO workflows (id, uuid, owner, name_key, default_view, latest_version, created_at,"
                " updated_at, deleted_at, graph_id) VALUES (?, ?, ?, '', 'workflow', 1, 1, 1, ?, ?)",
                (number, workflow_id, owner, 9 if is_deleted else None, graph_id),
            )
            await tx.execute(
                "INSERT INTO workflow_versions (uuid, workflow_id, version, document_id, created_by, created_at)"
                " VALUES ('v' || ?1, ?1, 1, 1, 'x', 1)",
                (number,),
            )
    return db


@pytest.mark.parametrize(
    ("owner", "named", "expected"),
    [
        ("ann", "shared", ["w1"]), ("bob", "shared", ["w2"]), ("ann", "anns", ["w3"]), ("bob", "anns", []),
        ("bob", "w1", []), ("ann", "w1", ["w1"]), ("ann", "w4", []), ("ann", "w5", []), ("", "shared", []),
    ],
)  # fmt: skip
async def test_versions_that_a_users_job_may_belong_to(
    workflows: Database, owner: str, named: str, expected: list[str]
) -> None:
    found = await job_links.version_candidates(workflows, NamedWorkflow(owner, named))
    assert [each.workflow_id for each in found] == expected


@pytest.mark.parametrize(
    ("owner", "named", "is_found"),
    [
        ("ann", "shared", True), ("bob", "bobs", True), ("ann", "bobs", False), ("bob", "anns", False),
        ("bob", "w3", False), ("ann", "w3", True), ("bob", "w2", True), ("ann", "w2", False), ("", "shared", False),
    ],
)  # fmt: skip
async def test_workflows_that_users_jobs_name(workflows: Database, owner: str, named: str, is_found: bool) -> None:
    async with workflows.transaction() as tx:
        await tx.execute("UPDATE jobs SET owner = ?, workflow_id = ? WHERE id = 2", (owner, named))
    found = await job_links.named_by_jobs(workflows, 1, 2)
    assert found == ([NamedWorkflow(owner, named)] if is_found else [])
    assert await job_links.named_by_jobs(workflows, 2, 3) == await job_links.named_by_jobs(workflows, 0, 1) == []


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (("", "", "x"), ("", None, "input", "x")),
        (("", "a/b", "x"), ("a/b", None, "input/a/b", "x")),
        (("output", "", "x"), ("", "output", "output", "x")),
        (("temp", "a", "x"), ("a", "temp", "temp/a", "x")),
    ],
)
def test_places(named: tuple[str, str, str], expected: tuple[Any, ...]) -> None:
    assert place(*named) == expected
