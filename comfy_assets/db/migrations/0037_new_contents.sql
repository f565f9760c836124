-- The documents of contents that no asset has yet, as of all that a scan reads, cost half of their trigger: it compares
-- keys, for which SQLite makes a list for each row, only where there is an asset.
DROP TRIGGER content_documents_graph_insert;
CREATE TRIGGER content_documents_graph_insert AFTER INSERT ON content_documents
WHEN EXISTS (SELECT 1 FROM assets WHERE content_id = NEW.content_id)
    AND NEW.key IN ('prompt', 'workflow', 'parameters', 'generation', 'description')
BEGIN
    DELETE FROM asset_graphs WHERE NEW.key <> 'description'
        AND asset_id IN (SELECT id FROM assets WHERE content_id = NEW.content_id);
    DELETE FROM asset_texts WHERE NEW.key <> 'description'
        AND asset_id IN (SELECT id FROM assets WHERE content_id = NEW.content_id);
    INSERT INTO asset_texts SELECT v.* FROM assets a CROSS JOIN pictures_of_texts v ON v.source_id = a.id
    WHERE a.content_id = NEW.content_id AND a.mime_type GLOB 'text/*'
        AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
END;
