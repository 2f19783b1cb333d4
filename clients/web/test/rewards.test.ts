import type { PlayerEvent } from '@raidhall/client';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hasIcon } from '../src/parts/icon';
import { NOTHING, reduce, show } from '../src/rewards';
import type { Input, Reward, Unshown } from '../src/rewards';
import { NOW } from './states';

const event = (seq: number, type: string, data: object): PlayerEvent => ({ seq, at: NOW, cause: null, type, data }) as PlayerEvent;
const earned = (seq: number, counted: number, rest: object = {}) => event(seq, 'xp_earned', { amount: counted, counted, source: 'task', note: null, ...rest });
const level = (seq: number, reached: number) => event(seq, 'level_reached', { level: reached });
const unlocked = (seq: number, id: string, tier = 1) => event(seq, 'achievement_unlocked', { id, tier });
const coins = (seq: number, amount: number, reason: string, note: string | null = null) => event(seq, 'coins_moved', { amount, reason, note });
const item = (seq: number, by: string) => event(seq, 'item_granted', { item: 'frame_gold', by });

const live = (event: PlayerEvent, days = 0): Input => ({ type: 'event', event, live: true, days });
const missed = (event: PlayerEvent): Input => ({ type: 'event', event, live: false, days: 0 });
const read = (through: number): Input => ({ type: 'read', through });
const after = (...inputs: Input[]): Unshown => inputs.reduce(reduce, NOTHING);
const shown = (unshown: Unshown, most = 9): readonly Reward[] => show(unshown, most).rewards;
const xp = (xp: number, change: Partial<Reward> = {}): Reward => ({ kind: 'xp', source: 'task', note: null, limited: false, xp, times: 1, ...change }) as Reward;
const away = (change: object): Reward => ({ kind: 'away', xp: 0, coins: 0, level: null, achievements: 0, items: 0, ...change }) as Reward;

test('a live event is shown once, and its seq is told', () => {
  const unshown = after(live(earned(7, 40)));
  assert.deepEqual(show(unshown, 9), { rewards: [xp(40)], through: 7 });
  const next = reduce(unshown, read(7));
  assert.deepEqual(next.entries, []);
  assert.deepEqual(reduce(next, live(earned(7, 40))).entries, [], 'the same event again');
});

test('several events at once are one list, the greatest first', () => {
  const inputs = [
    earned(1, 40), level(2, 2), level(3, 3), unlocked(4, 'victor'), coins(5, 10, 'achievement'), unlocked(6, 'victor', 2), coins(7, 50, 'victory'), coins(8, 25, 'mvp'),
    earned(9, 60), earned(10, 5, { source: 'contribution' }),
  ].map(live);
  assert.deepEqual(shown(after(...inputs)), [
    { kind: 'level', level: 3 },
    { kind: 'achievement', id: 'victor', tier: 2 },
    xp(100, { times: 2 }),
    xp(5, { source: 'contribution' }),
    { kind: 'coins', reason: 'victory', note: null, coins: 50 },
    { kind: 'coins', reason: 'mvp', note: null, coins: 25 },
  ]);
  assert.deepEqual(shown(after(...inputs), 2), [{ kind: 'level', level: 3 }, { kind: 'more', count: 5 }]);
  assert.equal(show(after(...inputs), 2).through, 10);
});

test('a streak is told from its second day on, and the latest of several', () => {
  const kept = (seq: number, days: number) => live(event(seq, 'day_kept', { days }));
  assert.deepEqual(shown(after(kept(1, 1))), []);
  assert.deepEqual(shown(after(kept(1, 2), live(earned(2, 40)), kept(3, 3))), [{ kind: 'streak', days: 3 }, xp(40)]);
});

test('the same day kept again in another zone is not celebrated again', () => {
  const kept = (seq: number, days: number, before: number) => live(event(seq, 'day_kept', { days }), before);
  assert.deepEqual(shown(after(kept(1, 12, 12))), []);
  assert.deepEqual(shown(after(kept(1, 12, 11), kept(2, 12, 12))), [{ kind: 'streak', days: 12 }]);
});

