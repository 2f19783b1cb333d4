// What the profile page shows of the player's state. The browser keeps no more for a page without a
// network.
import type { PlayerState } from '@raidhall/client';
import { fits } from '../shape';

export type ShownProfile = ReturnType<typeof shownOf>;

export const shownOf = ({ id, name, level, level_xp, next_level_xp, coins, xp, earned_xp, raids_won, raids_played, tasks, equipped, items, skills, achievements, counters, streak }: PlayerState) =>
  ({ id, name, level, level_xp, next_level_xp, coins, xp, earned_xp, raids_won, raids_played, tasks, equipped, items, skills, achievements, counters, streak });

const SHAPE = {
  id: 'number', name: 'string', level: 'number', level_xp: 'number', next_level_xp: 'number', coins: 'number', xp: 'number', earned_xp: 'number', raids_won: 'number',
  raids_played: 'number', tasks: 'number', equipped: {}, items: ['string'], skills: [{ skill: 'string', xp: 'number', level: 'number' }],
  achievements: [{ id: 'string', tier: 'number' }], counters: [{ id: 'string', value: 'number', goal: 'number|null' }],
  streak: { days: 'number', best: 'number', freezes: 'number', lapses_at: 'number|null', repairable_from: 'number|null', repairable_until: 'number|null' },
} as const;

export const isShownProfile = (value: unknown): value is ShownProfile => fits(value, SHAPE);
