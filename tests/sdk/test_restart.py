"""The server is killed in the middle, and started again: the SDK finds every job and asset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.sdk import ENDS, WAIT_S, check_job, picture, picture_file, server_with_client, wait_for, word, work
from support.servers import HttpServer

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_nothing(start: Callable[..., HttpServer], tmp_path: Path) -> None:
    base = tmp_path / "base"
    label, gate = word(), word()
    with server_with_client(start, base) as server:
        done = server.submit(picture(), metadata={"client": label}).result()
        content = done.outputs[0].to_bytes()
        asset = server.client.assets.from_bytes(picture_file(), filename="kept.png")
        asset.commit()
        running = server.submit(work(gate), metadata={"client": label})
        wait_for(running, "running")
        waiting = [server.submit(picture(), metadata={"client": label}) for _ in range(3)]
        server.http.kill()
    with server_with_client(start, base) as server:
        server.open(gate)
        again = server.client.jobs.get(done.id)
        assert again.status == "succeeded" and again.outputs[0].id == done.outputs[0].id
        assert again.outputs[0].to_bytes() == content
        assert server.client.assets.get(str(asset.id)).hash == asset.hash
        for job in waiting:
            found = server.client.jobs.get(job.id).wait(WAIT_S)
            assert found.status == "succeeded" and len(found.outputs) == 1, found.error
        broken = server.client.jobs.get(running.id).wait(WAIT_S)
        assert broken.status in ENDS - {"expired"}
        if broken.status == "failed":
            assert check_job(server.raw_job(broken.id)).error is not None
        listed = {summary.id for summary in server.client.list_jobs(metadata={"client": label})}
        assert listed == {done.id, running.id, *(job.id for job in waiting)}
