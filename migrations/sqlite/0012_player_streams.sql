-- The numbered history of each player.
CREATE TABLE player_streams (
    player    INTEGER PRIMARY KEY,
    last_seq  INTEGER NOT NULL,
    state     BLOB    NOT NULL,    -- the rules' state at state_seq
    state_seq INTEGER NOT NULL,
    due_at    INTEGER              -- when something is due for the player's streak, if it has one
) STRICT;

CREATE INDEX player_streams_due ON player_streams (due_at, player) WHERE due_at IS NOT NULL;

CREATE TABLE player_events (
    player     INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    op_key     BLOB,
    cause_raid INTEGER,            -- the raid's event behind it, if there is one
    cause_seq  INTEGER,
    data       TEXT    NOT NULL,
    PRIMARY KEY (player, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX player_events_op ON player_events (player, op_key) WHERE op_key IS NOT NULL;
