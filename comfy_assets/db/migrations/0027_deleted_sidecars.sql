-- Files beside a model belong to it only while both are deleted, or none: links depend on what is deleted.

CREATE TRIGGER trash_sidecars_insert AFTER INSERT ON trash BEGIN
    INSERT OR IGNORE INTO sidecar_folders
    SELECT d.id FROM files f JOIN folders d ON d.id = f.folder_id WHERE f.id = NEW.asset_id AND d.kind = 'models';
END;
CREATE TRIGGER trash_sidecars_delete AFTER DELETE ON trash BEGIN
    INSERT OR IGNORE INTO sidecar_folders
    SELECT d.id FROM files f JOIN folders d ON d.id = f.folder_id WHERE f.id = OLD.asset_id AND d.kind = 'models';
END;
INSERT OR IGNORE INTO sidecar_folders SELECT id FROM folders WHERE kind = 'models';
