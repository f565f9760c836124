"""The file of the login, its users, tokens, sessions and links, and that none of them is let in too long."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.errors import (
    ApiError,
    InvalidBodyError,
    InvalidNameError,
    LoginConflictError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    PasswordCheckUnavailableError,
    SignInFailedError,
    TooManyAttemptsError,
)
from comfy_assets_node.comfy_assets.login import accounts, service
from comfy_assets_node.comfy_assets.login.passwords import FREE_ATTEMPTS, PasswordHasher, ScryptCost, SignInThrottle
from comfy_assets_node.comfy_assets.login.service import IDLE_MS, LONGEST_MS, Client, LoginService
from comfy_assets_node.comfy_assets.login.store import FILE_NAME, SCOPES, LoginStore, name_key
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

PASSWORD = "correct horse"
HERE = Client("192.0.2.1", "Firefox")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


def cheap_hasher(log2_n: int = 4) -> PasswordHasher:
    return PasswordHasher(lambda: None, ScryptCost(log2_n, 8, 1))


class Login(LoginService):
    """A login with cheap hashes and a clock of its own."""

    def __init__(self, folder: Path, clock: Clock | None = None, log2_n: int = 4) -> None:
        self.time = clock or Clock()
        super().__init__(folder, cheap_hasher(log2_n), self.time, SignInThrottle(lambda: self.time.ms / 1000))
        self.folder = folder
        self.refresh_now()

    def add(self, name: str = "Ada", role: Any = "member", password: str = PASSWORD) -> None:
        self.accounts().add_user(name, role, self.passwords.hasher.hash_now(password) if password else "")

    @property
    def text(self) -> str:
        return (self.folder / FILE_NAME).read_text(encoding="utf-8")


@pytest.fixture
def login(tmp_path: Path) -> Login:
    made = Login(tmp_path / "data")
    made.add("Root", "admin")
    made.add()
    made.accounts().set_enabled(True)
    return made


def test_without_a_file_the_login_is_off_and_nothing_is_written(tmp_path: Path) -> None:
    made = Login(tmp_path / "data")
    assert not made.is_enabled
    made.close()
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_for_its_owner_alone(login: Login) -> None:
    path = login.folder / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    path.write_bytes(path.read_bytes())
    LoginStore(login.folder).refresh()
    assert path.stat().st_mode & 0o777 == 0o600


DAMAGES: list[Callable[[str], str]] = [
    lambda text: "",
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"device_key"', '"other_key"'),
    lambda text: text.replace('"role": "admin"', '"role": "king"'),
    lambda text: json.dumps({**json.loads(text), "version": 2}),
    lambda text: "[" * 100_000,
    lambda text: "\x00" * 100,
    lambda text: text + " " * (17 << 20),
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_lets_nobody_in(login: Login, damage: Callable[[str], str]) -> None:
    (login.folder / FILE_NAME).write_text(damage(login.text), encoding="utf-8")
    for each in (login, LoginService(login.folder)):
        for _ in range(2):
            with pytest.raises(LoginUnavailableError) as caught:
                each.refresh_now()
        assert PASSWORD not in str(caught.value) and caught.value.__cause__ is None
        with pytest.raises(LoginUnavailableError):
            each.accounts().add_user("New", "admin")


def test_a_file_that_vanishes_does_not_turn_the_login_off(login: Login) -> None:
    (login.folder / FILE_NAME).unlink()
    for _ in range(2):
        with pytest.raises(LoginUnavailableError):
            login.refresh_now()
    with pytest.raises(LoginUnavailableError):
        login.accounts().set_enabled(False)


def test_nothing_in_the_folder_is_a_secret_that_can_be_used(login: Login) -> None:
    signed = asyncio.run(login.sign_in("ada", PASSWORD, HERE))
    _, token = login.accounts().create_token("Ada", "t", ["read"])
    link = login.accounts().new_link("Ada")
    with pytest.raises(SignInFailedError):
        asyncio.run(login.sign_in("ada", "a wrong password", HERE))
    with pytest.raises(SignInFailedError):
        asyncio.run(login.sign_in("my password typed as a name", "x", HERE))
    everything = "".join(path.read_text(encoding="utf-8") for path in login.folder.iterdir() if path.is_file())
    for secret in (PASSWORD, signed.session, token, token[20:], link, "a wrong password", "typed as a name"):
        assert secret not in everything
    assert "correct" not in repr(login.state.file) and "$scrypt" not in repr(login.state.users["ada"])


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "__system", "a\x00b", "\u202etxt"])
def test_names_that_are_refused(login: Login, name: str) -> None:
    before = login.text
    with pytest.raises(InvalidNameError):
        login.accounts().add_user(name, "member")
    with pytest.raises(InvalidNameError):
        login.accounts().create_token("Ada", name, ["read"])
    assert login.text == before


@pytest.mark.parametrize("same", ["Ada", "ada", " ADA ", "Ａｄａ"])
def test_a_name_is_taken_in_every_spelling(login: Login, same: str) -> None:
    with pytest.raises(LoginConflictError):
        login.accounts().add_user(same, "admin")
    assert name_key(same) == "ada"
    assert asyncio.run(login.sign_in(same, PASSWORD, HERE)).user == "Ada"


def test_the_last_administrator_stays_while_the_login_is_on(login: Login) -> None:
    for change in (login.accounts().remove_user, lambda name: login.accounts().set_disabled(name, True)):
        with pytest.raises(LoginConflictError):
            change("Root")
    login.add("Other", "admin")
    assert login.accounts().set_disabled("Other", True)
    with pytest.raises(LoginConflictError):
        login.accounts().remove_user("Root")
    login.accounts().set_enabled(False)
    assert login.accounts().remove_user("Root").name == "Root"


async def test_a_session_ends_when_it_is_idle_or_old(login: Login) -> None:
    signed = await login.sign_in("Ada", PASSWORD, HERE)
    for _ in range(LONGEST_MS // (IDLE_MS - 1)):
        login.time.ms += IDLE_MS - 1
        assert login.by_session(signed.session) is not None
    login.time.ms += LONGEST_MS
    assert login.by_session(signed.session) is None
    again = await login.sign_in("Ada", PASSWORD, HERE)
    login.time.ms += IDLE_MS
    assert login.by_session(again.session) is None


async def test_times_of_use_last_over_a_restart(login: Login) -> None:
    signed = await login.sign_in("Ada", PASSWORD, HERE)
    login.time.ms += IDLE_MS - 1
    assert login.by_session(signed.session) is not None
    login.close()
    other = Login(login.folder, login.time)
    login.time.ms += IDLE_MS - 1
    assert other.by_session(signed.session) is not None


@pytest.mark.parametrize(
    "secret", ["", "x", "comfyui-", "\x00", "é" * 10, "x" * 100_000, "../..", "comfyui-" + "0" * 52]
)
def test_other_texts_let_nobody_in(login: Login, secret: str) -> None:
    assert login.by_session(secret) is None
    assert login.by_token(secret) is None


def test_a_token_has_no_more_scopes_than_its_user(login: Login) -> None:
    login.add("Guest", "guest")
    for name, scopes in (("Guest", ["write"]), ("Ada", ["admin"]), ("Ada", []), ("Guest", ["read", "run"])):
        with pytest.raises(InvalidBodyError):
            login.accounts().create_token(name, "t", scopes)  # type: ignore[arg-type]
    for scopes, all_scopes in (
        (["run"], {"run", "read"}),
        (["write", "run"], {"read", "write", "run"}),
        (["read"], {"read"}),
    ):
        _, text = login.accounts().create_token("Ada", "t", scopes)  # type: ignore[arg-type]
        identity = login.by_token(text)
        assert identity is not None and identity.scopes == all_scopes
    _, text = login.accounts().create_token("Root", "t", ["admin"])
    identity = login.by_token(text)
    assert identity is not None and identity.scopes == set(SCOPES)


def test_a_token_expires_and_is_revoked(login: Login) -> None:
    record, text = login.accounts().create_token("Ada", "t", ["read"], login.time.ms + 1000)
    identity = login.by_token(text)
    assert identity is not None and login.is_valid(identity)
    login.time.ms += 1000
    assert login.by_token(text) is None and not login.is_valid(identity)
    with pytest.raises(InvalidBodyError):
        login.accounts().create_token("Ada", "t", ["read"], login.time.ms)
    other, text = login.accounts().create_token("Ada", "t", ["read"])
    assert record.id not in {each.id for each in login.state.file.tokens}, "expired ones are removed"
    with pytest.raises(LoginRecordNotFoundError):
        login.accounts().revoke_token(other.id, "Root")
    login.accounts().revoke_token(other.id)
    assert login.by_token(text) is None
    with pytest.raises(LoginRecordNotFoundError):
        login.accounts().revoke_token(other.id)


ENDS: list[Callable[[Login], object]] = [
    lambda login: login.accounts().set_disabled("Ada", True),
    lambda login: login.accounts().remove_user("Ada"),
    lambda login: login.accounts().set_password("Ada", login.passwords.hasher.hash_now("another one")),
    lambda login: login.end_sessions("ada"),
]


@pytest.mark.parametrize("end", ENDS)
async def test_what_ends_sessions_ends_all_of_that_user(login: Login, end: Callable[[Login], object]) -> None:
    own = [await login.sign_in("Ada", PASSWORD, HERE) for _ in range(2)]
    other = await login.sign_in("Root", PASSWORD, HERE)
    identity = login.by_session(own[0].session)
    assert identity is not None
    end(Login(login.folder))  # another process
    login.refresh_now()
    assert [login.by_session(each.session) for each in own] == [None, None]
    assert not login.is_valid(identity)
    assert login.by_session(other.session) is not None


async def test_a_disabled_user_gets_in_by_nothing(login: Login) -> None:
    _, token = login.accounts().create_token("Ada", "t", ["read"])
    link = login.accounts().new_link("Ada")
    login.accounts().set_disabled("Ada", True)
    assert login.by_token(token) is None
    with pytest.raises(SignInFailedError):
        await login.use_link(link, HERE)
    with pytest.raises(SignInFailedError):
        await login.sign_in("Ada", PASSWORD, HERE)
    login.accounts().set_disabled("Ada", False)
    assert login.by_token(token) is not None
    assert (await login.sign_in("Ada", PASSWORD, Client("192.0.2.9"))).user == "Ada"


async def test_a_link_is_used_once_and_not_too_late(login: Login) -> None:
    link = login.accounts().new_link("Ada")
    results = await asyncio.gather(*(login.use_link(link, HERE) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in results) == 1
    assert all(isinstance(each, (SignInFailedError, service.SignedIn)) for each in results)
    late = login.accounts().new_link("Ada")
    login.time.ms += accounts.LINK_MS
    with pytest.raises(SignInFailedError):
        await login.use_link(late, HERE)
    with pytest.raises(SignInFailedError):
        await login.use_link("comfyui-link-made-up", HERE)


def test_the_first_administrator_gets_a_link_until_they_have_a_password(tmp_path: Path) -> None:
    made = Login(tmp_path)
    first = made.accounts().first_link()
    assert first is not None and first[0] == "admin"
    assert made.accounts().first_link() is not None, "it may have been lost"
    assert [each.name for each in made.state.file.users] == ["admin"]
    assert asyncio.run(made.use_link(first[1], HERE)).user == "admin"
    made.accounts().set_password("admin", made.passwords.hasher.hash_now(PASSWORD))
    assert made.accounts().first_link() is None
    made.add("Other", "admin", "")
    made.accounts().remove_user("admin")
    made.accounts().add_user("admin", "guest")
    assert (made.accounts().first_link() or ("",))[0] == "Other"
    made.accounts().remove_user("Other")
    assert (made.accounts().first_link() or ("",))[0] == "admin2"


ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaA"


async def test_passwords_of_a_missing_package_are_reported_and_tell_nobody_who_is_a_user(
    login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    login.accounts().set_password("Ada", ARGON2)
    login.add("Nobody", "member", "")
    for _ in range(2):
        login.refresh_now()
    (record,) = [each for each in caplog.records if "cannot be checked" in each.message]
    assert record.levelname == "ERROR" and "1 of 2 passwords" in record.message and "argon2-cffi" in record.message
    asked: list[str] = []
    hasher = login.passwords.hasher
    verify = hasher.verify_now
    hasher.verify_now = lambda encoded, password: bool(asked.append(encoded)) or verify(encoded, password)  # type: ignore[method-assign]
    said = set()
    for name, password in (("Ada", PASSWORD), ("Ada", "wrong"), ("Root", "wrong"), ("Nobody", "x"), ("unknown", "x")):
        with pytest.raises(PasswordCheckUnavailableError) as caught:
            await login.sign_in(name, password, Client(f"192.0.2.{len(asked)}"))
        said.add((caught.value.code, caught.value.message, caught.value.status, str(caught.value.details)))
    assert len(said) == 1 and len(asked) == 5 and ARGON2 not in asked, "each took as long, and said the same"
    assert (await login.sign_in("Root", PASSWORD, HERE)).user == "Root"
    identity = login.by_session((await login.use_link(login.accounts().new_link("Ada"), HERE)).session)
    assert identity is not None
    with pytest.raises(PasswordCheckUnavailableError):
        await login.change_password(identity, PASSWORD, "another one", HERE)
    login.accounts().set_password("Ada", login.passwords.hasher.hash_now("another one"))
    assert (await login.sign_in("Ada", "another one", HERE)).user == "Ada"
    with pytest.raises(SignInFailedError):
        await login.sign_in("Ada", "wrong", HERE)


def test_an_administrator_whose_password_cannot_be_checked_gets_a_link(login: Login) -> None:
    assert login.first_link() is None
    login.accounts().set_password("Root", ARGON2)
    assert (login.first_link() or ("",))[0] == "Root"


async def test_unknown_names_and_wrong_passwords_cannot_be_told_apart(login: Login) -> None:
    login.add("Nobody", "member", "")
    asked: list[str] = []
    hasher = login.passwords.hasher
    verify = hasher.verify_now
    hasher.verify_now = lambda encoded, password: bool(asked.append(encoded)) or verify(encoded, password)  # type: ignore[method-assign]
    said = set()
    for name in ("Ada", "Nobody", "unknown", "", "__", "x" * 900):
        with pytest.raises(SignInFailedError) as caught:
            await login.sign_in(name, "wrong", Client(f"192.0.2.{len(asked)}"))
        said.add((caught.value.code, caught.value.message, caught.value.status, str(caught.value.details)))
    assert len(said) == 1 and len(asked) == 6
    assert all(each.startswith("$scrypt$ln=4,r=8,p=1$") for each in asked), "each took as long"


async def test_guesses_at_a_name_wait_and_a_known_browser_does_not(login: Login) -> None:
    known = await login.sign_in("Ada", PASSWORD, HERE)
    for number in range(FREE_ATTEMPTS):
        with pytest.raises(SignInFailedError):
            await login.sign_in("ada", f"wrong {number}", Client(f"198.51.100.{number}"))
    for name in ("ADA", "ada "):
        with pytest.raises(TooManyAttemptsError) as caught:
            await login.sign_in(name, PASSWORD, Client("203.0.113.5"))
    assert caught.value.details == {"retry_after": 1}
    assert (await login.sign_in("Ada", PASSWORD, Client("203.0.113.5", device=known.device))).user == "Ada"
    assert (await login.sign_in("Root", PASSWORD, Client("203.0.113.5"))).user == "Root"
    for number in range(FREE_ATTEMPTS):
        with pytest.raises(SignInFailedError):
            await login.sign_in("Ada", f"wrong {number}", Client("203.0.113.5", device=known.device))
    with pytest.raises(TooManyAttemptsError):
        await login.sign_in("Ada", PASSWORD, Client("203.0.113.5", device=known.device))


async def test_guesses_from_an_address_wait_whatever_the_name(login: Login) -> None:
    for number in range(FREE_ATTEMPTS):
        with pytest.raises(SignInFailedError):
            await login.sign_in(f"user {number}", "wrong", HERE)
    with pytest.raises(TooManyAttemptsError):
        await login.sign_in("Ada", PASSWORD, HERE)
    assert (await login.sign_in("Ada", PASSWORD, Client("192.0.2.77"))).user == "Ada"


async def test_a_sign_in_renews_an_old_hash(login: Login) -> None:
    stronger = Login(login.folder, login.time, log2_n=5)
    await stronger.sign_in("Ada", PASSWORD, HERE)
    assert stronger.state.users["ada"].password.startswith("$scrypt$ln=5,")
    assert stronger.state.users["root"].password.startswith("$scrypt$ln=4,")
    assert (await stronger.sign_in("Ada", PASSWORD, HERE)).user == "Ada"


async def test_a_password_that_is_changed_meanwhile_is_not_let_in(login: Login) -> None:
    old = login.passwords.hasher.verify_now

    def verify(encoded: str, password: str) -> bool:
        is_right = old(encoded, password)
        Login(login.folder).accounts().set_password("Ada", login.passwords.hasher.hash_now("another one"))
        return is_right

    login.passwords.hasher.verify_now = verify  # type: ignore[method-assign]
    with pytest.raises(SignInFailedError):
        await login.sign_in("Ada", PASSWORD, HERE)
    assert login.state.file.sessions == ()


async def test_a_new_session_replaces_the_one_of_its_browser(login: Login) -> None:
    first = await login.sign_in("Ada", PASSWORD, HERE)
    second = await login.sign_in("Ada", PASSWORD, Client("192.0.2.1", session=first.session))
    assert login.by_session(first.session) is None and login.by_session(second.session) is not None
    assert first.session != second.session


async def test_sessions_have_a_bound(login: Login) -> None:
    signed = []
    for _ in range(service.MAX_SESSIONS + 3):
        login.time.ms += 1
        signed.append(await login.sign_in("Ada", PASSWORD, HERE))
    assert len(login.sessions_of("ada")) == service.MAX_SESSIONS
    assert [login.by_session(each.session) is None for each in signed[:4]] == [True, True, True, False]


async def test_the_own_password_is_changed_with_the_old_one(login: Login) -> None:
    here = await login.sign_in("Ada", PASSWORD, HERE)
    elsewhere = await login.sign_in("Ada", PASSWORD, HERE)
    identity = login.by_session(here.session)
    assert identity is not None
    for old, new, error in ((PASSWORD, "short", InvalidBodyError), ("wrong", "long enough", SignInFailedError)):
        with pytest.raises(error):
            await login.change_password(identity, old, new, HERE)
    assert await login.change_password(identity, PASSWORD, "long enough", HERE) == 1
    assert login.by_session(here.session) is not None and login.by_session(elsewhere.session) is None
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(SignInFailedError):
            await login.change_password(identity, PASSWORD, "long enough", HERE)
    with pytest.raises(TooManyAttemptsError):
        await login.change_password(identity, "long enough", "long enough too", HERE)


async def test_requests_share_one_look_at_the_file(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    look = login.refresh_now
    monkeypatch.setattr(login, "refresh_now", lambda: (looks.append(1), look())[1])
    await asyncio.gather(*(login.refresh() for _ in range(50)))
    await login.refresh()
    assert len(looks) == 1
    (login.folder / FILE_NAME).unlink()
    login._refreshed_at = float("-inf")
    for _ in range(3):  # a failure is not remembered as a success
        with pytest.raises(LoginUnavailableError):
            await login.refresh()


async def test_what_happens_is_in_the_audit_log(login: Login) -> None:
    signed = await login.sign_in("Ada", PASSWORD, HERE)
    with pytest.raises(SignInFailedError):
        await login.sign_in("Ada", "wrong", HERE)
    record, _ = login.accounts("Ada").create_token("Ada", "t", ["read"])
    identity = login.by_session(signed.session)
    assert identity is not None
    login.end_sessions("ada", identity.credential)
    lines = [json.loads(line) for line in (login.folder / "login-audit.jsonl").read_text(encoding="utf-8").splitlines()]
    told = [(line["event"], line.get("user")) for line in lines]
    assert told[-4:] == [
        ("signed_in", "Ada"),
        ("sign_in_failed", "Ada"),
        ("token_created", "Ada"),
        ("signed_out", "ada"),
    ]
    assert lines[-2]["token"] == record.id and lines[-2]["by"] == "Ada" and lines[-4]["address"] == "192.0.2.1"


def test_uses_of_tokens_are_in_the_audit_log_once_an_hour(login: Login) -> None:
    record, text = login.accounts().create_token("Ada", "t", ["read"])

    def told() -> list[dict[str, str]]:
        login.refresh_now()
        lines = (login.folder / "login-audit.jsonl").read_text(encoding="utf-8").splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == "token_used"]

    for _ in range(3):
        assert login.by_token(text, "192.0.2.1") is not None
    assert [(each["user"], each["token"], each["address"]) for each in told()] == [("Ada", record.id, "192.0.2.1")]
    login.time.ms += 3_600_000
    assert login.by_token(text, "192.0.2.2") is not None
    assert [each["address"] for each in told()] == ["192.0.2.1", "192.0.2.2"]


class LoginMachine(RuleBasedStateMachine):
    """Whatever is done in whichever order, by two servers on one file: who is let in is who should be."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory(prefix="login-machine-")
        clock = Clock()
        self.servers = [Login(Path(self.folder.name), clock) for _ in range(2)]
        self.time = clock
        self.users: dict[str, bool] = {}  # whether they are disabled
        self.tokens: dict[str, tuple[str, int | None]] = {}  # user and end by text
        self.revoked: set[str] = set()
        self.sessions: dict[str, list[Any]] = {}  # user, begin, last use by secret
        self.ids: dict[str, str] = {}

    names = st.sampled_from(["ada", "grace", "root"])
    which = st.integers(0, 1)

    @rule(name=names, server=which)
    def add(self, name: str, server: int) -> None:
        try:
            self.servers[server].accounts().add_user(name, "admin")
        except LoginConflictError:
            assert name in self.users
        else:
            assert name not in self.users
            self.users[name] = False

    @rule(name=names, server=which)
    def remove(self, name: str, server: int) -> None:
        try:
            self.servers[server].accounts().remove_user(name)
        except LoginRecordNotFoundError:
            assert name not in self.users
        else:
            del self.users[name]
            self._forget(name, tokens=True)

    def _forget(self, name: str, *, tokens: bool) -> None:
        self.revoked |= {secret for secret, each in self.sessions.items() if each[0] == name}
        if tokens:
            self.revoked |= {text for text, each in self.tokens.items() if each[0] == name}

    @rule(name=names, server=which, disabled=st.booleans())
    def disable(self, name: str, server: int, disabled: bool) -> None:
        try:
            self.servers[server].accounts().set_disabled(name, disabled)
        except LoginRecordNotFoundError:
            assert name not in self.users
        else:
            self.users[name] = disabled
            if disabled:
                self._forget(name, tokens=False)

    @rule(name=names, server=which, lasts=st.one_of(st.none(), st.integers(1, 3 * IDLE_MS)))
    def make_token(self, name: str, server: int, lasts: int | None) -> None:
        end = None if lasts is None else self.time.ms + lasts
        try:
            record, text = self.servers[server].accounts().create_token(name, "t", ["read"], end)
        except LoginRecordNotFoundError:
            assert name not in self.users
        else:
            self.tokens[text], self.ids[text] = (name, end), record.id

    @rule(data=st.data(), server=which)
    def revoke(self, data: st.DataObject, server: int) -> None:
        if not self.tokens:
            return
        text = data.draw(st.sampled_from(sorted(self.tokens)))
        try:
            self.servers[server].accounts().revoke_token(self.ids[text])
        except LoginRecordNotFoundError:
            end = self.tokens[text][1]
            assert text in self.revoked or (end is not None and end <= self.time.ms)
        self.revoked.add(text)

    @rule(name=names, server=which)
    def sign_in_by_link(self, name: str, server: int) -> None:
        login = self.servers[server]
        try:
            link = login.accounts().new_link(name)
            signed = asyncio.run(login.use_link(link, HERE))
        except ApiError as error:
            assert isinstance(error, LoginRecordNotFoundError if name not in self.users else SignInFailedError)
            assert name not in self.users or self.users[name]
        else:
            assert not self.users[name]
            self.sessions[signed.session] = [name, self.time.ms, self.time.ms]

    @rule(name=names, server=which)
    def sign_out_everywhere(self, name: str, server: int) -> None:
        self.servers[server].end_sessions(name)
        self._forget(name, tokens=False)

    @rule(passed=st.integers(0, 2 * IDLE_MS))
    def wait(self, passed: int) -> None:
        self.time.ms += passed

    @rule(server=which)
    def restart(self, server: int) -> None:
        self.servers[server].close()
        self.servers[server] = Login(Path(self.folder.name), self.time)

    @invariant()
    def those_are_let_in_who_should_be(self) -> None:
        if not hasattr(self, "servers"):
            return
        for login in self.servers:
            login.save_uses()  # so that both servers know of them
        for login in self.servers:
            login.refresh_now()
            for text, (name, end) in self.tokens.items():
                expected = (
                    text not in self.revoked
                    and not self.users.get(name, True)
                    and not (end is not None and end <= self.time.ms)
                )
                assert (login.by_token(text) is not None) == expected
        expected_uses = []
        for secret, each in self.sessions.items():
            name, begun, used = each
            now = self.time.ms
            is_current = now - used < IDLE_MS and now - begun < LONGEST_MS
            expected = secret not in self.revoked and not self.users.get(name, True) and is_current
            assert [login.by_session(secret) is not None for login in self.servers] == [expected] * 2
            expected_uses.append(expected)
            if expected:
                each[2] = now
            else:
                self.revoked.add(secret)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for login in self.servers:
                login.passwords.hasher.close()
            self.folder.cleanup()


TestLoginMachine = LoginMachine.TestCase
TestLoginMachine.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
