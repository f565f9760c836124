-- Tags of users become a plain join table, so that a tag for every picture costs no more than a tag for many. A tag set
-- keeps what the folder gives (root, category, model type) and whether the content is missing; there are few of those.

DROP TRIGGER assets_count_insert;
DROP TRIGGER assets_count_delete;
DROP TRIGGER assets_count_update;
DROP TRIGGER assets_search_update;
DROP TRIGGER assets_search_delete;

-- `created_at` is the asset's: the assets of a tag are listed in this order without a look at each of them.
CREATE TABLE asset_tags (
    asset_id    INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    tag_id      INTEGER NOT NULL REFERENCES tags(id),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (asset_id, tag_id)
) WITHOUT ROWID;
CREATE INDEX asset_tags_by_tag ON asset_tags (tag_id, created_at, asset_id);

-- The tags of each former set: which the folder gives. A category without a model type is one where a file of the set
-- lies in a folder of this category: there the type of the file has no model type.
CREATE TABLE former_tags AS
SELECT s.id AS set_id, e.key AS place, e.value AS name,
    e.value IN ('models', 'input', 'output', 'temp') OR substr(e.value, 1, 11) = 'model_type:'
    OR EXISTS (SELECT 1 FROM json_each(s.tags) m WHERE m.value = 'model_type:' || e.value)
    OR EXISTS (
        SELECT 1 FROM (SELECT DISTINCT f.folder_id FROM assets a JOIN files f ON f.id = a.id WHERE a.tag_set_id = s.id) h
        JOIN folders d ON d.id = h.folder_id JOIN json_each(d.categories) c ON c.value = e.value
    ) AS is_of_place
FROM tag_sets s, json_each(s.tags) e;
CREATE INDEX former_tags_by_set ON former_tags (set_id, place);

INSERT INTO asset_tags (asset_id, tag_id, created_at)
SELECT a.id, t.id, a.created_at FROM assets a JOIN former_tags o ON o.set_id = a.tag_set_id JOIN tags t ON t.name = o.name
WHERE NOT o.is_of_place AND o.name <> 'missing';

-- Sets that now say the same become the one of them that was made first.
CREATE TABLE former_sets AS
SELECT s.id, s.owner, s.hidden,
    (SELECT json_group_array(name) FROM (SELECT name FROM former_tags WHERE set_id = s.id AND is_of_place ORDER BY place))
        AS tags,
    EXISTS (SELECT 1 FROM former_tags WHERE set_id = s.id AND name = 'missing') AS missing
FROM tag_sets s;
CREATE TABLE kept_sets AS
SELECT min(id) AS id, owner, tags, hidden, missing FROM former_sets GROUP BY owner, tags, hidden, missing;
CREATE UNIQUE INDEX kept_sets_by_tags ON kept_sets (owner, tags, hidden, missing);
CREATE TABLE set_changes (former INTEGER PRIMARY KEY, kept INTEGER NOT NULL);
INSERT INTO set_changes SELECT f.id, k.id FROM former_sets f JOIN kept_sets k
ON (k.owner, k.tags, k.hidden, k.missing) = (f.owner, f.tags, f.hidden, f.missing) WHERE k.id <> f.id;
UPDATE assets SET tag_set_id = (SELECT kept FROM set_changes WHERE former = tag_set_id)
WHERE tag_set_id IN (SELECT former FROM set_changes);

CREATE TABLE place_sets (
    id           INTEGER PRIMARY KEY,
    owner        TEXT    NOT NULL DEFAULT '',   -- '' is public
    tags         TEXT    NOT NULL,              -- JSON array in canonical order: root, categories, model types
    asset_count  INTEGER NOT NULL DEFAULT 0,
    hidden       INTEGER NOT NULL DEFAULT 0,    -- 1: of deleted assets
    missing      INTEGER NOT NULL DEFAULT 0,    -- 1: of assets without content; tag_set_tags has the tag `missing` then
    UNIQUE (owner, tags, hidden, missing)
);
INSERT INTO place_sets (id, owner, tags, asset_count, hidden, missing)
SELECT id, owner, tags, (SELECT count(*) FROM assets WHERE tag_set_id = kept_sets.id), hidden, missing FROM kept_sets;
DELETE FROM tag_set_tags;
DROP TABLE tag_sets;
ALTER TABLE place_sets RENAME TO tag_sets;
INSERT INTO tag_set_tags (tag_id, tag_set_id)
SELECT t.id, s.id FROM tag_sets s JOIN former_tags o ON o.set_id = s.id JOIN tags t ON t.name = o.name
WHERE o.is_of_place OR o.name = 'missing';
DROP TABLE former_tags;
DROP TABLE former_sets;
DROP TABLE kept_sets;
DROP TABLE set_changes;

