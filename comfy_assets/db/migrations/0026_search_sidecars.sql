-- A model is found by what the descriptions beside it say.

DROP VIEW search_sources;
CREATE VIEW search_sources AS
SELECT a.id AS asset_id, a.name_key, CASE s.hidden WHEN 0 THEN l.tags END AS tags, a.content_id,
    coalesce((SELECT d.logical FROM files f JOIN folders d ON d.id = f.folder_id WHERE f.id = a.id), '') AS folder,
    a.mime_type, (SELECT document_id FROM asset_graphs WHERE asset_id = a.id) AS graph_id,
    (SELECT metadata FROM contents WHERE id = a.content_id) AS metadata,
    (SELECT json_group_array(json_array(key, document_id)) FROM (
        SELECT key, document_id FROM content_documents WHERE content_id = a.content_id
        UNION ALL SELECT key, document_id FROM asset_texts WHERE asset_id = a.id
    )) AS documents,
    a.preview_id IS NOT NULL AS has_preview,
    (
        SELECT json_group_array(json_array(c.metadata, (
            SELECT json_group_array(json_array(key, document_id)) FROM content_documents WHERE content_id = c.id
        )))
        -- From rank 8 on they are pictures.
        FROM sidecars k JOIN assets o ON o.id = k.asset_id JOIN contents c ON c.id = o.content_id
        WHERE k.model_id = a.id AND k.rank < 8
    ) AS sidecars
FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id;

DELETE FROM search_stale;
ALTER TABLE search_stale ADD COLUMN sidecars TEXT NOT NULL DEFAULT '[]';  -- JSON array of [metadata, documents]
UPDATE search_state SET indexed_upto = 0, rules = '';

CREATE TRIGGER sidecars_search_insert BEFORE INSERT ON sidecars
WHEN NEW.model_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = NEW.model_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.model_id);
END;
CREATE TRIGGER sidecars_search_delete BEFORE DELETE ON sidecars
WHEN OLD.model_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.model_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.model_id);
END;
CREATE TRIGGER assets_sidecars_search_update BEFORE UPDATE OF content_id ON assets
WHEN OLD.content_id IS NOT NEW.content_id AND EXISTS (SELECT 1 FROM sidecars WHERE asset_id = OLD.id) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM sidecars k CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE k.asset_id = OLD.id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id);
END;
-- The link goes with the asset only after its row, when what it said can no longer be asked for.
CREATE TRIGGER assets_sidecars_search_delete BEFORE DELETE ON assets
WHEN EXISTS (SELECT 1 FROM sidecars WHERE asset_id = OLD.id) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM sidecars k CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE k.asset_id = OLD.id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id);
END;
CREATE TRIGGER content_documents_sidecars_insert BEFORE INSERT ON content_documents
WHEN EXISTS (SELECT 1 FROM assets a JOIN sidecars k ON k.asset_id = a.id WHERE a.content_id = NEW.content_id) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN sidecars k ON k.asset_id = a.id
    CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE a.content_id = NEW.content_id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id) GROUP BY k.model_id;
END;
CREATE TRIGGER content_documents_sidecars_delete BEFORE DELETE ON content_documents
WHEN EXISTS (SELECT 1 FROM assets a JOIN sidecars k ON k.asset_id = a.id WHERE a.content_id = OLD.content_id) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN sidecars k ON k.asset_id = a.id
    CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE a.content_id = OLD.content_id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id) GROUP BY k.model_id;
END;
CREATE TRIGGER contents_sidecars_search_update BEFORE UPDATE OF metadata ON contents
WHEN OLD.metadata <> NEW.metadata
    AND EXISTS (SELECT 1 FROM assets a JOIN sidecars k ON k.asset_id = a.id WHERE a.content_id = OLD.id)
BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN sidecars k ON k.asset_id = a.id
    CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE a.content_id = OLD.id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id) GROUP BY k.model_id;
END;
