"""What is printed of a run."""

from __future__ import annotations

import statistics

from notes import Notes


def print_figures(notes: Notes, seconds: float) -> None:
    """Throughput, p50 and p99 by kind of request, and the errors."""
    everything = [each for taken in notes.times.values() for each in taken]
    for kind, taken in [*sorted(notes.times.items()), ("all", everything)]:
        p99 = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
        print(f"{kind:18} {len(taken):7} requests {len(taken) / seconds:8.1f}/s", end="")
        print(f"   p50 {statistics.median(taken) * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms")
    print("errors:", dict(notes.errors) or "none")


def print_findings(notes: Notes) -> None:
    """What was audited, and what is amiss."""
    versions = sum(len(flow.versions) for flow in notes.flows) + len(notes.shared_versions) + len(notes.page_texts)
    print(f"audited: {len(notes.assets)} assets, {len(notes.jobs)} jobs,", end=" ")
    print(f"{len(notes.flows)} workflows of one client, {versions} texts")
    print("\n".join(notes.found) or "nothing is amiss")
