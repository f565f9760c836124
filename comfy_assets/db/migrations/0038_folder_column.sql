-- Servers keep the folders of all assets in memory, too: for lists of large folders that other conditions narrow.
DROP TRIGGER assets_changes_update;
CREATE TRIGGER assets_changes_update
AFTER UPDATE OF
    tag_set_id, content_id, name_key, mime_type, size, created_at, updated_at, user_metadata, job_id, folder_id
ON assets
WHEN OLD.tag_set_id <> NEW.tag_set_id OR OLD.content_id IS NOT NEW.content_id OR OLD.name_key <> NEW.name_key
    OR OLD.mime_type <> NEW.mime_type OR OLD.size <> NEW.size OR OLD.created_at <> NEW.created_at
    OR OLD.updated_at <> NEW.updated_at OR OLD.user_metadata IS NOT NEW.user_metadata OR OLD.job_id IS NOT NEW.job_id
    OR OLD.folder_id IS NOT NEW.folder_id
BEGIN
    INSERT INTO asset_changes (asset_id) VALUES (NEW.id);
END;
