"""A child process that holds the write lock of a store: ``lock_child.py PATH SECONDS``; prints a line once it does.

With 0 seconds it empties the store's write-ahead log instead, so that the next write needs room on the disk.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing

PATIENCE_S = 30.0


def main(path: str, seconds: float) -> None:
    """Hold the lock, or empty the log."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as db:
        if seconds == 0:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        db.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        time.sleep(seconds)
        db.execute("ROLLBACK")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
