import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RaidhallError } from '../src/errors.js';
import { keptIn } from '../src/outbox.js';
import type { ClientMessage } from '../src/protocol.js';
import { Peer } from './peer.js';
import { StoredItems } from './simulation.js';

const totals = { xp: 0, earned_xp: 0, level: 1, level_xp: 0, next_level_xp: 100, coins: 0, tasks: 0, raids_won: 0, raids_played: 0 };
const lists = { raids: [], skills: [], achievements: [], counters: [], items: [] };
const streak = { days: 0, best: 0, day: null, freezes: 0, lapses_at: null, repairable_days: 0, repairable_from: null, repairable_until: null };
const state = { id: 5, name: 'Ada', ...totals, ...lists, streak, equipped: {}, settings: {}, inbox: { unread: 0, items: [] }, read_through: 0 };
const snapshot = (seq: number) => ({ t: 'snapshot', player: 5, seq, recovered: false, state });
const watching = (seq: number) => ({ t: 'watching', player: 5, seq, recovered: true });
const renamed = (seq: number) => ({ t: 'event', player: 5, seq, at: 1, cause: null, type: 'name_changed', data: { name: `Ada ${seq}` } });
const ack = (id: number, seq: number) => ({ t: 'ack', id, player: 5, seq, duplicate: false });
const refusal = (re: string, id: number | undefined, error: object) => ({ t: 'error', re, id, raid: null, player: 5, error: { message: 'm', fields: null, retry_after_ms: null, ...error } });

/** Returns what the server has received about the player's stream on the latest connection. */
const received = (peer: Peer): ClientMessage[] => peer.socket.received.filter(message => 'player' in message);

async function watched(seq: number): Promise<{ peer: Peer; unsubscribe: () => void }> {
  const peer = new Peer();
  await peer.welcome();
  const unsubscribe = peer.client.me.subscribe(() => {});
  peer.say(snapshot(seq));
  return { peer, unsubscribe };
}

const refused = (promise: Promise<unknown>): Promise<RaidhallError> => promise.then(() => assert.fail('was not refused'), error => error as RaidhallError);

test('the player\'s stream is watched while it has a subscriber', async () => {
  const { peer, unsubscribe } = await watched(41);
  const { me } = peer.client;
  const seqs: number[] = [];
  me.onEvent(({ seq }) => seqs.push(seq));
  peer.say(renamed(42));
  peer.say(renamed(42));
  assert.deepEqual([me.getView().state?.name, me.getView().seq, me.getView().live, seqs], ['Ada 42', 42, true, [42]]);
  unsubscribe();
  assert.deepEqual([received(peer), me.getView().live], [[{ t: 'watch', player: 'me' }, { t: 'unwatch', player: 'me' }], false]);
  peer.client.close();
});

test('after a reconnect the stream resumes, and begins anew in another history', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  peer.lose(4201);
  assert.equal(me.getView().live, false);
  await peer.welcome();
  assert.deepEqual(received(peer), [{ t: 'watch', player: 'me', since: 41 }]);
  const events: unknown[] = [];
  me.onEvent(({ seq }, _, replayed) => events.push([seq, replayed]));
  peer.say(watching(43));
  for (const seq of [42, 43, 44]) peer.say(renamed(seq));
  assert.deepEqual([me.getView().seq, me.getView().state?.name], [44, 'Ada 44']);
  assert.deepEqual(events, [[42, true], [43, true], [44, false]]);
  peer.lose(4201);
  await peer.clock.pass(5_000);
  await peer.welcome(['player'], 'two');
  assert.deepEqual(received(peer), [{ t: 'watch', player: 'me' }]);
  peer.say(snapshot(7));
  assert.deepEqual([me.getView().seq, me.getView().state], [7, state]);
  peer.client.close();
});

test('a missing event and a head that stays ahead lead to a watch with since', async () => {
  const { peer } = await watched(41);
  peer.say(renamed(43));
  assert.deepEqual(received(peer).slice(1), [{ t: 'watch', player: 'me', since: 41 }]);
  peer.say(watching(41));
  peer.say({ t: 'beat', now: peer.clock.now(), heads: { me: 42 } });
  await peer.clock.pass(900);
  assert.equal(received(peer).length, 2);
  await peer.clock.pass(200);
  assert.deepEqual(received(peer).slice(2), [{ t: 'watch', player: 'me', since: 41 }]);
  peer.client.close();
});

