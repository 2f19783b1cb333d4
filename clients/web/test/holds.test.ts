import type { Command } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrange, columnsOf } from '../src/play/arrange';
import { Holds, SETTLE_MS, UNDO_MS } from '../src/play/holds';
import { ADA, BEN, NOW, task } from './states';

const mine = (id: number) => task(id, { status: 'claimed', assignee: ADA, claimed_at: NOW });

/** Runs `act` on paused time and returns the commands that were sent. */
function sent(act: (holds: Holds, pass: (milliseconds: number) => void) => void): Command[] {
  const commands: Command[] = [];
  let now = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  const after = (milliseconds: number, run: () => void): (() => void) => {
    const timer = { at: now + milliseconds, run };
    timers.push(timer);
    return () => void (timers = timers.filter(other => other !== timer));
  };
  act(new Holds(command => commands.push(command), () => {}, after), milliseconds => {
    now += milliseconds;
    for (const timer of timers.filter(({ at }) => at <= now)) {
      timers = timers.filter(other => other !== timer);
      timer.run();
    }
  });
  return commands;
}

test('a second press on a card does nothing, whatever its button', () => {
  const commands = sent((holds, pass) => {
    holds.press(task(1), 0, 'claim_task', false);
    holds.press(task(1), 0, 'claim_task', false);
    holds.press(mine(1), 0, 'complete_task', false);
    pass(SETTLE_MS);
    assert.equal(holds.held.get().size, 0);
    holds.press(mine(1), 0, 'release_task', false);
  });
  assert.deepEqual(commands, [{ type: 'claim_task', task: 1 }, { type: 'release_task', task: 1 }]);
});

test('a completion is sent once it can no longer be undone', () => {
  const commands = sent((holds, pass) => {
    holds.press(mine(1), 0, 'complete_task', false);
    pass(SETTLE_MS);
    assert.equal(holds.held.get().get(1)?.phase, 'undoable');
    pass(UNDO_MS);
  });
  assert.deepEqual(commands, [{ type: 'complete_task', task: 1 }]);
});

test('an undone completion is never sent, and a double click on Undo does not complete again', () => {
  const commands = sent((holds, pass) => {
    holds.press(mine(1), 0, 'complete_task', false);
    holds.press(mine(1), 0, 'undo', false);
    pass(SETTLE_MS);
    holds.press(mine(1), 0, 'undo', false);
    holds.press(mine(1), 0, 'complete_task', false);
    pass(SETTLE_MS);
    pass(UNDO_MS);
    assert.equal(holds.held.get().size, 0);
  });
  assert.deepEqual(commands, []);
});

test('an urgent completion and one on a page that is left are sent at once', () => {
  const commands = sent(holds => {
    holds.press(mine(1), 0, 'complete_task', true);
    holds.press(mine(2), 1, 'complete_task', false);
    holds.flush();
  });
  assert.deepEqual(commands, [{ type: 'complete_task', task: 1 }, { type: 'complete_task', task: 2 }]);
});

test('a completion is dropped if the task is taken from the player meanwhile', () => {
  const commands = sent((holds, pass) => {
    holds.press(mine(1), 0, 'complete_task', false);
    holds.press(mine(2), 1, 'complete_task', false);
    holds.check([task(1), mine(2)], ADA);
    pass(SETTLE_MS);
    pass(UNDO_MS);
  });
  assert.deepEqual(commands, [{ type: 'complete_task', task: 2 }]);
});

test('after the end the board has no open column', () => {
  const done = task(1, { status: 'completed', assignee: ADA });
  assert.deepEqual([columnsOf(true, [done]), columnsOf(true, [done, mine(2), task(3)])], [['completed'], ['completed', 'unfinished']]);
  assert.deepEqual(arrange('unfinished', [done, mine(2), task(3)], ADA, new Map()), [mine(2), task(3)]);
});

test('own tasks come first, the latest completed on top, and a held task stays where it was', () => {
  const taken = task(2, { status: 'claimed', assignee: BEN });
  const done = [4, 5].map(id => task(id, { status: 'completed', assignee: BEN }));
  const tasks = [task(1), taken, mine(3), ...done, task(6), task(7)];
  const ids = (column: 'claimed' | 'open' | 'completed', held = new Map()) => arrange(column, tasks, ADA, held).map(({ id }) => id);
  assert.deepEqual([ids('claimed'), ids('open'), ids('completed')], [[3, 2], [1, 6, 7], [5, 4]]);
  const held = new Map([[3, { task: task(3), index: 1, phase: 'settling' as const }]]);
  assert.deepEqual([ids('claimed', held), ids('open', held)], [[2], [1, 3, 6, 7]]);
});
