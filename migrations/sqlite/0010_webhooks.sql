-- How far each webhook endpoint has got in the feed.
CREATE TABLE webhook_endpoints (
    name         TEXT    PRIMARY KEY,
    lineage      TEXT    NOT NULL,
    place_commit INTEGER NOT NULL,
    owner        BLOB,             -- the instance that delivers, while its lease lives
    paused       TEXT              -- why nothing is sent
) STRICT, WITHOUT ROWID;

-- What an endpoint did not take. The event is in the ledger.
CREATE TABLE webhook_deliveries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint        TEXT    NOT NULL,
    raid_id         INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    next_at         INTEGER,         -- dead without
    error           TEXT    NOT NULL,
    first_failed_at INTEGER NOT NULL,
    UNIQUE (endpoint, raid_id, seq)
) STRICT;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (endpoint, id) WHERE next_at IS NULL;