test('unknown events lead to a watch without since, at most once a second', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  const unknown = (seq: number) => ({ ...renamed(seq), type: 'of_a_later_release' });
  peer.say(unknown(42));
  assert.deepEqual(received(peer).slice(1), [{ t: 'watch', player: 'me' }]);
  peer.say(snapshot(42));
  peer.say(unknown(43));
  peer.say(renamed(44));
  await peer.clock.pass(900);
  assert.deepEqual([received(peer).length, me.getView().seq], [2, 42]);
  await peer.clock.pass(200);
  assert.deepEqual(received(peer).slice(2), [{ t: 'watch', player: 'me' }]);
  peer.say(snapshot(44));
  peer.say(renamed(45));
  assert.deepEqual([me.getView().seq, me.getView().state?.name], [45, 'Ada 45']);
  peer.client.close();
});

test('what a raid caused is shown, and its listeners get the cause', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  const causes: unknown[] = [];
  me.onEvent(({ type, cause }) => causes.push([type, cause]));
  const cause = (seq: number) => ({ raid: 7, seq });
  const allowance = { ranked: false, used: 40, since: 1 };
  const teamwork = { skill: 'teamwork', skill_xp: 40, skill_level: 1 };
  const earned = { amount: 40, counted: 40, earned_xp: 40, xp: 40, tasks: 1, source: 'task', allowance, level_xp: 40, next_level_xp: 100, ...teamwork, coins: 4, coins_earned: 4, note: null, counters: [] };
  peer.say({ ...renamed(42), cause: cause(2), type: 'raid_joined', data: { raid: 7, role: 'leader', counters: [] } });
  peer.say({ ...renamed(43), cause: cause(9), type: 'xp_earned', data: earned });
  peer.say({ ...renamed(43), cause: cause(9), type: 'xp_earned', data: { ...earned, earned_xp: 80, xp: 80, tasks: 2 } });
  const skills = [{ skill: 'teamwork', xp: 40, level: 1 }];
  assert.deepEqual(me.getView().state, { ...state, xp: 40, earned_xp: 40, level_xp: 40, coins: 4, tasks: 1, skills, raids: [{ raid: 7, role: 'leader' }] });
  assert.deepEqual(causes, [['raid_joined', cause(2)], ['xp_earned', cause(9)]]);
  peer.client.close();
});

test('a refused watch is repeated if that may help, and else the stream is gone', async () => {
  const { peer } = await watched(41);
  peer.lose(4201);
  await peer.welcome();
  peer.say(refusal('watch', undefined, { type: 'unavailable', retry: true, retry_after_ms: 100 }));
  await peer.clock.pass(200);
  assert.equal(received(peer).length, 2);
  peer.say(refusal('watch', undefined, { type: 'forbidden', retry: false }));
  assert.deepEqual([peer.client.me.getView().gone, peer.client.me.getView().live], ['forbidden', false]);
  peer.client.close();
});

test('items are bought and equipped, a purchase without coins is refused, and a streak is repaired', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  const sent = (): ClientMessage[] => received(peer).slice(1);
  const commandAt = (index: number) => {
    const message = sent()[index];
    assert.ok(message?.t === 'do' && 'player' in message);
    return message;
  };
  const bought = me.buy('frame_gold');
  const equipped = me.equip('frame_gold');
  const unpaid = refused(me.buy('title_night_owl'));
  assert.deepEqual(commandAt(0).cmd, { type: 'buy', item: 'frame_gold' });
  peer.say(ack(commandAt(0).id, 43));
  assert.equal((await bought).seq, 43);
  assert.deepEqual(commandAt(1).cmd, { type: 'equip', item: 'frame_gold' });
  peer.say(ack(commandAt(1).id, 44));
  assert.equal((await equipped).seq, 44);
  await peer.clock.pass(1_000);
  peer.say(refusal('do', commandAt(2).id, { type: 'not_enough_coins', retry: false }));
  assert.equal((await unpaid).type, 'not_enough_coins');
  const repaired = me.repairStreak();
  await peer.clock.pass(1_000);
  assert.deepEqual(commandAt(3).cmd, { type: 'repair_streak' });
  peer.say(ack(commandAt(3).id, 46));
  assert.equal((await repaired).seq, 46);
  peer.client.close();
});

