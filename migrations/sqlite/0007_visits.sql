-- Whoever was ever in a raid: what a player may ask to be given includes raids that they have left. A trigger fills it, so
-- that the release before this one does so too.
CREATE TABLE raid_visits (
    player  INTEGER NOT NULL,
    raid_id INTEGER NOT NULL,
    PRIMARY KEY (player, raid_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER raid_members_visit AFTER INSERT ON raid_members BEGIN
    INSERT INTO raid_visits (player, raid_id) VALUES (new.player, new.raid_id) ON CONFLICT DO NOTHING;
END;

INSERT INTO raid_visits (player, raid_id)
SELECT DISTINCT data ->> 'player', raid_id FROM raid_events WHERE kind = 'member_joined';
