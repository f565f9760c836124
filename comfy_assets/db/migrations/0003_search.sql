-- Search: what the indexes of names and words hold. The indexes themselves are made by the program when it opens the
-- store (`search_tables.py`), since not every SQLite can; nothing here needs them.

-- Assets with ids up to `indexed_upto` are in the indexes unless they are deleted, those above are not, so that listing
-- a new file costs the indexes nothing. `version` grows with every change to them; `rules` tells how words were made.
CREATE TABLE search_state (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_upto  INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    rules         TEXT    NOT NULL
);
INSERT INTO search_state (id, indexed_upto, version, rules) VALUES (1, 0, 0, '');

-- Assets that are other than when they were indexed, or gone; and what they were then, without which SQLite cannot take
-- them out of an index again. Contents and their documents are never removed.
CREATE TABLE search_stale (
    asset_id    INTEGER PRIMARY KEY,
    name_key    TEXT    NOT NULL,
    tags        TEXT,                       -- JSON array; null: it was deleted, so that the indexes do not have it
    content_id  INTEGER
);

-- The tag `missing` is not indexed: it comes and goes for whole drives. As the last of a set it is easily taken off.
CREATE TRIGGER assets_search_update AFTER UPDATE OF name_key, tag_set_id, content_id ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
    AND (OLD.name_key <> NEW.name_key OR OLD.tag_set_id <> NEW.tag_set_id OR OLD.content_id IS NOT NEW.content_id)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT OLD.id, OLD.name_key, CASE o.hidden WHEN 0 THEN o.tags END, OLD.content_id
    FROM tag_sets o, tag_sets n
    WHERE o.id = OLD.tag_set_id AND n.id = NEW.tag_set_id
        AND (
            OLD.name_key <> NEW.name_key OR OLD.content_id IS NOT NEW.content_id OR o.hidden <> n.hidden
            OR replace(replace(o.tags, ',"missing"]', ']'), '["missing"]', '[]')
            <> replace(replace(n.tags, ',"missing"]', ']'), '["missing"]', '[]')
        )
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
END;
-- SQLite gives the highest id anew when its asset is gone; what has it then is not indexed.
CREATE TRIGGER assets_search_delete AFTER DELETE ON assets WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT OLD.id, OLD.name_key, CASE hidden WHEN 0 THEN tags END, OLD.content_id FROM tag_sets
    WHERE id = OLD.tag_set_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
    UPDATE search_state SET indexed_upto = coalesce((SELECT max(id) FROM assets), 0)
    WHERE indexed_upto > coalesce((SELECT max(id) FROM assets), 0);
END;

-- Few assets have ever been accessed: what searches find is put in this order by way of them.
CREATE INDEX assets_by_access ON assets (last_access_at) WHERE last_access_at > 0;
