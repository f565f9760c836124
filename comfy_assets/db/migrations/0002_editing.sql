-- What users do to assets: upload, refer to content, delete and restore.

-- Deleted assets keep their rows, so that scans go on knowing their files; they point to hidden tag sets, which no
-- listing, count or histogram sees. SQLite cannot change a table's uniqueness: the table is made anew.
DROP TRIGGER assets_count_insert;
DROP TRIGGER assets_count_delete;
DROP TRIGGER assets_count_update;
CREATE TABLE tag_sets_with_hidden (
    id           INTEGER PRIMARY KEY,
    owner        TEXT    NOT NULL DEFAULT '',   -- '' is public
    tags         TEXT    NOT NULL,              -- JSON array in canonical order
    asset_count  INTEGER NOT NULL DEFAULT 0,
    hidden       INTEGER NOT NULL DEFAULT 0,    -- 1: of deleted assets
    UNIQUE (owner, tags, hidden)
);
INSERT INTO tag_sets_with_hidden (id, owner, tags, asset_count) SELECT id, owner, tags, asset_count FROM tag_sets;
DROP TABLE tag_sets;
ALTER TABLE tag_sets_with_hidden RENAME TO tag_sets;
CREATE TRIGGER assets_count_insert AFTER INSERT ON assets BEGIN
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
END;
CREATE TRIGGER assets_count_delete AFTER DELETE ON assets BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
END;
CREATE TRIGGER assets_count_update AFTER UPDATE OF tag_set_id ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
END;

ALTER TABLE assets ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;  -- 0 found on disk, 1 uploaded, 2 refers to content
ALTER TABLE assets ADD COLUMN preview_id INTEGER REFERENCES assets(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE assets ADD COLUMN job_id TEXT;                        -- the prompt that made it
CREATE INDEX assets_by_preview ON assets (preview_id) WHERE preview_id IS NOT NULL;
CREATE INDEX assets_by_job ON assets (job_id) WHERE job_id IS NOT NULL;
-- References have no file of their own: they are missing while no file holds their content.
CREATE INDEX assets_referring ON assets (content_id) WHERE origin = 2;

-- Deleted assets. A file that was moved into the trash folder has no row in `files`; where it lay is kept here.
CREATE TABLE trash (
    asset_id    INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE,
    deleted_at  INTEGER NOT NULL,
    content_id  INTEGER REFERENCES contents(id),  -- what it held then; null when that was not known
    stored      TEXT,                             -- the file's path in the trash folder; null: it stayed in its place
    folder      TEXT,                             -- the folder it was taken from, absolute
    name        TEXT                              -- its name there
);

-- What keeps assets from being deleted: versions of workflows, published shares.
CREATE TABLE asset_uses (
    asset_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE,
    kind      TEXT    NOT NULL,                   -- workflow_version or share
    used_by   TEXT    NOT NULL,                   -- the id of what uses it
    PRIMARY KEY (asset_id, kind, used_by)
) WITHOUT ROWID;
