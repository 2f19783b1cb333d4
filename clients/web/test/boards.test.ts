import type { BoardEntry, BoardPage } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canChange, extended, phaseOf, refreshed, rowsOf, timeLeft } from '../src/boards';
import { NOW } from './states';

const entry = (rank: number, id: number, score: number): BoardEntry => ({ rank, player: { id, name: `Player ${id}`, level: 1, frame: null }, score, reached_at: NOW });
const page = (data: BoardEntry[], change: Partial<BoardPage> = {}): BoardPage => ({ data, me: null, number: 5, opens_at: NOW - 1_000, closes_at: NOW + 1_000, final: false, next_cursor: 'next', ...change });
const ids = (shown: Parameters<typeof rowsOf>[0]) => rowsOf(shown).map(({ player }) => player.id);

test('rows that were loaded later stay when the first part is read again', () => {
  const first = refreshed(null, page([entry(1, 10, 90), entry(2, 11, 80)]));
  const more = extended(first, page([entry(3, 12, 70), entry(4, 13, 60)], { next_cursor: null }));
  assert.deepEqual([ids(first), ids(more), first.cursor, more.cursor], [[10, 11], [10, 11, 12, 13], 'next', null]);
  const later = refreshed(more, page([entry(1, 13, 95), entry(2, 10, 90)]));
  assert.deepEqual([ids(later), later.cursor], [[13, 10, 12], null], 'each player once, as last read');
  assert.deepEqual(ids(refreshed(later, page([entry(1, 12, 5)], { number: 6 }))), [12], 'another window has other rows');
});

test('a window is open, then counted, then final', () => {
  const open = page([]);
  assert.deepEqual([phaseOf(open, NOW), phaseOf(open, NOW + 1_000), phaseOf(page([], { final: true }), NOW + 1_000)], ['open', 'counting', 'final']);
  assert.equal(phaseOf(page([], { closes_at: null }), NOW), 'open');
  assert.deepEqual([NOW, NOW + 60_000, NOW + 3_600_000].map(now => canChange(open, now)), [true, true, false]);
  assert.equal(canChange(page([], { final: true }), NOW), false);
});

test('the time that is left is rounded up to minutes', () => {
  assert.deepEqual([1, 60_000, 11_520_000, 90_000_000, -5].map(timeLeft).map(Object.values), [[0, 0, 1], [0, 0, 1], [0, 3, 12], [1, 1, 0], [0, 0, 0]]);
});
