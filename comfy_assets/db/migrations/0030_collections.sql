-- Collections of users: assets in an order of their own. Times are milliseconds since 1970, UTC.
CREATE TABLE collections (
    id           INTEGER PRIMARY KEY,
    uuid         TEXT    NOT NULL UNIQUE,
    owner        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    name_key     TEXT    NOT NULL,            -- case-folded
    description  TEXT,
    cover_id     INTEGER REFERENCES assets(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    version      INTEGER NOT NULL DEFAULT 1,  -- grows with every change
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    deleted_at   INTEGER                      -- null, unless it is kept to be restored
);
CREATE UNIQUE INDEX collections_by_name ON collections (owner, name_key) WHERE deleted_at IS NULL;
CREATE INDEX collections_by_cover ON collections (cover_id) WHERE cover_id IS NOT NULL;

-- Deleted assets keep their places until the trash is emptied, so that they are in them again when restored. Positions
-- have gaps, in which others are put.
CREATE TABLE collection_members (
    collection_id  INTEGER NOT NULL REFERENCES collections(id) ON DELETE CASCADE,
    asset_id       INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    position       INTEGER NOT NULL,
    added_at       INTEGER NOT NULL,
    PRIMARY KEY (collection_id, asset_id)
) WITHOUT ROWID;
CREATE INDEX collection_members_by_position ON collection_members (collection_id, position);
CREATE INDEX collection_members_by_asset ON collection_members (asset_id);
