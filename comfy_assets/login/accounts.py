"""Users, tokens and links, as the commands and signed-in users change them.

All methods block: they read, change and replace the file of the login.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..errors import InvalidBodyError, LoginConflictError, LoginRecordNotFoundError
from ..ids import now_ms
from . import keys
from .store import (
    ROLE_SCOPES,
    AuditLog,
    LinkRecord,
    LoginFile,
    LoginState,
    LoginStore,
    Role,
    Scope,
    TokenRecord,
    UserRecord,
    checked_name,
    name_key,
    sorted_scopes,
)

MAX_USERS = 1000
MAX_TOKENS = 100  # of a user
MAX_LINKS = 100
LINK_MS = 15 * 60_000
FIRST_LINK_MS = 60 * 60_000
FIRST_ADMIN = "admin"


class Accounts:
    """The users of a login with their tokens and links. ``by`` says in the audit log who makes a change."""

    def __init__(self, store: LoginStore, audit: AuditLog, clock: Callable[[], int] = now_ms, by: str = "") -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._by = by

    def set_enabled(self, enabled: bool) -> bool:
        """Turn the login on or off; return whether that changed it. Raises LoginUnavailableError."""

        def change(state: LoginState) -> tuple[LoginFile, bool]:
            if state.file.is_enabled == enabled:
                return state.file, False
            return replace(state.file, is_enabled=enabled), True

        changed = self._store.change(change)
        if changed:
            self._audit.write("login_enabled" if enabled else "login_disabled", by=self._by)
        return changed

    def add_user(self, name: str, role: Role, password: str = "") -> UserRecord:
        """Add a user with the hash of a password, or without one.

        Raises InvalidNameError, LoginConflictError, LoginUnavailableError.
        """
        name = checked_name(name)
        user = UserRecord(name_key(name), name, role, self._clock(), password)

        def change(state: LoginState) -> tuple[LoginFile, None]:
            if user.key in state.users:
                raise LoginConflictError("There is a user of this name already.", details={"field": "name"})
            if len(state.users) >= MAX_USERS:
                raise LoginConflictError(f"There can be at most {MAX_USERS:,} users.", details={"max": MAX_USERS})
            return replace(state.file, users=(*state.file.users, user)), None

        self._store.change(change)
        self._audit.write("user_added", user=name, role=role, by=self._by)
        return user

    def set_password(self, name: str, password: str, keep_session: str | None = None) -> int:
        """Store the hash of a user's new password and end their sessions but one; return how many were ended.

        Raises LoginRecordNotFoundError, LoginUnavailableError.
        """

        def change(state: LoginState) -> tuple[LoginFile, tuple[str, int]]:
            user = _user(state, name)
            kept = tuple(s for s in state.file.sessions if s.user != user.key or s.id == keep_session)
            links = tuple(each for each in state.file.links if each.user != user.key)
            file = replace(_with_user(state.file, replace(user, password=password)), sessions=kept, links=links)
            return file, (user.name, len(state.file.sessions) - len(kept))

        user, ended = self._store.change(change)
        self._audit.write("password_changed", user=user, by=self._by)
        return ended

    def set_disabled(self, name: str, disabled: bool) -> bool:
        """Disable a user, which ends their sessions, or enable them again; return whether that changed them.

        Their tokens stay, but are refused while the user is disabled. Raises LoginRecordNotFoundError,
        LoginConflictError for the last administrator, LoginUnavailableError.
        """

        def change(state: LoginState) -> tuple[LoginFile, UserRecord | None]:
            user = _user(state, name)
            if user.is_disabled == disabled:
                return state.file, None
            if disabled:
                _keep_an_administrator(state, user)
            file = _with_user(state.file, replace(user, is_disabled=disabled))
            return (_without_sign_ins(file, user.key) if disabled else file), user

        changed = self._store.change(change)
        if changed is not None:
            self._audit.write("user_disabled" if disabled else "user_enabled", user=changed.name, by=self._by)
        return changed is not None

    def change_user(
        self,
        name: str,
        *,
        role: Role | None = None,
        is_disabled: bool | None = None,
        password: str | None = None,
        max_jobs: int | UnsetType | None = UNSET,
        max_bytes: int | UnsetType | None = UNSET,
    ) -> UserRecord:
        """Change the given properties of a user, all or none; ``password`` is the hash of one. Return the user.

        A quota is None for that of the settings, or ``UNLIMITED``. Disabling a user and a new password end their
        sessions. Raises LoginRecordNotFoundError, LoginConflictError for
        the last administrator, LoginUnavailableError.
        """

        def change(state: LoginState) -> tuple[LoginFile, tuple[UserRecord, UserRecord]]:
            user = _user(state, name)
            new = replace(
                user,
                role=user.role if role is None else role,
                is_disabled=user.is_disabled if is_disabled is None else is_disabled,
                password=user.password if password is None else password,
                max_jobs=user.max_jobs if max_jobs is UNSET else max_jobs,
                max_bytes=user.max_bytes if max_bytes is UNSET else max_bytes,
            )
            if new == user:
                return state.file, (user, user)
            if not _administrators([new]):
                _keep_an_administrator(state, user)
            file = _with_user(state.file, new)
            ends_sessions = new.is_disabled or new.password != user.password
            return (_without_sign_ins(file, user.key) if ends_sessions else file), (user, new)

        before, user = self._store.change(change)
        if user.role != before.role:
            self._audit.write("role_changed", user=user.name, role=user.role, by=self._by)
        if user.is_disabled != before.is_disabled:
            self._audit.write("user_disabled" if user.is_disabled else "user_enabled", user=user.name, by=self._by)
        if user.password != before.password:
            self._audit.write("password_changed", user=user.name, by=self._by)
        if (user.max_jobs, user.max_bytes) != (before.max_jobs, before.max_bytes):
            self._audit.write("quota_changed", user=user.name, jobs=user.max_jobs, bytes=user.max_bytes, by=self._by)
        return user

    def remove_user(self, name: str) -> UserRecord:
        """Remove a user with their sessions and tokens. Their jobs and files stay.

        Raises LoginRecordNotFoundError, LoginConflictError for the last administrator, LoginUnavailableError.
        """

        def change(state: LoginState) -> tuple[LoginFile, UserRecord]:
            user = _user(state, name)
            _keep_an_administrator(state, user)
            file = replace(
                _without_sign_ins(state.file, user.key),
                users=tuple(each for each in state.file.users if each.key != user.key),
                tokens=tuple(each for each in state.file.tokens if each.user != user.key),
            )
            return file, user

        user = self._store.change(change)
        self._audit.write("user_removed", user=user.name, by=self._by)
        return user

    def create_token(
        self, user_name: str, name: str, scopes: Collection[Scope], expires_at: int | None = None
    ) -> tuple[TokenRecord, str]:
        """Create a token; return its record, and its text, which is not stored.

        Raises InvalidNameError, InvalidBodyError, LoginRecordNotFoundError, LoginConflictError, LoginUnavailableError.
        """
        name, now, new = checked_name(name), self._clock(), keys.new_token()
        if expires_at is not None and expires_at <= now:
            raise InvalidBodyError("The token would have expired already.", details={"field": "expires_at"})

        def change(state: LoginState) -> tuple[LoginFile, tuple[TokenRecord, str]]:
            user = _user(state, user_name)
            _check_scopes(user, scopes)
            kept = tuple(each for each in state.file.tokens if not _is_over(each.expires_at, now))
            if sum(each.user == user.key for each in kept) >= MAX_TOKENS:
                raise LoginConflictError(f"A user can have at most {MAX_TOKENS} tokens.", details={"max": MAX_TOKENS})
            chosen = sorted_scopes(scopes)
            record = TokenRecord(
                keys.new_id(), user.key, name, new.lookup, new.salt, new.digest, chosen, now, expires_at
            )
            return replace(state.file, tokens=(*kept, record)), (record, user.name)

        record, owner = self._store.change(change)
        self._audit.write("token_created", user=owner, token=record.id, scopes=" ".join(record.scopes), by=self._by)
        return record, new.text

    def revoke_token(self, token_id: str, user_name: str | None = None) -> TokenRecord:
        """Remove a token by its id, of one user or of any. Raises LoginRecordNotFoundError, LoginUnavailableError."""
        owner = None if user_name is None else name_key(user_name)

        def change(state: LoginState) -> tuple[LoginFile, TokenRecord]:
            found = [t for t in state.file.tokens if t.id == token_id and (owner is None or t.user == owner)]
            if not found:
                raise LoginRecordNotFoundError("There is no such token.", details={"id": token_id})
            return replace(state.file, tokens=tuple(t for t in state.file.tokens if t.id != token_id)), found[0]

        record = self._store.change(change)
        self._audit.write("token_revoked", user=record.user, token=record.id, by=self._by)
        return record

    def new_link(self, user_name: str, lasts_ms: int = LINK_MS) -> str:
        """Return the secret of a link that signs a user in once.

        Raises LoginRecordNotFoundError, LoginConflictError, LoginUnavailableError.
        """
        secret, now = keys.new_link(), self._clock()

        def change(state: LoginState) -> tuple[LoginFile, str]:
            user = _user(state, user_name)
            return _with_link(state.file, user, secret, now, lasts_ms), user.name

        user = self._store.change(change)
        self._audit.write("link_created", user=user, by=self._by)
        return secret

    def first_link(self, can_check: Callable[[str], bool] = bool) -> tuple[str, str] | None:
        """Return an administrator's name and the secret of a link for them, None if one can sign in with a password.

        ``can_check`` is told the hash of a password, "" without one, and returns whether the server can verify it.
        Without an administrator one is added. The link lasts an hour. Raises LoginUnavailableError.
        """
        secret, now = keys.new_link(), self._clock()

        def change(state: LoginState) -> tuple[LoginFile, str | None]:
            admins = _administrators(state.file.users)
            if any(can_check(each.password) for each in admins):
                return state.file, None
            file = state.file
            if admins:
                user = admins[0]
            else:
                name = _free_name(state)
                user = UserRecord(name_key(name), name, "admin", now)
                file = replace(file, users=(*file.users, user))
            return _with_link(file, user, secret, now, FIRST_LINK_MS), user.name

        user = self._store.change(change)
        if user is None:
            return None
        self._audit.write("link_created", user=user, by="start")
        return user, secret


def _user(state: LoginState, name: str) -> UserRecord:
    user = state.users.get(name_key(name))
    if user is None:
        raise LoginRecordNotFoundError("There is no user of this name.", details={"field": "name"})
    return user


def _with_user(file: LoginFile, user: UserRecord) -> LoginFile:
    return replace(file, users=tuple(user if each.key == user.key else each for each in file.users))


def _without_sign_ins(file: LoginFile, key: str) -> LoginFile:
    return replace(
        file,
        sessions=tuple(each for each in file.sessions if each.user != key),
        links=tuple(each for each in file.links if each.user != key),
    )


def _with_link(file: LoginFile, user: UserRecord, secret: str, now: int, lasts_ms: int) -> LoginFile:
    """Add a link. Those that have expired, and the oldest above the limit, are removed."""
    kept = [each for each in file.links if each.expires_at > now][-(MAX_LINKS - 1) :]
    return replace(file, links=(*kept, LinkRecord(user.key, keys.secret_digest(secret), now + lasts_ms)))


def _administrators(users: Iterable[UserRecord]) -> list[UserRecord]:
    return [each for each in users if each.role == "admin" and not each.is_disabled]


def _keep_an_administrator(state: LoginState, user: UserRecord) -> None:
    if state.file.is_enabled and _administrators(state.file.users) == [user]:
        raise LoginConflictError("This is the last administrator: add another one first, or turn the login off.")


def _free_name(state: LoginState) -> str:
    names = (FIRST_ADMIN, *(f"{FIRST_ADMIN}{number}" for number in range(2, MAX_USERS + 3)))
    return next(name for name in names if name_key(name) not in state.users)


def _check_scopes(user: UserRecord, scopes: Collection[Scope]) -> None:
    allowed = ROLE_SCOPES[user.role]
    if not scopes or not allowed.issuperset(scopes):
        raise InvalidBodyError(
            f"A token of this user has one or more of the scopes {', '.join(sorted_scopes(allowed))}.",
            details={"field": "scopes"},
        )


def _is_over(expires_at: int | None, now: int) -> bool:
    return expires_at is not None and expires_at <= now
