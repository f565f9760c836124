-- Which version of the readers of metadata has read a content: contents of older versions are read again without being
-- hashed. 0: not read yet, or read under a name that hid its format.
ALTER TABLE contents ADD COLUMN reader_version INTEGER NOT NULL DEFAULT 1;
-- The media type that the content shows; null where it shows none, and where version 1 has read it.
ALTER TABLE contents ADD COLUMN mime_type TEXT;
CREATE INDEX contents_by_reader ON contents (reader_version);

-- A content of which nothing was known had no words: its assets are indexed again with those that it has now. Whatever
-- else replaces metadata or documents takes the assets out of the index itself.
CREATE TRIGGER contents_search_update AFTER UPDATE OF metadata ON contents
WHEN OLD.metadata = '{}' AND NEW.metadata <> '{}'
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT a.id, a.name_key, CASE s.hidden WHEN 0 THEN l.tags END, a.content_id
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id
    WHERE a.content_id = NEW.id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
END;
