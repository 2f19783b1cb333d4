-- Who may not come in, and what the server has to hear of it.

CREATE TABLE bans (
    player INTEGER PRIMARY KEY REFERENCES players (id),
    reason TEXT    NOT NULL,
    "by"   TEXT    NOT NULL, -- the subject of the operator's token
    at     INTEGER NOT NULL
) STRICT;

-- What changed of whom, in the order of commits. Kept for as long as an instance may need it.
CREATE TABLE notices (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT    NOT NULL CHECK (kind IN ('player', 'family', 'disconnect')),
    player INTEGER,          -- whose ban was set or lifted, or who is to be disconnected
    family BLOB,             -- the sign-in that was ended
    until  INTEGER NOT NULL
) STRICT;

CREATE INDEX notices_until ON notices (until);
