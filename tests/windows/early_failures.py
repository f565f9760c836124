"""A pytest plugin that prints each failure at once, as a process under Wine may end before pytest prints them all."""

from __future__ import annotations

import os

import pytest

# Tests' own output is captured; this stays the process's. Lines of pytest itself, on the other stream, are not split.
_errors = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        output = report.capstdout + report.capstderr
        _errors.write(f"\n--- {report.nodeid}, {report.when}\n{report.longreprtext}\n{output}\n")
