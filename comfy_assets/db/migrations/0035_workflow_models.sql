-- The name by which a workflow version names an asset, as its text has it: it finds the file again after a move.
ALTER TABLE asset_uses ADD COLUMN named TEXT;

-- Contents that a workflow is known to need by their hashes, from the bundle that it was imported from.
CREATE TABLE workflow_contents (
    workflow_id  INTEGER NOT NULL REFERENCES workflows(id) ON DELETE CASCADE,
    path         TEXT    NOT NULL,                      -- the name that loaders use, with forward slashes
    category     TEXT    NOT NULL,                      -- of a model; "" for other files
    hash         BLOB    NOT NULL,                      -- blake3, 32 bytes
    size         INTEGER NOT NULL,                      -- bytes
    PRIMARY KEY (workflow_id, path, category)
) WITHOUT ROWID;
