"""Idempotency keys: a key is good for one job or upload, for a day, across restarts."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from comfy_sdk import ComfyError, IdempotencyKeyReuse, InvalidWorkflow
from support.sdk import SdkServer, low, picture, server_with_client, word
from support.servers import HttpServer

pytestmark = pytest.mark.slow

THREADS = 12
DAY_MS = 24 * 3600 * 1000


def count_of(server: SdkServer, client: str) -> int:
    """How many jobs have the label."""
    return len(list(server.client.list_jobs(metadata={"client": client})))


def test_a_key_is_good_for_one_job(server: SdkServer) -> None:
    key, label = word(), word()
    graph = picture()
    job = server.submit(graph, idempotency_key=key, metadata={"client": label})
    for again in (graph, picture()):
        with pytest.raises(IdempotencyKeyReuse) as caught:
            server.submit(again, idempotency_key=key, metadata={"client": label})
        assert caught.value.http_status == 422
    assert job.result().status == "succeeded"
    with pytest.raises(IdempotencyKeyReuse):
        server.submit(graph, idempotency_key=key, metadata={"client": label})
    assert count_of(server, label) == 1


def test_of_many_at_once_one_is_taken(server: SdkServer) -> None:
    key, label = word(), word()
    jobs: list[str] = []
    refused: list[str | None] = []
    start = threading.Barrier(THREADS)

    def submit() -> None:
        start.wait(30)
        try:
            jobs.append(server.submit(picture(), idempotency_key=key, metadata={"client": label}).id)
        except ComfyError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=submit) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(jobs) == 1 and refused == ["idempotency_key_reuse"] * (THREADS - 1)
    assert count_of(server, label) == 1


def test_a_refused_graph_leaves_the_key_free(server: SdkServer) -> None:
    key = word()
    graph = picture()
    del graph["2"]["inputs"]["images"]
    for _ in range(2):
        with pytest.raises(InvalidWorkflow):
            server.submit(graph, idempotency_key=key)
    assert server.submit(picture(), idempotency_key=key).result().status == "succeeded"


def test_a_bad_request_leaves_the_key_free(server: SdkServer) -> None:
    key = word()
    with pytest.raises(ComfyError) as caught:
        server.submit(picture(), idempotency_key=key, metadata={f"k{number}": "v" for number in range(17)})
    assert caught.value.code == "metadata_invalid"
    assert server.submit(picture(), idempotency_key=key).result().status == "succeeded"


def test_a_key_of_an_upload_is_good_for_one(server: SdkServer, tmp_path: Path) -> None:
    key = word()
    path = tmp_path / "once.bin"
    path.write_bytes(word().encode())

    def upload() -> str:
        with path.open("rb") as stream:
            return (
                low(server.client).post_assets(stream, "application/octet-stream", "once.bin", idempotency_key=key).id
            )

    first = upload()
    path.write_bytes(word().encode())
    with pytest.raises(Exception) as caught:
        upload()
    assert getattr(caught.value, "code", None) == "idempotency_key_reuse"
    assert server.client.assets.get(first).id == first


def test_a_failed_upload_leaves_the_key_free(server: SdkServer, tmp_path: Path) -> None:
    path = tmp_path / "wrong.bin"
    path.write_bytes(word().encode())
    asset = server.client.assets.from_file(path)
    right = asset.hash
    asset._hash = "blake3:" + "0" * 64
    with pytest.raises(ComfyError) as caught:
        asset.commit()
    assert caught.value.code == "hash_mismatch"
    asset._hash = right
    assert asset.commit() and asset.created_new


def test_keys_of_jobs_and_uploads_are_apart(server: SdkServer, tmp_path: Path) -> None:
    key = word()
    path = tmp_path / "apart.bin"
    path.write_bytes(word().encode())
    server.submit(picture(), idempotency_key=key).result()
    with path.open("rb") as stream:
        assert low(server.client).post_assets(stream, "image/png", "apart.bin", idempotency_key=key).id


@pytest.mark.slow
def test_a_key_outlives_a_restart_and_ends_after_a_day(start: Callable[..., HttpServer], tmp_path: Path) -> None:
    base = tmp_path / "base"
    key = word()
    with server_with_client(start, base) as server:
        server.submit(picture(), idempotency_key=key).result()
    with server_with_client(start, base) as server, pytest.raises(IdempotencyKeyReuse):
        server.submit(picture(), idempotency_key=key)
    _age_keys(base, DAY_MS + 60_000)
    with server_with_client(start, base) as server:
        assert server.submit(picture(), idempotency_key=key).result().status == "succeeded"


def _age_keys(base: Path, milliseconds: int) -> None:
    """Make every key this much older."""
    with closing(sqlite3.connect(base / "user" / "__comfy_assets" / "library.db")) as connection, connection:
        changed = connection.execute("UPDATE idempotency_keys SET claimed_at = claimed_at - ?", (milliseconds,))
        assert changed.rowcount > 0
