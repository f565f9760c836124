"""Jobs of Comfy API v2, over HTTP on a standalone host."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.errors import StoreUnavailableError
from support.v2 import V2Api
from support.windows import allowed_s
from v2_studio import JOBS, PAINT, SAVE, TRIVIAL, WAITING, Make, Studio, painted

UNKNOWN = "11111111-1111-4111-8111-111111111111"
KEY = "sk-partner-0123456789abcdef"


class TestAJob:
    async def test_has_all_members_from_the_beginning_to_the_end(self, studio: Studio) -> None:
        job = await studio.post(metadata={"project": "demo"})
        members = {
            "id", "status", "created_at", "started_at", "completed_at", "expires_at", "queue_position", "progress",
            "outputs", "error", "metrics", "urls", "metadata",
        }  # fmt: skip
        assert job.keys() == members
        ended = await studio.end(job["id"])
        assert ended.keys() == members
        assert (ended["status"], ended["error"], ended["queue_position"]) == ("succeeded", None, None)
        assert [ended["progress"][name] for name in ("value", "nodes_done", "nodes_total")] == [1, 2, 2]
        assert ended["metadata"] == {"project": "demo"}
        assert min(ended["metrics"].values()) >= 0
        times = [datetime.fromisoformat(ended[name].replace("Z", "+00:00")) for name in ("created_at", "completed_at")]
        assert times == sorted(times)

    async def test_is_submitted_as_later_requests_read_it(self, studio: Studio) -> None:
        first = await studio.post(WAITING, metadata={"project": "one"})
        await studio.until(first["id"], "running")
        waiting = await studio.post(metadata={"project": "two", "kind": "b"})
        assert (waiting["status"], waiting["queue_position"]) == ("queued", 1)
        assert await studio.get(waiting["id"]) == waiting
        studio.release()
        assert (await studio.end(waiting["id"]))["created_at"] == waiting["created_at"]

    async def test_is_accepted_while_the_store_is_written(self, studio: Studio) -> None:
        """The journal has it: the response waits for no transaction, unless the job has ended by then."""
        async with studio.services.db.transaction():
            job = await asyncio.wait_for(studio.post(WAITING, metadata={"project": "demo"}), allowed_s(10))
        studio.release()
        assert (await studio.end(job["id"]))["metadata"] == {"project": "demo"}

    async def test_its_outputs_are_assets(self, studio: Studio) -> None:
        [output] = (await studio.run())["outputs"]
        assert (output["node_id"], output["type"], output["content_type"]) == ("2", "image", "image/png")
        assert output["name"] == "made_00001_.png"
        asset = (await studio.api.send("GET", f"/api/v2/assets/{output['id']}")).json
        content = (studio.base / "output" / output["name"]).read_bytes()
        assert (asset["hash"], asset["size_bytes"]) == (output["hash"], len(content))
        assert asset["job_id"] == output["job_id"]

    @pytest.mark.parametrize("odd", ["half a character \ud83d", 2**70, -(2**70)], ids=str)
    async def test_takes_values_that_only_python_writes(self, studio: Studio, odd: object) -> None:
        marked = {**PAINT, "_meta": {"title": odd}, "inputs": {**PAINT["inputs"], "more": odd}}
        assert (await studio.run({"1": marked, "2": SAVE}))["status"] == "succeeded"

    async def test_its_addresses_lead_to_it(self, studio: Studio) -> None:
        job = await studio.post()
        root = str(studio.api.client.make_url(f"{JOBS}/{job['id']}"))
        assert job["urls"] == {"self": f"{root}?wait=1", "events": f"{root}/events", "cancel": f"{root}/cancel"}
        through = await studio.api.with_headers(**{"X-Forwarded-Host": "a.example", "X-Forwarded-Prefix": "/p"}).send(
            "GET", f"{JOBS}/{job['id']}"
        )
        assert through.json["urls"]["events"] == f"http://a.example/p{JOBS}/{job['id']}/events"

    @pytest.mark.parametrize(
        ("node", "kind", "content_type", "names"),
        [
            ("Text", "text", "text/plain", ["n_0.txt", "n_1.txt"]),
            ("Mesh", "file", "model/gltf-binary", ["mesh.glb"]),
            ("Latent", "latent", "application/octet-stream", ["saved.latent"]),
            ("Sound", "audio", "audio/wav", ["sound.wav"]),
            ("Film", "video", "video/mp4", ["film.mp4"]),
        ],
    )
    async def test_outputs_of_every_kind(
        self, studio: Studio, node: str, kind: str, content_type: str, names: list[str]
    ) -> None:
        outputs = (await studio.run({"n": {"class_type": node, "inputs": {}}}))["outputs"]
        assert [each["name"] for each in outputs] == names
        assert {(each["type"], each["content_type"]) for each in outputs} == {(kind, content_type)}
        for each in outputs:
            answer = await studio.api.send("GET", f"/api/v2/assets/{each['id']}/content")
            assert len(answer.body) == each["size_bytes"] > 0
            asset = (await studio.api.send("GET", f"/api/v2/assets/{each['id']}")).json
            assert (asset["content_type"], asset["size_bytes"]) == (content_type, each["size_bytes"])

    async def test_temporary_files_are_outputs(self, studio: Studio) -> None:
        preview = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
        [output] = (await studio.run({"1": PAINT, "2": preview}))["outputs"]
        assert (output["type"], output["content_type"]) == ("image", "image/png")
        answer = await studio.api.send("GET", f"/api/v2/assets/{output['id']}/content")
        assert answer.body.startswith(b"\x89PNG")

    async def test_a_failing_node_is_told(self, studio: Studio) -> None:
        job = await studio.run({"n": {"class_type": "Fail", "inputs": {}}})
        error = job["error"]
        assert job["status"] == "failed"
        assert (error["code"], error["message"]) == ("node_execution_error", "it broke")
        assert (error["node_id"], error["class_type"]) == ("n", "Fail")
        assert "v2_nodes" in error["traceback"]

    async def test_an_output_is_there_before_a_slow_sibling_ends(self, studio: Studio) -> None:
        job = await studio.post({"t": {"class_type": "Text", "inputs": {}}, **TRIVIAL, **WAITING})
        for _ in range(500):
            running = await studio.get(job["id"])
            if len(running["outputs"]) == 3:
                break
            await asyncio.sleep(0.01)
        assert running["status"] == "running"
        early = [each["id"] for each in running["outputs"]]
        for each in early:
            await studio.api.send("GET", f"/api/v2/assets/{each}")
        studio.release()
        ended = await studio.end(job["id"])
        assert [each["id"] for each in ended["outputs"]] == early

    async def test_progress_counts_cached_nodes_and_never_falls(self, studio: Studio) -> None:
        await studio.run()
        job = await studio.post({**painted(7, "b"), **WAITING})
        values = []
        await studio.until(job["id"], "running")
        for _ in range(20):
            progress = (await studio.get(job["id"]))["progress"]
            values.append(progress["value"])
            await asyncio.sleep(0.01)
        assert progress["nodes_total"] == 3
        assert (progress["nodes_done"], progress["current_node_class"], progress["steps"]) == (2, "Wait", 100)
        studio.release()
        values.append((await studio.end(job["id"]))["progress"]["value"])
        assert values == sorted(values) and values[-1] == 1

    async def test_long_polls_return_at_the_end(self, studio: Studio) -> None:
        job = await studio.post(WAITING)
        waiting = asyncio.create_task(studio.get(job["id"], wait=20))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        studio.release()
        assert (await asyncio.wait_for(waiting, 10))["status"] == "succeeded"
        for wrong in ("-1", "21", "x", "nan"):
            error = (await studio.api.send("GET", f"{JOBS}/{job['id']}?wait={wrong}", 422)).error
            assert error["details"]["field"] == "wait"

    @pytest.mark.parametrize("path", ["", "/workflow", "/events"])
    async def test_unknown_ones(self, studio: Studio, path: str) -> None:
        assert (await studio.api.send("GET", f"{JOBS}/{UNKNOWN}{path}", 404)).error["code"] == "not_found"
        assert (await studio.api.send("POST", f"{JOBS}/{UNKNOWN}/cancel", 404)).error["code"] == "not_found"

    async def test_its_workflow(self, studio: Studio) -> None:
        job = await studio.run()
        answer = (await studio.api.send("GET", f"{JOBS}/{job['id']}/workflow")).json
        assert (answer["workflow"], answer["format"]) == (TRIVIAL, "api")
        page_graph = {"nodes": [], "links": [], "id": UNKNOWN}
        body = {"prompt": TRIVIAL, "extra_data": {"extra_pnginfo": {"workflow": page_graph}}}
        async with studio.api.client.post("/api/prompt", json=body) as response:
            job_id = (await response.json())["prompt_id"]
        answer = (await studio.api.send("GET", f"{JOBS}/{job_id}/workflow")).json
        assert (answer["workflow"], answer["format"]) == (page_graph, "save")


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ([], "invalid_request", None),
            ("text", "invalid_request", None),
            ({}, "invalid_workflow", "workflow"),
            ({"workflow": None}, "invalid_workflow", "workflow"),
            ({"workflow": [TRIVIAL]}, "invalid_workflow", "workflow"),
            ({"workflow": {"nodes": [], "links": [], "last_node_id": 0}}, "workflow_format_ui", "workflow"),
            ({"workflow": TRIVIAL, "webhook_url": "https://a.example"}, "invalid_request", "webhook_url"),
            ({"workflow": TRIVIAL, "inputs": {}}, "invalid_request", "inputs"),
            ({"workflow": TRIVIAL, "extra_data": []}, "invalid_request", "extra_data"),
            ({"workflow": TRIVIAL, "extra_data": {"client_id": "x"}}, "invalid_request", "extra_data.client_id"),
            (
                {"workflow": TRIVIAL, "extra_data": {"api_key_comfy_org": 1}},
                "invalid_request",
                "extra_data.api_key_comfy_org",
            ),
            ({"workflow": TRIVIAL, "metadata": []}, "metadata_invalid", "metadata"),
            ({"workflow": TRIVIAL, "metadata": {"a": 1}}, "metadata_invalid", "metadata.a"),
            ({"workflow": TRIVIAL, "metadata": {"": "x"}}, "metadata_invalid", "metadata."),
            ({"workflow": TRIVIAL, "metadata": {"\ud800": "x"}}, "metadata_invalid", "metadata.?"),
            ({"workflow": TRIVIAL, "metadata": {"a": "x" * 513}}, "metadata_invalid", "metadata.a"),
            ({"workflow": TRIVIAL, "metadata": {"a": "\0"}}, "metadata_invalid", "metadata.a"),
            ({"workflow": TRIVIAL, "metadata": {str(i): "x" for i in range(17)}}, "metadata_invalid", "metadata"),
        ],
    )
    async def test_of_bodies(self, studio: Studio, body: Any, code: str, field: str | None) -> None:
        error = (await studio.api.send("POST", JOBS, 422, json=body)).error
        assert (error["code"], (error["details"] or {}).get("field")) == (code, field)
        assert (await studio.api.send("GET", JOBS)).json == {"jobs": []}

    async def test_of_what_is_no_json(self, studio: Studio) -> None:
        headers = {"Content-Type": "application/json"}
        for data in (b"{", b"\xff", b"[" * 100_000):
            answer = await studio.api.send("POST", JOBS, 422, data=data, headers=headers)
            assert answer.error["code"] == "invalid_request"
        await studio.api.send("POST", JOBS, 415, data=b"workflow=1")

    @pytest.mark.parametrize(
        ("workflow", "node_id"),
        [
            ({"1": {"class_type": "NoSuchNode", "inputs": {}}}, None),
            ({"1": {**PAINT, "inputs": {}}, "2": SAVE}, "1"),
            ({"2": SAVE}, "2"),
            ({"1": PAINT}, None),
            ({}, None),
            ({"1": "text"}, None),
            ({"1": {"class_type": ["x"], "inputs": {}}}, None),
        ],
    )
    async def test_of_graphs(self, studio: Studio, workflow: Any, node_id: str | None) -> None:
        error = await studio.post(workflow, 422)
        assert error["code"] == "invalid_workflow"
        node_errors = error["details"]["node_errors"]
        assert (node_id in node_errors) if node_id is not None else isinstance(node_errors, dict)
        assert (await studio.api.send("GET", JOBS)).json == {"jobs": []}

    async def test_a_large_graph_is_accepted_and_a_larger_one_refused(self, make_studio: Make) -> None:
        studio = await make_studio(max_prompt_size=12 << 20)
        noted = {**TRIVIAL, "1": {**PAINT, "_meta": {"title": "x" * (11 << 20)}}}
        await studio.run(noted)
        noted["1"]["_meta"]["title"] *= 2
        assert (await studio.post(noted, 413))["code"] == "body_too_large"

    async def test_when_too_many_wait(self, make_studio: Make) -> None:
        studio = await make_studio(max_queued_jobs=2)
        first = await studio.post(WAITING)
        await studio.until(first["id"], "running")
        for _ in range(2):
            await studio.post()
        answer = await studio.api.send("POST", JOBS, 429, json={"workflow": TRIVIAL})
        assert (answer.error["code"], answer.error["details"]["max_jobs"]) == ("queue_full", 2)
        assert int(answer.headers["Retry-After"]) >= 1
        studio.release()

    async def test_while_the_store_is_not_open(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail() -> None:
            raise StoreUnavailableError("It is away.")

        job = await studio.post(WAITING)
        monkeypatch.setattr(studio.services, "ready", fail)
        answer = await studio.api.send("POST", JOBS, 503, json={"workflow": TRIVIAL})
        assert answer.error["code"] == "deployment_not_ready"
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await studio.api.send("GET", JOBS, 503)).error["code"] == "store_unavailable"
        await studio.api.send("POST", f"{JOBS}/{job['id']}/cancel", 503)  # it is stopped nevertheless
        monkeypatch.undo()
        assert (await studio.end(job["id"]))["status"] == "canceled"


class TestIdempotency:
    async def test_a_key_is_used_once(self, studio: Studio) -> None:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        answers = await asyncio.gather(
            *(studio.api.client.post(JOBS, json={"workflow": TRIVIAL}, headers=key) for _ in range(5))
        )
        assert sorted(answer.status for answer in answers) == [201, 422, 422, 422, 422]
        assert (await studio.post({}, 422, headers=key))["code"] == "idempotency_key_reuse"
        assert len((await studio.api.send("GET", JOBS)).json["jobs"]) == 1

    async def test_a_refusal_gives_it_back(self, studio: Studio) -> None:
        key = {"Idempotency-Key": "k"}
        for workflow in ({"2": SAVE}, {"x": {"class_type": "No", "inputs": {}}}, {}):
            assert (await studio.post(workflow, 422, headers=key))["code"] == "invalid_workflow"
        await studio.post(headers=key)
        assert (await studio.post(headers=key, status=422))["code"] == "idempotency_key_reuse"

    async def test_a_failure_of_the_server_gives_it_back_only_without_a_job(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue = studio.host.execution
        put = queue.put

        def fail_before(prompt: Any) -> Any:
            raise OSError("it broke")

        def fail_after(prompt: Any) -> Any:
            put(prompt)
            raise OSError("it broke")

        for number, (broken, after) in enumerate([(fail_before, 201), (fail_after, 422)]):
            key = {"Idempotency-Key": str(number)}
            monkeypatch.setattr(queue, "put", broken)
            await studio.post(status=500, headers=key)
            monkeypatch.setattr(queue, "put", put)
            await studio.post(status=after, headers=key)
        assert len((await studio.api.send("GET", JOBS)).json["jobs"]) == 2


class TestCredentials:
    async def test_are_nowhere_on_the_disk(self, studio: Studio) -> None:
        job = await studio.run(
            {**TRIVIAL, "f": {"class_type": "Fail", "inputs": {}}}, extra_data={"api_key_comfy_org": KEY}
        )
        await studio.run(extra_data={"auth_token_comfy_org": KEY})
        answer = await studio.api.send("GET", f"{JOBS}/{job['id']}/workflow")
        assert KEY.encode() not in answer.body
        await studio.services.stop()
        files = [path for path in studio.base.rglob("*") if path.is_file()]
        assert len(files) > 3
        assert [path for path in files if KEY.encode() in path.read_bytes()] == []

    async def test_reach_the_nodes(self, studio: Studio, aiohttp_client: Any) -> None:
        """The host gets them as in a prompt of the page."""
        received: list[Any] = []

        async def take(request: web.Request) -> web.Response:
            received.append(await request.json())
            return web.json_response({"error": {"type": "x", "message": "no"}, "node_errors": {}}, status=400)

        app = web.Application(middlewares=[studio.host._plugin.middleware])  # type: ignore[union-attr]
        app.router.add_post("/api/prompt", take)
        api = V2Api(await aiohttp_client(app))
        body = {"workflow": TRIVIAL, "extra_data": {"api_key_comfy_org": KEY}}
        async with api.client.post(JOBS, json=body) as response:
            assert response.status == 422
        [sent] = received
        assert sent["extra_data"] == {"api_key_comfy_org": KEY}
        assert sent["prompt"] == TRIVIAL


class TestAssetsInGraphs:
    @staticmethod
    def value(asset_id: Any, **info: Any) -> dict[str, Any]:
        return {"__type": "core/ASSET", "info": {"id": asset_id, **info}}

    @staticmethod
    def names(value: Any) -> dict[str, Any]:
        return {"n": {"class_type": "Names", "inputs": {"names": value}}}

    async def asset_of(self, studio: Studio, relative: str, content: bytes = b"x") -> str:
        path = studio.base / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        task, _ = studio.services.indexer.start_scan()
        await task.done.wait()
        await studio.services.indexer.finish()
        [[asset_id]] = await studio.services.db.fetch_all("SELECT uuid FROM assets WHERE name = ?", (path.name,))
        return str(asset_id)

    async def shown(self, studio: Studio, value: Any) -> list[str]:
        """The texts that a node shows of what it is given in place of the value."""
        outputs = (await studio.run(self.names(value)))["outputs"]
        contents = [await studio.api.send("GET", f"/api/v2/assets/{each['id']}/content") for each in outputs]
        return [content.body.decode() for content in contents]

    async def test_become_names_of_files(self, studio: Studio) -> None:
        one = await self.asset_of(studio, "input/sub/one.png", b"1")
        two = await self.asset_of(studio, "output/two.png", b"2")
        assert await self.shown(studio, self.value(one)) == ["sub/one.png"]
        assert await self.shown(studio, self.value(two.upper())) == ["two.png [output]"]
        hint = self.value(one, hash="blake3:" + "0" * 64, file_path="other.png")
        assert await self.shown(studio, hint) == ["sub/one.png"]
        both = {"__value__": [self.value(one), self.value(two)]}
        assert await self.shown(studio, both) == ["sub/one.png", "two.png [output]"]
        assert await self.shown(studio, [self.value(one), self.value(two)]) == ["sub/one.png", "two.png [output]"]
        assert await self.shown(studio, [self.value(one), 0]) == ["sub/one.png", "0"]
        assert await self.shown(studio, [[[self.value(one)]]]) == ["[['sub/one.png']]"]  # as the node shows it

    async def test_an_output_is_an_input(self, studio: Studio) -> None:
        [made] = (await studio.run())["outputs"]
        load = {"class_type": "LoadImage", "inputs": {"image": self.value(made["id"])}}
        job = await studio.run({"1": load, "2": SAVE})
        assert job["status"] == "succeeded"

    async def test_that_are_not_there(self, studio: Studio) -> None:
        known = await self.asset_of(studio, "input/one.png", b"1")
        asset = (await studio.api.send("GET", f"/api/v2/assets/{known}")).json
        for value, given in (
            (self.value(UNKNOWN), UNKNOWN),
            (self.value(UNKNOWN, hash=asset["hash"], file_path="one.png"), UNKNOWN),
            (self.value("no-uuid"), "no-uuid"),
            (self.value(None), None),
            ({"__type": "core/ASSET"}, None),
            ({"__type": "core/ASSET", "info": [known]}, None),
            ([[self.value(UNKNOWN)]], UNKNOWN),
        ):
            error = await studio.post(self.names(value), 422, headers={"Idempotency-Key": "k"})
            assert error["code"] == "missing_asset"
            [told] = error["details"]["assets"]
            assert (told["node_id"], told["input"], told["id"]) == ("n", "names", given)
        (studio.base / "input/one.png").unlink()
        assert (await studio.post(self.names(self.value(known)), 422))["code"] == "missing_asset"
        assert (await studio.post(self.names(f"asset:{UNKNOWN}"), 422))["code"] == "missing_asset"
        await studio.post(headers={"Idempotency-Key": "k"})


class TestCancellation:
    async def cancel(self, studio: Studio, job_id: str) -> Any:
        return (await studio.api.send("POST", f"{JOBS}/{job_id}/cancel")).json

    async def test_of_each_state(self, studio: Studio) -> None:
        running, waiting = await studio.post(WAITING), await studio.post()
        await studio.until(running["id"], "running")
        assert (await studio.get(waiting["id"]))["queue_position"] == 1
        assert (await self.cancel(studio, waiting["id"]))["status"] == "canceled"
        assert (await self.cancel(studio, running["id"]))["status"] in ("canceling", "canceled")
        ended = await studio.end(running["id"])
        assert ended["status"] == "canceled"
        for job in (running, waiting):
            assert (await self.cancel(studio, job["id"]))["status"] == "canceled"
        done = await studio.run()
        assert (await self.cancel(studio, done["id"]))["status"] == "succeeded"

    async def test_by_the_page(self, studio: Studio) -> None:
        running, waiting = await studio.post(WAITING), await studio.post()
        await studio.until(running["id"], "running")
        await studio.api.client.post("/api/queue", json={"delete": [waiting["id"]]})
        await studio.api.client.post("/api/interrupt", json={})
        assert (await studio.end(waiting["id"]))["status"] == "canceled"
        assert (await studio.end(running["id"]))["status"] == "canceled"


class TestLists:
    async def list(self, studio: Studio, query: str = "") -> Any:
        return (await studio.api.send("GET", f"{JOBS}{query}")).json

    async def test_pages_and_labels(self, studio: Studio) -> None:
        for number in range(5):
            await studio.run({**TRIVIAL}, metadata={"run": str(number), "kind": "odd" if number % 2 else "even"})
        async with studio.api.client.post("/api/prompt", json={"prompt": TRIVIAL}) as response:
            of_page = (await response.json())["prompt_id"]
        page = await self.list(studio)
        assert [job["metadata"].get("run") for job in page["jobs"]] == [None, "4", "3", "2", "1", "0"]
        assert page["jobs"][0]["id"] == of_page and "next_cursor" not in page
        assert {"create_time", "update_time", "status"} <= page["jobs"][0].keys()
        found: list[str] = []
        query = "?limit=2&metadata%5Bkind%5D=even"
        cursor = ""
        for _ in range(5):
            page = await self.list(studio, query + cursor)
            found += [job["metadata"]["run"] for job in page["jobs"]]
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == ["4", "2", "0"]
        both = await self.list(studio, "?metadata[kind]=odd&metadata[run]=3")
        assert [job["metadata"]["run"] for job in both["jobs"]] == ["3"]
        assert (await self.list(studio, "?metadata[kind]=odd&metadata[run]=2"))["jobs"] == []

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("metadata=x", "invalid_metadata_filter"),
            ("metadata[]=x", "invalid_metadata_filter"),
            ("metadata[a][b]=x", "invalid_metadata_filter"),
            ("metadata[a]=x&metadata[a]=y", "invalid_metadata_filter"),
            ("metadata[a]=%00", "invalid_metadata_filter"),
            ("&".join(f"metadata[{i}]=x" for i in range(17)), "invalid_metadata_filter"),
            ("cursor=x", "invalid_cursor"),
            ("cursor=", "invalid_cursor"),
            ("limit=0", "invalid_request"),
            ("limit=x", "invalid_request"),
            ("limit=201", "invalid_request"),
        ],
    )
    async def test_refusals(self, studio: Studio, query: str, code: str) -> None:
        error = (await studio.api.send("GET", f"{JOBS}?{query}", 422)).error
        assert error["code"] == code
        assert error["details"]["field"]


async def test_jobs_and_labels_are_kept_over_a_restart(make_studio: Make) -> None:
    studio = await make_studio()
    job = await studio.run(metadata={"a": "ü"})
    await studio.services.stop()
    again = await make_studio()
    found = await again.get(job["id"])
    assert found["metadata"] == {"a": "ü"}
    assert [each["id"] for each in found["outputs"]] == [each["id"] for each in job["outputs"]]


async def test_the_quota_of_a_user(make_studio: Make) -> None:
    studio = await make_studio(multi_user=True, user_max_jobs=1)
    async with studio.api.client.post("/users", json={"username": "ann"}) as response:
        ann = studio.as_user(await response.json())
    running = await ann.post(WAITING)
    await ann.until(running["id"], "running")
    waiting = await ann.post()
    key = {"Idempotency-Key": "k"}
    error = await ann.post(status=429, headers=key)
    assert (error["code"], error["details"]["limit"]) == ("queue_full", 1)
    ann.release()
    await ann.end(waiting["id"])
    await ann.post(headers=key)


async def test_users_are_kept_apart(make_studio: Make) -> None:
    studio = await make_studio(multi_user=True)
    names = []
    for name in ("ann", "bob"):
        async with studio.api.client.post("/users", json={"username": name}) as response:
            names.append(await response.json())
    ann, bob = (studio.as_user(name) for name in names)
    job = await ann.run({**TRIVIAL, "t": {"class_type": "Text", "inputs": {}}}, metadata={"a": "b"})
    key = {"Idempotency-Key": "same"}
    await ann.post(headers=key)
    await bob.post(painted(9), headers=key)
    for path in ("", "/workflow", "/events"):
        await bob.api.send("GET", f"{JOBS}/{job['id']}{path}", 404)
    await bob.api.send("POST", f"{JOBS}/{job['id']}/cancel", 404)
    assert len((await bob.api.send("GET", JOBS)).json["jobs"]) == 1
    assert (await bob.api.send("GET", f"{JOBS}?metadata[a]=b")).json["jobs"] == []
    for output in job["outputs"]:
        await ann.api.send("GET", f"/api/v2/assets/{output['id']}")
        await bob.api.send("GET", f"/api/v2/assets/{output['id']}", 404)
        await bob.api.send("GET", f"/api/v2/assets/{output['id']}/content", 404)
        if output["type"] == "image":
            value = {"__type": "core/ASSET", "info": {"id": output["id"]}}
            load = {"class_type": "LoadImage", "inputs": {"image": value}}
            assert (await bob.post({"1": load, "2": SAVE}, 422))["code"] == "missing_asset"
    await studio.api.send("GET", JOBS, 401)


async def test_with_the_login_on(studio: Studio) -> None:
    accounts = studio.services.login.accounts()
    accounts.add_user("Ada", "member", None)
    accounts.set_enabled(True)
    tokens = {scope: accounts.create_token("Ada", scope, [scope])[1] for scope in ("read", "write", "run")}

    def with_token(scope: str) -> V2Api:
        return studio.api.with_headers(Authorization=f"Bearer {tokens[scope]}")

    body = json.dumps({"workflow": TRIVIAL}).encode()
    headers = {"Content-Type": "application/json"}
    await asyncio.sleep(0.4)  # the server looks four times a second whether a command has changed the login
    for scope, status in (("read", 403), ("write", 403), ("run", 201)):
        await with_token(scope).send("POST", JOBS, status, data=body, headers=headers)
    await studio.api.send("POST", JOBS, 401, data=body, headers=headers)
    [job] = (await with_token("read").send("GET", JOBS)).json["jobs"]
    await with_token("read").send("POST", f"{JOBS}/{job['id']}/cancel", 403)
    await with_token("run").send("POST", f"{JOBS}/{job['id']}/cancel")
