-- The projector's place in the feed, from which raids' events take effect on players' streams. There is one row; the
-- projector begins at the feed's start.
CREATE TABLE projector (
    id                 INTEGER PRIMARY KEY CHECK (id = 1),
    place_commit       INTEGER NOT NULL,
    place_raid         INTEGER NOT NULL,
    place_seq          INTEGER NOT NULL,
    owner              BLOB,             -- the instance that projects, while its lease lives
    boards_final_until INTEGER NOT NULL  -- windows of leaderboards that closed up to then are final
) STRICT;

INSERT INTO projector VALUES (1, 0, 0, 0, NULL, 0);

-- Events of raids whose effect on a player could not be computed or written.
CREATE TABLE projector_faults (
    player    INTEGER NOT NULL,
    raid_id   INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    error     TEXT    NOT NULL,    -- of the latest attempt
    failed_at INTEGER NOT NULL,    -- when the first attempt failed
    PRIMARY KEY (player, raid_id, seq)
) STRICT, WITHOUT ROWID;
