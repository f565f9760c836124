-- Search covers folders, media types, and the graph of the job that made a file which carries none. All that the words
-- of an asset come from is one row of the view below. Whatever changes any of it first keeps the row in `search_stale`:
-- SQLite takes an asset out of an index only by exactly the words that it was put in with.

-- The graph of the job that made an asset, while the asset's file has none of its own. It outlives the job.
CREATE TABLE asset_graphs (
    asset_id     INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    document_id  INTEGER NOT NULL               -- of documents
);
CREATE INDEX asset_graphs_by_document ON asset_graphs (document_id);
INSERT INTO asset_graphs
SELECT a.id, r.graph_id FROM assets a JOIN jobs j ON j.uuid = a.job_id JOIN job_records r ON r.job_id = j.id
WHERE a.job_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM content_documents
    WHERE content_id = a.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
);

CREATE VIEW search_sources AS
SELECT a.id AS asset_id, a.name_key, CASE s.hidden WHEN 0 THEN l.tags END AS tags, a.content_id,
    coalesce((SELECT d.logical FROM files f JOIN folders d ON d.id = f.folder_id WHERE f.id = a.id), '') AS folder,
    a.mime_type, (SELECT document_id FROM asset_graphs WHERE asset_id = a.id) AS graph_id,
    (SELECT metadata FROM contents WHERE id = a.content_id) AS metadata,
    (SELECT json_group_array(json_array(key, document_id)) FROM content_documents WHERE content_id = a.content_id)
        AS documents,
    a.preview_id IS NOT NULL AS has_preview
FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id;

DROP TRIGGER assets_search_update;
DROP TRIGGER asset_tags_search_insert;
DROP TRIGGER asset_tags_search_delete;
DROP TRIGGER assets_search_end;
DROP TRIGGER contents_search_update;
DROP TABLE search_stale;
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
    has_preview INTEGER NOT NULL            -- 1: a preview was chosen for it
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
CREATE TRIGGER files_search_insert BEFORE INSERT ON files
WHEN NEW.id <= (SELECT indexed_upto FROM search_state) BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources
    WHERE asset_id = NEW.id AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = NEW.id);
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

-- SQLite removes what refers to an asset before AFTER triggers run, when its set can no longer be asked for.
CREATE TRIGGER assets_search_end BEFORE DELETE ON assets
WHEN OLD.id <= (SELECT indexed_upto FROM search_state)
    AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = OLD.id)
BEGIN
    INSERT INTO search_stale SELECT * FROM search_sources WHERE asset_id = OLD.id;
    DELETE FROM asset_tags WHERE asset_id = OLD.id;
END;

-- A newer reader finds other documents and facts in a content.
CREATE TRIGGER content_documents_search_insert BEFORE INSERT ON content_documents
WHEN EXISTS (
    SELECT 1 FROM assets WHERE content_id = NEW.content_id AND id <= (SELECT indexed_upto FROM search_state)
) BEGIN
    INSERT INTO search_stale
    SELECT s.* FROM assets a CROSS JOIN search_sources s ON s.asset_id = a.id
    WHERE a.content_id = NEW.content_id AND a.id <= (SELECT indexed_upto FROM search_state)
        AND NOT EXISTS (SELECT 1 FROM search_stale WHERE asset_id = a.id);
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

-- The graph of its job is linked to an asset whichever of the two is recorded first, and until its file shows its own.
CREATE TRIGGER assets_graph_insert AFTER INSERT ON assets WHEN NEW.job_id IS NOT NULL BEGIN
    INSERT INTO asset_graphs
    SELECT NEW.id, r.graph_id FROM jobs j JOIN job_records r ON r.job_id = j.id
    WHERE j.uuid = NEW.job_id AND NOT EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = NEW.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );
END;
CREATE TRIGGER assets_graph_update AFTER UPDATE OF job_id, content_id ON assets
WHEN (OLD.job_id IS NOT NEW.job_id OR OLD.content_id IS NOT NEW.content_id)
    AND (NEW.job_id IS NOT NULL OR EXISTS (SELECT 1 FROM asset_graphs WHERE asset_id = NEW.id))
BEGIN
    -- A job that was removed meanwhile leaves the graph as it is.
    DELETE FROM asset_graphs WHERE asset_id = NEW.id AND (
        OLD.job_id IS NOT NEW.job_id OR EXISTS (
            SELECT 1 FROM content_documents
            WHERE content_id = NEW.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
        )
    );
    INSERT INTO asset_graphs
    SELECT NEW.id, r.graph_id FROM jobs j JOIN job_records r ON r.job_id = j.id
    WHERE j.uuid = NEW.job_id AND NOT EXISTS (SELECT 1 FROM asset_graphs WHERE asset_id = NEW.id) AND NOT EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = NEW.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );
END;
CREATE TRIGGER job_records_graph_insert AFTER INSERT ON job_records BEGIN
    DELETE FROM asset_graphs WHERE asset_id IN (
        SELECT a.id FROM jobs j JOIN assets a ON a.job_id = j.uuid WHERE j.id = NEW.job_id
    );
    INSERT INTO asset_graphs
    SELECT a.id, NEW.graph_id FROM jobs j JOIN assets a ON a.job_id = j.uuid
    WHERE j.id = NEW.job_id AND NOT EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = a.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );
END;
CREATE TRIGGER content_documents_graph_insert AFTER INSERT ON content_documents
WHEN NEW.key IN ('prompt', 'workflow', 'parameters', 'generation') BEGIN
    DELETE FROM asset_graphs WHERE asset_id IN (SELECT id FROM assets WHERE content_id = NEW.content_id);
END;

-- Few assets have metadata of a user: those with stars are found among them.
CREATE INDEX assets_by_rating ON assets (json_extract(user_metadata, '$.rating')) WHERE user_metadata IS NOT NULL;
