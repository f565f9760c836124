-- Workflows that are files of their user, where the page saves them.

-- The path in the user's workflows folder, with forward slashes ("sub/portrait.json"); null: no file.
ALTER TABLE workflows ADD COLUMN path TEXT;
-- The file as it was last read or written: its size in bytes, its time of change, and the version that it holds.
-- A version behind the latest is one that is still to be written.
ALTER TABLE workflows ADD COLUMN file_size INTEGER;
ALTER TABLE workflows ADD COLUMN file_mtime_ns INTEGER;
ALTER TABLE workflows ADD COLUMN file_version INTEGER;
-- A deleted workflow whose file is still to be removed has version -1.
-- The id inside the JSON of the latest version, which prompts name; and of each version, with a digest of what in it is
-- executed, by which prompts are recognised.
ALTER TABLE workflows ADD COLUMN graph_id TEXT;
ALTER TABLE workflow_versions ADD COLUMN graph_id TEXT;
ALTER TABLE workflow_versions ADD COLUMN graph_digest BLOB;

CREATE UNIQUE INDEX workflows_by_path ON workflows (owner, path) WHERE deleted_at IS NULL AND path IS NOT NULL;
CREATE INDEX workflows_by_graph ON workflows (graph_id) WHERE graph_id IS NOT NULL;

-- Up to which rows of jobs and versions it has been looked which job is whose workflow's.
CREATE TABLE workflow_links (job_id INTEGER NOT NULL, version_id INTEGER NOT NULL);
INSERT INTO workflow_links VALUES (0, 0);
