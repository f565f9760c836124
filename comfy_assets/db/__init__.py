"""SQLite: the one place where SQL is written."""
