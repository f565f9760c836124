"""Holds the store by the disk, and by itself: SQLite is asked directly. Everything here blocks; each function answers
what is amiss."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from blake3 import blake3
from notes import Json, Notes
from server import Server

if "comfy_assets_node" not in sys.modules:  # the tests have loaded it
    sys.path.append(str(Path(__file__).resolve().parents[2] / "fault"))
    from checkout import load

    load()
from comfy_assets_node.comfy_assets.db.compression import decompress

HASHED = 1
ROOTS = ("models", "input", "output")
PASSING = ".comfy-assets-*.part"
LIBRARY_TRASH = ".comfy-assets-trash"  # in folders on other volumes than the data directory
RECOUNTS = {
    "tag_sets": "SELECT id, asset_count, (SELECT count(*) FROM assets WHERE tag_set_id = t.id) FROM tag_sets t",
    "workflow_counts": "SELECT owner || default_view, n, (SELECT count(*) FROM workflows w WHERE w.owner = c.owner"
    " AND w.default_view = c.default_view AND deleted_at IS NULL) FROM workflow_counts c",
    "job_counts": "SELECT owner || status || media, n, (SELECT count(*) FROM jobs j WHERE j.owner = c.owner"
    " AND j.status = c.status AND j.media = c.media) FROM job_counts c",
}
NONE_OF = {
    "a version is missing among": "SELECT w.uuid FROM workflows w WHERE (SELECT count(*) FROM workflow_versions v"
    " WHERE v.workflow_id = w.id AND v.version BETWEEN 1 AND w.latest_version) <> w.latest_version",
    "a version is beyond the latest of": "SELECT w.uuid FROM workflows w JOIN workflow_versions v"
    " ON v.workflow_id = w.id WHERE v.version > w.latest_version",
    "a workflow without a file, or whose file is behind:": "SELECT uuid FROM workflows WHERE deleted_at IS NULL"
    " AND (path IS NULL OR file_version IS NOT latest_version)",
    "a file of a deleted workflow is still to be removed:": "SELECT uuid FROM workflows WHERE deleted_at IS NOT NULL"
    " AND file_version = -1",
    "two workflows are at": "SELECT path FROM workflows WHERE deleted_at IS NULL GROUP BY owner, path"
    " HAVING count(*) > 1",
    "a job is not over:": "SELECT uuid FROM jobs WHERE status < 2",
    "a job has no record:": "SELECT uuid FROM jobs WHERE id NOT IN (SELECT job_id FROM job_records)",
    "a hashed file has no content:": "SELECT a.uuid FROM files f JOIN assets a ON a.id = f.id"
    " WHERE f.state = 1 AND a.content_id IS NULL",
    "an asset has neither a file nor content:": "SELECT a.uuid FROM assets a WHERE a.content_id IS NULL"
    " AND a.id NOT IN (SELECT id FROM files) AND a.id NOT IN (SELECT asset_id FROM trash)",
}


def audit(server: Server, *notes: Notes) -> list[str]:
    """Return what is amiss by the notes of all users."""
    path = server.data / "library.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return [
            *_itself(db),
            *_library(db, server.base),
            *_trash(db, path.parent / "trash", server.base),
            *[what for user in server.users for what in _flows(db, server.workflows_of(user), user)],
            *[what for each in notes for what in (*_texts(db, each), *_rivals(db, each))],
            *[f"a store was set aside: {each.name}" for each in path.parent.glob("*unreadable*")],
        ]


def _itself(db: sqlite3.Connection) -> list[str]:
    found = [f"integrity: {row}" for row in db.execute("PRAGMA integrity_check") if row != ("ok",)]
    found += [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
    for table, query in RECOUNTS.items():
        found += [
            f"{table}: {key} counts {kept}, there are {real}" for key, kept, real in db.execute(query) if kept != real
        ]
    for what, query in NONE_OF.items():
        found += [f"{what} {row[0]}" for row in db.execute(query)]
    return found


def _library(db: sqlite3.Connection, base: Path) -> list[str]:
    """Each file has one row, hashed as it is; a row without a file has its mark."""
    rows = db.execute(
        "SELECT d.path, f.name, f.size, f.state, f.missing, l.tags, c.hash FROM files f JOIN assets a ON a.id = f.id"
        " JOIN folders d ON d.id = f.folder_id JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN asset_tag_lists l ON l.id = a.id"
        " LEFT JOIN contents c ON c.id = a.content_id"
    ).fetchall()
    there = {Path(folder, name): rest for folder, name, *rest in rows}
    found = [] if len(there) == len(rows) else ["a file has several rows"]
    on_disk = {path for root in ROOTS for path in (base / root).rglob("[!.]*") if path.is_file()}
    on_disk -= {path for path in on_disk if path.name.startswith(("put_", "_output_"))}  # ComfyUI's own
    on_disk -= {path for path in on_disk if LIBRARY_TRASH in path.parts}
    found += [f"no row: {path}" for path in sorted(on_disk - set(there))]
    for path, (size, state, missing, tags, digest) in there.items():
        is_there = path in on_disk
        if bool(missing) == is_there or ("missing" in json.loads(tags)) == is_there:
            found.append(f"{path}: it is there: {is_there}, missing is {missing}, its tags are {tags}")
        elif is_there:
            content = path.read_bytes()
            if (len(content), HASHED, blake3(content).digest()) != (size, state, digest):
                found.append(f"{path}: its size or hash is other, or it is not hashed: {state}")
    return found


def _trash(db: sqlite3.Connection, folder: Path, base: Path) -> list[str]:
    rows = db.execute(
        "SELECT t.stored, c.hash FROM trash t LEFT JOIN contents c ON c.id = t.content_id WHERE t.stored IS NOT NULL"
    ).fetchall()
    stored = {folder / name: digest for name, digest in rows}
    folders = (folder, *(base / root / LIBRARY_TRASH for root in ROOTS))
    held = {path for each in folders for path in each.rglob("*") if path.is_file()} - set(folder.rglob(PASSING))
    found = [f"not in the trash: {path}" for path in sorted(set(stored) - held)]
    found += [f"nobody's in the trash: {path}" for path in sorted(held - set(stored))]
    for path in held & set(stored):
        if blake3(path.read_bytes()).digest() != stored[path]:
            found.append(f"{path} in the trash holds other bytes")
    return found


def _flows(db: sqlite3.Connection, folder: Path, user: str) -> list[str]:
    """Each file of the user is one workflow, and holds its latest version."""
    rows = db.execute(
        "SELECT w.path, d.body, w.uuid FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id"
        " AND v.version = w.latest_version JOIN documents d ON d.id = v.document_id WHERE w.deleted_at IS NULL"
        " AND w.owner = ?",
        (user or "default",),
    ).fetchall()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("[!.]*.json")}
    found = [f"the file {path} is no workflow" for path in sorted(files.keys() - {row[0] for row in rows})]
    for path, body, flow in rows:
        if path not in files or files[path].read_bytes() != decompress(body):
            found.append(f"{path} of {flow} is not there, or does not hold the latest version")
    return found


def _texts(db: sqlite3.Connection, notes: Notes) -> list[str]:
    """What was answered to be saved is there for ever, of whichever workflow; and every text is what its hash says."""
    found: list[str] = []
    by_hash: dict[bytes, Json] = {}
    for digest, body in db.execute(
        "SELECT hash, body FROM documents WHERE id IN (SELECT document_id FROM workflow_versions)"
    ):
        text = decompress(body)
        by_hash[digest] = json.loads(text)
        if blake3(text).digest() != digest:
            found.append("a text is not what its hash says")
    versions = {
        (flow, number): by_hash[digest]
        for flow, number, digest in db.execute(
            "SELECT w.uuid, v.version, d.hash FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
            " JOIN documents d ON d.id = v.document_id"
        )
    }
    noted = [(flow.id, number, text) for flow in notes.flows for number, text in flow.versions.items()]
    for flow, number, text in noted + notes.shared_versions:
        if versions.get((flow, number)) != text:
            found.append(f"version {number} of {flow} is gone, or other: {text['n']}")
    saved = {text["n"]: text for text in versions.values()}
    found += [f"what the page has saved is gone: {text['n']}" for text in notes.page_texts if text["n"] not in saved]
    cut = [text["n"] for text in notes.given_up_texts if saved.get(text["n"], text) != text]
    return found + [f"of what was given up something else is there: {name}" for name in cut]


def _rivals(db: sqlite3.Connection, notes: Notes) -> list[str]:
    """Each asset that was answered is there or in the trash, with its content."""
    rows = db.execute(
        "SELECT a.uuid, coalesce(c.hash, d.hash) FROM assets a"
        " LEFT JOIN contents c ON c.id = a.content_id LEFT JOIN trash t ON t.asset_id = a.id"
        " LEFT JOIN contents d ON d.id = t.content_id"
    )
    there = dict(rows.fetchall())
    digests = {asset_id: blake3(content).digest() for asset_id, content in notes.rivals.items()}
    return [f"asset {each} of rivals is gone, or other" for each in digests if there.get(each) != digests[each]]


def leftovers(base: Path) -> list[Path]:
    """Files under a passing name, which are never to stay."""
    return sorted(base.rglob(PASSING))
