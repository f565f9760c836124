-- The last transaction that changed the store: the connection that wrote it, and its number there. A server whose
-- write-ahead log was removed learns from it what of its own is in the file, and whether somebody else has written.
CREATE TABLE last_commit (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    writer  TEXT NOT NULL,
    number  INTEGER NOT NULL
);
INSERT INTO last_commit (id, writer, number) VALUES (1, '', 0);
