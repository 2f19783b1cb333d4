-- 0.2 has no generation, and no row without one is accepted, so that 0.2 does not start on this database again. The rows
-- of former processes mean nothing: whoever holds the database's lock deletes them.
DROP TABLE instances;

CREATE TABLE instances (
    id          BLOB    PRIMARY KEY,
    ws_url      TEXT    NOT NULL,
    release     TEXT    NOT NULL,
    lease_until INTEGER NOT NULL,
    -- How long the lease lasts from each renewal.
    lease_ms    INTEGER NOT NULL,
    draining    INTEGER NOT NULL,
    generation  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
