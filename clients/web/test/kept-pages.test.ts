import type { PlayerState } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areNotifications } from '../src/inbox/kept';
import { kept } from '../src/kept';
import { keepPage, loadPage } from '../src/kept-pages';
import { forgetOthers, pageKey } from '../src/kept-raids';
import { isShownProfile, shownOf } from '../src/profile/shown';
import { NOW } from './states';

const streak = { days: 3, best: 5, day: '2026-11-28', freezes: 1, lapses_at: null, repairable_days: 3, repairable_from: null, repairable_until: NOW };
const state = {
  id: 5, name: 'Ada', xp: 1, earned_xp: 1, level: 1, level_xp: 1, next_level_xp: 100, coins: 0, tasks: 1, raids_won: 0, raids_played: 0, raids: [], read_through: 9,
  skills: [{ skill: 'focus', xp: 1, level: 1 }], achievements: [{ id: 'victor', tier: 1, at: NOW }], counters: [{ id: 'victor', value: 3, goal: null }], streak,
  items: ['frame_gold'], equipped: { frame: 'frame_gold' }, settings: { theme: { value: 'dark', version: 1 } }, inbox: { unread: 0, items: [] },
} as PlayerState;
const load = () => loadPage(5, 'profile', isShownProfile);

test('a kept profile has what the page shows, without inbox and settings', () => {
  Date.now = () => NOW;
  keepPage(5, 'profile', shownOf(state));
  const found = load();
  assert.deepEqual([found?.at, found?.value.streak, found?.value.counters], [NOW, streak, state.counters]);
  assert.deepEqual(['inbox', 'settings', 'raids', 'read_through'].filter(name => name in found!.value), []);
});

test('a kept profile of another form is ignored', () => {
  const changes = [{ name: null }, { coins: '5' }, { streak: {} }, { skills: [null] }, { items: [5] }, { equipped: null }, { achievements: {} }, { counters: [{ id: 'victor' }] }];
  for (const change of changes) {
    keepPage(5, 'profile', { ...state, ...change });
    assert.equal(load(), null, JSON.stringify(change));
  }
  for (const text of ['{', 'null', '[]', '{"value":{}}']) {
    kept.setItem(pageKey(5, 'profile'), text);
    assert.equal(load(), null, text);
  }
});

test('kept notifications of another form are ignored', () => {
  const item = { seq: 1, at: NOW, kind: 'sale', data: null, read: false };
  assert.deepEqual([[], [item], [{ ...item, at: 'now' }], {}, null].map(areNotifications), [true, true, false, false, false]);
});

test('what pages keep of other players is deleted', () => {
  kept.clear();
  for (const player of [5, 55]) kept.setItem(pageKey(player, 'inbox'), '{}');
  forgetOthers(5);
  assert.deepEqual([kept.length, kept.key(0)], [1, pageKey(5, 'inbox')]);
});
