-- The library: what content there is, which assets refer to it, and in which files it lies.

-- Bytes known by their hash. `metadata` is the small JSON object that lists show.
CREATE TABLE contents (
    id        INTEGER PRIMARY KEY,
    hash      BLOB    NOT NULL UNIQUE,      -- blake3, 32 bytes
    size      INTEGER NOT NULL,             -- bytes
    metadata  TEXT    NOT NULL DEFAULT '{}'
);

-- Large texts found in files (prompts, workflows, model headers), each kept once, compressed with zlib.
CREATE TABLE documents (
    id    INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL UNIQUE,             -- blake3 of the uncompressed text, 32 bytes
    body  BLOB NOT NULL
);

CREATE TABLE content_documents (
    content_id   INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE,
    key          TEXT    NOT NULL,
    document_id  INTEGER NOT NULL REFERENCES documents(id),
    PRIMARY KEY (content_id, key)
) WITHOUT ROWID;

CREATE TABLE tags (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
);

-- Every combination of owner and tags that occurs, stored once; an asset points to one of them. Filters by tag
-- and owner are decided on this small table, and `asset_count`, kept by triggers, answers totals and histograms.
CREATE TABLE tag_sets (
    id           INTEGER PRIMARY KEY,
    owner        TEXT    NOT NULL DEFAULT '',   -- '' is public
    tags         TEXT    NOT NULL,              -- JSON array in canonical order
    asset_count  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, tags)
);

CREATE TABLE tag_set_tags (
    tag_id      INTEGER NOT NULL REFERENCES tags(id),
    tag_set_id  INTEGER NOT NULL REFERENCES tag_sets(id) ON DELETE CASCADE,
    PRIMARY KEY (tag_id, tag_set_id)
) WITHOUT ROWID;
CREATE INDEX tag_set_tags_by_set ON tag_set_tags (tag_set_id);

-- Times are milliseconds since 1970, UTC.
CREATE TABLE assets (
    id              INTEGER PRIMARY KEY,
    uuid            TEXT    NOT NULL UNIQUE,           -- canonical: lower case, with hyphens
    tag_set_id      INTEGER NOT NULL REFERENCES tag_sets(id) DEFERRABLE INITIALLY DEFERRED,
    content_id      INTEGER REFERENCES contents(id) DEFERRABLE INITIALLY DEFERRED,   -- null until hashed
    name            TEXT    NOT NULL,
    name_key        TEXT    NOT NULL,                  -- the name case-folded, for search and sort
    mime_type       TEXT    NOT NULL,
    size            INTEGER NOT NULL,                  -- bytes
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    last_access_at  INTEGER,
    user_metadata   TEXT                               -- JSON object
);
-- Each sort order with its tie-break, and the tag set so that filtering needs no second look-up.
CREATE INDEX assets_by_creation ON assets (created_at, id, tag_set_id);
CREATE INDEX assets_by_update   ON assets (updated_at, id, tag_set_id);
CREATE INDEX assets_by_name     ON assets (name_key, id, tag_set_id);
CREATE INDEX assets_by_size     ON assets (size, id, tag_set_id);
CREATE INDEX assets_by_tag_set  ON assets (tag_set_id, created_at);
CREATE INDEX assets_by_content  ON assets (content_id) WHERE content_id IS NOT NULL;

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

CREATE TABLE folders (
    id             INTEGER PRIMARY KEY,
    path           TEXT NOT NULL UNIQUE,    -- absolute, as the operating system spells it
    kind           TEXT NOT NULL,           -- models, input or output
    logical        TEXT NOT NULL,           -- under the namespace root: "models/loras/style"
    loader_prefix  TEXT,                    -- inside the category, "" at its top; null outside categories
    categories     TEXT NOT NULL,           -- JSON array of the categories that claim it
    place_key      TEXT NOT NULL,           -- changes when the files in it must be tagged anew
    fingerprint    BLOB                     -- of its listing when the rows below last matched it; null: unsure
);

-- Where an asset lies on disk. A file row shares its asset's id.
CREATE TABLE files (
    id         INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    folder_id  INTEGER NOT NULL REFERENCES folders(id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT    NOT NULL,
    size       INTEGER NOT NULL,            -- bytes, when last looked at
    mtime_ns   INTEGER NOT NULL,
    inode      INTEGER NOT NULL,            -- 0 where the file system tells none
    state      INTEGER NOT NULL DEFAULT 0,  -- 0 never hashed, 1 hashed, 2 changed since, 3 could not be read
    missing    INTEGER NOT NULL DEFAULT 0,
    error      TEXT,                        -- why it could not be read
    UNIQUE (folder_id, name)
);
CREATE INDEX files_missing ON files (size, mtime_ns, inode) WHERE missing = 1;

-- A folder's fingerprint lets a scan skip comparing its files, so whatever changes a row takes it away. Inserting
-- does not: a row is added for a file on disk, which the fingerprint of an older listing does not include.
CREATE TRIGGER files_fingerprint_update
AFTER UPDATE OF folder_id, name, size, mtime_ns, inode, missing ON files BEGIN
    UPDATE folders SET fingerprint = NULL WHERE id IN (OLD.folder_id, NEW.folder_id);
END;
CREATE TRIGGER files_fingerprint_delete AFTER DELETE ON files BEGIN
    UPDATE folders SET fingerprint = NULL WHERE id = OLD.folder_id;
END;

CREATE TABLE tasks (
    id               BLOB    PRIMARY KEY,   -- UUID, 16 bytes
    owner            TEXT    NOT NULL DEFAULT '',
    name             TEXT    NOT NULL,
    idempotency_key  TEXT    NOT NULL,
    status           TEXT    NOT NULL,      -- created, running, completed or failed
    payload          TEXT    NOT NULL,      -- JSON object
    result           TEXT,                  -- JSON object: progress while running, the outcome afterwards
    error_message    TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER
);
CREATE INDEX tasks_by_creation ON tasks (created_at, id);
