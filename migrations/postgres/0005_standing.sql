-- Who may not come in, and what every instance has to hear of it.

CREATE TABLE bans (
    player bigint PRIMARY KEY REFERENCES players (id),
    reason text   NOT NULL,
    by     text   NOT NULL, -- the subject of the operator's token
    at     bigint NOT NULL
);

-- What changed of whom, for instances to read once a second: everything from the oldest transaction on that was under way
-- at their last look, so that no late commit is missed. Kept for as long as an instance may need it.
CREATE TABLE notices (
    id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx     xid8        NOT NULL DEFAULT pg_current_xact_id(),
    kind   text        NOT NULL CHECK (kind IN ('player', 'family', 'disconnect')),
    player bigint,               -- whose ban was set or lifted, or who is to be disconnected
    family uuid,                 -- the sign-in that was ended
    until  timestamptz NOT NULL
);

CREATE INDEX notices_feed ON notices (tx, id);
CREATE INDEX notices_until ON notices (until);
