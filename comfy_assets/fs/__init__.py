"""File system primitives: atomic writes, partial files, and checks that a file still exists."""
