-- The tree of folders by their paths below the roots, with the number of assets in each.

-- The folder of the asset's own file, null without one. Triggers on `files` set it, so that an index can have the assets
-- of a folder in order, and an asset is counted from its row alone.
ALTER TABLE assets ADD COLUMN folder_id INTEGER;
UPDATE assets SET folder_id = (SELECT folder_id FROM files WHERE id = assets.id);
CREATE INDEX assets_by_folder ON assets (folder_id, created_at);

-- Folders as `folders.logical` names them, and all that they lie in: "models", "models/loras", "models/loras/style".
CREATE TABLE folder_nodes (
    id        INTEGER PRIMARY KEY,
    path      TEXT    NOT NULL,
    position  BLOB    NOT NULL UNIQUE,      -- the path with NUL in place of each slash: sorts a folder before its own
    depth     INTEGER NOT NULL              -- 1: a root
);

-- The nodes that a folder on the disk is in. Several folders on the disk may be the same node.
CREATE TABLE folder_ancestors (
    folder_id  INTEGER NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
    node_id    INTEGER NOT NULL REFERENCES folder_nodes(id),
    is_direct  INTEGER NOT NULL,            -- 1: it is this node itself
    PRIMARY KEY (folder_id, node_id)
) WITHOUT ROWID;
CREATE INDEX folder_ancestors_by_node ON folder_ancestors (node_id, is_direct);

-- How many assets of a tag set a node has: in its own folders, and with those of the folders in them. Rows stay at 0.
CREATE TABLE folder_counts (
    node_id     INTEGER NOT NULL,
    tag_set_id  INTEGER NOT NULL,
    direct      INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    PRIMARY KEY (node_id, tag_set_id)
) WITHOUT ROWID;

-- The nodes of each folder. json_quote makes a path a JSON text, whose slashes then part the elements of an array.
CREATE VIEW folder_paths AS
SELECT d.id AS folder_id, e.key + 1 AS depth, (
    SELECT group_concat(value, '/') FROM json_each('[' || replace(json_quote(d.logical), '/', '","') || ']')
    WHERE key <= e.key
) AS path
FROM folders d, json_each('[' || replace(json_quote(d.logical), '/', '","') || ']') e;

INSERT INTO folder_nodes (path, position, depth)
SELECT DISTINCT path, CAST(replace(path, '/', char(0)) AS BLOB), depth FROM folder_paths;
INSERT INTO folder_ancestors
SELECT p.folder_id, n.id, p.path = d.logical FROM folder_paths p JOIN folders d ON d.id = p.folder_id
JOIN folder_nodes n ON n.position = CAST(replace(p.path, '/', char(0)) AS BLOB);
INSERT INTO folder_counts
SELECT e.node_id, c.tag_set_id, sum(e.is_direct * c.n), sum(c.n)
FROM (SELECT folder_id, tag_set_id, count(*) AS n FROM assets WHERE folder_id IS NOT NULL GROUP BY 1, 2) c
JOIN folder_ancestors e ON e.folder_id = c.folder_id GROUP BY 1, 2;

CREATE TRIGGER folders_tree_insert AFTER INSERT ON folders BEGIN
    INSERT INTO folder_nodes (path, position, depth)
    SELECT path, CAST(replace(path, '/', char(0)) AS BLOB), depth FROM folder_paths WHERE folder_id = NEW.id
    ON CONFLICT DO NOTHING;
    INSERT INTO folder_ancestors
    SELECT NEW.id, n.id, p.path = NEW.logical FROM folder_paths p
    JOIN folder_nodes n ON n.position = CAST(replace(p.path, '/', char(0)) AS BLOB) WHERE p.folder_id = NEW.id;
END;
CREATE TRIGGER folders_tree_update AFTER UPDATE OF logical ON folders WHEN OLD.logical <> NEW.logical BEGIN
    DELETE FROM folder_ancestors WHERE folder_id = NEW.id;
    INSERT INTO folder_nodes (path, position, depth)
    SELECT path, CAST(replace(path, '/', char(0)) AS BLOB), depth FROM folder_paths WHERE folder_id = NEW.id
    ON CONFLICT DO NOTHING;
    INSERT INTO folder_ancestors
    SELECT NEW.id, n.id, p.path = NEW.logical FROM folder_paths p
    JOIN folder_nodes n ON n.position = CAST(replace(p.path, '/', char(0)) AS BLOB) WHERE p.folder_id = NEW.id;
END;
-- A folder that gets another path takes its assets along.
CREATE TRIGGER folder_ancestors_insert AFTER INSERT ON folder_ancestors BEGIN
    INSERT INTO folder_counts
    SELECT NEW.node_id, tag_set_id, NEW.is_direct * count(*), count(*) FROM assets
    WHERE folder_id = NEW.folder_id GROUP BY tag_set_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
END;
CREATE TRIGGER folder_ancestors_delete AFTER DELETE ON folder_ancestors BEGIN
    INSERT INTO folder_counts
    SELECT OLD.node_id, tag_set_id, -OLD.is_direct * count(*), -count(*) FROM assets
    WHERE folder_id = OLD.folder_id GROUP BY tag_set_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
END;

CREATE TRIGGER files_folder_update AFTER UPDATE OF folder_id ON files WHEN OLD.folder_id <> NEW.folder_id BEGIN
    UPDATE assets SET folder_id = NEW.folder_id WHERE id = NEW.id;
END;

-- Whoever changes many assets counts them in one statement (`tags.py`): triggers do not count assets with ids from
-- this on. Outside of such a transaction there are none.
CREATE TABLE counted_apart (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    first_id  INTEGER NOT NULL
);
INSERT INTO counted_apart (id, first_id) VALUES (1, 9223372036854775807);

DROP TRIGGER assets_count_insert;
DROP TRIGGER assets_count_delete;
DROP TRIGGER assets_count_update;
CREATE TRIGGER assets_count_delete AFTER DELETE ON assets WHEN OLD.id < (SELECT first_id FROM counted_apart) BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
    INSERT INTO folder_counts
    SELECT node_id, OLD.tag_set_id, -is_direct, -1 FROM folder_ancestors WHERE folder_id = OLD.folder_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
END;
CREATE TRIGGER assets_count_update AFTER UPDATE OF folder_id, tag_set_id ON assets
WHEN OLD.id < (SELECT first_id FROM counted_apart)
    AND (OLD.folder_id IS NOT NEW.folder_id OR OLD.tag_set_id <> NEW.tag_set_id)
BEGIN
    UPDATE tag_sets SET asset_count = asset_count - 1 WHERE id = OLD.tag_set_id;
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
    INSERT INTO folder_counts
    SELECT node_id, OLD.tag_set_id, -is_direct, -1 FROM folder_ancestors WHERE folder_id = OLD.folder_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
    INSERT INTO folder_counts
    SELECT node_id, NEW.tag_set_id, is_direct, 1 FROM folder_ancestors WHERE folder_id = NEW.folder_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
END;
