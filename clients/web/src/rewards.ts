// Decides which rewards are shown. Each event of the player's stream is celebrated once, on one of
// the player's devices. Pure. **What another device has shown is never shown here**, and what no
// device has shown is summed up when the player is back.
import type { CoinsReason, PlayerEvent, Seq, XpSource } from '@raidhall/client';

export type Reward =
  | { readonly kind: 'level'; readonly level: number }
  | { readonly kind: 'achievement'; readonly id: string; readonly tier: number }
  | { readonly kind: 'item'; readonly item: string }
  | { readonly kind: 'streak'; readonly days: number }
  /** XP that counts. `limited` means that some was beyond the day's allowance. */
  | { readonly kind: 'xp'; readonly source: XpSource; readonly note: string | null; readonly limited: boolean; readonly xp: number; readonly times: number }
  | { readonly kind: 'coins'; readonly reason: CoinsReason; readonly note: string | null; readonly coins: number }
  | { readonly kind: 'away'; readonly xp: number; readonly coins: number; readonly level: number | null; readonly achievements: number; readonly items: number }
  | { readonly kind: 'more'; readonly count: number };

interface Entry {
  readonly seq: Seq;
  readonly reward: Reward;
  /** Whether it came while the page was hidden or without a connection. */
  readonly missed: boolean;
}

/** Rewards that this device has not shown yet, and how far the player's devices have shown them. */
export interface Unshown {
  readonly readThrough: Seq;
  readonly entries: readonly Entry[];
}

export type Input =
  /**
   * `live` means that the event was not replayed and that the page is visible, `days` is the length
   * of the streak before it.
   */
  | { readonly type: 'event'; readonly event: PlayerEvent; readonly live: boolean; readonly days: number }
  /** Earlier events that a snapshot covered. */
  | { readonly type: 'missed'; readonly events: readonly PlayerEvent[] }
  /** A device has shown the rewards up to this seq. */
  | { readonly type: 'read'; readonly through: Seq }
  /** The page was hidden before the rewards were shown. */
  | { readonly type: 'hidden' };

/** Most rewards that are kept for a summary, and events that are read for it: the latest ones. */
export const ENTRIES_MAX = 1_000;

export const NOTHING: Unshown = { readThrough: 0, entries: [] };

export function reduce(unshown: Unshown, input: Input): Unshown {
  const { readThrough, entries } = unshown;
  switch (input.type) {
    case 'event': {
      const { event, live, days } = input;
      // The same day again in another zone adds no day.
      if (event.type === 'day_kept' && event.data.days === days) return unshown;
      return { readThrough, entries: withEvents(unshown, [event], !live) };
    }
    case 'missed':
      return { readThrough, entries: withEvents(unshown, input.events, true) };
    case 'read': {
      if (input.through <= readThrough) return unshown;
      return { readThrough: input.through, entries: entries.filter(({ seq }) => seq > input.through) };
    }
    case 'hidden':
      return { readThrough, entries: entries.map(entry => ({ ...entry, missed: true })) };
  }
}

/** Returns the entries with those of more events, in order. */
function withEvents({ readThrough, entries }: Unshown, events: readonly PlayerEvent[], missed: boolean): readonly Entry[] {
  const more = events.flatMap(event => {
    const reward = event.seq > readThrough ? rewardOf(event) : null;
    return reward ? [{ seq: event.seq, reward, missed }] : [];
  });
  if (more.length === 0) return entries;
  return [...entries, ...more].sort((one, other) => one.seq - other.seq).slice(-ENTRIES_MAX);
}

/**
 * Returns the rewards to show now, the greatest first and at most `most` of them, and the seq up to
 * which they are shown.
 */
export function show({ readThrough, entries }: Unshown, most: number): { readonly rewards: readonly Reward[]; readonly through: Seq } {
  const rewardsOf = (missed: boolean): Reward[] => entries.filter(entry => entry.missed === missed).map(({ reward }) => reward);
  const rewards = [...summed(rewardsOf(true)), ...gathered(rewardsOf(false))];
  return { rewards: shortened(rewards, most), through: entries.at(-1)?.seq ?? readThrough };
}

/** Returns the reward of an event; null if there is nothing to show. */
function rewardOf({ type, data }: PlayerEvent): Reward | null {
  switch (type) {
    case 'xp_earned': {
      const { source, note, amount, counted } = data;
      return { kind: 'xp', source, note, limited: counted < amount, xp: counted, times: 1 };
    }
    case 'level_reached':
      return { kind: 'level', level: data.level };
    case 'achievement_unlocked':
      return { kind: 'achievement', id: data.id, tier: data.tier };
    case 'day_kept':
      return data.days > 1 ? { kind: 'streak', days: data.days } : null;
    case 'item_granted':
      return data.by === 'grant' ? { kind: 'item', item: data.item } : null;
    case 'coins_moved': {
      const { reason, note, amount } = data;
      // An achievement's coins belong to its own reward, and those of a purchase are spent.
      return amount > 0 && reason !== 'achievement' ? { kind: 'coins', reason, note, coins: amount } : null;
    }
    default:
      return null;
  }
}

const ORDER: readonly Reward['kind'][] = ['level', 'achievement', 'item', 'streak', 'xp', 'coins'];

/** Returns the rewards in order, with those of the same kind and cause as one. */
function gathered(rewards: readonly Reward[]): readonly Reward[] {
  const alike = new Map<string, Reward>();
  for (const reward of rewards) {
    const key = keyOf(reward);
    const before = alike.get(key);
    alike.set(key, before ? joined(before, reward) : reward);
  }
  return [...alike.values()].sort((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
}

function keyOf(reward: Reward): string {
  switch (reward.kind) {
    case 'xp':
      return JSON.stringify(['xp', reward.source, reward.note, reward.limited]);
    case 'coins':
      return JSON.stringify(['coins', reward.reason, reward.note]);
    case 'achievement':
      return JSON.stringify(['achievement', reward.id]);
    case 'item':
      return JSON.stringify(['item', reward.item]);
    default:
      return reward.kind;
  }
}

/** Returns two rewards of one key as one: sums, and otherwise the later, which is the higher. */
function joined(before: Reward, later: Reward): Reward {
  if (before.kind === 'xp' && later.kind === 'xp') return { ...later, xp: before.xp + later.xp, times: before.times + later.times };
  if (before.kind === 'coins' && later.kind === 'coins') return { ...later, coins: before.coins + later.coins };
  return later;
}

/** Returns a summary of the rewards as a list of one; empty if there are none. */
function summed(rewards: readonly Reward[]): readonly Reward[] {
  if (rewards.length === 0) return [];
  const sum = { xp: 0, coins: 0, level: null as number | null, items: 0 };
  const achievements = new Set<string>();
  for (const reward of rewards) {
    if (reward.kind === 'xp') sum.xp += reward.xp;
    if (reward.kind === 'coins') sum.coins += reward.coins;
    if (reward.kind === 'level') sum.level = reward.level;
    if (reward.kind === 'item') sum.items++;
    if (reward.kind === 'achievement') achievements.add(reward.id);
  }
  const summary = { ...sum, achievements: achievements.size };
  return Object.values(summary).some(Boolean) ? [{ kind: 'away', ...summary }] : [];
}

function shortened(rewards: readonly Reward[], most: number): readonly Reward[] {
  if (rewards.length <= most) return rewards;
  return [...rewards.slice(0, most - 1), { kind: 'more', count: rewards.length - most + 1 }];
}
