-- Releases of different generations never run beside each other. 0.2 has none, and no row without one is accepted: its
-- instances cannot renew their leases from here on, and lose the raids that they own.
TRUNCATE instances;
ALTER TABLE instances ADD COLUMN generation integer NOT NULL;
-- How long the lease lasts from each renewal.
ALTER TABLE instances ADD COLUMN lease_ms bigint NOT NULL;
UPDATE raids SET owner = NULL, epoch = epoch + 1 WHERE owner IS NOT NULL;
