import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fold, foldPlayer } from '../src/fold.js';
import type { PlayerEvent, PlayerState, RaidEvent, RaidState, ServerMessage } from '../src/protocol.js';

const fixtures = new URL('../../../../protocol/fixtures/server/', import.meta.url);
const read = (name: string): ServerMessage => JSON.parse(readFileSync(new URL(name, fixtures), 'utf8')) as ServerMessage;

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}

const active = (): RaidState => {
  const snapshot = read('snapshot_active.json');
  assert.ok(snapshot.t === 'snapshot' && 'raid' in snapshot);
  return frozen(snapshot.state);
};

test('every event type is folded without changing the previous state', () => {
  const names = readdirSync(fixtures).filter(name => /^event_.*\.json$/.test(name));
  assert.ok(names.length > 20);
  for (const name of names) {
    const { t: _, raid: __, ...event } = read(name) as Extract<ServerMessage, { t: 'event'; raid: number }>;
    const state = active(); // frozen: a change would throw
    const next = fold(state, event as RaidEvent);
    if (event.type === 'raid_created') assert.equal(next, null, name);
    else assert.ok(next, name);
  }
});

const at = 1_767_225_700_000;
const event = (rest: object): RaidEvent => ({ seq: 124, at, by: 5, ...rest }) as RaidEvent;

test('a task is claimed, completed, and reopened when its assignee leaves', () => {
  const claimed = fold(active(), event({ type: 'task_claimed', data: { task: 1, player: 5, energy: 60 } }));
  assert.deepEqual(claimed?.tasks[0], { ...active().tasks[0], status: 'claimed', assignee: 5, claimed_at: at });
  assert.deepEqual(claimed?.members[0]?.energy, 60);
  const data = { task: 1, player: 5, xp: 40, energy: 65, member_xp: 120, member_tasks: 3, current_xp: 160, current_tasks: 4 };
  const done = fold(claimed!, event({ type: 'task_completed', data }));
  assert.deepEqual([done?.current_xp, done?.current_tasks, done?.members[0]?.xp, done?.tasks[0]?.ended_at], [160, 4, 120, at]);
  const left = fold(done!, event({ by: 6, type: 'member_left', data: { player: 6, reason: 'left', released: [2] } }));
  assert.deepEqual([left?.members.length, left?.tasks[1]?.status, left?.tasks[1]?.assignee], [1, 'open', null]);
  assert.equal(left?.tasks[0], done?.tasks[0], 'an unchanged task is shared');
});

test('a task that the host app adds has no author', () => {
  const added = fold(active(), event({ by: null, type: 'task_added', data: { task: 4, title: 'Read', xp: 40, minutes: 5 } }));
  assert.deepEqual([added?.tasks.length, added?.tasks[3]?.by], [4, null]);
});

test('a task is edited by its author or the leader, and removed', () => {
  const before = active().tasks[0]!;
  const edited = fold(active(), event({ by: 6, type: 'task_edited', data: { task: 1, author: 5, title: 'New', minutes: null } }));
  assert.deepEqual(edited?.tasks[0], { ...before, title: 'New', edited_by: 6 });
  const shorter = fold(edited!, event({ type: 'task_edited', data: { task: 1, author: 5, title: null, minutes: 0 } }));
  assert.deepEqual(shorter?.tasks[0], { ...before, title: 'New', edited_by: 6, minutes: 0 });
  const erased = fold(edited!, event({ by: 6, type: 'player_erased', data: { player: 6, text: '[erased]', made_raid: false } }));
  assert.deepEqual(erased?.tasks.map(task => task.title), ['[erased]', '[erased]', before.title]);
  const removed = fold(edited!, event({ type: 'task_removed', data: { task: 1 } }));
  assert.deepEqual(removed?.tasks.map(task => task.id), [2, 3]);
  assert.equal(fold(removed!, event({ type: 'task_removed', data: { task: 1 } })), null);
});

test('a mute is shown until it is lifted or the member leads', () => {
  const muted = fold(active(), event({ type: 'member_muted', data: { player: 6, until: at + 60_000 } }));
  assert.equal(muted?.members[1]?.muted_until, at + 60_000);
  const lifted = fold(muted!, event({ type: 'member_muted', data: { player: 6, until: null } }));
  assert.equal(lifted?.members[1]?.muted_until, null);
  const data = { player: 6, previous: 5, reason: 'promoted', term: 2 };
  assert.equal(fold(muted!, event({ type: 'leader_changed', data }))?.members[1]?.muted_until, null);
});

