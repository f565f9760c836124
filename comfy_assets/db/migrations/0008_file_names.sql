-- 1 while a workflow has been given a name or a view here that its file is still to be called by.
ALTER TABLE workflows ADD COLUMN is_misnamed INTEGER NOT NULL DEFAULT 0;
