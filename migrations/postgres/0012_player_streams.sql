-- The numbered history of each player. A player lives for years, and an op key is unique in all of them, so the events are
-- divided by player and not by time.
CREATE TABLE player_streams (
    player    bigint PRIMARY KEY,
    last_seq  bigint NOT NULL,
    state     bytea  NOT NULL,     -- the rules' state at state_seq
    state_seq bigint NOT NULL,
    due_at    bigint               -- when something is due for the player's streak, if it has one
);

CREATE INDEX player_streams_due ON player_streams (due_at, player) WHERE due_at IS NOT NULL;

CREATE TABLE player_events (
    player     bigint   NOT NULL,
    seq        bigint   NOT NULL,
    at         bigint   NOT NULL,
    kind       text     NOT NULL,
    version    smallint NOT NULL,
    op_key     bytea,
    cause_raid bigint,             -- the raid's event behind it, if there is one
    cause_seq  bigint,
    data       jsonb    NOT NULL,
    PRIMARY KEY (player, seq)
) PARTITION BY HASH (player);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE player_events_%s PARTITION OF player_events FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            part, part);
    END LOOP;
END $$;

CREATE UNIQUE INDEX player_events_op ON player_events (player, op_key) WHERE op_key IS NOT NULL;
