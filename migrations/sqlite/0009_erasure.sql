-- Players who asked to be forgotten.
ALTER TABLE players ADD COLUMN erased_at INTEGER; -- when their account was closed
ALTER TABLE players ADD COLUMN erase_due INTEGER; -- when somebody has to look through their raids, until that is done

CREATE INDEX players_erase_due ON players (erase_due) WHERE erase_due IS NOT NULL;
