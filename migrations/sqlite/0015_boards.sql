-- The players' scores on leaderboards: the XP of raids that counted in a window. The order of a leaderboard is that of
-- board_scores_order.
CREATE TABLE board_scores (
    board        TEXT    NOT NULL,
    number       INTEGER NOT NULL,  -- of the window
    player       INTEGER NOT NULL,
    score        INTEGER NOT NULL,
    reached_at   INTEGER NOT NULL,  -- when the score was reached, by the raid's event
    reached_raid INTEGER NOT NULL,  -- the event that it was reached with
    reached_seq  INTEGER NOT NULL,
    is_public    INTEGER NOT NULL,  -- whether the player's setting lets others see it
    is_banned    INTEGER NOT NULL,  -- whether the player is banned
    is_removed   INTEGER NOT NULL,  -- whether an operator removed it
    is_listed    INTEGER NOT NULL GENERATED ALWAYS AS (is_public AND NOT is_banned AND NOT is_removed) STORED,
    PRIMARY KEY (board, number, player)
) STRICT, WITHOUT ROWID;

CREATE INDEX board_scores_order ON board_scores
    (board, number, score DESC, reached_at, reached_raid, reached_seq, player) WHERE is_listed;
CREATE INDEX board_scores_player ON board_scores (player, board, number);

-- How many listed players have a score, by the hour in which they reached it: what ranks are counted from.
CREATE TABLE board_counts (
    board   TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    score   INTEGER NOT NULL,
    hour    INTEGER NOT NULL,       -- reached_at / 3600000
    players INTEGER NOT NULL,
    PRIMARY KEY (board, number, score, hour)
) STRICT, WITHOUT ROWID;

CREATE INDEX board_counts_empty ON board_counts (board, number, score, hour) WHERE players = 0;

-- The sums of board_counts over 256 scores each.
CREATE TABLE board_sums (
    board   TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    bucket  INTEGER NOT NULL,       -- score / 256
    players INTEGER NOT NULL,
    PRIMARY KEY (board, number, bucket)
) STRICT, WITHOUT ROWID;

-- Windows that closed earlier have no scores.
INSERT INTO meta (key, value) VALUES ('boards_since', CAST(CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS TEXT));
