-- Ids that the server's own asset feature gave to files that are assets here. Pages send them in place of ours.
CREATE TABLE asset_aliases (
    alias     TEXT    NOT NULL PRIMARY KEY,             -- a UUID, canonical: lower case, with hyphens
    asset_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX asset_aliases_by_asset ON asset_aliases (asset_id);
