"""The full-text tables of search, made apart from migrations: a SQLite that lacks what they need still opens the store.

Synchronous: called once, in a thread, when the store is opened.
"""

from __future__ import annotations

import logging
import sqlite3

log = logging.getLogger("comfy_assets.db")

# Which names have which three characters in a row, and where, so that what is longer is found without a look at the
# names; words as the program makes them, each once an asset, apart by spaces, with what begins with any one or two
# characters looked up as fast as a word; and which words there are.
_TABLES = {
    "search_names": "fts5(name, content = '', columnsize = 0, tokenize = 'trigram case_sensitive 1')",
    "search_words": "fts5(words, content = '', columnsize = 0, detail = none, tokenize = 'ascii', prefix = '1 2')",
    "search_terms": "fts5vocab('search_words', 'instance')",
    "job_words": "fts5(words, content = '', columnsize = 0, detail = none, tokenize = 'ascii', prefix = '1 2')",
}


def make(conn: sqlite3.Connection) -> bool:
    """Make the tables unless they are there; answers whether this SQLite can use them, which needs 3.34 with FTS5."""
    try:
        # Where the tables were made by another SQLite, only their use shows that this one cannot.
        conn.execute("CREATE VIRTUAL TABLE temp.search_probe USING fts5(a, tokenize = 'trigram')")
        conn.execute("DROP TABLE temp.search_probe")
    except sqlite3.OperationalError as error:
        log.warning(
            "This Python's SQLite %s cannot search by words (%s); the rest works. SQLite 3.34 or newer with FTS5 can.",
            sqlite3.sqlite_version,
            error,
        )
        return False
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'job_words'").fetchone() is None:
        _make_all(conn)
    return True


def _make_all(conn: sqlite3.Connection) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for name, module in _TABLES.items():
            conn.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING {module}")
        conn.execute("COMMIT")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