test('the invite code is replaced', () => {
  assert.equal(fold(active(), event({ type: 'invite_rotated', data: { invite_code: '7XNBK2QM' } }))?.invite_code, '7XNBK2QM');
});

test('the state keeps the latest fifty messages', () => {
  let state = active();
  for (let n = 0; n < 60; n++) state = fold(state, event({ seq: 200 + n, type: 'said', data: { text: `${n}` } }))!;
  assert.deepEqual([state.messages.length, state.messages[0]?.text, state.messages[49]?.text], [50, '10', '59']);
});

test('an erased player\'s name and texts are replaced everywhere', () => {
  const data = { player: 5, text: '[erased]', made_raid: true };
  const ofTheirs = { ...active(), tasks: active().tasks.map(task => ({ ...task, by: 5 })) };
  const folded = JSON.stringify(fold(ofTheirs, event({ type: 'player_erased', data })));
  for (const gone of ['Ada', 'Ship it', 'By Friday', 'Fix the build']) assert.ok(!folded.includes(gone), gone);
  assert.ok(folded.includes('Ben') && folded.includes('on it'));
});

test('an event that is unknown or contradicts the state folds to null', () => {
  for (const rest of [
    { type: 'of_a_later_release', data: {} },
    { type: 'task_claimed', data: { task: 99, player: 5, energy: 1 } },
    { type: 'task_claimed', data: { task: 1, player: 99, energy: 1 } },
    { by: null, type: 'said', data: { text: 'x' } },
  ]) assert.equal(fold(active(), event(rest)), null);
});

const player = (name: string): PlayerState => {
  const snapshot = read(name);
  assert.ok(snapshot.t === 'snapshot' && 'player' in snapshot);
  return frozen(snapshot.state);
};

const playerEvent = (name: string): PlayerEvent => {
  const { t: _, player: __, ...event } = read(name) as Extract<ServerMessage, { t: 'event'; player: number }>;
  return event as PlayerEvent;
};

test('every event type of the player\'s stream is folded without changing the previous state', () => {
  const names = readdirSync(fixtures).filter(name => /^player_event_.*\.json$/.test(name));
  assert.ok(names.length >= 24);
  for (const name of names) assert.ok(foldPlayer(player('player_snapshot_with_id.json'), playerEvent(name)), name);
  const [setting, renamed, notified, readThrough] = ['setting_set', 'name_changed', 'notified', 'read_through'].map(type => playerEvent(`player_event_${type}.json`));
  const folded = [setting, renamed, notified].reduce((state, event) => foldPlayer(state, event!)!, player('player_snapshot_with_id.json'));
  assert.deepEqual([folded.name, folded.settings['app.deck']], ['Countess', { value: { cards: [1, null] }, version: 3 }]);
  assert.deepEqual([folded.inbox.items.map(({ seq, read }) => [seq, read]), folded.inbox.unread], [[[12, true], [44, false], [45, false]], 2]);
  const read44 = foldPlayer(folded, readThrough!);
  assert.deepEqual([read44?.inbox.items.map(({ read }) => read), read44?.inbox.unread], [[true, true, false], 1]);
  assert.equal(read44?.read_through, 44);
  assert.equal(foldPlayer(read44!, playerEventOf({ type: 'read_through', data: { seq: 12 } }))?.read_through, 44, 'never lower');
});

test('a player\'s history folds to the state that the server folds it to', () => {
  const history = JSON.parse(readFileSync(new URL('../player_history.json', fixtures), 'utf8')) as { before: PlayerState; events: PlayerEvent[]; after: PlayerState };
  const folded = history.events.reduce((state, event) => frozen(foldPlayer(state, event)!), frozen(history.before));
  assert.deepEqual(folded, history.after);
});

const playerEventOf = (rest: object): PlayerEvent => ({ seq: 61, at, cause: { raid: 7, seq: 3 }, ...rest }) as unknown as PlayerEvent;
const roleIn = (raid: number, role: string): PlayerEvent => playerEventOf({ type: 'raid_joined', data: { raid, role, counters: [] } });
const leftRaid = (raid: number): PlayerEvent => playerEventOf({ type: 'raid_left', data: { raid, reason: 'kicked' } });

