-- Inserting thousands of files runs one trigger for each row of each table, which ends at once: what triggers do for a
-- single row, `files.insert_new` does for all in a few statements. What a removed asset or file leaves to do is in one
-- trigger each, too: most of them leave nothing.

CREATE TRIGGER assets_insert AFTER INSERT ON assets WHEN NEW.id < (SELECT first_id FROM counted_apart) BEGIN
    UPDATE tag_sets SET asset_count = asset_count + 1 WHERE id = NEW.tag_set_id;
    INSERT INTO folder_counts
    SELECT node_id, NEW.tag_set_id, is_direct, 1 FROM folder_ancestors WHERE folder_id = NEW.folder_id
    ON CONFLICT DO UPDATE SET direct = direct + excluded.direct, total = total + excluded.total;
    INSERT INTO asset_graphs
    SELECT NEW.id, r.graph_id FROM jobs j JOIN job_records r ON r.job_id = j.id
    WHERE j.uuid = NEW.job_id AND NOT EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = NEW.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );
END;

-- The asset may have been there before: without a file it had no folder among its words.
CREATE TRIGGER files_insert AFTER INSERT ON files WHEN NEW.id < (SELECT first_id FROM counted_apart) BEGIN
    INSERT INTO search_stale (
        asset_id, name_key, tags, content_id, folder, mime_type, graph_id, metadata, documents, has_preview, sidecars
    )
    SELECT asset_id, name_key, tags, content_id, '', mime_type, graph_id, metadata, documents, has_preview, sidecars
    FROM search_sources
    WHERE asset_id = NEW.id AND NEW.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.id);
    UPDATE assets SET folder_id = NEW.folder_id WHERE id = NEW.id AND folder_id IS NOT NEW.folder_id;
    INSERT INTO asset_texts SELECT v.* FROM pictures_of_texts v
    WHERE NEW.name GLOB '*.txt' AND v.source_id = NEW.id
        AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
END;

DROP TRIGGER assets_tags_end;
-- SQLite removes what refers to an asset before AFTER triggers run, when its set and its links can no longer be asked
-- for.
CREATE TRIGGER assets_end BEFORE DELETE ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state) OR EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = OLD.id)
    OR EXISTS (SELECT 1 FROM asset_texts WHERE source_id = OLD.id)
    OR EXISTS (SELECT 1 FROM sidecars WHERE asset_id = OLD.id)
BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM sidecars k CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE k.asset_id = OLD.id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id);
    INSERT INTO search_stale
    SELECT * FROM search_sources
    WHERE asset_id = OLD.id AND OLD.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
    DELETE FROM asset_tags WHERE asset_id = OLD.id;
    DELETE FROM asset_texts WHERE source_id = OLD.id;
END;

DROP TRIGGER files_fingerprint_update;
DROP TRIGGER files_fingerprint_delete;
CREATE TRIGGER files_fingerprint_update
AFTER UPDATE OF folder_id, name, size, mtime_ns, inode, missing ON files BEGIN
    UPDATE folders SET fingerprint = NULL WHERE id IN (OLD.folder_id, NEW.folder_id) AND fingerprint IS NOT NULL;
END;
CREATE TRIGGER files_delete AFTER DELETE ON files BEGIN
    UPDATE folders SET fingerprint = NULL WHERE id = OLD.folder_id AND fingerprint IS NOT NULL;
    INSERT OR IGNORE INTO sidecar_folders SELECT id FROM folders WHERE id = OLD.folder_id AND kind = 'models';
    UPDATE assets SET folder_id = NULL WHERE id = OLD.id;
    DELETE FROM asset_texts WHERE OLD.name GLOB '*.txt' AND source_id = OLD.id;
END;
