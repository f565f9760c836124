"""Maintenance that a user starts: find duplicates, link them, verify content hashes."""
