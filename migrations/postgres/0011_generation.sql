-- Releases of different generations never run beside each other. 0.2 has none, and no row without one is accepted: its
-- instances cannot renew their leases from here on, and lose the raids that they own.
TRUNCATE instances;
ALTER TABLE instances ADD COLUMN generation integer NOT NULL;
-- How long the lease lasts from each renewal.
ALTER TABLE instances ADD COLUMN lease_ms bigint NOT NULL;
UPDATE raids SET owner = NULL, epoch = epoch + 1 WHERE owner IS NOT NULL;

-- When a member joined last; 0 if that was before this release. The index answers "the members of a raid, by joining".
ALTER TABLE raid_members ADD COLUMN joined_at bigint NOT NULL DEFAULT 0;
CREATE INDEX raid_members_raid ON raid_members (raid_id, joined_at, player) WHERE member;

-- The leader of each open raid. One that its leader created has a slot among theirs, so that no two creations at the same
-- time both take the last one.
ALTER TABLE raids ADD COLUMN leader bigint;
ALTER TABLE raids ADD COLUMN leader_slot integer;
UPDATE raids SET leader = (
    SELECT (e.data ->> 'player')::bigint FROM raid_events e
    WHERE e.born = raids.born AND e.raid_id = raids.id
        AND (e.kind = 'leader_changed' OR e.kind = 'member_joined' AND e.data ->> 'role' = 'leader')
    ORDER BY e.seq DESC LIMIT 1
) WHERE status IN ('recruiting', 'active');
CREATE UNIQUE INDEX raids_led ON raids (leader, leader_slot) WHERE leader IS NOT NULL;
