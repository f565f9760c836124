"""Fuzz the readers of files for longer than the tests do: ``python tests/fuzz_readers.py [NAME…] --seconds 300``.

Prints the number of files a reader has survived. A failure prints the sample and the damage; keep it as an
``@example`` of the test.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))
import conftest  # noqa: F401  loads the checkout as a package


def main() -> None:
    from support.hostile import fuzz
    from support.picture_files import SAMPLES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=sorted(SAMPLES), help=f"of {', '.join(sorted(SAMPLES))}")
    parser.add_argument("--seconds", type=float, default=300, help="of the processor, for each format")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name in options.names:
        random = Random(f"{options.seed} {name}")
        end = time.process_time() + options.seconds
        count = fuzz(f"x.{name}", SAMPLES[name], random, lambda end=end: time.process_time() > end)  # type: ignore[misc]
        left = iter(range(1000))
        tracemalloc.start()  # slows everything down, and so watches a part only
        fuzz(f"x.{name}", SAMPLES[name], random, lambda left=left: next(left, None) is None)  # type: ignore[misc]
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{name}: {count:,} files, {held >> 10:,} KiB held, {peak >> 10:,} KiB at most", flush=True)


if __name__ == "__main__":
    main()
