-- What Comfy API v2 keeps beside assets and jobs. Times are milliseconds since 1970, UTC.

-- Assets that are deleted at a time that a client has chosen.
CREATE TABLE asset_expirations (
    asset_id    INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE,
    expires_at  INTEGER NOT NULL,
    due         INTEGER NOT NULL            -- when to look at it next: later than expires_at if it was in use then
);
CREATE INDEX asset_expirations_by_due ON asset_expirations (due);

-- Keys of requests that must not be executed twice.
CREATE TABLE idempotency_keys (
    owner       TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    claimed_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, operation, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (claimed_at);

-- Whether the file of a deleted asset stayed in its place only because other assets needed its content.
ALTER TABLE trash ADD COLUMN kept_for_others INTEGER NOT NULL DEFAULT 0;
