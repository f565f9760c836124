-- Searches that users have saved: the parameters of a list of assets. Times are milliseconds since 1970, UTC.
CREATE TABLE saved_searches (
    id          INTEGER PRIMARY KEY,
    uuid        TEXT    NOT NULL UNIQUE,
    owner       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    name_key    TEXT    NOT NULL,            -- case-folded
    query       TEXT    NOT NULL,            -- JSON object
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (owner, name_key)
);
