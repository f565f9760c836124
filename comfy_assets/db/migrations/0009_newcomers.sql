-- Files that were read for the first time and hold what missing assets had. Which of the files is which of the assets
-- is decided when no file of their size is left unread; until then they are remembered here.
CREATE TABLE newcomers (
    asset_id  INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE,
    size      INTEGER NOT NULL             -- bytes
);
CREATE INDEX newcomers_by_size ON newcomers (size);