test('a command is sent again with its op until it is answered, and is pending until it is shown', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  const set = me.setSetting('theme', 'dark', { ifVersion: 2 });
  const [first] = received(peer).slice(1);
  assert.ok(first?.t === 'do' && first.op);
  assert.deepEqual(first.cmd, { type: 'set_setting', key: 'theme', value: 'dark', if_version: 2 });
  peer.say(refusal('do', first.id, { type: 'rate_limited', retry: true, retry_after_ms: 500 }));
  await peer.clock.pass(1_500);
  assert.deepEqual(received(peer).slice(2), [first]);
  peer.lose(4201);
  await peer.welcome();
  peer.say(watching(41));
  assert.deepEqual(received(peer).slice(1), [first]);
  assert.equal(me.getView().pending.length, 1);
  peer.say({ ...renamed(42), type: 'setting_set', data: { key: 'theme', value: 'dark', version: 3 } });
  peer.say(ack(first.id, 42));
  assert.deepEqual(await set, { seq: 42, duplicate: false });
  assert.deepEqual([me.getView().pending, me.getView().state?.settings], [[], { theme: { value: 'dark', version: 3 } }]);
  peer.client.close();
});

test('a conflict and a wait of hours are refusals and do not block the next command', async () => {
  const { peer } = await watched(41);
  const { me } = peer.client;
  const sent = () => received(peer).slice(1).map(message => (message.t === 'do' ? message.cmd : message.t));
  const conflict = refused(me.setSetting('theme', 'dark', { ifVersion: 1 }));
  const limited = refused(me.setName('Countess'));
  const read = me.readThrough(41);
  assert.equal(sent().length, 1, 'one at a time');
  peer.say(refusal('do', 1, { type: 'conflict', retry: false }));
  peer.say(refusal('do', 2, { type: 'rate_limited', retry: true, retry_after_ms: 3_600_000 }));
  peer.say(ack(3, 41));
  assert.deepEqual([(await conflict).type, (await limited).type, (await limited).retryAfterMs, (await read).seq], ['conflict', 'rate_limited', 3_600_000, 41]);
  assert.deepEqual(sent().slice(1), [{ type: 'set_name', name: 'Countess' }, { type: 'read_through', seq: 41 }]);
  peer.client.close();
});

test('player commands are stored apart from those to raids, and sent by the next run', async () => {
  const items = new StoredItems();
  const offline = new Peer(() => Promise.reject(new Error('no network')), { storage: keptIn(items, 'commands') });
  offline.client.me.setName('Countess').catch(() => {});
  offline.client.raid(7).do({ type: 'start' }).catch(() => {});
  const keys = Array.from({ length: items.length }, (_, index) => items.key(index)!.replace(/[^/]+$/, '')).sort();
  assert.deepEqual(keys, ['commands.me/', 'commands/']);
  offline.client.close();
  const peer = new Peer(undefined, { storage: keptIn(items, 'commands') });
  const settled: unknown[] = [];
  peer.client.onSettled(({ cmd, result }) => settled.push([cmd, result]));
  await peer.welcome();
  const [stored] = received(peer);
  assert.ok(stored?.t === 'do');
  assert.deepEqual([stored.cmd, peer.client.getWaiting()], [{ type: 'set_name', name: 'Countess' }, 2]);
  peer.say(ack(stored.id, 42));
  assert.deepEqual([settled, items.length], [[[stored.cmd, { seq: 42, duplicate: false }]], 1]);
  peer.client.close();
});

test('a server without players\' streams gets no message about them', async () => {
  const peer = new Peer();
  const early = refused(peer.client.me.setName('Countess'));
  const unsubscribe = peer.client.me.subscribe(() => {});
  await peer.welcome([]);
  const later = refused(peer.client.me.readThrough(1));
  assert.deepEqual([(await early).type, (await later).type, peer.client.me.getView().gone], ['unsupported', 'unsupported', 'unsupported']);
  unsubscribe();
  assert.deepEqual([received(peer), peer.client.getWaiting()], [[], 0]);
  peer.client.me.subscribe(() => {});
  peer.lose(4201);
  await peer.welcome(['player']);
  peer.say(snapshot(1));
  assert.deepEqual([received(peer), peer.client.me.getView().gone, peer.client.me.getView().live], [[{ t: 'watch', player: 'me' }], null, true]);
  peer.client.close();
});