-- How many assets of a set carry a user's tag.
CREATE TABLE tag_counts (
    tag_id      INTEGER NOT NULL,
    tag_set_id  INTEGER NOT NULL,
    n           INTEGER NOT NULL,               -- more than 0
    PRIMARY KEY (tag_id, tag_set_id)
) WITHOUT ROWID;
INSERT INTO tag_counts
SELECT u.tag_id, a.tag_set_id, count(*) FROM asset_tags u JOIN assets a ON a.id = u.asset_id GROUP BY 1, 2;

-- How many of an owner's assets that are not deleted carry a user's tag. A tag that nothing has any more stays known if
-- it was public: it has a row of the owner '' with n = 0. The index is the order in which tags are listed.
CREATE TABLE tag_totals (
    owner  TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID;
CREATE INDEX tag_totals_by_count ON tag_totals (owner, n DESC, name);
INSERT INTO tag_totals
SELECT s.owner, t.name, sum(c.n) FROM tag_counts c JOIN tag_sets s ON s.id = c.tag_set_id JOIN tags t ON t.id = c.tag_id
WHERE s.hidden = 0 GROUP BY 1, 2;
INSERT INTO tag_totals SELECT '', name, 0 FROM tags t
WHERE NOT EXISTS (SELECT 1 FROM asset_tags WHERE tag_id = t.id)
    AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = t.id);

CREATE TRIGGER assets_count_insert AFTER INSERT ON assets BEGIN
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
END;
CREATE TRIGGER assets_count_delete AFTER DELETE ON assets BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
END;
CREATE TRIGGER assets_count_update AFTER UPDATE OF tag_set_id ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
END;
CREATE TRIGGER assets_tag_counts_update AFTER UPDATE OF tag_set_id ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id AND EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = NEW.id) BEGIN
    UPDATE tag_counts SET n = n - 1
    WHERE tag_set_id = OLD.tag_set_id AND tag_id IN (SELECT tag_id FROM asset_tags WHERE asset_id = NEW.id);
    DELETE FROM tag_counts
    WHERE n = 0 AND tag_set_id = OLD.tag_set_id
        AND tag_id IN (SELECT tag_id FROM asset_tags WHERE asset_id = NEW.id);
    INSERT INTO tag_counts SELECT tag_id, NEW.tag_set_id, 1 FROM asset_tags WHERE asset_id = NEW.id
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- Apart from the former, since marking files as missing changes neither owner nor visibility.
CREATE TRIGGER assets_tag_totals_update AFTER UPDATE OF tag_set_id ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id AND EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = NEW.id)
    AND (SELECT (owner, hidden) <> (SELECT owner, hidden FROM tag_sets WHERE id = NEW.tag_set_id)
        FROM tag_sets WHERE id = OLD.tag_set_id)
BEGIN
    UPDATE tag_totals SET n = n - 1
    WHERE owner = (SELECT owner FROM tag_sets WHERE id = OLD.tag_set_id AND hidden = 0)
        AND name IN (SELECT t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = NEW.id);
    DELETE FROM tag_totals
    WHERE n = 0 AND name IN (SELECT t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = NEW.id);
    INSERT INTO tag_totals
    SELECT s.owner, t.name, 1 FROM tag_sets s, asset_tags u JOIN tags t ON t.id = u.tag_id
    WHERE s.id = NEW.tag_set_id AND s.hidden = 0 AND u.asset_id = NEW.id
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER assets_tag_order_update AFTER UPDATE OF created_at ON assets WHEN OLD.created_at <> NEW.created_at BEGIN
    UPDATE asset_tags SET created_at = NEW.created_at WHERE asset_id = NEW.id;
END;
CREATE TRIGGER asset_tags_insert AFTER INSERT ON asset_tags BEGIN
    INSERT INTO tag_counts SELECT NEW.tag_id, tag_set_id, 1 FROM assets WHERE id = NEW.asset_id
    ON CONFLICT DO UPDATE SET n = n + 1;
    DELETE FROM tag_totals WHERE owner = '' AND n = 0 AND name = (SELECT name FROM tags WHERE id = NEW.tag_id);
    INSERT INTO tag_totals
    SELECT s.owner, (SELECT name FROM tags WHERE id = NEW.tag_id), 1
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = NEW.asset_id AND s.hidden = 0
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- The tags of an asset that ends are removed before it (assets_end), so that its set can be asked here.
CREATE TRIGGER asset_tags_delete AFTER DELETE ON asset_tags BEGIN
    UPDATE tag_counts SET n = n - 1
    WHERE tag_id = OLD.tag_id AND tag_set_id = (SELECT tag_set_id FROM assets WHERE id = OLD.asset_id);
    DELETE FROM tag_counts
    WHERE n = 0 AND tag_id = OLD.tag_id AND tag_set_id = (SELECT tag_set_id FROM assets WHERE id = OLD.asset_id);
    UPDATE tag_totals SET n = n - 1
    WHERE owner = (
            SELECT s.owner FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = OLD.asset_id AND s.hidden = 0
        )
        AND name = (SELECT name FROM tags WHERE id = OLD.tag_id);
    DELETE FROM tag_totals WHERE n = 0 AND name = (SELECT name FROM tags WHERE id = OLD.tag_id);
    -- A tag that nothing has any more: a public one stays known, of a user's own nobody else is to learn.
    INSERT INTO tag_totals SELECT '', name, 0 FROM tags
    WHERE id = OLD.tag_id AND NOT EXISTS (SELECT 1 FROM asset_tags WHERE tag_id = OLD.tag_id)
        AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = OLD.tag_id)
        AND (SELECT s.owner FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = OLD.asset_id) = '';
    DELETE FROM tags
    WHERE id = OLD.tag_id AND NOT EXISTS (SELECT 1 FROM asset_tags WHERE tag_id = OLD.tag_id)
        AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = OLD.tag_id)
        AND (SELECT s.owner FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = OLD.asset_id) <> '';
