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

-- It is linked whichever of the two is recorded first, and until the file shows its own. For new assets: `assets_insert`.
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

-- Few assets have metadata of a user: those with stars are found among them.
CREATE INDEX assets_by_rating ON assets (json_extract(user_metadata, '$.rating')) WHERE user_metadata IS NOT NULL;
