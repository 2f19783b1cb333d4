import type { RaidEvent } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMBO_MS, comboAt, momentOf, shakeOf, tensionAt } from '../src/effects/moments';
import { ADA, BEN, NOW, raid, task } from './states';

const event = (by: number, type: string, data: object): RaidEvent => ({ seq: 9, at: NOW, by, type, data }) as RaidEvent;

test('earned XP bursts on every screen and vibrates only for its earner', () => {
  const data = { task: 1, player: ADA, xp: 40, energy: 95, member_xp: 40, member_tasks: 1, current_xp: 40, current_tasks: 1 };
  const own = momentOf(event(ADA, 'task_completed', data), raid(), ADA);
  const other = momentOf(event(ADA, 'task_completed', data), raid(), BEN);
  assert.deepEqual([own?.gain, other?.gain], Array(2).fill({ player: ADA, xp: 40, task: 1 }));
  assert.ok(own?.haptic && !other?.haptic);
});

test('a failed task shakes harder the more XP it was worth', () => {
  assert.deepEqual([10, 49, 50, 199, 200, 1_000].map(shakeOf), ['light', 'light', 'medium', 'medium', 'heavy', 'heavy']);
  const state = raid({ tasks: [task(1, { xp: 300 })] });
  assert.equal(momentOf(event(BEN, 'task_failed', { task: 1, player: BEN, energy: 0 }), state, ADA)?.shake, 'heavy');
});

test('only chat messages of others make a sound', () => {
  assert.equal(momentOf(event(ADA, 'said', { text: 'hi' }), raid(), ADA), null);
  assert.equal(momentOf(event(BEN, 'said', { text: 'hi' }), raid(), ADA)?.sound, 'message');
});

test('a combo counts tasks completed within COMBO_MS of each other', () => {
  const ended = (...before: number[]) => raid({ tasks: before.map((ago, id) => task(id, { status: 'completed', ended_at: NOW - ago })) });
  assert.equal(comboAt(ended(), NOW), 0);
  assert.equal(comboAt(ended(1_000, 60_000, 200_000), NOW), 3);
  assert.equal(comboAt(ended(1_000, COMBO_MS + 1_001), NOW), 1);
  assert.equal(comboAt(ended(COMBO_MS + 1), NOW), 0);
});

test('tension rises near the deadline in proportion to the time limit', () => {
  const at = (left: number, limit: number, status: 'active' | 'completed' = 'active') =>
    tensionAt(raid({ status, deadline: NOW + left, time_limit_secs: limit }), NOW);
  assert.deepEqual([at(301_000, 86_400), at(299_000, 86_400), at(59_000, 86_400)], ['calm', 'tense', 'critical']);
  assert.deepEqual([at(13_000, 60), at(11_000, 60), at(2_000, 60)], ['calm', 'tense', 'critical']);
  assert.equal(at(1_000, 60, 'completed'), 'calm');
  assert.equal(tensionAt(raid({ status: 'recruiting', deadline: null }), NOW), 'calm');
});
