"""Fuzz the readers of files: ``python tests/fuzz_readers.py [FORMAT…] --seconds 300 --work FOLDER``.

Each format runs in a process of its own, for seconds of processor time. With the package ``atheris`` (a wheel for some
versions of Python) the damage is guided by coverage: files that reach new code are damaged further. Without it the
damage is random. The folder gets the files that reached most, and under ``found`` those that broke a reader.

``--keep`` replaces the files in tests/seeds by the smallest set from the folder that reaches the same lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    import atheris
except ImportError:
    atheris = None

_PACKAGE = "comfy_assets_node.comfy_assets"
_FUZZED = [f"{_PACKAGE}.{name}" for name in ("assets.media", "search", "json_text", "json_limits")]
_SLOW = 0.5  # seconds of the processor for one small file
_MOST_FOUND = 20
_MAX_SEEDS = 6 << 10  # bytes of the kept files of a format
_MAX_FILE = 64 << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="formats; all by default")
    parser.add_argument("--seconds", type=float, default=300, help="of the processor, for each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="folder for the files of this and of later runs")
    parser.add_argument("--keep", action="store_true", help="only choose the files that tests/seeds keeps")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _Fuzzing(options.names[0], options.work, options.seconds, options.seed).run()
        return
    for name in options.names or _format_names():
        if options.keep:
            _keep(name, options.work / name)
            continue
        command = [sys.executable, __file__, name, "--child", "--work", str(options.work)]
        command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
        # A fault of a decoder in C ends only the process of its format.
        ended = subprocess.run(command, check=False).returncode
        if ended:
            print(f"{name}: the process ended with {ended}", flush=True)


def _format_names() -> tuple[str, ...]:
    import conftest  # noqa: F401  loads the checkout as a package
    from support.reader_samples import FORMAT_NAMES

    return FORMAT_NAMES


class _Fuzzing:
    """The run of one format. Faults are written to files and counted; the run goes on."""

    def __init__(self, name: str, work: Path, seconds: float, seed: int) -> None:
        with atheris.instrument_imports(include=_FUZZED) if atheris else nullcontext():
            import conftest  # noqa: F401  loads the checkout as a package
            from support import hostile, reader_samples

        self._hostile, self._name = hostile, name
        self._samples = reader_samples.samples()[name]
        self._corpus, self._found_in = work / name, work / "found"
        self._seconds, self._seed = seconds, seed
        self._start = time.process_time()
        self._slowest = 0.0
        self._files = 0
        self._found: dict[str, int] = {}

    def run(self) -> None:
        """Fuzz until the time is over, and print the result as a line of JSON."""
        self._corpus.mkdir(parents=True, exist_ok=True)
        self._found_in.mkdir(exist_ok=True)
        for sample in (*self._samples, *self._hostile.seeds(self._name)):
            self._write(self._corpus, sample.data)
        if atheris:
            arguments = [sys.argv[0], "-rss_limit_mb=0", f"-max_len={_MAX_FILE}", "-timeout=3600", "-verbosity=0"]
            arguments += [f"-seed={self._seed}", "-len_control=0", str(self._corpus)]
            atheris.Setup(arguments, self._read_guided, custom_mutator=self._mutated)
            atheris.Fuzz()
        random = Random(f"{self._seed} {self._name}")
        while not self._is_over():
            sample = random.choice(self._samples)
            self._read(sample.name, self._hostile.damaged(sample.data, self._hostile.random_damage(random)))
        self._report()

    def _is_over(self) -> bool:
        return time.process_time() - self._start > self._seconds

    def _read_guided(self, data: bytes) -> None:
        # One name for all: the content decides, but for formats that only the suffix tells.
        self._read(self._samples[-1].name, data)
        if self._is_over():
            self._report()
            os._exit(0)  # libFuzzer has no limit of processor time

    def _mutated(self, data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return atheris.Mutate(data, most)
        return self._hostile.damaged(data or b"\0", self._hostile.random_damage(random))[:most]

    def _read(self, name: str, data: bytes) -> None:
        start = time.thread_time()
        self._files += 1
        try:
            self._hostile.read_hostile(name, data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self._add(error, data)
        taken = time.thread_time() - start
        self._slowest = max(self._slowest, taken)
        if taken > _SLOW:
            self._add(TimeoutError(f"{taken:.2f} s"), data)

    def _add(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(each.filename).name}:{each.lineno}" for each in frames][-2:]
        kind = f"{type(error).__name__} {' '.join(places)} {str(error)[:80]}"
        self._found[kind] = self._found.get(kind, 0) + 1
        if self._found[kind] == 1 and len(self._found) <= _MOST_FOUND:
            path = self._write(self._found_in, data)
            print(f"{self._name}: {kind}: {path}", flush=True)

    def _write(self, folder: Path, data: bytes) -> Path:
        path = folder / f"{self._name}-{hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]}"
        path.write_bytes(data)
        return path

    def _report(self) -> None:
        result = {
            "format": self._name,
            "is_guided": bool(atheris),
            "files": self._files,
            "seconds": round(time.process_time() - self._start),
            "slowest_ms": round(self._slowest * 1000),
            "found": self._found,
            "corpus": len(list(self._corpus.iterdir())),
        }
        print(json.dumps(result), flush=True)


def _keep(name: str, folder: Path) -> None:
    """Keep the files that reach the most lines for their size, those of ``broken`` before all others."""
    import conftest  # noqa: F401  loads the checkout as a package
    from support import hostile
    from support.reader_samples import Sample, samples

    suffix = samples()[name][-1].name
    kept = [each for each in hostile.seeds(name) if each.name.startswith("broken")]
    reached: set[Any] = set()
    for each in (*samples()[name], *kept):
        reached |= _lines(lambda each=each: hostile.read_hostile(each.name, each.data))  # type: ignore[misc]
    files = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()] if folder.exists() else []
    lines = {data: _lines(lambda data=data: hostile.read_hostile(suffix, data)) for data in files}  # type: ignore[misc]
    room = _MAX_SEEDS
    for data in _cover(lines, reached):
        if len(data) <= room:
            room -= len(data)
            kept.append(Sample(suffix, data))
    hostile.keep_seeds(name, kept)
    print(f"{name}: {len(kept)} files, {_MAX_SEEDS - room} bytes", flush=True)


def _cover(lines: dict[bytes, set[Any]], reached: set[Any]) -> Iterable[bytes]:
    """Yield files until all lines are reached, each time the one that reaches most new ones for its size."""
    while lines:
        data = max(lines, key=lambda each: (len(lines[each] - reached) / (len(each) + 200), each))
        if not lines[data] - reached:
            return
        reached |= lines.pop(data)
        yield data


def _lines(call: Callable[[], object]) -> set[Any]:
    """Return the steps from line to line that a call takes in the package; none if it fails."""
    reached: set[Any] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if "comfy_assets" not in frame.f_code.co_filename or "/tests/" in frame.f_code.co_filename:
            return None
        former = [0]

        def step(inner: FrameType, _event: str, _value: Any) -> Any:
            reached.add((inner.f_code.co_filename, former[0], inner.f_lineno))
            former[0] = inner.f_lineno
            return step

        return step

    sys.settrace(trace)
    try:
        call()
    except BaseException:
        return set()
    finally:
        sys.settrace(None)
    return reached


if __name__ == "__main__":
    main()
