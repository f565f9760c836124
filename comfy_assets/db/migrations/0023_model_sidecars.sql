-- Files beside a model that belong to it: descriptions and pictures. While they do, lists leave them out.
CREATE TABLE sidecars (
    model_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    asset_id  INTEGER NOT NULL REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    rank      INTEGER NOT NULL,             -- of the name, see sidecars.py
    PRIMARY KEY (model_id, asset_id)
) WITHOUT ROWID;
CREATE INDEX sidecars_by_asset ON sidecars (asset_id);

-- Folders of models whose files have changed since they were linked.
CREATE TABLE sidecar_folders (folder_id INTEGER PRIMARY KEY);
INSERT INTO sidecar_folders SELECT id FROM folders WHERE kind = 'models';
-- Insertions are noted by the program, once for a folder: a scan inserts files by the thousand.
CREATE TRIGGER files_sidecars_update AFTER UPDATE OF folder_id, name, missing ON files
WHEN EXISTS (SELECT 1 FROM folders WHERE id IN (OLD.folder_id, NEW.folder_id) AND kind = 'models') BEGIN
    INSERT OR IGNORE INTO sidecar_folders
    SELECT id FROM folders WHERE id IN (OLD.folder_id, NEW.folder_id) AND kind = 'models';
END;

-- Models are filtered by their base model, which few contents state.
CREATE INDEX contents_by_base_model ON contents (json_extract(metadata, '$.base_model'))
WHERE json_extract(metadata, '$.base_model') IS NOT NULL;
CREATE INDEX assets_by_base_model ON assets (json_extract(user_metadata, '$.base_model'))
WHERE json_extract(user_metadata, '$.base_model') IS NOT NULL;
