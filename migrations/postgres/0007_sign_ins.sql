-- A player's sign-ins, for the player who asks what is kept of them.
CREATE INDEX IF NOT EXISTS refresh_families_player ON refresh_families (player);
