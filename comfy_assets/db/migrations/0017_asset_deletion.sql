-- What the deletion of an asset leaves to do depends on the asset. As conditions of triggers, the checks cost a fraction
-- of statements that find nothing, for the thousands of rows that a renamed folder gives up.

DROP TRIGGER assets_end;

-- SQLite removes what refers to an asset before AFTER triggers run, when its set can no longer be asked for.
CREATE TRIGGER assets_search_end BEFORE DELETE ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
    AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT OLD.id, OLD.name_key, CASE s.hidden WHEN 0 THEN l.tags END, OLD.content_id
    FROM tag_sets s JOIN asset_tag_lists l ON l.id = OLD.id
    WHERE s.id = OLD.tag_set_id;
    DELETE FROM asset_tags WHERE asset_id = OLD.id;
END;
CREATE TRIGGER assets_tags_end BEFORE DELETE ON assets
WHEN EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = OLD.id)
BEGIN
    DELETE FROM asset_tags WHERE asset_id = OLD.id;
END;
