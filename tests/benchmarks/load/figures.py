"""What is printed of a run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from notes import Notes


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
    print("\n".join(everybodys[0].found) or "nothing is amiss")
