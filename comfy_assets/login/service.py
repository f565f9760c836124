"""Sign-ins, sessions, and the user of each request, without reading the disk."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import replace

from ..errors import (
    InvalidBodyError,
    InvalidNameError,
    LoginConflictError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    NotPermittedError,
    SignInFailedError,
)
from ..ids import now_ms
from . import keys
from .accounts import Accounts
from .authorizations import Authorizations
from .passwords import MAX_PASSWORD, PasswordChecks, PasswordHasher, SignInThrottle, check_password
from .store import (
    ROLE_SCOPES,
    AuditLog,
    LoginFile,
    LoginState,
    LoginStore,
    Role,
    Scope,
    SessionRecord,
    UserRecord,
    name_key,
)

log = logging.getLogger("comfy_assets.login")

IDLE_MS = 7 * 24 * 3_600_000
LONGEST_MS = 30 * 24 * 3_600_000
MAX_SESSIONS = 50  # of a user; a further one ends the one that has been idle longest
_SAVE_USES_MS = 5 * 60_000
_AUDIT_ONCE_MS = 3_600_000  # the use of a token, for example, is a line of the audit log once in this time
_MAX_UNWRITTEN = 10_000  # lines, while the disk is full
_REFRESH_S = 0.25  # how late a change by a command may be noticed
_MAX_CLIENT = 200  # characters of a browser's name
_MAX_NAME = 1000


class Identity(NamedTuple):
    """The user of a request, what it may do, and the session or token that it was sent with."""

    user: str
    key: str
    role: Role
    scopes: frozenset[Scope]
    kind: Literal["session", "token", "proxy"]
    credential: str
    """The public id of the session or token, "" for a user whom a proxy has signed in."""


class SignedIn(NamedTuple):
    """A new session: the secrets of its cookies, and its user."""

    session: str
    device: str
    user: str
    key: str
    lasts_s: int


class Client(NamedTuple):
    """The other end of a sign-in: its address, its browser, and the cookies of earlier sign-ins."""

    address: str
    browser: str = ""
    device: str = ""
    session: str = ""


class LoginService:
    """The login of a server. The file is read by ``refresh``; until then the login counts as off."""

    def __init__(
        self,
        folder: Path,
        hasher: PasswordHasher | None = None,
        clock: Callable[[], int] = now_ms,
        throttle: SignInThrottle | None = None,
    ) -> None:
        self.store = LoginStore(folder)
        self.audit = AuditLog(folder)
        self.authorizations = Authorizations()
        self.passwords = PasswordChecks(self.store, hasher or PasswordHasher(), throttle or SignInThrottle())
        self._clock = clock
        self._used: dict[str, int] = {}  # ms of the last use by the public id of a session or token
        self._uses_lock = threading.Lock()
        self._noted: dict[str, int] = {}  # ms of the last line of the audit log by the key of what is noted once
        self._unwritten: list[tuple[str, dict[str, str]]] = []  # events of it with their facts
        self._saved_at = clock()
        self._refreshed_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def is_enabled(self) -> bool:
        """True if the login is on, as far as is known."""
        return self.store.state.file.is_enabled

    @property
    def state(self) -> LoginState:
        """The content of the file as it was read last."""
        return self.store.state

    def accounts(self, by: str = "") -> Accounts:
        """Return the users and tokens, to be changed by somebody."""
        return Accounts(self.store, self.audit, self._clock, by)

    async def refresh(self) -> None:
        """Notice changes of others, a quarter of a second late at most. Raises LoginUnavailableError."""
        if time.monotonic() - self._refreshed_at < _REFRESH_S:
            return
        if self._refreshing is None:  # one thread for all requests that come meanwhile
            self._refreshing = asyncio.create_task(asyncio.to_thread(self.refresh_now), name="comfy-assets login file")
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        # After a failure the next request tries again, as nobody may be let in by what was known before.
        if not task.cancelled() and task.exception() is None:
            self._refreshed_at = time.monotonic()

    def refresh_now(self) -> None:
        """Read the file if it has changed, and save the times of use now and then. Blocks."""
        self.store.refresh()
        if self.is_enabled:
            self.passwords.find_obstacles()
        self._write_audit()
        if self._used and self._clock() - self._saved_at >= _SAVE_USES_MS:
            self._try_to_save_uses()

    def first_link(self) -> tuple[str, str] | None:
        """Return what ``Accounts.first_link`` does. Blocks. Raises LoginUnavailableError."""
        return self.accounts().first_link(lambda encoded: bool(encoded) and not self.passwords.hasher.obstacle(encoded))

    def _write_audit(self) -> None:
        while self._unwritten:
            event, facts = self._unwritten.pop(0)
            self.audit.write(event, **facts)

    def save_uses(self) -> None:
        """Write when sessions and tokens were used last. Blocks. Raises LoginUnavailableError."""
        with self._uses_lock:
            used, self._used = self._used, {}
            self._saved_at = self._clock()
        if not used:
            return

        def change(state: LoginState) -> tuple[LoginFile, None]:
            sessions = tuple(replace(s, used_at=max(s.used_at, used.get(s.id, 0))) for s in state.file.sessions)
            tokens = tuple(replace(t, used_at=used.get(t.id, t.used_at)) for t in state.file.tokens)
            return replace(state.file, sessions=sessions, tokens=tokens), None

        try:
            self.store.change(change)
        except LoginUnavailableError:
            self._used = {**used, **self._used}
            raise

    def close(self) -> None:
        """Save the times of use and end the threads. Blocks."""
        self.passwords.hasher.close()
        self._write_audit()
        self._try_to_save_uses()

    def _try_to_save_uses(self) -> None:
        try:
            self.save_uses()
        except LoginUnavailableError as error:
            log.warning("The latest uses of sessions and tokens are not saved: %s", error.message)

    # The identity of a request

    def by_session(self, secret: str) -> Identity | None:
        """Return the identity of a session by the id in its cookie, None if it is unknown, over or revoked."""
        if not 0 < len(secret) <= keys.MAX_SECRET_CHARACTERS:
            return None
        record = self.state.sessions.get(keys.secret_digest(secret))
        return None if record is None else self._of_session(record)

    def by_token(self, text: str, address: str = "") -> Identity | None:
        """Return the identity of a token that is sent from an address, None if it is unknown, expired or revoked."""
        parts = keys.parse_token(text) if len(text) <= keys.MAX_SECRET_CHARACTERS else None
        record = None if parts is None else self.state.tokens.get(parts.lookup)
        if parts is None or record is None:
            return None
        if not keys.is_same(keys.token_digest(parts.secret, record.salt), record.digest):
            return None
        now = self._clock()
        if record.expires_at is not None and record.expires_at <= now:
            return None
        user = self.state.usable(record.user)
        if user is None:
            return None
        self._used[record.id] = now
        self.note("token_used", once=record.id, user=user.name, token=record.id, address=address)
        scopes = _with_implied(record.scopes) & ROLE_SCOPES[user.role]
        return Identity(user.name, user.key, user.role, scopes, "token", record.id)

    def note(self, event: str, once: str = "", **facts: str) -> None:
        """Let the audit log have a line soon; with ``once``, a key, at most one of these in an hour."""
        now = self._clock()
        if once and now - self._noted.get(once, 0) < _AUDIT_ONCE_MS:
            return
        if once:
            self._noted[once] = now
        if len(self._unwritten) < _MAX_UNWRITTEN:
            self._unwritten.append((event, facts))

    async def by_proxy(self, name: str, address: str = "", new_users: Role | None = None) -> Identity:
        """Return the identity of a user whom a trusted proxy names. One who is not known yet is added with a role.

        Raises NotPermittedError for a disabled user, for a name that cannot be a user's, and without a role for a user
        who is not known; LoginUnavailableError.
        """
        key = name_key(name[:_MAX_NAME])
        user = self.state.users.get(key)
        if user is None and new_users is not None:
            user = await asyncio.to_thread(self._add_from_proxy, name, key, new_users)
        if user is None or user.is_disabled:
            raise NotPermittedError(
                "The proxy has signed you in, but you are no user of this server. An administrator can add you.",
                details={"user": name[:_MAX_CLIENT]},
            )
        self.note("signed_in", once=f"proxy {key}", user=user.name, way="proxy", address=address)
        return Identity(user.name, key, user.role, ROLE_SCOPES[user.role], "proxy", "")

    def _add_from_proxy(self, name: str, key: str, role: Role) -> UserRecord:
        try:
            return self.accounts(by="proxy").add_user(name, role)
        except (InvalidNameError, LoginConflictError) as error:
            known = self.state.users.get(key)  # another request may have added them
            if known is None:
                raise NotPermittedError(error.message) from error
            return known

    def is_valid(self, identity: Identity) -> bool:
        """Return whether a session or token, whose connection is still open, has not ended meanwhile."""
        user = self.state.usable(identity.key)
        if user is None:
            return False
        if identity.kind == "proxy":
            return True
        if identity.kind == "session":
            return any(s.id == identity.credential and self._is_current(s) for s in self.state.file.sessions)
        now = self._clock()
        return any(
            t.id == identity.credential and (t.expires_at is None or t.expires_at > now) for t in self.state.file.tokens
        )

    def touch(self, identity: Identity) -> None:
        """Count an open connection of a session or token as a use of it."""
        if identity.credential:
            self._used[identity.credential] = self._clock()

    def _of_session(self, record: SessionRecord) -> Identity | None:
        user = self.state.usable(record.user)
        if user is None or not self._is_current(record):
            return None
        self._used[record.id] = self._clock()
        return Identity(user.name, user.key, user.role, ROLE_SCOPES[user.role], "session", record.id)

    def _is_current(self, record: SessionRecord) -> bool:
        now = self._clock()
        used = max(record.used_at, self._used.get(record.id, 0))
        return now < record.expires_at and now - used < IDLE_MS

    # Sign-ins

    async def sign_in(self, name: str, password: str, client: Client) -> SignedIn:
        """Start a session for a name and a password.

        Raises SignInFailedError, TooManyAttemptsError, InvalidBodyError, BusyError, PasswordCheckUnavailableError,
        LoginUnavailableError.
        """
        if len(name) > _MAX_NAME or len(password) > MAX_PASSWORD:
            raise InvalidBodyError("The name or the password is too long.", details={"field": "password"})
        key = name_key(name)
        user = await self.passwords.find_user(key, password, client.address, client.device)
        if user is None:
            await asyncio.to_thread(self._record_failure, key, client)
            raise self.passwords.refusal()
        hasher = self.passwords.hasher
        new_hash = await hasher.hash(password) if hasher.is_outdated(user.password) else user.password
        return await asyncio.to_thread(self._start_session, user, new_hash, client)

    def _record_failure(self, key: str, client: Client) -> None:
        # Unknown names are left out: people type passwords into the wrong field.
        user = self.state.users.get(key)
        self.audit.write("sign_in_failed", user=user.name if user else "", address=client.address)

    def _start_session(self, user: UserRecord, password: str, client: Client) -> SignedIn:
        secret = keys.new_session()

        def change(state: LoginState) -> tuple[LoginFile, SessionRecord]:
            now_user = state.users.get(user.key)
            if now_user is None or now_user.is_disabled or now_user.password != user.password:
                raise SignInFailedError("The name or the password is wrong.")
            users = tuple(
                replace(each, password=password) if each.key == user.key else each for each in state.file.users
            )
            return self._with_session(replace(state.file, users=users), user, secret, client)

        record = self.store.change(change)
        self.audit.write("signed_in", user=user.name, session=record.id, address=client.address, way="password")
        return self._signed_in(user, secret)

    async def use_link(self, secret: str, client: Client) -> SignedIn:
        """Start a session by a link, which cannot be used again. Raises SignInFailedError, LoginUnavailableError."""
        digest = keys.secret_digest(secret[: keys.MAX_SECRET_CHARACTERS])
        if digest not in self.state.links:  # made up: not worth a look at the disk, nor a line of the audit log
            raise SignInFailedError("The link has been used already, or is too old.")
        return await asyncio.to_thread(self._use_link, digest, client)

    def _use_link(self, digest: str, client: Client) -> SignedIn:
        secret = keys.new_session()

        def change(state: LoginState) -> tuple[LoginFile, tuple[UserRecord, SessionRecord]]:
            found = state.links.get(digest)
            user = None if found is None else state.users.get(found.user)
            if found is None or user is None or user.is_disabled or found.expires_at <= self._clock():
                raise SignInFailedError("The link has been used already, or is too old.")
            left = replace(state.file, links=tuple(each for each in state.file.links if each.digest != digest))
            file, record = self._with_session(left, user, secret, client)
            return file, (user, record)

        try:
            user, record = self.store.change(change)
        except SignInFailedError:
            self.audit.write("link_refused", address=client.address)
            raise
        self.audit.write("signed_in", user=user.name, session=record.id, address=client.address, way="link")
        return self._signed_in(user, secret)

    def _with_session(
        self, file: LoginFile, user: UserRecord, secret: str, client: Client
    ) -> tuple[LoginFile, SessionRecord]:
        """Add a session. Those that are over are removed, and the one of the same browser before."""
        now = self._clock()
        before = keys.secret_digest(client.session) if client.session else ""
        kept = [s for s in file.sessions if self._is_current(s) and s.digest != before]
        own = sorted((s for s in kept if s.user == user.key), key=lambda s: max(s.used_at, self._used.get(s.id, 0)))
        dropped = {s.id for s in own[: max(0, len(own) - MAX_SESSIONS + 1)]}
        record = SessionRecord(
            keys.new_id(),
            user.key,
            keys.secret_digest(secret),
            now,
            now,
            now + LONGEST_MS,
            client.browser[:_MAX_CLIENT],
            client.address[:_MAX_CLIENT],
        )
        return replace(file, sessions=(*(s for s in kept if s.id not in dropped), record)), record

    def _signed_in(self, user: UserRecord, secret: str) -> SignedIn:
        device = keys.new_device(self.state.file.device_key, user.key)
        return SignedIn(secret, device, user.name, user.key, LONGEST_MS // 1000)

    # What a signed-in user does

    def sessions_of(self, key: str) -> list[SessionRecord]:
        """Return a user's sessions that are not over, the latest used first, with the times of their last use."""
        current = [s for s in self.state.file.sessions if s.user == key and self._is_current(s)]
        shown = [replace(s, used_at=max(s.used_at, self._used.get(s.id, 0))) for s in current]
        return sorted(shown, key=lambda s: s.used_at, reverse=True)

    def last_uses(self) -> dict[str, int]:
        """Return when each user was here last by a session that is not over, in ms, by the user's key."""
        found: dict[str, int] = {}
        for session in self.state.file.sessions:
            if self._is_current(session):
                used = max(session.used_at, self._used.get(session.id, 0))
                found[session.user] = max(found.get(session.user, 0), used)
        return found

    def end_sessions(self, key: str, session_id: str | None = None) -> int:
        """End a user's session, or all of them; return their number. Blocks.

        Raises LoginRecordNotFoundError if the user has no session of this id, LoginUnavailableError.
        """

        def change(state: LoginState) -> tuple[LoginFile, int]:
            left = tuple(
                s for s in state.file.sessions if s.user != key or (session_id is not None and s.id != session_id)
            )
            ended = len(state.file.sessions) - len(left)
            if session_id is not None and not ended:
                raise LoginRecordNotFoundError("There is no such session.", details={"id": session_id})
            return (replace(state.file, sessions=left) if ended else state.file), ended

        ended = self.store.change(change)
        self.audit.write("signed_out", user=key, session=session_id or "all")
        return ended

    async def change_password(self, identity: Identity, old: str, new: str, client: Client) -> int:
        """Set the signed-in user's password and end their other sessions; return how many were ended.

        The old one is asked for if there is one. Raises InvalidBodyError, SignInFailedError, TooManyAttemptsError,
        BusyError, PasswordCheckUnavailableError, LoginUnavailableError.
        """
        check_password(new)
        user = self.state.usable(identity.key)
        if user is None:
            raise LoginUnavailableError("The user has been removed.")
        if user.password and not await self.passwords.is_current(user, old):
            await asyncio.to_thread(self._record_failure, user.key, client)
            raise SignInFailedError("The current password is wrong.")
        encoded = await self.passwords.hasher.hash(new)
        accounts = self.accounts(by=user.name)
        keep = identity.credential if identity.kind == "session" else None
        return await asyncio.to_thread(accounts.set_password, user.name, encoded, keep)


def _with_implied(scopes: tuple[Scope, ...]) -> frozenset[Scope]:
    """Return scopes with those that they imply: every scope allows reading, and ``admin`` allows everything."""
    return ROLE_SCOPES["admin"] if "admin" in scopes else frozenset((*scopes, "read"))
