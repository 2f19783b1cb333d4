// Shows the player's rewards as they come, and tells the player's other devices which were shown.
import type { PlayerEvent } from '@raidhall/client';
import { account } from '../account';
import type { Account } from '../account';
import { narrow, visible } from '../media';
import { achievementOf, itemOf, loadProgression, progression } from '../progression';
import { NOTHING, reduce, show } from '../rewards';
import type { Input, Reward } from '../rewards';
import { value } from '../value';
import { play as sound } from './sound';

export interface ShownReward {
  readonly id: number;
  readonly reward: Reward;
}

/** Rewards that come within this time are shown together. */
const GATHER_MS = 400;
/** A page that is visible without the focus waits this long, for a device that the player uses. */
const YIELD_MS = 2_500;
const SHOWN_MS = 6_000;
/** Most rewards at once; the header of a narrow screen has room for two. */
const AT_ONCE = 4;
const AT_ONCE_NARROW = 2;
/** Shortest time between two commands that tell what was shown. */
const TELL_MS = 1_000;
let ids = 0;

export const rewards = value<readonly ShownReward[]>([]);

export const dismissRewards = (): void => rewards.set([]);

/** Shows the rewards of the player who is signed in, from now on. */
export function followRewards(): void {
  let unfollow = (): void => {};
  const start = (): void => {
    unfollow();
    dismissRewards();
    const current = account.get();
    unfollow = current ? follow(current) : () => {};
  };
  account.subscribe(start);
  start();
}

function follow({ client: { me } }: Account): () => void {
  let unshown = NOTHING;
  let timer = 0;
  const tell = teller(seq => void me.readThrough(seq).catch(() => {
    // The session ended, or the server refuses it: another device may show the same once more.
  }));
  const canShow = (): boolean => visible.get() && me.getView().live;
  const plan = (): void => {
    if (timer || unshown.entries.length === 0 || !canShow()) return;
    timer = window.setTimeout(() => {
      timer = 0;
      if (!canShow() || unshown.entries.length === 0) return;
      const { rewards, through } = show(unshown, narrow.get() ? AT_ONCE_NARROW : AT_ONCE);
      take({ type: 'read', through });
      add(rewards);
      tell(through);
    }, document.hasFocus() ? GATHER_MS : YIELD_MS);
  };
  const take = (input: Input): void => {
    unshown = reduce(unshown, input);
    plan();
  };
  const readState = (): void => take({ type: 'read', through: me.getView().state?.read_through ?? 0 });
  const ends = [
    me.onEvent((event, _, replayed) => {
      if (isUnknown(event)) void loadProgression().catch(() => {}); // its reward has no name then
      take({ type: 'event', event, live: !replayed && visible.get() });
    }),
    me.subscribe(readState),
    visible.subscribe(() => (visible.get() ? plan() : take({ type: 'hidden' }))),
  ];
  return () => {
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
  // Of XP and coins alone the raid itself sounds.
  if (come.some(({ kind }) => kind !== 'xp' && kind !== 'coins')) sound('reward');
}

/** Returns a function that sends the newest seq at once, and then at most once every `TELL_MS`. */
function teller(send: (seq: number) => void): (seq: number) => void {
  let newest = 0;
  let sent = 0;
  let waiting = false;
  const next = (): void => {
    waiting = newest > sent;
    if (!waiting) return;
    sent = newest;
    send(sent);
    setTimeout(next, TELL_MS);
  };
  return seq => {
    newest = Math.max(newest, seq);
    if (!waiting) next();
  };
}
