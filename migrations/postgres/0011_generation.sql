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
