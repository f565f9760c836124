"""Keys of users for the servers of providers, in a file that only the server's user can read or in the system keyring.

Values are write-only: they are sent to their provider, and never returned or logged.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from filelock import FileLock, Timeout

from ..errors import (
    DuplicateProviderError,
    DuplicateSecretNameError,
    InvalidBodyError,
    InvalidProviderError,
    SecretNotFoundError,
    StorageError,
)
from ..fs import shared_files
from ..fs.atomic import make_private, replace_private
from ..host.execution import in_daemon_thread
from ..host.remote_client import RemoteKey, origin_of
from ..ids import now_ms
from .sources import CIVITAI, HUGGING_FACE, ProviderUrls

log = logging.getLogger("comfy_assets.downloads")

T = TypeVar("T")

PROVIDER_LABELS = {HUGGING_FACE: "Hugging Face", CIVITAI: "Civitai"}
MAX_SECRET_NAME = 255
MAX_SECRET_VALUE = 4096
_FILE_NAME = "secrets.json"
_SERVICE = "comfy-assets"
_LOCK_S = 10.0
_KEYRING_S = 10.0  # a locked keyring may ask its user, whom a server does not have
_USED_EVERY_MS = 60 * 60 * 1000  # the file is not written for every request that uses a key


class SecretRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stored key. ``value`` is empty while the system keyring has it."""

    id: str
    owner: str
    name: str
    provider: str
    created_at: int
    updated_at: int
    last_used_at: int | None = None
    value: str = ""

    def __repr__(self) -> str:
        return f"SecretRecord({self.id!r}, {self.provider!r})"


class _SecretFile(msgspec.Struct):
    secrets: list[SecretRecord] = []


class Keyring(Protocol):
    """A store for passwords; the interface of the package ``keyring``."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return a password, or None."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store a password."""

    def delete_password(self, service: str, username: str) -> None:
        """Remove a password."""


def system_keyring() -> Keyring | None:
    """Return the system's keyring if the package is installed and has a backend that stores passwords."""
    try:
        backend: Keyring = importlib.import_module("keyring").get_keyring()
        priority = float(getattr(backend, "priority", 0))
    except Exception as error:  # noqa: BLE001 - code of the package and its backends
        if not isinstance(error, ImportError):
            log.warning("The system keyring cannot be used, keys are kept in a file: %s", type(error).__name__)
        return None
    return backend if priority > 0 else None


