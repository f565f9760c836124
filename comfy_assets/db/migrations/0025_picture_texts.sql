-- The text that other programs write beside a picture, such as A1111's settings in 00001-1.txt, while the picture's file
-- has none. It is among the sources of the picture's words.

CREATE TABLE asset_texts (
    asset_id     INTEGER PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    source_id    INTEGER NOT NULL,              -- of assets: the text
    key          TEXT    NOT NULL,              -- parameters or description
    document_id  INTEGER NOT NULL               -- of documents
);
CREATE INDEX asset_texts_by_source ON asset_texts (source_id);
CREATE INDEX asset_texts_by_document ON asset_texts (document_id);

-- Texts and the pictures beside them: x.txt and x.png, but not x.preview.png.
CREATE VIEW pictures_of_texts AS
SELECT p.id AS asset_id, t.id AS source_id, c.key, c.document_id
FROM files t
CROSS JOIN assets a ON a.id = t.id
CROSS JOIN content_documents c ON c.content_id = a.content_id AND c.key IN ('parameters', 'description')
CROSS JOIN files p ON p.folder_id = t.folder_id
    AND p.name > substr(t.name, 1, length(t.name) - 3) AND p.name < substr(t.name, 1, length(t.name) - 4) || '/'
CROSS JOIN assets b ON b.id = p.id
WHERE t.name GLOB '*.txt' AND instr(substr(p.name, length(t.name) - 2), '.') = 0
    AND (b.mime_type GLOB 'image/*' OR b.mime_type GLOB 'video/*')
    -- A deleted text is hidden. Users are kept apart.
    AND (SELECT owner FROM tag_sets WHERE id = a.tag_set_id AND hidden = 0)
        = (SELECT owner FROM tag_sets WHERE id = b.tag_set_id)
    AND NOT EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = b.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );

INSERT INTO asset_texts SELECT v.* FROM files f CROSS JOIN pictures_of_texts v ON v.source_id = f.id
WHERE f.name GLOB '*.txt';

-- A text is linked when the later one of the two files is read, and follows neither of them when that is moved alone:
-- it still says how the picture was made. A text that is moved or read anew is linked anew.
-- The condition is cheap, as nearly all files that are read have no text beside them.
CREATE TRIGGER assets_text_update AFTER UPDATE OF content_id ON assets
WHEN OLD.content_id IS NOT NEW.content_id AND NEW.content_id IS NOT NULL AND (
    NEW.mime_type GLOB 'text/*' OR EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = NEW.id) OR EXISTS (
        SELECT 1 FROM files p CROSS JOIN files t
        ON t.folder_id = p.folder_id AND t.name = rtrim(p.name, replace(p.name, '.', '')) || 'txt' WHERE p.id = NEW.id
    )
) BEGIN
    DELETE FROM asset_texts WHERE source_id = NEW.id;
    DELETE FROM asset_texts WHERE asset_id = NEW.id AND EXISTS (
        SELECT 1 FROM content_documents
        WHERE content_id = NEW.content_id AND key IN ('prompt', 'workflow', 'parameters', 'generation')
    );
    INSERT INTO asset_texts SELECT v.* FROM pictures_of_texts v
    WHERE v.source_id = NEW.id AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
    INSERT INTO asset_texts SELECT v.* FROM files p
    CROSS JOIN files t ON t.folder_id = p.folder_id AND t.name = rtrim(p.name, replace(p.name, '.', '')) || 'txt'
    CROSS JOIN pictures_of_texts v ON v.source_id = t.id AND v.asset_id = p.id
    WHERE p.id = NEW.id AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = p.id);
END;
CREATE TRIGGER files_text_update AFTER UPDATE OF folder_id, name ON files WHEN NEW.name GLOB '*.txt' BEGIN
    INSERT INTO asset_texts SELECT v.* FROM pictures_of_texts v
    WHERE v.source_id = NEW.id AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
END;
CREATE TRIGGER assets_text_hide AFTER UPDATE OF tag_set_id ON assets
WHEN OLD.mime_type GLOB 'text/*' AND (SELECT hidden FROM tag_sets WHERE id = OLD.tag_set_id)
    <> (SELECT hidden FROM tag_sets WHERE id = NEW.tag_set_id)
BEGIN
    DELETE FROM asset_texts WHERE source_id = NEW.id;
    INSERT INTO asset_texts SELECT v.* FROM pictures_of_texts v
    WHERE v.source_id = NEW.id AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
END;
CREATE TRIGGER content_documents_graph_insert AFTER INSERT ON content_documents
WHEN NEW.key IN ('prompt', 'workflow', 'parameters', 'generation', 'description')
    AND EXISTS (SELECT 1 FROM assets WHERE content_id = NEW.content_id)
BEGIN
    DELETE FROM asset_graphs WHERE NEW.key <> 'description'
        AND asset_id IN (SELECT id FROM assets WHERE content_id = NEW.content_id);
    DELETE FROM asset_texts WHERE NEW.key <> 'description'
        AND asset_id IN (SELECT id FROM assets WHERE content_id = NEW.content_id);
    INSERT INTO asset_texts SELECT v.* FROM assets a CROSS JOIN pictures_of_texts v ON v.source_id = a.id
    WHERE a.content_id = NEW.content_id AND a.mime_type GLOB 'text/*'
        AND NOT EXISTS (SELECT 1 FROM asset_texts WHERE asset_id = v.asset_id);
END;
CREATE TRIGGER content_documents_text_delete AFTER DELETE ON content_documents
WHEN OLD.key IN ('parameters', 'description') BEGIN
    DELETE FROM asset_texts WHERE document_id = OLD.document_id
        AND source_id IN (SELECT id FROM assets WHERE content_id = OLD.content_id);
END;
