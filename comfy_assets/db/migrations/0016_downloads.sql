-- Downloads that have not ended, to be continued after a restart, and interrupted ones, to be continued on request.
CREATE TABLE downloads (
    id          BLOB    PRIMARY KEY,       -- UUID of the task, 16 bytes
    owner       TEXT    NOT NULL,
    instance    INTEGER NOT NULL,          -- the server that runs it, as tasks have it
    key         TEXT    NOT NULL,          -- digest of owner, file and destination; names the partial file
    is_active   INTEGER NOT NULL,          -- 0: interrupted
    request     TEXT    NOT NULL,          -- JSON: the fields of the new asset
    source      TEXT    NOT NULL,          -- JSON: the file of the other server
    folder      TEXT    NOT NULL,          -- of the partial file
    flushed     INTEGER NOT NULL DEFAULT 0,  -- bytes that are safe on the disk
    validator   TEXT,                      -- ETag or Last-Modified of the bytes
    verified    BLOB,                      -- blake3 of the complete and verified file
    updated_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX downloads_by_key ON downloads (key);
-- SHA-256 of files that were downloaded, by which other servers name them.
CREATE TABLE downloaded_contents (
    sha256  BLOB PRIMARY KEY,
    blake3  BLOB NOT NULL
) WITHOUT ROWID;