class SecretService:
    """The keys of users. Each user has at most one for a provider."""

    def __init__(
        self,
        folder: Path,
        providers: ProviderUrls,
        find_keyring: Callable[[], Keyring | None] = system_keyring,
    ) -> None:
        self._path = folder / _FILE_NAME
        self._providers = providers
        self._find_keyring = find_keyring
        self._keyring: Keyring | None = None
        self._keyring_is_known = False
        self._lock = threading.Lock()

    async def list(self, owner: str) -> list[SecretRecord]:
        """Return a user's keys, oldest first. Raises StorageError."""
        return await asyncio.to_thread(lambda: [each for each in self._read().secrets if each.owner == owner])

    async def get(self, secret_id: str, owner: str) -> SecretRecord:
        """Return a key. Raises SecretNotFoundError, StorageError."""
        found = next((each for each in await self.list(owner) if each.id == secret_id), None)
        if found is None:
            raise SecretNotFoundError("There is no such key.", details={"id": secret_id})
        return found

    async def create(self, owner: str, name: str, provider: str | None, value: str) -> SecretRecord:
        """Store a key.

        Raises InvalidProviderError, InvalidBodyError, DuplicateSecretNameError, DuplicateProviderError, StorageError.
        """
        if provider not in PROVIDER_LABELS:
            raise InvalidProviderError(
                "Keys are used for Hugging Face and Civitai.",
                details={"field": "provider", "providers": sorted(PROVIDER_LABELS)},
            )
        now = now_ms()
        record = SecretRecord(str(uuid.uuid4()), owner, _checked_name(name), provider, now, now)
        record = await self._with_value(record, _checked_value(value))

        def add(file: _SecretFile) -> None:
            _check_distinct(record, file.secrets)
            file.secrets.append(record)

        try:
            await self._change(add)
        except BaseException:
            await self._drop_from_keyring(record)
            raise
        return record

    async def update(self, secret_id: str, owner: str, name: str | None, value: str | None) -> SecretRecord:
        """Change the name or the value of a key.

        Raises SecretNotFoundError, InvalidBodyError, DuplicateSecretNameError, StorageError.
        """
        old = await self.get(secret_id, owner)
        new = old if name is None else msgspec.structs.replace(old, name=_checked_name(name))
        # Checked before the keyring is changed, which a refused request must not do.
        _check_distinct(new, [each for each in await self.list(owner) if each.id != secret_id])
        if value is not None:
            new = await self._with_value(new, _checked_value(value))
        new = msgspec.structs.replace(new, updated_at=now_ms())

        def put(file: _SecretFile) -> None:
            index = next((i for i, each in enumerate(file.secrets) if each.id == secret_id), None)
            if index is None:
                raise SecretNotFoundError("There is no such key.", details={"id": secret_id})
            _check_distinct(new, [each for each in file.secrets if each.id != secret_id])
            file.secrets[index] = new

        await self._change(put)
        return new

    async def delete(self, secret_id: str, owner: str) -> None:
        """Remove a key. Raises SecretNotFoundError, StorageError."""
        record = await self.get(secret_id, owner)

        def remove(file: _SecretFile) -> None:
            file.secrets = [each for each in file.secrets if each.id != secret_id]

        await self._change(remove)
        await self._drop_from_keyring(record)

    async def key(self, owner: str, provider: str) -> RemoteKey | None:
        """Return a user's key for a provider, or None; the provider "" has none. Raises StorageError."""
        if not provider:
            return None
        record = next((each for each in await self.list(owner) if each.provider == provider), None)
        if record is None:
            return None
        value = record.value or await self._from_keyring(record)
        await self._mark_used(record)
        return RemoteKey(provider, origin_of(self._providers.of(provider)), value)

    async def _mark_used(self, record: SecretRecord) -> None:
        now = now_ms()
        if record.last_used_at is not None and now - record.last_used_at < _USED_EVERY_MS:
            return

        def mark(file: _SecretFile) -> None:
            file.secrets = [
                msgspec.structs.replace(each, last_used_at=now) if each.id == record.id else each
                for each in file.secrets
            ]

        await self._change(mark)

    async def _change(self, change: Callable[[_SecretFile], None]) -> None:
        await asyncio.to_thread(self._change_now, change)

    def _change_now(self, change: Callable[[_SecretFile], None]) -> None:
        """Read, change and replace the file, one server at a time. Blocks."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_S):
                file = self._read()
                change(file)
                replace_private(self._path, msgspec.json.encode(file))
        except (OSError, Timeout) as error:
            raise StorageError(f"The keys cannot be stored: {type(error).__name__}.") from error

    def _read(self) -> _SecretFile:
        try:
            content = shared_files.read_shared(self._path)
            make_private(self._path)
        except FileNotFoundError:
            return _SecretFile()
        except OSError as error:
            raise StorageError(f"The keys cannot be read: {error.strerror or type(error).__name__}.") from error
        try:
            return msgspec.json.decode(content, type=_SecretFile)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # The cause is dropped, as it may quote the file. The file stays: overwriting it would lose the keys.
            raise StorageError(f"The file of keys is damaged: repair or remove {self._path.name}.") from None

    async def _with_value(self, record: SecretRecord, value: str) -> SecretRecord:
        """Return the record with its value, which is in the keyring if there is one."""
        keyring = await self._usable_keyring()
        if keyring is not None:
            try:
                await self._ask(lambda: keyring.set_password(_SERVICE, record.id, value))
            except _KeyringError as error:
                log.warning("The system keyring did not take a key, which is kept in a file: %s", error)
            else:
                return msgspec.structs.replace(record, value="")
        return msgspec.structs.replace(record, value=value)

    async def _from_keyring(self, record: SecretRecord) -> str:
        keyring = await self._usable_keyring()
        value: str | None = None
        if keyring is not None:
            with suppress(_KeyringError):  # the error below says what to do
                value = await self._ask(lambda: keyring.get_password(_SERVICE, record.id))
        if not value:
            raise StorageError("The system keyring does not have the key any more: enter it again.")
        return value

    async def _drop_from_keyring(self, record: SecretRecord) -> None:
        keyring = None if record.value else await self._usable_keyring()
        if keyring is not None:
            try:
                await self._ask(lambda: keyring.delete_password(_SERVICE, record.id))
            except _KeyringError as error:
                log.warning("A key could not be removed from the system keyring: %s", error)

    async def _usable_keyring(self) -> Keyring | None:
        if not self._keyring_is_known:
            try:
                self._keyring = await self._ask(self._find_keyring)
            except _KeyringError as error:
                log.warning("The system keyring cannot be used, keys are kept in a file: %s", error)
            self._keyring_is_known = True
        return self._keyring

    async def _ask(self, call: Callable[[], T]) -> T:
        """Call the keyring, whose backends may wait for somebody to unlock it. Raises _KeyringError."""

        def ask_keyring() -> T:
            return call()

        try:
            return await asyncio.wait_for(in_daemon_thread(ask_keyring), _KEYRING_S)
        except asyncio.TimeoutError:
            raise _KeyringError("it does not respond") from None
        except Exception as error:  # noqa: BLE001 - code of the package and its backends; its text may quote the key
            raise _KeyringError(type(error).__name__) from None


class _KeyringError(Exception):
    """The keyring failed; the message gives the reason without any value."""


def _checked_name(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= MAX_SECRET_NAME or not stripped.isprintable():
        raise InvalidBodyError(
            f"A key's name has 1 to {MAX_SECRET_NAME} printable characters.", details={"field": "name"}
        )
    return stripped


def _checked_value(value: str) -> str:
    """Return a key as it is sent in a header. Raises InvalidBodyError, without the value."""
    stripped = value.strip()
    is_plain = stripped.isascii() and stripped.isprintable() and " " not in stripped
    if not 0 < len(stripped) <= MAX_SECRET_VALUE or not is_plain:
        raise InvalidBodyError(
            f"A key has 1 to {MAX_SECRET_VALUE} ASCII characters, without spaces or line breaks.",
            details={"field": "secret_value"},
        )
    return stripped


def _check_distinct(record: SecretRecord, others: list[SecretRecord]) -> None:
    own = [each for each in others if each.owner == record.owner]
    if any(each.provider == record.provider for each in own):
        raise DuplicateProviderError(
            "There is a key for this provider already: change that one.", details={"field": "provider"}
        )
    if any(each.name == record.name for each in own):
        raise DuplicateSecretNameError("There is a key of this name already.", details={"field": "name"})
