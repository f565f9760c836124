-- The time of a folder at its last complete listing. A file with another inode than recorded is another file if it came to
-- its folder after that; otherwise a remounted drive has numbered its files anew. Null: no listing since this migration.
ALTER TABLE folders ADD COLUMN mtime_ns INTEGER;
