-- The definitions of progression, in the order in which they came into force. The newest are in force for what happens now.
CREATE TABLE progression_definitions (
    number     INTEGER PRIMARY KEY,  -- from 1 without a hole
    hash       BLOB    NOT NULL,     -- SHA-256 of body
    body       TEXT    NOT NULL,     -- TOML
    applied_at INTEGER NOT NULL
) STRICT;

-- The number of the definitions in force when the event was committed; the first ones if null.
ALTER TABLE raid_events ADD COLUMN definitions INTEGER;
