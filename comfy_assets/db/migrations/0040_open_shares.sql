-- Shares that are read without signing in, by whoever knows their id.
ALTER TABLE shares ADD COLUMN is_open INTEGER NOT NULL DEFAULT 0;
