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

-- When a member joined last; 0 if that was before this release. The index answers "the members of a raid, by joining".
ALTER TABLE raid_members ADD COLUMN joined_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX raid_members_raid ON raid_members (raid_id, joined_at, player);

-- The leader of each open raid.
ALTER TABLE raids ADD COLUMN leader INTEGER;
UPDATE raids SET leader = (
    SELECT e.data ->> 'player' FROM raid_events e
    WHERE e.born = raids.born AND e.raid_id = raids.id
        AND (e.kind = 'leader_changed' OR e.kind = 'member_joined' AND e.data ->> 'role' = 'leader')
    ORDER BY e.seq DESC LIMIT 1
) WHERE status IN ('recruiting', 'active');
CREATE INDEX raids_led ON raids (leader) WHERE leader IS NOT NULL;
