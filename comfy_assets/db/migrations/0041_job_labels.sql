-- Labels that clients give jobs when they submit them: texts by names of their own.
CREATE TABLE job_labels (
    job_id  INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    name    TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    PRIMARY KEY (job_id, name)
) WITHOUT ROWID;
CREATE INDEX job_labels_by_value ON job_labels (name, value, job_id);

-- Outputs of jobs that are no assets, texts and temporary files, by the ids that clients know them by. Their content is
-- the job's own record, or the file that it names.
CREATE TABLE job_values (
    uuid          TEXT    NOT NULL PRIMARY KEY,
    job_id        INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    node_id       TEXT    NOT NULL,
    output_key    TEXT    NOT NULL,
    output_index  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX job_values_by_job ON job_values (job_id);
