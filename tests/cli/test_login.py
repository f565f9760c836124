"""The commands of the login: users, tokens, and turning it on and off."""

from __future__ import annotations

import getpass
import io
import json
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli import login as commands
from comfy_assets_node.comfy_assets.login.passwords import PasswordHasher, ScryptCost, portable_hasher
from comfy_assets_node.comfy_assets.login.service import Client, LoginService

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "portable_hasher", lambda: PasswordHasher(lambda: None, ScryptCost(4, 8, 1)))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write something to standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def with_users(base: Any, typed: Any) -> Any:
    """A base directory with an administrator and a member."""
    for name, role in (("Root", "admin"), ("Ada", "member")):
        typed(f"{PASSWORD}\n")
        assert base.run("users", "add", name, "--role", role).status == 0
    return base


def server(base: Any) -> LoginService:
    """The login as a server has it."""
    service = LoginService(base.path / "user/__comfy_assets", PasswordHasher(lambda: None, ScryptCost(4, 8, 1)))
    service.refresh_now()
    return service


async def test_a_user_signs_in_with_the_password_that_was_written(with_users: Any) -> None:
    assert (await server(with_users).sign_in("ada", PASSWORD, Client("192.0.2.1"))).user == "Ada"


def test_users_are_listed_without_secrets(with_users: Any) -> None:
    with_users.run("users", "add", "Link", "--no-password")
    with_users.run("users", "disable", "Ada")
    told = with_users.run("users", "list", "--json").json
    assert [(each["name"], each["role"], each["disabled"], each["has_password"]) for each in told] == [
        ("Ada", "member", True, True),
        ("Link", "member", False, False),
        ("Root", "admin", False, True),
    ]
    table = with_users.run("users", "list").out
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["member", "disabled"],
        ["member", "no"],
        ["admin", "active"],
        ["3", "users"],
    ]
    assert "$" not in table + json.dumps(told)


