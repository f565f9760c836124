-- The version of the decoders that could make no thumbnail of a content, or NULL. Lists name no thumbnail of it then.
ALTER TABLE contents ADD COLUMN thumbnail_failure TEXT;