END;

-- All tags of an asset as one JSON array: of its place, of users, `missing`.
CREATE VIEW asset_tag_lists AS
SELECT a.id AS id, CASE WHEN s.missing OR EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = a.id) THEN (
    SELECT json_group_array(name) FROM (
        SELECT value AS name, 0 AS part, key AS position FROM json_each(s.tags)
        UNION ALL SELECT t.name, 1, t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = a.id
        UNION ALL SELECT 'missing', 2, 0 WHERE s.missing
        ORDER BY part, position
    )
) ELSE s.tags END AS tags
FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id;

-- Whether content is missing is not indexed for search: it comes and goes for whole drives.
CREATE TRIGGER assets_search_update AFTER UPDATE OF name_key, tag_set_id, content_id ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
    AND (OLD.name_key <> NEW.name_key OR OLD.tag_set_id <> NEW.tag_set_id OR OLD.content_id IS NOT NEW.content_id)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT OLD.id, OLD.name_key, CASE o.hidden WHEN 0 THEN (
        SELECT json_group_array(name) FROM (
            SELECT value AS name FROM json_each(o.tags)
            UNION ALL SELECT t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = OLD.id
        )
    ) END, OLD.content_id
    FROM tag_sets o, tag_sets n
    WHERE o.id = OLD.tag_set_id AND n.id = NEW.tag_set_id
        AND (
            OLD.name_key <> NEW.name_key OR OLD.content_id IS NOT NEW.content_id OR o.hidden <> n.hidden
            OR o.tags <> n.tags
        )
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
END;
CREATE TRIGGER asset_tags_search_insert AFTER INSERT ON asset_tags
WHEN NEW.asset_id <= (SELECT indexed_upto FROM search_state)
    AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.asset_id)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT a.id, a.name_key, CASE s.hidden WHEN 0 THEN (
        SELECT json_group_array(name) FROM (
            SELECT value AS name FROM json_each(s.tags)
            UNION ALL SELECT t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id
            WHERE u.asset_id = a.id AND u.tag_id <> NEW.tag_id
        )
    ) END, a.content_id
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = NEW.asset_id;
END;
CREATE TRIGGER asset_tags_search_delete BEFORE DELETE ON asset_tags
WHEN OLD.asset_id <= (SELECT indexed_upto FROM search_state)
    AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.asset_id)
BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT a.id, a.name_key, CASE s.hidden WHEN 0 THEN (
        SELECT json_group_array(name) FROM (
            SELECT value AS name FROM json_each(s.tags)
            UNION ALL SELECT t.name FROM asset_tags u JOIN tags t ON t.id = u.tag_id WHERE u.asset_id = a.id
        )
    ) END, a.content_id
    FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.id = OLD.asset_id;
END;
-- SQLite removes what refers to an asset before AFTER triggers run, when its set can no longer be asked for.
CREATE TRIGGER assets_end BEFORE DELETE ON assets BEGIN
    INSERT INTO search_stale (asset_id, name_key, tags, content_id)
    SELECT OLD.id, OLD.name_key, CASE s.hidden WHEN 0 THEN l.tags END, OLD.content_id
    FROM tag_sets s JOIN asset_tag_lists l ON l.id = OLD.id
    WHERE s.id = OLD.tag_set_id AND OLD.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
    DELETE FROM asset_tags WHERE asset_id = OLD.id;
END;
-- SQLite gives the highest id anew when its asset is gone; what has it then is not indexed.
CREATE TRIGGER assets_search_delete AFTER DELETE ON assets WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
BEGIN
    UPDATE search_state SET indexed_upto = coalesce((SELECT max(id) FROM assets), 0)
    WHERE indexed_upto > coalesce((SELECT max(id) FROM assets), 0);
END;
