// What the cards of a raid show of a player's progress.
import type { PlayerId, PlayerProfile, PlayerState } from '@raidhall/client';

export type Standing = Pick<PlayerProfile, 'level' | 'frame' | 'streak_days'>;

export type Standings = ReadonlyMap<PlayerId, Standing>;

/** Returns the player's own standing from their stream. A streak that has lapsed has 0 days. */
export function standingIn({ level, equipped, streak }: Pick<PlayerState, 'level' | 'equipped' | 'streak'>, now: number): Standing {
  const isKept = streak.lapses_at !== null && now < streak.lapses_at;
  return { level, frame: equipped.frame ?? null, streak_days: isKept ? streak.days : 0 };
}
