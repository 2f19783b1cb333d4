-- The projector's place in the feed, from which raids' events take effect on players' streams. There is one row; the
-- projector begins at the feed's start.
CREATE TABLE projector (
    id                 smallint PRIMARY KEY CHECK (id = 1),
    place_commit       bigint NOT NULL,
    place_raid         bigint NOT NULL,
    place_seq          bigint NOT NULL,
    owner              uuid,             -- the instance that projects, while its lease lives
    boards_final_until bigint NOT NULL   -- windows of leaderboards that closed up to then are final
);

INSERT INTO projector VALUES (1, 0, 0, 0, NULL, 0);

-- Events of raids whose effect on a player could not be computed or written.
CREATE TABLE projector_faults (
    player    bigint NOT NULL,
    raid_id   bigint NOT NULL,
    seq       bigint NOT NULL,
    error     text   NOT NULL,     -- of the latest attempt
    failed_at bigint NOT NULL,     -- when the first attempt failed
    PRIMARY KEY (player, raid_id, seq)
);
