"""Indexing: walk the folders, compare them with the database and record the differences."""
