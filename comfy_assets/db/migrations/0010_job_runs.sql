-- Jobs whose ids are used again, whose end nobody told, or of which something could not be recorded.

-- Tells apart executions that were given the same id; 0: recorded before there were runs.
ALTER TABLE jobs ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
-- 1: it was ended because no queue held it any more. Its own end may still be told.
ALTER TABLE jobs ADD COLUMN is_presumed INTEGER NOT NULL DEFAULT 0;
-- What of the job could not be recorded, and why.
ALTER TABLE job_records ADD COLUMN problem TEXT;

-- The ids of jobs whose records were removed, so that nobody else can use them.
CREATE TABLE removed_jobs (
    uuid   TEXT NOT NULL PRIMARY KEY,
    owner  TEXT NOT NULL
) WITHOUT ROWID;
