-- How far each webhook endpoint has got in the feed.
CREATE TABLE webhook_endpoints (
    name         text   PRIMARY KEY,
    lineage      text   NOT NULL,
    place_commit bigint NOT NULL,
    place_raid   bigint NOT NULL,
    place_seq    bigint NOT NULL,
    owner        uuid,             -- the instance that delivers, while its lease lives
    paused       text              -- why nothing is sent
);

-- What an endpoint did not take. The event is in the ledger.
CREATE TABLE webhook_deliveries (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint        text    NOT NULL,
    raid_id         bigint  NOT NULL,
    seq             bigint  NOT NULL,
    attempts        integer NOT NULL,
    next_at         bigint,          -- dead without
    error           text    NOT NULL,
    first_failed_at bigint  NOT NULL,
    UNIQUE (endpoint, raid_id, seq)
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (endpoint, id) WHERE next_at IS NULL;
