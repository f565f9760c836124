-- Archives that users have exported, until they expire.
CREATE TABLE exports (
    name        TEXT    NOT NULL PRIMARY KEY,           -- of the file in the folder of exports
    task_id     BLOB    NOT NULL UNIQUE,                -- of tasks, which may be gone
    owner       TEXT    NOT NULL,
    token       TEXT    NOT NULL,                       -- whoever has it may download the file
    created_at  INTEGER NOT NULL,                       -- ms since 1970, UTC
    expires_at  INTEGER NOT NULL
) WITHOUT ROWID;