test('a raid keeps its place when the role in it changes', () => {
  const state = [roleIn(7, 'leader'), roleIn(8, 'member'), roleIn(7, 'member')].reduce((folded, event) => foldPlayer(folded, event)!, player('player_snapshot.json'));
  assert.deepEqual(state.raids, [{ raid: 7, role: 'member' }, { raid: 8, role: 'member' }]);
  const again = [leftRaid(7), roleIn(7, 'member')].reduce((folded, event) => foldPlayer(folded, event)!, state);
  assert.deepEqual(again.raids.map(({ raid }) => raid), [8, 7]);
});

test('skills, achievements and counters keep their places, and nothing lists a skill that is not trained', () => {
  const before = player('player_snapshot_with_id.json');
  const unlocked = { type: 'achievement_unlocked', data: { id: 'victor', tier: 2 } };
  const counters = [{ id: 'victor', value: 4, goal: 10 }, { id: 'saver', value: 9, goal: 10 }];
  const moved = { type: 'coins_moved', data: { amount: 9, reason: 'granted', coins: 91, note: 'refund', counters } };
  const after = [unlocked, moved].map(playerEventOf).reduce((state, event) => foldPlayer(state, event)!, before);
  assert.deepEqual(after.achievements, [{ id: 'victor', tier: 2, at }]);
  assert.deepEqual([after.coins, after.counters], [91, [counters[0], ...before.counters.slice(1), counters[1]]]);
  const untrained = foldPlayer(before, playerEvent('player_event_xp_earned_contributed.json'));
  assert.equal(untrained?.skills, before.skills);
  const trained = foldPlayer(before, playerEvent('player_event_xp_earned_granted.json'));
  assert.deepEqual(trained?.skills, [...before.skills, { skill: 'discipline', xp: 25, level: 1 }]);
});

const AT = 1_767_225_601_000; // of the fixtures

test('a streak is lost, repaired and moved by a setting, and keeps what an event does not name', () => {
  const before = player('player_snapshot_with_id.json');
  const fold = (state: PlayerState, name: string): PlayerState => foldPlayer(state, playerEvent(`player_event_${name}.json`))!;
  const lost = fold(before, 'streak_lost_repairable');
  const repairable = { repairable_days: 12, repairable_from: AT, repairable_until: AT + 172_800_000 };
  const unrepairable = { repairable_days: 0, repairable_from: null, repairable_until: null };
  assert.deepEqual(lost.streak, { ...before.streak, days: 0, lapses_at: null, ...repairable });
  assert.deepEqual(fold(lost, 'streak_lost').streak, { ...lost.streak, ...unrepairable });
  const repaired = fold(lost, 'streak_repaired');
  assert.deepEqual(repaired.streak, { ...before.streak, days: 13, lapses_at: AT + 86_400_000, ...unrepairable });
  const kept = fold(lost, 'day_kept');
  assert.deepEqual(kept.streak, { ...before.streak, lapses_at: AT + 172_800_000, ...repairable });
  assert.equal(fold(kept, 'setting_set_zone').streak.lapses_at, AT + 86_400_000);
  assert.equal(fold(kept, 'setting_set').streak, kept.streak);
});

test('a player\'s state keeps the latest 200 raids, and ends those it does not show', () => {
  let state = player('player_snapshot.json');
  for (let raid = 1; raid <= 201; raid++) state = foldPlayer(state, roleIn(raid, 'member'))!;
  assert.deepEqual([state.raids.length, state.raids[0]?.raid, state.raids[199]?.raid], [200, 2, 201]);
  const full = foldPlayer(state, roleIn(2, 'leader'))!;
  assert.deepEqual([full.raids.length, full.raids[0]], [200, { raid: 2, role: 'leader' }]);
  assert.deepEqual(foldPlayer(full, leftRaid(1)), full);
  const ended = playerEventOf({ type: 'raid_ended', data: { raid: 1, outcome: 'failed', rank: null, xp: 0, happened_at: at, raids_played: 1, raids_won: 0, counters: [] } });
  assert.deepEqual(foldPlayer(full, ended), { ...full, raids_played: 1 });
});

test('a player\'s state keeps the latest fifty notifications, and an unknown event folds to null', () => {
  let state = player('player_snapshot.json');
  for (let seq = 1; seq <= 60; seq++) state = foldPlayer(state, { seq, at, cause: null, type: 'notified', data: { kind: 'sale', data: seq } })!;
  assert.deepEqual([state.inbox.items.length, state.inbox.items[0]?.seq, state.inbox.unread], [50, 11, 50]);
  assert.equal(foldPlayer(state, { seq: 61, at, cause: null, type: 'of_a_later_release', data: {} } as unknown as PlayerEvent), null);
});
