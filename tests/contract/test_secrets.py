"""Keys of providers: stored, changed and removed, each user's own; their values come out of nowhere again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.downloads import secrets
from comfy_assets_node.comfy_assets.downloads.secrets import SecretService
from comfy_assets_node.comfy_assets.downloads.sources import ProviderUrls
from comfy_assets_node.comfy_assets.errors import StorageError

KEY = "hf_secretsecretsecret"
BODY = {"name": "Mine", "provider": "huggingface", "secret_value": KEY}


@pytest.fixture
def path(library: Any) -> Path:
    found: Path = library.host.data_directory() / "secrets.json"
    return found


async def test_the_life_of_a_key(library: Any, api: Any, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await api.get("/api/secrets") == {"data": []}
    made = (await api.send("POST", "/api/secrets", 201, json={**BODY, "credential_type": "api_key"})).json
    assert {key: made[key] for key in ("name", "provider", "credential_type")} == {
        "name": "Mine", "provider": "huggingface", "credential_type": "api_key",
    }  # fmt: skip
    assert await api.get("/api/secrets") == {"data": [made]}
    one = f"/api/secrets/{made['id']}"
    assert await api.get(one) == made
    changed = (await api.send("PATCH", one, json={"name": "  Other "})).json
    assert (changed["name"], changed["created_at"]) == ("Other", made["created_at"])
    replaced = (await api.send("PUT", one, json={"secret_value": KEY + "2"})).json
    assert replaced["name"] == "Other"
    found = await library.services.secrets.key("default", "huggingface")
    assert (found.value, found.origin) == (KEY + "2", "https://huggingface.co")
    assert await library.services.secrets.key("default", "civitai") is None
    await api.send("DELETE", one, 204)
    assert await api.get("/api/secrets") == {"data": []}
    assert KEY not in path.read_text()
    assert (await api.send("DELETE", one, 404)).json["code"] == "NOT_FOUND"
    assert KEY not in caplog.text + repr(found) + repr(library.services.secrets.__dict__)


async def test_providers(api: Any) -> None:
    providers = (await api.get("/api/secrets/providers"))["data"]
    assert [each["id"] for each in providers] == ["huggingface", "civitai"]
    assert providers[0]["credential_options"] == [
        {"credential_type": "api_key", "input_type": "text", "label": "API key"}
    ]


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"name": ""}, 400, "INVALID_BODY", "name"),
        ({"name": "x" * 256}, 400, "INVALID_BODY", "name"),
        ({"name": "a\nb"}, 400, "INVALID_BODY", "name"),
        ({"name": 5}, 400, "INVALID_BODY", "name"),
        ({"secret_value": ""}, 400, "INVALID_BODY", "secret_value"),
        ({"secret_value": "  "}, 400, "INVALID_BODY", "secret_value"),
        ({"secret_value": KEY + "\r\nHost: a.example"}, 400, "INVALID_BODY", "secret_value"),
        ({"secret_value": KEY + "ä"}, 400, "INVALID_BODY", "secret_value"),
        ({"secret_value": "x" * 5000}, 400, "INVALID_BODY", "secret_value"),
        ({"secret_value": {"key": KEY}}, 400, "INVALID_BODY", "secret_value"),
        ({"provider": "runway"}, 400, "INVALID_PROVIDER", "provider"),
        ({"provider": None}, 400, "INVALID_PROVIDER", "provider"),
        ({"credential_type": "gcp_service_account"}, 400, "INVALID_BODY", "credential_type"),
        ({"provider": "civitai"}, 409, "DUPLICATE_NAME", "name"),
        ({"name": "Other"}, 409, "DUPLICATE_PROVIDER", "provider"),
    ],
)
async def test_what_is_refused(
    api: Any, path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    await api.send("POST", "/api/secrets", 201, json=BODY)
    before = path.read_bytes()
    answer = await api.send("POST", "/api/secrets", status, json={**BODY, **change})
    assert (answer.json["code"], answer.json["details"]["field"]) == (code, field)
    assert KEY not in answer.text + caplog.text
    assert path.read_bytes() == before


async def test_what_cannot_be_changed(api: Any, path: Path) -> None:
    made = [
        (await api.send("POST", "/api/secrets", 201, json={**BODY, "name": name, "provider": name})).json
        for name in ("huggingface", "civitai")
    ]
    before = path.read_bytes()
    one = f"/api/secrets/{made[0]['id']}"
    for body, status in (({}, 400), ({"name": ""}, 400), ({"secret_value": "a b\n"}, 400), ({"name": "civitai"}, 409)):
        await api.send("PATCH", one, status, json=body)
    for method in ("PATCH", "PUT"):
        assert (await api.send(method, "/api/secrets/x", 404, json={"name": "y"})).json["code"] == "NOT_FOUND"
    await api.get("/api/secrets/x", 404)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
async def test_nobody_else_can_read_the_file(api: Any, path: Path) -> None:
    made = (await api.send("POST", "/api/secrets", 201, json=BODY)).json
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)  # as a restored copy may have it
    await api.get("/api/secrets")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await api.send("PATCH", f"/api/secrets/{made['id']}", json={"name": "x"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_damaged_file_is_kept(api: Any, path: Path) -> None:
    await api.send("POST", "/api/secrets", 201, json=BODY)
    damaged = path.read_bytes()[:-5]
    path.write_bytes(damaged)
    for answer in (
        await api.send("GET", "/api/secrets", 500),
        await api.send("POST", "/api/secrets", 500, json={**BODY, "provider": "civitai", "name": "x"}),
    ):
        assert answer.json["code"] == "STORAGE_FAILED"
        assert KEY not in answer.text
    assert path.read_bytes() == damaged


async def test_many_at_once(api: Any) -> None:
    bodies = [{**BODY, "provider": provider, "name": provider} for provider in ("huggingface", "civitai")] * 4
    answers = await asyncio.gather(*(api.send("POST", "/api/secrets", None, json=body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201, 201] + [409] * 6
    assert len((await api.get("/api/secrets"))["data"]) == 2


async def test_every_user_has_their_own(make_library: Any, api_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = api_of(library).as_user("ann"), api_of(library).as_user("bob")
    made = (await ann.send("POST", "/api/secrets", 201, json=BODY)).json
    assert (await bob.get("/api/secrets")) == {"data": []}
    other = (await bob.send("POST", "/api/secrets", 201, json={**BODY, "secret_value": "bobs"})).json
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("PUT", {"name": "x"}), ("DELETE", None)):
        options = {} if body is None else {"json": body}
        assert (await bob.send(method, f"/api/secrets/{made['id']}", 404, **options)).json["code"] == "NOT_FOUND"
    assert (await library.services.secrets.key("ann", "huggingface")).value == KEY
    assert (await library.services.secrets.key("bob", "huggingface")).value == "bobs"
    assert (await bob.get("/api/secrets"))["data"][0]["id"] == other["id"]


class MemoryKeyring:
    """A keyring that keeps passwords in memory, or fails as those of systems do."""

    priority = 5.0

    def __init__(self, *, fails: bool = False, delay_s: float = 0.0) -> None:
        self.passwords: dict[tuple[str, str], str] = {}
        self.fails = fails
        self.delay_s = delay_s

    def get_password(self, service: str, username: str) -> str | None:
        self._work()
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._work(password)
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._work()
        del self.passwords[service, username]

    def _work(self, password: str = "") -> None:
        time.sleep(self.delay_s)
        if self.fails:
            raise RuntimeError(f"no collection for {password}")


class TestKeyring:
    async def test_it_has_the_values(self, tmp_path: Path) -> None:
        keyring = MemoryKeyring()
        service = SecretService(tmp_path, ProviderUrls(), lambda: keyring)
        made = await service.create("ann", "Mine", "huggingface", KEY)
        assert keyring.passwords == {("comfy-assets", made.id): KEY}
        stored = json.loads((tmp_path / "secrets.json").read_text())["secrets"][0]
        assert "value" not in stored and stored["name"] == "Mine"
        again = SecretService(tmp_path, ProviderUrls(), lambda: keyring)
        found = await again.key("ann", "huggingface")
        assert found is not None and found.value == KEY
        await again.update(made.id, "ann", None, "new")
        assert keyring.passwords == {("comfy-assets", made.id): "new"}
        await again.delete(made.id, "ann")
        assert keyring.passwords == {}

    async def test_a_refused_key_is_not_left_in_it(self, tmp_path: Path) -> None:
        keyring = MemoryKeyring()
        service = SecretService(tmp_path, ProviderUrls(), lambda: keyring)
        made = await service.create("ann", "Mine", "huggingface", KEY)
        for name, provider in (("Mine", "civitai"), ("Other", "huggingface")):
            with pytest.raises(Exception, match="already"):
                await service.create("ann", name, provider, "other")
        assert keyring.passwords == {("comfy-assets", made.id): KEY}

    @pytest.mark.parametrize("trouble", [{"fails": True}, {"delay_s": 1.0}])
    async def test_one_that_fails_or_hangs_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Any
    ) -> None:
        monkeypatch.setattr(secrets, "_KEYRING_S", 0.2)
        service = SecretService(tmp_path, ProviderUrls(), lambda: MemoryKeyring(**trouble))
        await service.create("ann", "Mine", "huggingface", KEY)
        found = await service.key("ann", "huggingface")
        assert found is not None and found.value == KEY
        assert "keyring" in caplog.text and KEY not in caplog.text

    async def test_one_that_has_lost_the_key(self, tmp_path: Path) -> None:
        keyring = MemoryKeyring()
        service = SecretService(tmp_path, ProviderUrls(), lambda: keyring)
        await service.create("ann", "Mine", "huggingface", KEY)
        keyring.passwords.clear()
        with pytest.raises(StorageError, match="enter it again"):
            await service.key("ann", "huggingface")

    def test_without_the_package_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys
        from types import SimpleNamespace

        monkeypatch.setitem(sys.modules, "keyring", None)
        assert secrets.system_keyring() is None
        backend = MemoryKeyring()
        monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_keyring=lambda: backend))
        assert secrets.system_keyring() is backend
        backend.priority = 0.0  # what the package falls back to where the system has none
        assert secrets.system_keyring() is None
