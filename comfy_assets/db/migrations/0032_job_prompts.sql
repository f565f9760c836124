-- The first words of a job's prompt, which lists show: NULL until they are read from the graph, '' without any.
ALTER TABLE jobs ADD COLUMN prompt TEXT;
-- Jobs of earlier releases, whose graphs are read in idle time.
CREATE INDEX jobs_without_prompt ON jobs (id) WHERE prompt IS NULL;
