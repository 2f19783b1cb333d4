// Which effects an event triggers. Pure, and the same on every player's screen.
import type { PlayerId, RaidEvent, RaidState, TaskId } from '@raidhall/client';

export type Sound = 'gain' | 'fail' | 'claim' | 'start' | 'join' | 'message' | 'victory' | 'defeat' | 'tick' | 'reward';
export type Shake = 'light' | 'medium' | 'heavy';

export interface Moment {
  readonly sound?: Sound;
  /** Vibration pattern for phones: milliseconds on and off, alternating. */
  readonly haptic?: readonly number[];
  readonly gain?: { readonly player: PlayerId; readonly xp: number; readonly task: TaskId | null };
  readonly shake?: Shake;
  readonly celebration?: true;
}

/** The more XP was at stake, the harder the shake. */
export const shakeOf = (xp: number): Shake => (xp >= 200 ? 'heavy' : xp >= 50 ? 'medium' : 'light');

export function momentOf(event: RaidEvent, after: RaidState, me: PlayerId): Moment | null {
  switch (event.type) {
    case 'member_joined':
      return event.data.player === me ? null : { sound: 'join' };
    case 'raid_started':
      return { sound: 'start', haptic: [40, 40, 80] };
    case 'task_claimed':
      return event.data.player === me ? { sound: 'claim', haptic: [15] } : null;
    case 'task_completed': {
      const { player, xp, task } = event.data;
      return { sound: 'gain', gain: { player, xp, task }, haptic: player === me ? [30] : undefined };
    }
    case 'contributed': {
      const { player, xp } = event.data;
      return { sound: 'gain', gain: { player, xp, task: null }, haptic: player === me ? [30] : undefined };
    }
    case 'task_failed': {
      const xp = after.tasks.find(({ id }) => id === event.data.task)?.xp ?? 0;
      return { sound: 'fail', shake: shakeOf(xp), haptic: event.data.player === me ? [80, 30, 80] : [40] };
    }
    case 'said':
      return event.by === me ? null : { sound: 'message' };
    case 'raid_completed':
      return { sound: 'victory', celebration: true, haptic: [60, 40, 60, 40, 200] };
    case 'raid_failed':
      return { sound: 'defeat', shake: 'heavy', haptic: [300] };
    default:
      return null;
  }
}

/** Longest time between two completed tasks of a combo. */
export const COMBO_MS = 3 * 60_000;

/**
 * Returns the length of the current combo, or 0 if the last completed task is more than `COMBO_MS`
 * ago.
 */
export function comboAt(state: RaidState, now: number): number {
  const ends = state.tasks.flatMap(({ ended_at }) => (ended_at === null ? [] : [ended_at])).sort((one, other) => other - one);
  let later = now;
  let chain = 0;
  for (const end of ends) {
    if (later - end > COMBO_MS) break;
    chain++;
    later = end;
  }
  return chain;
}

/**
 * Returns the tension: `tense` in the last five minutes, or last fifth of a short raid, and
 * `critical` in the last fifth of that.
 */
export function tensionAt({ status, deadline, time_limit_secs }: RaidState, now: number): 'calm' | 'tense' | 'critical' {
  if (status !== 'active' || deadline === null) return 'calm';
  const left = deadline - now;
  const span = Math.min(5 * 60_000, time_limit_secs * 200);
  return left > span ? 'calm' : left > span / 5 ? 'tense' : 'critical';
}
