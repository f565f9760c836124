"""``comfy-cli`` in hosted mode against a server with the login on: a real key, a revoked one, and its own sign-in.

``COMFY_CLI`` names the program if it is not among the installed ones.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from comfy_assets_node.comfy_assets.login.store import LoginStore
from support.logins import NOTICED_S, PASSWORD, login_on
from support.servers import make_base

PROGRAM = os.environ.get("COMFY_CLI") or shutil.which("comfy")
TIMEOUT_S = 120

pytestmark = [
    pytest.mark.comfy_cli,
    pytest.mark.skipif(not PROGRAM, reason="there is no comfy-cli"),
]
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "cli/key"}},
}


@dataclass(frozen=True)
class Client:
    """The program with a home of its own, and a key if one is given."""

    server: Any
    home: Path
    key: str = ""

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        homes = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME"), str(self.home))
        quiet = dict.fromkeys(("DO_NOT_TRACK", "COMFY_NO_WATCH", "COMFY_CLI_NO_REMOTE_REFRESH"), "1")
        cloud = {"COMFY_CLOUD_BASE_URL": f"http://127.0.0.1:{self.server.port}", "NO_COLOR": "1"}
        keys = {"COMFY_CLOUD_API_KEY": self.key} if self.key else {}
        return [str(PROGRAM), "--skip-prompt", "--json", *arguments], {**os.environ, **homes, **quiet, **cloud, **keys}

    def ask(self, *arguments: str) -> Any:
        command, environment = self.command("--where", "cloud", *arguments)
        done = subprocess.run(
            command, cwd=self.home, env=environment, capture_output=True, text=True, encoding="utf-8",
            timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.stdout.strip(), (arguments, done.returncode, done.stderr[-2000:])
        return json.loads(done.stdout.strip().splitlines()[-1])

    def run(self) -> Any:
        file = self.home / "graph.json"
        file.write_text(json.dumps(GRAPH), encoding="utf-8")
        return self.ask("run", "--workflow", str(file), "--wait")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, start: Any) -> Iterator[tuple[Any, Any]]:
    base = tmp_path_factory.mktemp("base")
    accounts = login_on(make_base(base))
    token = accounts.create_token("Root", "t", ["admin"])[1]
    with start(base) as server:
        server.wait_for("/system_stats", lambda _: True, **{"X-API-Key": token})
        yield server, accounts


def test_a_real_key_is_enough(served: tuple[Any, Any], tmp_path: Path) -> None:
    server, accounts = served
    record, key = accounts.create_token("Ada", "comfy-cli", ["write", "run"])
    time.sleep(NOTICED_S)
    client = Client(server, tmp_path, key)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    done = client.run()
    assert done["ok"] is True and done["data"]["status"] == "completed", done
    job_id = done["data"]["prompt_id"]
    listed = client.ask("jobs", "ls", "--limit", "10")
    assert job_id in [job["prompt_id"] for job in listed["data"]["jobs"]]
    fetched = client.ask("download", job_id, "--out-dir", str(tmp_path / "out"))
    assert fetched["ok"] is True, fetched
    assert [path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".png"]
    reading = accounts.create_token("Ada", "reader", ["read"])[1]
    time.sleep(NOTICED_S)
    assert Client(server, tmp_path, reading).ask("jobs", "ls")["ok"] is True
    assert Client(server, tmp_path, reading).run()["ok"] is False, "a key that only reads runs nothing"
    accounts.revoke_token(record.id)
    time.sleep(NOTICED_S)
    assert client.ask("jobs", "ls")["ok"] is False
    for wrong in ("comfyui-" + "0" * 52, "any"):
        assert Client(server, tmp_path, wrong).ask("jobs", "ls")["ok"] is False


def post(server: Any, path: str, body: Any, **headers: str) -> tuple[Any, list[str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    assert answer.status == 200, content
    cookies = answer.headers.get_all("Set-Cookie") or []
    connection.close()
    return content, cookies


def test_its_own_sign_in_leads_to_a_token(served: tuple[Any, Any], tmp_path: Path) -> None:
    server, accounts = served
    client = Client(server, tmp_path)
    assert client.ask("jobs", "ls")["ok"] is False
    command, environment = client.command("cloud", "login", "--no-browser", "--timeout", "60")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as signing:
        assert signing.stdout is not None
        lines = iter(signing.stdout.readline, "")
        url = next(event["url"] for event in map(json.loads, lines) if "url" in event)
        assert url.startswith(f"{server.url}/oauth/authorize?")
        _, cookies = post(server, "/api/login", {"name": "Ada", "password": PASSWORD})
        session = cookies[0].partition(";")[0]
        page = server.get(url.removeprefix(server.url), Cookie=session)
        assert page.status == 200 and b"comfy-cli" in page.body
        query = dict(parse_qsl(urlsplit(url).query))
        answer, _ = post(server, "/oauth/authorize", {"query": query, "allow": True}, Cookie=session)
        with urllib.request.urlopen(answer["location"], timeout=TIMEOUT_S) as callback:  # as the browser goes on
            assert callback.status == 200
        told = [json.loads(line) for line in lines if line.strip()]
        assert signing.wait(TIMEOUT_S) == 0 and told[-1]["ok"] is True, told
    time.sleep(NOTICED_S)
    done = client.run()
    assert done["ok"] is True and done["data"]["status"] == "completed", done
    kept = LoginStore(server.base / "user/__comfy_assets").refresh().file.tokens
    (token,) = [each for each in kept if each.name == "comfy-cli" and each.expires_at is not None]
    accounts.revoke_token(token.id)
    time.sleep(NOTICED_S)
    assert client.ask("jobs", "ls")["ok"] is False
