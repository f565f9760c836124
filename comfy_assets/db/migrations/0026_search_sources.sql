-- Search covers folders, media types, the graph of the job that made a file which carries none, the text beside a
-- picture and the descriptions beside a model. All that the words of an asset come from is one row of the view below.
-- Whatever changes any of it first keeps the row in `search_stale`: SQLite takes an asset out of an index only by exactly
-- the words that it was put in with.

DROP TRIGGER assets_search_update;
DROP TRIGGER asset_tags_search_insert;
DROP TRIGGER asset_tags_search_delete;
DROP TRIGGER assets_search_end;
DROP TRIGGER contents_search_update;
DROP TABLE search_stale;

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

CREATE TABLE search_stale (
    asset_id    INTEGER PRIMARY KEY,
    name_key    TEXT    NOT NULL,
    tags        TEXT,                       -- JSON array; null: it was deleted, so that the indexes do not have it
    content_id  INTEGER,
    folder      TEXT    NOT NULL,           -- the logical path, "" without a file
    mime_type   TEXT    NOT NULL,
    graph_id    INTEGER,                    -- a document: the graph of the job that made it
    metadata    TEXT,                       -- of the content, JSON object
    documents   TEXT    NOT NULL,           -- of the content, JSON array of [key, id]
    has_preview INTEGER NOT NULL,           -- 1: a preview was chosen for it
    sidecars    TEXT    NOT NULL            -- JSON array of [metadata, documents]: descriptions beside a model
);
UPDATE search_state SET indexed_upto = 0, rules = '';

-- Whether content is missing is not indexed: it comes and goes for whole drives.
CREATE TRIGGER assets_search_update BEFORE UPDATE OF name_key, tag_set_id, content_id, mime_type, preview_id ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
    AND (
        OLD.name_key <> NEW.name_key OR OLD.content_id IS NOT NEW.content_id OR OLD.mime_type <> NEW.mime_type
        OR (OLD.preview_id IS NULL) <> (NEW.preview_id IS NULL)
        OR (SELECT hidden || tags FROM tag_sets WHERE id = OLD.tag_set_id)
        <> (SELECT hidden || tags FROM tag_sets WHERE id = NEW.tag_set_id)
    )
BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
END;
CREATE TRIGGER asset_tags_search_insert BEFORE INSERT ON asset_tags
WHEN NEW.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = NEW.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.asset_id);
END;
CREATE TRIGGER asset_tags_search_delete BEFORE DELETE ON asset_tags
WHEN OLD.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.asset_id);
END;
CREATE TRIGGER files_search_update BEFORE UPDATE OF folder_id ON files
WHEN OLD.folder_id <> NEW.folder_id AND OLD.id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
END;
CREATE TRIGGER files_search_delete BEFORE DELETE ON files
WHEN OLD.id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id);
END;
CREATE TRIGGER folders_search_update BEFORE UPDATE OF logical ON folders WHEN OLD.logical <> NEW.logical BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM files f CROSS JOIN search_sources s ON s.asset_id = f.id
    WHERE f.folder_id = OLD.id AND f.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = f.id);
END;
CREATE TRIGGER asset_graphs_search_insert BEFORE INSERT ON asset_graphs
WHEN NEW.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = NEW.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.asset_id);
END;
CREATE TRIGGER asset_graphs_search_delete BEFORE DELETE ON asset_graphs
WHEN OLD.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.asset_id);
END;
CREATE TRIGGER asset_texts_search_insert BEFORE INSERT ON asset_texts
WHEN NEW.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = NEW.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.asset_id);
END;
CREATE TRIGGER asset_texts_search_delete BEFORE DELETE ON asset_texts
WHEN OLD.asset_id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = OLD.asset_id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.asset_id);
END;

-- A newer reader finds other documents and facts in a content. Contents that are new have no assets yet.
CREATE TRIGGER content_documents_search_insert BEFORE INSERT ON content_documents
WHEN EXISTS (SELECT 1 FROM assets WHERE content_id = NEW.content_id) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN search_sources s ON s.asset_id = a.id
    WHERE a.content_id = NEW.content_id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN sidecars k ON k.asset_id = a.id
    CROSS JOIN search_sources s ON s.asset_id = k.model_id
    WHERE a.content_id = NEW.content_id AND k.model_id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = k.model_id) GROUP BY k.model_id;
END;
CREATE TRIGGER content_documents_search_delete BEFORE DELETE ON content_documents
WHEN EXISTS (
    SELECT 1 FROM assets WHERE content_id = OLD.content_id AND id <= (SELECT indexed_upto FROM search_state)
) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN search_sources s ON s.asset_id = a.id
    WHERE a.content_id = OLD.content_id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
END;
CREATE TRIGGER content_documents_search_update BEFORE UPDATE OF document_id ON content_documents
WHEN OLD.document_id <> NEW.document_id AND EXISTS (
    SELECT 1 FROM assets WHERE content_id = OLD.content_id AND id <= (SELECT indexed_upto FROM search_state)
) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN search_sources s ON s.asset_id = a.id
    WHERE a.content_id = OLD.content_id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
END;
CREATE TRIGGER contents_search_update BEFORE UPDATE OF metadata ON contents
WHEN OLD.metadata <> NEW.metadata AND EXISTS (
    SELECT 1 FROM assets WHERE content_id = OLD.id AND id <= (SELECT indexed_upto FROM search_state)
) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN search_sources s ON s.asset_id = a.id
    WHERE a.content_id = OLD.id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
END;

-- A model is found by what the descriptions beside it say.
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
