"""The parts of the login: hashes of passwords, secrets, delays, the audit log, and the language of its page."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import login_page
from comfy_assets_node.comfy_assets.errors import BusyError, InvalidBodyError, PasswordCheckUnavailableError
from comfy_assets_node.comfy_assets.login import keys, passwords, store
from comfy_assets_node.comfy_assets.login.passwords import (
    Argon2,
    PasswordHasher,
    ScryptCost,
    SignInThrottle,
    address_key,
    check_password,
)
from hypothesis import given
from hypothesis import strategies as st

CHEAP = ScryptCost(4, 8, 1)


TESTS = Path(__file__).resolve().parents[1]
FILES = (
    "unit/test_login_records.py",
    "contract/test_login.py",
    "contract/test_login_oauth.py",
    "contract/test_login_proxies.py",
    "contract/test_login_roles.py",
    "contract/test_quotas.py",
    "host/test_login_messages.py",
    "host/test_login_on_servers.py",
    "host/test_reverse_proxies.py",
    "panel/test_pages_behind_login.py",
)


def test_what_the_docs_say_it_withstands_is_tested() -> None:
    text = (TESTS.parent / "docs/security.md").read_text(encoding="utf-8")
    section = text.split("## What the login withstands\n")[1].split("\n## ")[0]
    named = re.findall(r"`(test_\w+)`(?:, `test_\w+`)* \|$", section, re.MULTILINE)
    named += re.findall(r", `(test_\w+)` \|$", section, re.MULTILINE)
    code = "".join((TESTS / name).read_text(encoding="utf-8") for name in FILES)
    assert len(named) > 8 and [name for name in named if f"def {name}(" not in code] == []


def no_argon2() -> None:
    return None


def hasher(cost: ScryptCost = CHEAP) -> PasswordHasher:
    return PasswordHasher(no_argon2, cost)


class WrongPassword(Exception):
    pass


class PlainHasher:
    """Stands for argon2-cffi, with a hash that can be read."""

    cost = 3

    def hash(self, password: bytes) -> str:
        return f"$argon2id$v=19$t={self.cost}${password.hex()}"

    def verify(self, encoded: str, password: bytes) -> bool:
        if encoded.rpartition("$")[2] != password.hex():
            raise WrongPassword
        return True

    def check_needs_rehash(self, encoded: str) -> bool:
        return f"$t={self.cost}$" not in encoded


def with_argon2() -> PasswordHasher:
    return PasswordHasher(lambda: Argon2(PlainHasher(), (WrongPassword,)), CHEAP)


@given(st.text(max_size=60), st.text(max_size=60))
def test_only_the_same_password_has_a_hash(password: str, other: str) -> None:
    made = hasher()
    encoded = made.hash_now(password)
    assert made.verify_now(encoded, password)
    assert made.verify_now(encoded, other) == (other == password)
    assert encoded != made.hash_now(password), "each has a salt of its own"


def test_the_usual_cost_takes_tens_of_mebibytes() -> None:
    assert hasher(ScryptCost()).hash_now("x").startswith("$scrypt$ln=15,r=8,p=3$")
    assert ScryptCost().memory == 32 << 20


DAMAGED = [
    "x",
    "$scrypt$",
    "$scrypt$ln=4,r=8,p=1$$",
    "$scrypt$ln=0,r=8,p=1$YWJj$YWJj",
    "$scrypt$ln=99,r=99,p=99$YWJj$YWJj",
    "$scrypt$ln=31,r=99,p=1$YWJj$YWJj",
    "$scrypt$ln=4,r=8,p=1$Y$YWJj",
    "$scrypt$ln=4,r=0,p=1$YWJj$YWJj",
    "$argon2id$v=19$",
]


@pytest.mark.parametrize("damaged", ["", *DAMAGED])
def test_a_damaged_hash_is_no_password(damaged: str) -> None:
    for password in ("", "x"):
        try:
            assert not hasher().verify_now(damaged, password)
        except PasswordCheckUnavailableError:
            assert hasher().obstacle(damaged)


def test_hashes_are_outdated_by_other_parameters_and_algorithms() -> None:
    old = hasher().hash_now("secret")
    assert not hasher().is_outdated(old)
    assert hasher(ScryptCost(5, 8, 1)).is_outdated(old) and hasher(ScryptCost(5, 8, 1)).verify_now(old, "secret")
    new = with_argon2()
    assert new.is_outdated(old) and new.verify_now(old, "secret")
    encoded = new.hash_now("secret")
    assert not new.is_outdated(encoded) and new.verify_now(encoded, "secret") and not new.verify_now(encoded, "other")
    assert new.is_outdated(encoded.replace("t=3", "t=2"))
    assert hasher().is_outdated(encoded)


def test_a_hash_of_a_package_that_has_been_removed_says_so() -> None:
    encoded = with_argon2().hash_now("secret")
    assert "argon2-cffi is not installed" in hasher().obstacle(encoded) and with_argon2().obstacle(encoded) == ""
    for password in ("secret", "other"):
        with pytest.raises(PasswordCheckUnavailableError):
            hasher().verify_now(encoded, password)


def test_a_portable_hash_is_verified_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "installed_argon2", lambda: Argon2(PlainHasher(), (WrongPassword,)))
    made = passwords.portable_hasher()
    encoded = made.hash_now("secret")
    made.close()
    assert all(
        each.obstacle(encoded) == "" and each.verify_now(encoded, "secret") for each in (hasher(), with_argon2())
    )


def test_the_real_argon2_is_used_where_it_is_installed() -> None:
    pytest.importorskip("argon2")
    made = PasswordHasher()
    encoded = made.hash_now("pässword")
    assert encoded.startswith("$argon2id$") and not made.is_outdated(encoded)
    assert made.verify_now(encoded, "pässword") and not made.verify_now(encoded, "password")
    assert not made.verify_now("$argon2id$v=19$m=1,t=1,p=1$x$y", "x")
    made.close()


def test_a_package_that_cannot_be_loaded_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert passwords.installed_argon2() is None
    errors = SimpleNamespace(VerificationError=WrongPassword, InvalidHash=ValueError)
    monkeypatch.setitem(sys.modules, "argon2", SimpleNamespace(PasswordHasher=PlainHasher, exceptions=errors))  # type: ignore[arg-type]
    assert passwords.installed_argon2() is not None


async def test_hashing_waits_in_a_short_line() -> None:
    import asyncio

    made = hasher(ScryptCost(10, 8, 1))
    encoded = await made.hash("x")
    results = await asyncio.gather(*(made.verify(encoded, "x") for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(each, BusyError) for each in results) == 40 - 16
    known = await asyncio.gather(*(made.verify(encoded, "x", is_known=True) for _ in range(20)))
    assert known == [True] * 20, "those who are known are let in meanwhile"
    made.close()


@pytest.mark.parametrize(
    ("password", "is_taken"), [("1234567", False), ("12345678", True), ("x" * 1024, True), ("x" * 1025, False)]
)
def test_lengths_of_new_passwords(password: str, is_taken: bool) -> None:
    if is_taken:
        check_password(password)
        return
    with pytest.raises(InvalidBodyError) as caught:
        check_password(password)
    assert caught.value.details == {"field": "password"}


def test_a_token_is_found_by_one_part_and_proven_by_the_other() -> None:
    new = keys.new_token()
    assert new.text.startswith("comfyui-") and len(new.text) == 60
    parts = keys.parse_token(new.text)
    assert parts is not None and parts.lookup == new.lookup
    assert keys.is_same(keys.token_digest(parts.secret, new.salt), new.digest)
    assert not keys.is_same(keys.token_digest(parts.secret, "00" * 16), new.digest), "the salt is part of it"
    assert parts.secret not in f"{new.lookup}{new.salt}{new.digest}"


@given(st.text(max_size=80))
def test_other_texts_are_no_tokens_and_no_devices(text: str) -> None:
    assert keys.parse_token(text) is None
    assert keys.known_device("ab" * 32, "ada", text) is None
    assert len(keys.secret_digest(text)) == 64


def test_a_device_is_known_for_one_user_of_one_server() -> None:
    text = keys.new_device("ab" * 32, "ada")
    assert keys.known_device("ab" * 32, "ada", text) == text.partition(".")[0]
    assert keys.known_device("ab" * 32, "grace", text) is None
    assert keys.known_device("cd" * 32, "ada", text) is None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_delays_grow_from_the_fifth_wrong_password_on() -> None:
    clock = Clock()
    delays = SignInThrottle(clock)
    waits = []
    for _ in range(20):
        while wait := delays.begin(["a"]):
            clock.now += wait
            waits.append(wait)
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert max(waits) == passwords.LONGEST_DELAY_S
    assert delays.begin(["b"]) == 0, "others do not wait"


def test_an_attempt_that_has_to_wait_is_not_counted() -> None:
    clock = Clock()
    delays = SignInThrottle(clock)
    for _ in range(passwords.FREE_ATTEMPTS):
        assert delays.begin(["a", "b"]) == 0
    assert [delays.begin(["a", "c"]) for _ in range(100)] == [1.0] * 100
    assert delays.begin(["c"]) == 0, "it was not counted for the other key either"
    clock.now += 1
    assert delays.begin(["a"]) == 0


def test_many_at_once_gain_nothing() -> None:
    delays = SignInThrottle(Clock())
    assert [delays.begin(["a"]) for _ in range(50)].count(0) == passwords.FREE_ATTEMPTS


def test_a_success_forgets_the_user_and_takes_one_from_the_address() -> None:
    clock = Clock()
    delays = SignInThrottle(clock)
    for _ in range(passwords.FREE_ATTEMPTS - 1):
        delays.begin(["user", "address"])
    assert delays.begin(["user", "address"]) == 0
    delays.succeeded(["user"], ["address"])
    assert delays.begin(["user"]) == 0
    assert delays.begin(["address"]) == 0
    assert delays.begin(["address"]) > 0, "whoever has an account cannot wipe out the guesses at others"


def test_after_an_hour_all_is_forgotten() -> None:
    clock = Clock()
    delays = SignInThrottle(clock)
    for _ in range(12):
        clock.now += delays.begin(["a"])
        delays.begin(["a"])
    clock.now += passwords.FORGET_S
    assert [delays.begin(["a"]) for _ in range(passwords.FREE_ATTEMPTS)] == [0] * passwords.FREE_ATTEMPTS


def test_what_is_remembered_has_a_bound() -> None:
    delays = SignInThrottle(Clock())
    for number in range(passwords.MAX_KEYS + 500):
        delays.begin([f"address {number}"])
    assert len(delays) == passwords.MAX_KEYS


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "nonsense", False),
    ],
)
def test_addresses_of_one_client(one: str, other: str, is_same: bool) -> None:
    assert (address_key(one) == address_key(other)) == is_same
    assert len(address_key("x" * 5000)) < 200


def test_the_audit_log_is_private_and_rotated(tmp_path: Path) -> None:
    log = store.AuditLog(tmp_path / "new", max_bytes=2000)
    for number in range(100):
        log.write("signed_in", user="Ada\n{}", session=f"{number:03}", address=None, way="")
    files = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in files] == [
        store.AUDIT_FILE_NAME,
        *(f"{store.AUDIT_FILE_NAME}.{n}" for n in range(1, store.KEPT_AUDITS + 1)),
    ]
    assert all(path.stat().st_size <= 2000 for path in files)
    lines = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["session"] == "099" and lines[-1]["user"] == "Ada\n{}"
    assert lines[-1].keys() == {"time", "event", "user", "session"}
    if os.name != "nt":
        assert files[0].stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    store.AuditLog(tmp_path / "file" / "folder").write("signed_in")
    assert "audit log" in caplog.text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("de", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("en;q=0.1, fr;q=0.9", "fr"), ("xx, ja", "ja"),
        ("zh-TW", "zh-TW"), ("zh-Hant-HK", "zh-TW"), ("zh-CN", "zh"), ("pt", "pt-BR"), ("pt-PT", "pt-BR"), ("*", "en"),
        ("x" * 100_000, "en"), (";;;,,,q=1", "en"), ("HE", "he"),
    ],
)  # fmt: skip
def test_the_language_is_one_that_the_browser_asks_for(header: str, language: str) -> None:
    assert login_page.chosen_language(header) == language


LANGUAGES = sorted(path.parent.name for path in login_page._LOCALES.glob("*/login.json"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("user", [None, "Ada <script>"])
def test_the_page_has_its_texts_and_runs_nothing_else(language: str, user: str | None) -> None:
    page = login_page.markup(root="../", languages=language, message="link", user=user)
    english = login_page._texts("en")
    assert login_page._texts(language).keys() == english.keys() and len(LANGUAGES) == 15
    assert all("{seconds}" in login_page._texts(each)["wait"] for each in LANGUAGES)
    assert "<script>" in page.html and page.html.count("<script>") == 1
    assert page.html.count("sha256") == 0 and page.policy.count("sha256-") == 2 and "unsafe" not in page.policy
    assert f'lang="{language}"' in page.html and ('dir="rtl"' in page.html) == (language in ("ar", "fa", "he"))
    rest: Any = page.html.replace(login_page._STYLE, "").replace(login_page._SCRIPT, "")
    assert re.findall(r"\{\w+\}", rest) == ["{seconds}"], "every other value is filled in"
