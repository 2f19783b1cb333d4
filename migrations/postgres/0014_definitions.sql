-- The definitions of progression, in the order in which they came into force. The newest are in force for what happens now.
CREATE TABLE progression_definitions (
    number     integer PRIMARY KEY,  -- from 1 without a hole
    hash       bytea   NOT NULL,     -- SHA-256 of body
    body       text    NOT NULL,     -- TOML
    applied_at bigint  NOT NULL
);

-- The number of the definitions in force when the event was committed; the first ones if null.
ALTER TABLE raid_events ADD COLUMN definitions integer;