test('events that a snapshot covered are summed up, without those shown or known', () => {
  const events = [earned(3, 10), earned(5, 20), level(6, 2)];
  const unshown = after(read(4), live(earned(8, 40)), { type: 'missed', events });
  assert.deepEqual(shown(unshown), [away({ xp: 20, level: 2 }), xp(40)]);
  assert.equal(show(unshown, 9).through, 8);
});

test('gifts of the host app are shown with their notes', () => {
  const unshown = after(live(earned(1, 15, { source: 'grant', note: 'Morning run' })), live(coins(2, 30, 'granted', 'Sorry')), live(item(3, 'grant')));
  assert.deepEqual(shown(unshown), [
    { kind: 'item', item: 'frame_gold' },
    xp(15, { source: 'grant', note: 'Morning run' }),
    { kind: 'coins', reason: 'granted', note: 'Sorry', coins: 30 },
  ]);
});

test('XP is what counts of it, and says when the daily limit cut it', () => {
  assert.deepEqual(shown(after(live(earned(1, 20, { amount: 40 })))), [xp(20, { limited: true })]);
  assert.deepEqual(shown(after(missed(earned(1, 0, { amount: 40 })))), [], 'nothing to sum up');
});

test('purchases, coins that go and other events bring no reward', () => {
  const events = [coins(1, -100, 'purchase'), item(2, 'purchase'), coins(3, -5, 'granted'), event(4, 'setting_set', { key: 'theme', value: 'dark', version: 1 }), event(5, 'of_a_later_release', {})];
  assert.deepEqual(after(...events.map(live)), NOTHING);
});

test('replayed events are summed up once', () => {
  const unshown = after(missed(earned(1, 70)), missed(earned(2, 50)), missed(level(3, 3)), missed(level(4, 4)), missed(unlocked(5, 'doer')), missed(unlocked(6, 'mvp')), missed(coins(7, 50, 'victory')), missed(item(8, 'grant')));
  assert.deepEqual(show(unshown, 9), { rewards: [away({ xp: 120, level: 4, achievements: 2, coins: 50, items: 1 })], through: 8 });
  assert.deepEqual(shown(reduce(unshown, read(8))), []);
});

test('a summary comes before what has happened since', () => {
  assert.deepEqual(shown(after(missed(earned(1, 70)), live(earned(2, 40)))), [away({ xp: 70 }), xp(40)]);
});

test('a snapshot brings no rewards, and drops those that were read elsewhere', () => {
  assert.deepEqual(shown(after(read(40))), []);
  const unshown = after(missed(earned(38, 10)), missed(earned(41, 20)), read(40));
  assert.deepEqual(shown(unshown), [away({ xp: 20 })]);
});

test('what another device has shown is not shown here', () => {
  assert.deepEqual(shown(after(live(earned(7, 40)), live(level(8, 2)), read(8))), []);
  assert.deepEqual(shown(after(live(earned(7, 40)), live(level(8, 2)), read(7))), [{ kind: 'level', level: 2 }]);
  assert.deepEqual(shown(after(read(8), missed(earned(7, 40)))), [], 'it was read before the replay');
  assert.equal(after(read(8), read(7)).readThrough, 8);
});

test('a hidden page sums up what no other device has shown', () => {
  const unshown = after(live(earned(7, 40)), { type: 'hidden' }, missed(earned(8, 5)));
  assert.deepEqual(shown(unshown), [away({ xp: 45 })]);
  assert.deepEqual(shown(reduce(unshown, read(8))), []);
});

test('each achievement of the built-in definitions has its icon', () => {
  const icons = [...readFileSync('../../config/progression.toml', 'utf8').matchAll(/^icon = "(.*)"$/gm)].map(([, name]) => name ?? '');
  assert.ok(icons.length >= 15);
  assert.deepEqual(icons.filter(name => !hasIcon(name)), []);
  assert.ok(!hasIcon('toString'));
});
