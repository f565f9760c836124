-- Shares: workflows that were published, each as it was then, with the assets that were named.

-- One for each workflow: publishing again puts the newest snapshot in the place of the one before, under the same id.
CREATE TABLE shares (
    id            INTEGER PRIMARY KEY,
    share_id      TEXT    NOT NULL UNIQUE,              -- whoever knows it may read the share
    workflow_id   INTEGER NOT NULL UNIQUE REFERENCES workflows(id) ON DELETE CASCADE,
    version       INTEGER NOT NULL,
    document_id   INTEGER NOT NULL REFERENCES documents(id),
    name          TEXT    NOT NULL,                     -- the workflow's, then
    published_at  INTEGER NOT NULL                      -- ms since 1970, UTC
);
-- Documents that nothing refers to any more are found by this.
CREATE INDEX shares_by_document ON shares (document_id);

-- Its assets, as they were. The asset itself is kept by asset_uses: kind share, or deleted_share while the workflow is
-- deleted, which keeps no asset.
CREATE TABLE shared_assets (
    id         INTEGER PRIMARY KEY,
    uuid       TEXT    NOT NULL UNIQUE,                 -- another one each time it is published
    share_id   INTEGER NOT NULL REFERENCES shares(id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL,                        -- blake3, 32 bytes
    name       TEXT    NOT NULL,
    size       INTEGER NOT NULL,                        -- bytes
    mime_type  TEXT    NOT NULL,
    kind       TEXT    NOT NULL,                        -- models, input, output or temp
    category   TEXT,                                    -- of models, as far as it was in one
    path       TEXT    NOT NULL                         -- in the category's folder, or else in that of the kind
);
CREATE INDEX shared_assets_by_share ON shared_assets (share_id);
