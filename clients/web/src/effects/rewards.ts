// Shows the player's rewards as they come, and those of an absence summed up.
import type { PlayerEvent, Seq } from '@raidhall/client';
import { account, beforeClose } from '../account';
import type { Account } from '../account';
import { narrow, visible } from '../media';
import { achievementOf, itemOf, loadProgression, progression } from '../progression';
import { ENTRIES_MAX, NOTHING, reduce, show } from '../rewards';
import type { Input, Reward } from '../rewards';
import { rewardsShown } from '../seen';
import { value } from '../value';
import { play as sound } from './sound';
import { noticed, teller } from './teller';

export interface ShownReward {
  readonly id: number;
  readonly reward: Reward;
}

/** Rewards that arrive within this time are shown together. */
const GATHER_MS = 400;
/** How long a visible page without the focus waits, so that a device in use shows them first. */
const YIELD_MS = 2_500;
const SHOWN_MS = 6_000;
/** Most rewards at once; the header of a narrow screen has room for two. */
const AT_ONCE = 4;
const AT_ONCE_NARROW = 2;
let ids = 0;

export const rewards = value<readonly ShownReward[]>([]);

export const dismissRewards = (): void => rewards.set([]);

/** Shows the rewards of the player who is signed in, from now on. */
export function followRewards(): void {
  let unfollow = (): void => {};
  const start = (): void => {
    unfollow();
    dismissRewards();
    noticed.set(0);
    const current = account.get();
    unfollow = current ? follow(current) : () => {};
  };
  account.subscribe(start);
  start();
}

function follow({ client: { me }, rest }: Account): () => void {
  let unshown = NOTHING;
  let timer = 0;
  /** Up to where the events of the stream have come here. */
  let known: Seq = 0;
  /** The length of the streak at `known`. */
  let days = 0;
  /** Reads of missed events that are not done: their rewards are shown before later ones. */
  let reading = 0;
  let ended = false;
  /** Whether rewards can be drawn: until then they wait. */
  let isLoaded = false;
  const load = (): void => void import('../parts/reward-line').then(() => {
    isLoaded = true;
    plan();
  }).catch(() => {}); // tried again with the next reward
  const canShow = (): boolean => isLoaded && visible.get() && me.getView().live && reading === 0 && unshown.entries.length > 0;
  const plan = (): void => {
    if (!isLoaded && unshown.entries.length > 0) load();
    if (timer || !canShow()) return;
    timer = window.setTimeout(() => {
      timer = 0;
      if (!canShow()) return;
      const { rewards, through } = show(unshown, narrow.get() ? AT_ONCE_NARROW : AT_ONCE);
      take({ type: 'read', through });
      add(rewards);
      tell();
    }, document.hasFocus() ? GATHER_MS : YIELD_MS);
  };
  const take = (input: Input): void => {
    unshown = reduce(unshown, input);
    plan();
    if (noticed.get() > 0) tell();
  };
  // Rewards that wait are told once they are shown, so that none is passed over.
  const { tell, tellNow, forget } = teller(me, () => (ended || reading > 0 || unshown.entries.length > 0 ? null : unshown.readThrough));
  const readMissed = async (after: Seq, through: Seq): Promise<void> => {
    reading++;
    const events = await import('./missed').then(({ missedEvents }) => missedEvents(rest, after, through)).catch(() => []); // then they are not summed up
    reading--;
    if (!ended) take({ type: 'missed', events });
  };
  const readState = (): void => {
    const { state, seq, pending } = me.getView();
    if (!state) return;
    if (seq < known) {
      // The stream goes on from an earlier point, so that what comes has seqs that were shown before.
      unshown = NOTHING;
      known = 0;
      forget();
      noticed.set(0);
    }
    take({ type: 'read', through: rewardsShown(state, pending.map(({ cmd }) => cmd)) });
    const after = Math.max(known, unshown.readThrough, seq - ENTRIES_MAX);
    // The state is ahead of the events only after a snapshot.
    const isAhead = seq > known;
    known = seq;
    days = state.streak.days;
    if (isAhead && after < seq) void readMissed(after, seq);
  };
  const ends = [
    me.onEvent((event, { seq, state }, replayed) => {
      if (isUnknown(event)) void loadProgression().catch(() => {}); // its reward has no name then
      take({ type: 'event', event, live: !replayed && visible.get(), days });
      known = seq;
      days = state?.streak.days ?? 0;
    }),
    me.subscribe(readState),
    visible.subscribe(() => (visible.get() ? plan() : take({ type: 'hidden' }))),
    noticed.subscribe(tell),
    () => removeEventListener('pagehide', tellNow),
    () => beforeClose.delete(tellNow),
  ];
  load();
  addEventListener('pagehide', tellNow);
  beforeClose.add(tellNow);
  return () => {
    ended = true;
    ends.forEach(end => end());
    clearTimeout(timer);
  };
}

/** Returns whether an event names something that the known definitions do not have. */
function isUnknown({ type, data }: PlayerEvent): boolean {
  if (type === 'achievement_unlocked') return !achievementOf(progression.get(), data.id);
  return type === 'item_granted' && !itemOf(progression.get(), data.item);
}

function add(come: readonly Reward[]): void {
  const fresh = come.map(reward => ({ id: ++ids, reward }));
  rewards.set([...rewards.get(), ...fresh].slice(narrow.get() ? -AT_ONCE_NARROW : -AT_ONCE));
  setTimeout(() => rewards.set(rewards.get().filter(shown => !fresh.includes(shown))), SHOWN_MS);
  // The raid already plays a sound for XP and coins.
  if (come.some(({ kind }) => kind !== 'xp' && kind !== 'coins')) sound('reward');
}
