-- The players' scores on leaderboards: the XP of raids that counted in a window. The order of a leaderboard is that of
-- board_scores_order.
CREATE TABLE board_scores (
    board        text    NOT NULL,
    number       bigint  NOT NULL,  -- of the window
    player       bigint  NOT NULL,
    score        bigint  NOT NULL,
    reached_at   bigint  NOT NULL,  -- when the score was reached, by the raid's event
    reached_raid bigint  NOT NULL,  -- the event that it was reached with
    reached_seq  bigint  NOT NULL,
    is_public    boolean NOT NULL,  -- whether the player's setting lets others see it
    is_banned    boolean NOT NULL,  -- whether the player is banned
    is_removed   boolean NOT NULL,  -- whether an operator removed it
    is_listed    boolean NOT NULL GENERATED ALWAYS AS (is_public AND NOT is_banned AND NOT is_removed) STORED,
    PRIMARY KEY (board, number, player)
);

CREATE INDEX board_scores_order ON board_scores
    (board, number, score DESC, reached_at, reached_raid, reached_seq, player) WHERE is_listed;
CREATE INDEX board_scores_player ON board_scores (player, board, number);

-- How many listed players have a score, by the hour in which they reached it: what ranks are counted from.
CREATE TABLE board_counts (
    board   text   NOT NULL,
    number  bigint NOT NULL,
    score   bigint NOT NULL,
    hour    bigint NOT NULL,        -- reached_at / 3600000
    players bigint NOT NULL,
    PRIMARY KEY (board, number, score, hour)
);

CREATE INDEX board_counts_empty ON board_counts (board, number, score, hour) WHERE players = 0;

-- The sums of board_counts over 256 scores each.
CREATE TABLE board_sums (
    board   text   NOT NULL,
    number  bigint NOT NULL,
    bucket  bigint NOT NULL,        -- score / 256
    players bigint NOT NULL,
    PRIMARY KEY (board, number, bucket)
);

-- Scores that begin are hidden if the player is banned: appends lock the player's row, and so see a ban that was set
-- meanwhile.
ALTER TABLE players ADD COLUMN is_banned boolean NOT NULL DEFAULT false;
UPDATE players SET is_banned = true WHERE id IN (SELECT player FROM bans);

-- Windows that closed earlier have no scores.
INSERT INTO meta (key, value)
VALUES ('boards_since', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text);
