import type { Command, RaidState } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { energyAt, mutedUntil, predict } from '../src/play/predict';
import { ADA, BEN, NOW, member, raid, task } from './states';

/** When the commands were given: some time before the prediction. */
const GIVEN = NOW - 5_000;

const after = (state: RaidState, me: number, ...commands: Command[]) =>
  predict(state, commands.map((cmd, index) => ({ op: `op ${index}`, raid: state.id, cmd, at: GIVEN })), me, NOW);

test('without pending commands the state is unchanged', () => {
  const state = raid({ tasks: [task(1)] });
  const { unsure, unsaid, ...shown } = after(state, ADA);
  assert.deepEqual([shown, unsure.size, unsaid], [state, 0, []]);
});

test('a claim and the completion after it show at once', () => {
  const state = raid({ tasks: [task(1), task(2)] });
  const claimed = after(state, BEN, { type: 'claim_task', task: 1 });
  assert.deepEqual(claimed.tasks, [task(1, { status: 'claimed', assignee: BEN, claimed_at: GIVEN }), task(2)]);
  assert.deepEqual([...claimed.unsure], [1]);
  const completed = after(state, BEN, { type: 'claim_task', task: 1 }, { type: 'complete_task', task: 1 });
  assert.equal(completed.tasks[0]?.status, 'completed');
  assert.deepEqual([completed.current_xp, completed.members], [0, state.members], 'XP is not predicted');
});

test('commands that the rules would refuse are not predicted', () => {
  const taken = task(1, { status: 'claimed', assignee: ADA, claimed_at: NOW });
  const refused: [RaidState, Command][] = [
    [raid({ tasks: [taken] }), { type: 'claim_task', task: 1 }],
    [raid({ tasks: [taken] }), { type: 'complete_task', task: 1 }],
    [raid({ tasks: [taken] }), { type: 'release_task', task: 1 }],
    [raid({ tasks: [task(1)], status: 'recruiting' }), { type: 'claim_task', task: 1 }],
    [raid({ tasks: [task(1)], members: [member(BEN, 'Ben', { energy: 9 })] }), { type: 'claim_task', task: 1 }],
    [raid(), { type: 'claim_task', task: 9 }],
  ];
  for (const [state, command] of refused) {
    const shown = after(state, BEN, command);
    assert.deepEqual([shown.tasks, shown.unsure.size], [state.tasks, 0], JSON.stringify(command));
  }
});

test('pending claims share the member\'s energy', () => {
  const state = raid({ tasks: [task(1), task(2), task(3)], members: [member(BEN, 'Ben', { energy: 16 })] });
  const claim = (task: number): Command => ({ type: 'claim_task', task });
  const mine = (...commands: Command[]) => after(state, BEN, ...commands).tasks.filter(({ assignee }) => assignee === BEN).map(({ id }) => id);
  assert.deepEqual(mine(claim(1), claim(2)), [1]);
  assert.deepEqual(mine(claim(1), { type: 'complete_task', task: 1 }, claim(2), claim(3)), [1, 2]);
  assert.deepEqual(mine(claim(1), { type: 'fail_task', task: 1 }, claim(2)), []);
});

test('a command that already took effect is not applied again', () => {
  const state = raid({ tasks: [task(1, { status: 'claimed', assignee: BEN, claimed_at: 5 })] });
  const shown = after(state, BEN, { type: 'claim_task', task: 1 });
  assert.deepEqual(shown.tasks, state.tasks);
});

test('the leader can release another member\'s task, a member cannot', () => {
  const state = raid({ tasks: [task(1, { status: 'claimed', assignee: BEN, claimed_at: NOW })] });
  assert.equal(after(state, ADA, { type: 'release_task', task: 1 }).tasks[0]?.status, 'open');
  assert.equal(after({ ...state, leader: 3 }, ADA, { type: 'release_task', task: 1 }).tasks[0]?.status, 'claimed');
});

test('new tasks and messages are appended in order with negative ids', () => {
  const say = (text: string): Command => ({ type: 'say', text });
  const add = (title: string): Command => ({ type: 'add_task', title, xp: 10, minutes: 0 });
  const shown = after(raid({ tasks: [task(1)] }), BEN, add('two'), say('hello'), add('three'), say('there'));
  assert.deepEqual(shown.tasks.map(({ title }) => title), ['task 1', 'two', 'three']);
  assert.deepEqual(shown.unsaid.map(({ text, by }) => [text, by]), [['hello', BEN], ['there', BEN]]);
  const numbers = [...shown.tasks.slice(1).map(({ id }) => id), ...shown.unsaid.map(({ seq }) => seq)];
  assert.ok(numbers.every(number => number < 0) && new Set(numbers).size === 4);
});

test('energy regenerates by one a minute up to 100', () => {
  for (const [energy, minutes, expected] of [[50, 0, 50], [50, 0.99, 50], [50, 3, 53], [98, 60, 100], [40, -5, 40]] as const) {
    assert.equal(energyAt({ energy, energy_at: NOW }, NOW + minutes * 60_000), expected);
  }
});

test('edits and removals show at once if the author or the leader sent them', () => {
  const mine = task(1, { by: BEN });
  const state = raid({ tasks: [mine, task(2), task(3, { by: BEN, status: 'claimed', assignee: ADA })] });
  const edit = (task: number): Command => ({ type: 'edit_task', task, title: 'New', minutes: null });
  const remove = (task: number): Command => ({ type: 'remove_task', task });
  assert.deepEqual(after(state, BEN, edit(1), edit(2), edit(3)).tasks, [{ ...mine, title: 'New', edited_by: BEN }, ...state.tasks.slice(1)]);
  assert.deepEqual(after(state, BEN, remove(1), remove(2), remove(3)).tasks, state.tasks.slice(1));
  assert.deepEqual(after(state, ADA, remove(1), remove(2), remove(3)).tasks, []);
});

test('nothing that a player changes in a ranked raid\'s tasks is shown', () => {
  const state = raid({ ranked: true, tasks: [task(1, { by: null })] });
  const add: Command = { type: 'add_task', title: 'Mine', xp: 1, minutes: 0 };
  const edit: Command = { type: 'edit_task', task: 1, title: 'New', minutes: null };
  assert.deepEqual(after(state, ADA, add, edit, { type: 'remove_task', task: 1 }).tasks, state.tasks);
});

test('a member is muted until the time', () => {
  const muted = member(BEN, 'Ben', { muted_until: NOW });
  assert.deepEqual([mutedUntil(muted, NOW - 1), mutedUntil(muted, NOW), mutedUntil(undefined, NOW)], [NOW, null, null]);
});
