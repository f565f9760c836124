-- Jobs: every prompt that was ever submitted, and what became of it.

-- What lists show. Times are milliseconds since 1970, UTC; the server's own id of a job is `uuid`, which older servers
-- let clients choose freely.
CREATE TABLE jobs (
    id                   INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given anew: the search index goes by it
    uuid                 TEXT    NOT NULL UNIQUE,
    owner                TEXT    NOT NULL,             -- '' is everybody's
    status               INTEGER NOT NULL,             -- 0 pending, 1 in progress, 2 completed, 3 failed, 4 cancelled
    number               REAL    NOT NULL,             -- its place in the queue: the smallest is first
    interrupted          INTEGER NOT NULL DEFAULT 0,   -- 1: it was asked to stop while it was executed
    seat                 INTEGER NOT NULL,             -- the server whose queue holds it while it is active
    workflow_id          TEXT,
    workflow_version_id  TEXT,
    created_at           INTEGER NOT NULL,
    started_at           INTEGER,
    finished_at          INTEGER,
    updated_at           INTEGER NOT NULL,
    duration             INTEGER NOT NULL DEFAULT 0,   -- ms of execution
    outputs_count        INTEGER NOT NULL DEFAULT 0,
    previewable_count    INTEGER NOT NULL DEFAULT 0,
    media                INTEGER NOT NULL DEFAULT 0,   -- of the outputs: 1 image, 2 video, 4 audio, 8 3d
    preview              TEXT                          -- JSON object
);
-- Each sort order within a status; owner and media so that filtering needs no second look-up.
CREATE INDEX jobs_by_creation ON jobs (status, created_at, id, owner, media);
CREATE INDEX jobs_by_duration ON jobs (status, duration, id, owner, media);
CREATE INDEX jobs_by_workflow ON jobs (workflow_id, status, created_at, id) WHERE workflow_id IS NOT NULL;

-- What is only read for one job at a time.
CREATE TABLE job_records (
    job_id       INTEGER PRIMARY KEY REFERENCES jobs(id) ON DELETE CASCADE,
    graph_id     INTEGER NOT NULL REFERENCES documents(id),
    workflow_id  INTEGER REFERENCES documents(id),     -- the page's own form of the graph
    extra_data   TEXT    NOT NULL,                     -- JSON object, without that
    targets      TEXT    NOT NULL,                     -- JSON array: the nodes to execute
    shown        TEXT,                                 -- JSON object: outputs so far, while it is executed
    result       BLOB,                                 -- {"outputs", "meta", "status"} as JSON, compressed with zlib
    error        TEXT                                  -- JSON object: the contract's ExecutionError
);
-- Documents that nothing refers to any more are found by these.
CREATE INDEX job_records_by_graph ON job_records (graph_id);
CREATE INDEX job_records_by_workflow ON job_records (workflow_id) WHERE workflow_id IS NOT NULL;

-- Jobs with ids up to `indexed_upto` are in the index of words (`search_tables.py`), those above are not.
CREATE TABLE job_search (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_upto  INTEGER NOT NULL,
    rules         TEXT    NOT NULL
);
INSERT INTO job_search (id, indexed_upto, rules) VALUES (1, 0, '');

-- How many jobs there are of each kind, so that no list has to count them.
CREATE TABLE job_counts (
    owner   TEXT    NOT NULL,
    status  INTEGER NOT NULL,
    media   INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (owner, status, media)
) WITHOUT ROWID;
CREATE TRIGGER jobs_count_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (NEW.owner, NEW.status, NEW.media, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_count_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET n = n - 1 WHERE owner = OLD.owner AND status = OLD.status AND media = OLD.media;
END;
CREATE TRIGGER jobs_count_update AFTER UPDATE OF owner, status, media ON jobs
WHEN (OLD.owner, OLD.status, OLD.media) <> (NEW.owner, NEW.status, NEW.media) BEGIN
    UPDATE job_counts SET n = n - 1 WHERE owner = OLD.owner AND status = OLD.status AND media = OLD.media;
    INSERT INTO job_counts VALUES (NEW.owner, NEW.status, NEW.media, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

-- The assets a job has made or shown, each where it did.
CREATE TABLE job_outputs (
    job_id        INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    node_id       TEXT    NOT NULL,
    output_key    TEXT    NOT NULL,                    -- what the node calls it: images, gifs, audio …
    output_index  INTEGER NOT NULL,
    asset_id      INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE,
    PRIMARY KEY (job_id, node_id, output_key, output_index)
) WITHOUT ROWID;
CREATE INDEX job_outputs_by_asset ON job_outputs (asset_id);

-- The assets that a job's graph names: models, and files of the input folder.
CREATE TABLE job_inputs (
    job_id    INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    asset_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE,
    PRIMARY KEY (job_id, asset_id)
) WITHOUT ROWID;
CREATE INDEX job_inputs_by_asset ON job_inputs (asset_id);
CREATE INDEX folders_by_loader_prefix ON folders (loader_prefix) WHERE loader_prefix IS NOT NULL;
CREATE INDEX folders_by_logical ON folders (logical);

-- Documents are removed with the last job that has them, unless a content has them too. SQLite would look for that in
-- all of content_documents, once for each of them, if that table said to what it refers: `jobs.delete` looks once.
CREATE TABLE content_documents_unchecked (
    content_id   INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE,
    key          TEXT    NOT NULL,
    document_id  INTEGER NOT NULL,                     -- of documents
    PRIMARY KEY (content_id, key)
) WITHOUT ROWID;
INSERT INTO content_documents_unchecked SELECT content_id, key, document_id FROM content_documents;
DROP TABLE content_documents;
ALTER TABLE content_documents_unchecked RENAME TO content_documents;
