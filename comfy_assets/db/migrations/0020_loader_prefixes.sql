-- Where folders of several categories overlap, loaders of each have another name for the same file: a JSON object of the
-- prefixes by category; null where all have `loader_prefix`.
ALTER TABLE folders ADD COLUMN loader_prefixes TEXT;
CREATE INDEX folders_with_loader_prefixes ON folders (id) WHERE loader_prefixes IS NOT NULL;
