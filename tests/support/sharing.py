"""What Windows raises for a file that another program has open."""

from __future__ import annotations


class SharingViolation(PermissionError):
    """A refusal with the number of Windows; elsewhere exceptions have no such number."""

    def __init__(self, number: int = 32) -> None:
        super().__init__(13, "Sharing violation")
        self.winerror = number