@pytest.mark.parametrize(
    ("arguments", "written", "status", "said"),
    [
        (["users", "add", "New"], "", 2, "standard input"),
        (["users", "add", "New"], "short\n", 1, "8 to 1,024 characters"),
        (["users", "add", "ADA"], f"{PASSWORD}\n", 1, "already"),
        (["users", "add", "__x"], f"{PASSWORD}\n", 1, "printable characters"),
        (["users", "passwd", "nobody"], f"{PASSWORD}\n", 1, "no user"),
        (["users", "disable", "nobody"], "", 1, "no user"),
        (["users", "remove", "Ada"], "", 2, "--yes"),
        (["users", "remove", "nobody", "--yes"], "", 1, "no user"),
        (["users", "link", "nobody"], "", 1, "no user"),
        (["tokens", "create", "nobody"], "", 1, "no user"),
        (["tokens", "create", "Ada", "--scope", "admin"], "", 1, "scopes"),
        (["tokens", "list", "--user", "nobody"], "", 1, "no user"),
        (["tokens", "revoke", "x"], "", 1, "no such token"),
        (["login", "disable"], "", 2, "--yes"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    with_users: Any, typed: Any, arguments: list[str], written: str, status: int, said: str
) -> None:
    file = with_users.path / "user/__comfy_assets/login.json"
    before = file.read_bytes()
    typed(written)
    ran = with_users.run(*arguments)
    assert ran.status == status and said in ran.err
    assert file.read_bytes() == before


def test_the_role_of_a_user_is_changed(with_users: Any) -> None:
    token = with_users.run("tokens", "create", "Ada").out.strip()
    assert with_users.run("users", "role", "ada", "guest").out == "Ada is a guest now\n"
    identity = server(with_users).by_token(token)
    assert identity is not None and (identity.role, identity.scopes) == ("guest", {"read"}), "tokens follow"
    assert with_users.run("users", "role", "Ada", "admin").out == "Ada is an admin now\n"
    with_users.run("login", "enable")
    assert with_users.run("users", "role", "Root", "member").status == 0
    ran = with_users.run("users", "role", "Ada", "member")
    assert ran.status == 1 and "last administrator" in ran.err
    lines = (with_users.path / "user/__comfy_assets/login-audit.jsonl").read_text().splitlines()
    changed = [json.loads(line) for line in lines if "role_changed" in line]
    assert [(each["user"], each["role"]) for each in changed] == [
        ("Ada", "guest"),
        ("Ada", "admin"),
        ("Root", "member"),
    ]


def test_quotas(with_users: Any) -> None:
    assert with_users.run("users", "quota", "Ada").out == "Ada: waiting jobs default, files default\n"
    ran = with_users.run("users", "quota", "ada", "--jobs", "20", "--storage", "5000")
    assert ran.out == "Ada: waiting jobs 20, files 5,000 MiB\n"
    assert with_users.run("users", "quota", "Ada", "--jobs", "unlimited").out.startswith("Ada: waiting jobs unlimited,")
    told = {each["name"]: each for each in with_users.run("users", "list", "--json").json}
    assert (told["Ada"]["max_jobs"], told["Ada"]["max_bytes"]) == (-1, 5000 << 20)
    assert (told["Root"]["max_jobs"], told["Root"]["max_bytes"]) == (None, None)
    assert with_users.run("users", "quota", "Ada", "--storage", "default").out.endswith("files default\n")
    for arguments in (["--jobs", "-1"], ["--jobs", "many"], ["--storage", "1.5"], ["--storage", "99999999999"]):
        with pytest.raises(SystemExit):
            with_users.run("users", "quota", "Ada", *arguments)
    assert with_users.run("users", "quota", "nobody").status == 1


def test_no_command_takes_a_password_as_an_argument(base: Any) -> None:
    for arguments in (["users", "add", "Ada", PASSWORD], ["users", "add", "Ada", "--password", PASSWORD]):
        with pytest.raises(SystemExit):
            base.run(*arguments)


@pytest.mark.parametrize(("again", "status"), [(PASSWORD, 0), ("another one", 1)])
def test_on_a_terminal_it_is_asked_for_twice(
    base: Any, monkeypatch: pytest.MonkeyPatch, someone_says: Any, again: str, status: int
) -> None:
    answers = iter([PASSWORD, again])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(answers))
    someone_says("")
    assert base.run("users", "add", "Ada").status == status
    assert len(server(base).state.users) == 1 - status


def test_a_token_is_printed_once_and_revoked(with_users: Any) -> None:
    ran = with_users.run("tokens", "create", "Ada", "--name", "backup", "--scope", "read", "--expires", "30d")
    token = ran.out.strip()
    assert re.fullmatch(r"comfyui-[0-9a-f]{52}", token) and "not shown again" in ran.err
    identity = server(with_users).by_token(token)
    assert identity is not None and (identity.user, identity.scopes) == ("Ada", {"read"})
    (told,) = with_users.run("tokens", "list", "--json").json
    assert (told["user"], told["name"], told["scopes"], told["last_used_at"]) == ("Ada", "backup", ["read"], None)
    assert told["expires_at"] > told["created_at"]
    listed = with_users.run("tokens", "list", "--user", "ADA").out
    assert told["id"] in listed and token[20:] not in listed + json.dumps(told)
    assert with_users.run("tokens", "list", "--user", "Root", "--json").json == []
    assert with_users.run("tokens", "list", "--user", "Root").out == "0 tokens\n"
    assert with_users.run("tokens", "revoke", told["id"]).status == 0
    assert server(with_users).by_token(token) is None


def test_a_token_permits_what_the_role_does_but_for_administration(with_users: Any) -> None:
    for user in ("Ada", "Root"):
        token = with_users.run("tokens", "create", user).out.strip()
        identity = server(with_users).by_token(token)
        assert identity is not None and identity.scopes == {"read", "write", "run"}


async def test_a_link_signs_in_once(with_users: Any) -> None:
    ran = with_users.run("users", "link", "Ada")
    link = ran.out.strip().removeprefix("/?token=")
    assert (await server(with_users).use_link(link, Client("192.0.2.1"))).user == "Ada"
    assert "15 minutes" in ran.err


async def test_a_new_password_ends_sessions(with_users: Any, typed: Any) -> None:
    await server(with_users).sign_in("Ada", PASSWORD, Client("192.0.2.1"))
    typed("another one\n")
    assert "1 session ended" in with_users.run("users", "passwd", "ada").out
    assert (await server(with_users).sign_in("Ada", "another one", Client("192.0.2.1"))).user == "Ada"


def test_commands_hash_so_that_every_python_verifies(base: Any, typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasher:
        def hash(self, _: bytes) -> str:
            raise AssertionError("the Python of the server may have no argon2")

    errors = SimpleNamespace(VerificationError=ValueError, InvalidHash=ValueError)
    monkeypatch.setitem(sys.modules, "argon2", SimpleNamespace(PasswordHasher=Hasher, exceptions=errors))  # type: ignore[arg-type]
    monkeypatch.setattr(commands, "portable_hasher", portable_hasher)
    for command in (["users", "add", "Ada"], ["users", "passwd", "Ada"]):
        typed(f"{PASSWORD}\n")
        assert base.run(*command).status == 0
        assert [each.password[:8] for each in server(base).state.file.users] == ["$scrypt$"]


def test_the_status_counts_passwords_by_their_hashes(with_users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server(with_users).accounts().set_password("Ada", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA")
    monkeypatch.setattr(commands, "installed_argon2", lambda: None)
    ran = with_users.run("login", "status")
    assert "Passwords: 1 hashed with argon2id, 1 hashed with scrypt" in ran.out and "install argon2-cffi" in ran.err
    monkeypatch.setattr(commands, "installed_argon2", object)
    assert with_users.run("login", "status").err == ""
    assert with_users.run("login", "status", "--json").json["passwords"] == {"argon2id": 1, "scrypt": 1}


def test_the_login_is_turned_on_and_off(base: Any, typed: Any) -> None:
    assert base.run("login", "status").out.startswith("The login is off")
    ran = base.run("login", "enable")
    assert ran.status == 0 and "No administrator has a password" in ran.err and str(base.path / "user") in ran.out
    assert "on already" in base.run("login", "enable").out
    counts = {"users": 0, "tokens": 0, "sessions": 0, "passwords": {}}
    assert base.run("login", "status", "--json").json == {"enabled": True, **counts}
    typed(f"{PASSWORD}\n")
    base.run("users", "add", "Root", "--role", "admin")
    assert base.run("login", "enable").err == ""
    assert base.run("users", "disable", "Root").status == 1, "the last administrator"
    assert base.run("login", "disable", "--yes").out.startswith("The login is off")
    assert "off already" in base.run("login", "disable", "--yes").out
    assert base.run("users", "disable", "Root").status == 0
    assert base.run("users", "enable", "Root").status == 0
    assert base.run("users", "remove", "Root", "--yes").status == 0


def test_a_damaged_file_is_reported_by_every_command(with_users: Any) -> None:
    (with_users.path / "user/__comfy_assets/login.json").write_bytes(b"{")
    for arguments in (["users", "list"], ["login", "enable"], ["tokens", "list"], ["serve", "--host", "0.0.0.0"]):
        ran = with_users.run(*arguments)
        assert ran.status == 1 and "login.json" in ran.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1,0.0.0.0", "nas.lan"])
def test_a_server_without_a_login_does_not_listen_to_others(base: Any, host: str) -> None:
    ran = base.run("serve", "--host", host)
    assert ran.status == 1 and "login enable" in ran.err and "--without-login" in ran.err


@pytest.mark.parametrize(
    ("host", "without_login", "enabled"),
    [("127.0.0.1", False, False), ("localhost,::1", False, False), ("0.0.0.0", True, False), ("0.0.0.0", False, True)],
)
def test_with_a_login_or_the_option_it_does(base: Any, host: str, without_login: bool, enabled: bool) -> None:
    if enabled:
        base.run("login", "enable")
    commands.require_login(host, base.path / "user/__comfy_assets", without_login=without_login)
