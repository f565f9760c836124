-- The trash as users see it: by whom and when, what is under way, and which records are reduced to a note.
ALTER TABLE trash ADD COLUMN deleted_by TEXT NOT NULL DEFAULT '';   -- the user; '' if it is not known
-- The absolute path to which the file is being restored; null unless that is under way, or a server was killed then.
ALTER TABLE trash ADD COLUMN restoring TEXT;
-- 1: a note that the file, which stayed in its place, is left out of the library; nothing else is kept of the asset.
ALTER TABLE trash ADD COLUMN is_note INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trash_by_deletion ON trash (deleted_at, asset_id);
CREATE INDEX trash_restoring ON trash (asset_id) WHERE restoring IS NOT NULL;
