-- The latest changes of assets. Servers keep columns of all assets in memory, for filters that no index serves, and read
-- the rows again that are named here; new assets are known by their ids. Of old changes none are kept: a server that has
-- missed some reads its columns anew.
CREATE TABLE asset_changes (
    seq       INTEGER PRIMARY KEY,
    asset_id  INTEGER NOT NULL
);
CREATE TRIGGER assets_changes_update
AFTER UPDATE OF tag_set_id, content_id, name_key, mime_type, size, created_at, updated_at, user_metadata, job_id ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id OR OLD.content_id IS NOT NEW.content_id OR OLD.name_key <> NEW.name_key
    OR OLD.mime_type <> NEW.mime_type OR OLD.size <> NEW.size OR OLD.created_at <> NEW.created_at
    OR OLD.updated_at <> NEW.updated_at OR OLD.user_metadata IS NOT NEW.user_metadata OR OLD.job_id IS NOT NEW.job_id
BEGIN
    INSERT INTO asset_changes (asset_id) VALUES (NEW.id);
END;
CREATE TRIGGER assets_changes_delete AFTER DELETE ON assets BEGIN
    INSERT INTO asset_changes (asset_id) VALUES (OLD.id);
END;
CREATE TRIGGER contents_changes_update AFTER UPDATE OF metadata ON contents WHEN OLD.metadata <> NEW.metadata BEGIN
    INSERT INTO asset_changes (asset_id) SELECT id FROM assets WHERE content_id = NEW.id;
END;
CREATE TRIGGER asset_changes_bound AFTER INSERT ON asset_changes WHEN NEW.seq % 1024 = 0 BEGIN
    DELETE FROM asset_changes WHERE seq <= NEW.seq - 65536;
END;
