-- Workflows that their owners have starred.
ALTER TABLE workflows ADD COLUMN is_starred INTEGER NOT NULL DEFAULT 0;
-- Starred ones first, then by the last change: times in milliseconds stay far below 2^52.
CREATE INDEX workflows_by_star ON workflows (owner, is_starred * 4503599627370496 + updated_at, id, default_view, name_key)
WHERE deleted_at IS NULL;
