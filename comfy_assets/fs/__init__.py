"""File system primitives: long paths, atomic writes, partial files, and comparison of a file with its record."""
