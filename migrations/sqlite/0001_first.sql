-- Everything that Raidhall keeps, for a single instance.
--
-- Times are Unix milliseconds. Tables are STRICT, so that a number too large for an integer is refused, not rounded.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The name of this history of the database, made with it and changed by every restore.
INSERT INTO meta (key, value) VALUES ('lineage', lower(hex(randomblob(16))));

-- Raid ids up to this one have been given out.
CREATE TABLE raid_ids (
    reserved INTEGER NOT NULL
) STRICT;

INSERT INTO raid_ids (reserved) VALUES (0);

-- Who serves raids. Each instance renews its own row every second; a row that is missing or has run out is nobody.
CREATE TABLE instances (
    id          BLOB    PRIMARY KEY,
    ws_url      TEXT    NOT NULL,
    release     TEXT    NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One narrow row per raid, and no index on a column that every commit changes.
CREATE TABLE raids (
    id              INTEGER PRIMARY KEY,
    born            INTEGER NOT NULL, -- year * 100 + month of creation, UTC, as in the ledger
    title           TEXT    NOT NULL,
    invite_code     TEXT    NOT NULL UNIQUE,
    create_key      BLOB    UNIQUE,
    target_xp       INTEGER NOT NULL,
    target_tasks    INTEGER NOT NULL,
    time_limit_secs INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('recruiting', 'active', 'completed', 'failed')),
    deadline        INTEGER,          -- while active
    current_xp      INTEGER NOT NULL,
    current_tasks   INTEGER NOT NULL,
    ended_at        INTEGER,
    owner           BLOB,             -- the instance that may write it, while its lease lives
    epoch           INTEGER NOT NULL, -- how often it has been claimed: the fencing token
    last_seq        INTEGER NOT NULL
) STRICT;

CREATE INDEX raids_due ON raids (deadline, id) WHERE deadline IS NOT NULL;
CREATE INDEX raids_owned ON raids (owner) WHERE owner IS NOT NULL;

-- The ledger. Append-only: positions follow the order of commits, which makes them the feed of all raids' events.
CREATE TABLE raid_events (
    position INTEGER PRIMARY KEY,
    born     INTEGER NOT NULL,
    raid_id  INTEGER NOT NULL,
    seq      INTEGER NOT NULL, -- from 1 without a hole
    at       INTEGER NOT NULL,
    "by"     INTEGER,          -- the acting player
    player   INTEGER,          -- who earned
    xp       INTEGER,          -- what they earned
    version  INTEGER NOT NULL, -- of the form of data
    kind     TEXT    NOT NULL,
    op_key   BLOB,             -- on the last event of a command that carried an idempotency key
    data     TEXT    NOT NULL, -- JSON
    UNIQUE (born, raid_id, seq)
) STRICT;

CREATE UNIQUE INDEX raid_events_op ON raid_events (born, raid_id, op_key) WHERE op_key IS NOT NULL;

CREATE VIEW raid_contributions AS
SELECT born, raid_id, seq, at, player, xp,
       CASE kind WHEN 'contributed' THEN data ->> 'kind' ELSE 'task_complete' END AS kind,
       data ->> 'task' AS task,
       data ->> 'note' AS note
FROM raid_events
WHERE player IS NOT NULL;

-- The newest state that was kept of a raid, in the rules' versioned form.
CREATE TABLE raid_snapshots (
    raid_id INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL,
    state   BLOB    NOT NULL
) STRICT;

-- Who is in a raid now. The key also answers "my raids, newest first".
CREATE TABLE raid_members (
    player  INTEGER NOT NULL,
    raid_id INTEGER NOT NULL,
    PRIMARY KEY (player, raid_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE players (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,
    xp          INTEGER NOT NULL DEFAULT 0,
    tasks       INTEGER NOT NULL DEFAULT 0,
    raids_won   INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    external_id TEXT    UNIQUE -- in the host app
) STRICT;

-- One row per sign-in. Tokens are kept as SHA-256 only. A family that was revoked is gone.
CREATE TABLE refresh_families (
    id         BLOB    PRIMARY KEY,
    player     INTEGER NOT NULL REFERENCES players (id),
    current    BLOB    NOT NULL,
    previous   BLOB,
    rotated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);
CREATE INDEX refresh_families_player ON refresh_families (player);
