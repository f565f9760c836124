"""The login is on: the official Python SDK with no token, a wrong one, and right ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.login.store import Scope
from comfy_low import errors
from comfy_sdk import ComfyError, Forbidden, NotFound, Unauthorized
from support.logins import NOTICED_S, login_on
from support.sdk import (
    SdkServer,
    events_of,
    is_error,
    low,
    make_client,
    picture,
    picture_file,
    server_with_client,
    word,
)
from support.servers import HttpServer

pytestmark = pytest.mark.slow


@dataclass
class Guarded:
    """A server with the login on, for several users, and their tokens."""

    server: SdkServer
    tokens: dict[str, str]

    def client(self, name: str | None) -> Any:
        """A client with the token of this name, closed at the end of a ``with`` block."""
        return closing(make_client(self.server.http.url, None if name is None else self.tokens.get(name, name)))


@pytest.fixture(scope="module")
def guarded(start: Callable[..., HttpServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    base = tmp_path_factory.mktemp("guarded") / "base"
    with server_with_client(start, base, "--multi-user") as server:
        accounts = login_on(base)
        users: dict[str, tuple[str, Sequence[Scope]]] = {
            "root": ("Root", ("write", "run")),
            "ada": ("Ada", ("write", "run")),
            "reader": ("Ada", ("read",)),
            "runner": ("Ada", ("run",)),
        }
        tokens = {name: accounts.create_token(user, name, scopes)[1] for name, (user, scopes) in users.items()}
        time.sleep(NOTICED_S)
        yield Guarded(server, tokens)


PATHS = [
    ("GET", "/api/v2/jobs"),
    ("POST", "/api/v2/jobs"),
    ("GET", "/api/v2/jobs/x/events"),
    ("POST", "/api/v2/assets"),
    ("DELETE", "/api/v2/assets/x"),
    ("GET", "/api/v2/nothing"),
    ("PUT", "/api/v2/jobs"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer comfyui-wrong"}, {"Authorization": "Basic x"}])
def test_without_a_right_token_nothing_is_told(
    guarded: Guarded, method: str, path: str, headers: dict[str, str]
) -> None:
    is_error(guarded.server.http.send(method, path, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("token", [None, "comfyui-wrong"])
def test_the_sdk_is_told_that_it_is_unauthorized(guarded: Guarded, token: str | None) -> None:
    with guarded.client(token) as client:
        with pytest.raises(Unauthorized) as caught:
            client.submit(client.workflows.from_json(picture()))
        assert caught.value.http_status == 401 and caught.value.request_id
        with pytest.raises(Unauthorized):
            client.jobs.get("00000000-0000-4000-8000-000000000000")


def test_with_the_token_everything_works(guarded: Guarded) -> None:
    """Each address that the server tells is followed with the token."""
    with guarded.client("ada") as client:
        workflow = client.workflows.from_json(
            {**picture(), "3": {"class_type": "LoadImage", "inputs": {"image": "x"}},
             "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}}
        )  # fmt: skip
        workflow.set_input("3", "image", client.assets.from_bytes(picture_file(), filename=f"{word()}.png"))
        job = client.submit(workflow)
        events_of(job)
        assert job.result().outputs
        assert all(output.to_bytes() for output in job.outputs)
        assert job.cancel().status == "succeeded"
        assert next(client.list_jobs()).id == job.id


def test_a_scope_that_is_missing_is_forbidden(guarded: Guarded) -> None:
    with guarded.client("reader") as client:
        assert list(client.list_jobs(limit=5)) is not None
        with pytest.raises(Forbidden) as caught:
            client.submit(client.workflows.from_json(picture()))
        assert caught.value.http_status == 403
        with pytest.raises(Forbidden):
            client.assets.from_bytes(word().encode()).commit()
    with guarded.client("runner") as client:
        assert client.run(client.workflows.from_json(picture())).status == "succeeded"
        with pytest.raises(errors.ApiError) as low_error:
            low(client).delete_asset("00000000-0000-4000-8000-000000000000")
        assert low_error.value.http_status == 403


def test_users_see_their_own(guarded: Guarded) -> None:
    with guarded.client("ada") as ada, guarded.client("root") as root:
        key = word()
        job = ada.submit(ada.workflows.from_json(picture()), idempotency_key=key, metadata={"of": key})
        [output] = job.result().outputs
        with pytest.raises(NotFound):
            root.jobs.get(job.id)
        for ask in (low(root).cancel_job, low(root).get_job_workflow, lambda i: list(low(root).get_job_events(i))):
            with pytest.raises(errors.NotFound):
                ask(job.id)
        with pytest.raises(NotFound):
            root.assets.get(output.id)
        assert list(root.list_jobs(metadata={"of": key})) == []
        # A key is its user's: that of another one is free.
        assert root.submit(root.workflows.from_json(picture()), idempotency_key=key).result().status == "succeeded"
        with pytest.raises(ComfyError):
            root.submit(root.workflows.from_json({"1": {"class_type": "SdkEcho", "inputs": {
                "value": {"__type": "core/ASSET", "info": {"id": output.id}}}}}))  # fmt: skip
