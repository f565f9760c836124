-- Workflows: saved by users, in versions that never change.

-- Times are milliseconds since 1970, UTC. A deleted workflow keeps its row and its versions, so that it can come back.
CREATE TABLE workflows (
    id                      INTEGER PRIMARY KEY,
    uuid                    TEXT    NOT NULL UNIQUE,
    owner                   TEXT    NOT NULL,
    name                    TEXT,                       -- null: none was given
    name_key                TEXT    NOT NULL,           -- the name case-folded, for search and sort
    description             TEXT,
    default_view            TEXT    NOT NULL,           -- workflow or app
    latest_version          INTEGER NOT NULL,
    forked_from_id          TEXT,                       -- ids of a workflow and a version, which may be gone
    forked_from_version_id  TEXT,
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL,
    deleted_at              INTEGER
);
-- Each sort order; view and name so that filtering needs no second look-up.
CREATE INDEX workflows_by_creation ON workflows (owner, created_at, id, default_view, name_key)
WHERE deleted_at IS NULL;
CREATE INDEX workflows_by_update ON workflows (owner, updated_at, id, default_view, name_key) WHERE deleted_at IS NULL;
CREATE INDEX workflows_by_name ON workflows (owner, name_key, id, default_view) WHERE deleted_at IS NULL;
CREATE INDEX workflows_by_deletion ON workflows (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE workflow_versions (
    id           INTEGER PRIMARY KEY,
    uuid         TEXT    NOT NULL UNIQUE,
    workflow_id  INTEGER NOT NULL REFERENCES workflows(id) ON DELETE CASCADE,
    version      INTEGER NOT NULL,                      -- 1, 2, 3 …
    document_id  INTEGER NOT NULL REFERENCES documents(id),
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workflow_id, version)
);
-- Documents that nothing refers to any more are found by this.
CREATE INDEX workflow_versions_by_document ON workflow_versions (document_id);

-- The assets that a version names are those that it uses: kind workflow_version, or deleted_workflow_version while its
-- workflow is deleted, which keeps no asset.
CREATE INDEX asset_uses_by_user ON asset_uses (used_by, kind);

-- How many workflows there are of each kind, so that no list has to count them.
CREATE TABLE workflow_counts (
    owner         TEXT    NOT NULL,
    default_view  TEXT    NOT NULL,
    n             INTEGER NOT NULL,
    PRIMARY KEY (owner, default_view)
) WITHOUT ROWID;
CREATE TRIGGER workflows_count_insert AFTER INSERT ON workflows WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO workflow_counts VALUES (NEW.owner, NEW.default_view, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER workflows_count_delete AFTER DELETE ON workflows WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE workflow_counts SET n = n - 1 WHERE owner = OLD.owner AND default_view = OLD.default_view;
END;
CREATE TRIGGER workflows_count_update AFTER UPDATE OF owner, default_view, deleted_at ON workflows BEGIN
    UPDATE workflow_counts SET n = n - 1
    WHERE OLD.deleted_at IS NULL AND owner = OLD.owner AND default_view = OLD.default_view;
    INSERT INTO workflow_counts SELECT NEW.owner, NEW.default_view, 1 WHERE NEW.deleted_at IS NULL
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
