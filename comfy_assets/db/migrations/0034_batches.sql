-- Changes of many assets at once, each with what it takes to undo it.
CREATE TABLE asset_batches (
    id          INTEGER PRIMARY KEY,
    uuid        TEXT    NOT NULL UNIQUE,
    owner       TEXT    NOT NULL,               -- who made it, and alone can undo it
    action      TEXT    NOT NULL,
    parameters  TEXT    NOT NULL,               -- JSON object
    aspects     TEXT    NOT NULL,               -- JSON array: what it changes of assets, such as "rating"
    state       INTEGER NOT NULL DEFAULT 0,     -- 0 made, 1 undo begun, 2 undone
    changed     INTEGER NOT NULL DEFAULT 0,     -- assets that it changed
    created_at  INTEGER NOT NULL                -- ms since 1970, UTC
);
CREATE INDEX asset_batches_by_owner ON asset_batches (owner, id);

-- What an asset had before the batch changed it. The row goes when that is restored.
CREATE TABLE asset_batch_items (
    batch_id  INTEGER NOT NULL REFERENCES asset_batches(id) ON DELETE CASCADE,
    asset_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE,
    former    TEXT    NOT NULL,                 -- JSON, which the action alone reads
    PRIMARY KEY (batch_id, asset_id)
) WITHOUT ROWID;
CREATE INDEX asset_batch_items_by_asset ON asset_batch_items (asset_id);
