"""What is printed of a run."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from notes import Notes

SHOWN = 3
ALIKE = 100  # characters: findings that begin equally, but for ids and numbers, are alike
VARYING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9.]+")


def print_figures(notes: Notes, seconds: float) -> None:
    """Throughput, p50 and p99 by kind of request, and the errors."""
    everything = [each for taken in notes.times.values() for each in taken]
    for kind, taken in [*sorted(notes.times.items()), ("all", everything)]:
        p99 = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
        print(f"{kind:18} {len(taken):7} requests {len(taken) / seconds:8.1f}/s", end="")
        print(f"   p50 {statistics.median(taken) * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms")
    print("errors:", dict(notes.errors) or "none")


def print_interrupts(notes: Notes, limit_s: float) -> None:
    """Print how long interrupts took to be answered, whatever happened to the store."""
    taken = sorted(notes.interrupts)
    if taken:
        late = sum(each > limit_s for each in taken)
        print(f"interrupts: {len(taken)}, p50 {statistics.median(taken) * 1000:.0f} ms,", end=" ")
        print(f"longest {taken[-1] * 1000:.0f} ms, {late} above {limit_s:g} s")


def print_findings(everybodys: Sequence[Notes]) -> None:
    """What was audited, and what is amiss."""
    for notes in everybodys:
        versions = sum(len(flow.versions) for flow in notes.flows) + len(notes.shared_versions) + len(notes.page_texts)
        print(f"audited: {len(notes.assets)} assets, {len(notes.jobs)} jobs,", end=" ")
        print(f"{len(notes.flows)} workflows of one client, {versions} texts, {notes.messages} messages")
    alike: dict[str, list[str]] = {}
    for what in everybodys[0].found:
        alike.setdefault(VARYING.sub("…", what[:ALIKE]), []).append(what)
    for each in alike.values():
        print("\n".join(each[:SHOWN]))
        if len(each) > SHOWN:
            print(f"… and {len(each) - SHOWN} more like it")
    if not alike:
        print("nothing is amiss")
