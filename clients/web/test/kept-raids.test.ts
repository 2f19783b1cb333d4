import type { RaidState } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandsKey, forget, forgetOthers, keep, lastViews, load } from '../src/kept-raids';
import { kept } from '../src/kept';
import { NOW, raid } from './states';

const viewOf = (title: string): RaidState => raid({ title });
// Each value is kept a millisecond after the one before it.
let now = NOW;
Date.now = () => ++now;
const titles = (player: number): string[] => lastViews(player).map(({ value }) => value.title).sort();

test('the latest 20 views of each player are kept', () => {
  kept.clear();
  for (let id = 1; id <= 25; id++) keep('view', 5, id, viewOf(`Raid ${id}`));
  keep('view', 6, 1, viewOf('Other'));
  assert.equal(titles(5).length, 20);
  assert.equal(load('view', 5, 5), null);
  assert.equal(load('view', 5, 6)?.value.title, 'Raid 6');
  assert.equal(load('view', 5, 25)?.at, NOW + 25);
  assert.deepEqual(titles(6), ['Other']);
});

test('views take up a bounded number of characters', () => {
  kept.clear();
  for (let id = 1; id <= 4; id++) keep('view', 5, id, viewOf(`${id}${'x'.repeat(300_000)}`));
  assert.deepEqual(titles(5).map(title => title[0]), ['2', '3', '4']);
});

test('what is kept is deleted by kind, and of all other players', () => {
  kept.clear();
  kept.setItem('raidhall.session', '{}');
  keep('view', 5, 1, viewOf('Mine'));
  keep('draft', 5, 1, 'half a thought');
  keep('draft', 55, 1, 'another');
  forget('view', 5, 1);
  assert.deepEqual([load('view', 5, 1), load('draft', 5, 1)?.value], [null, 'half a thought']);
  forgetOthers(5);
  assert.deepEqual([load('draft', 5, 1)?.value, load('draft', 55, 1)], ['half a thought', null]);
  forgetOthers(null);
  assert.deepEqual([load('draft', 5, 1), kept.getItem('raidhall.session')], [null, '{}']);
});

test('that a player was removed from a raid is kept for that player alone', () => {
  kept.clear();
  keep('removed', 5, 1, true);
  assert.equal(load('removed', 5, 1)?.value, true);
  assert.deepEqual([load('removed', 5, 2), load('removed', 55, 1)], [null, null]);
  forgetOthers(55);
  assert.equal(load('removed', 5, 1), null);
});

test('waiting commands of all other players are deleted', () => {
  kept.clear();
  for (const player of [5, 55]) for (const of of ['/op', '.me/op']) kept.setItem(commandsKey(player) + of, '{}');
  forgetOthers(5);
  const left = Array.from({ length: kept.length }, (_, index) => kept.key(index));
  assert.deepEqual(left, ['raidhall.commands.5/op', 'raidhall.commands.5.me/op']);
  forgetOthers(null);
  assert.equal(kept.length, 0);
});

test('a damaged view counts as none', () => {
  kept.clear();
  for (const text of ['', '{', 'null', '{"at":1,"value":{}}', '{"at":1,"value":null}']) {
    kept.setItem('raidhall.raids.5.view.1', text);
    assert.equal(load('view', 5, 1), null);
    assert.deepEqual(lastViews(5), []);
  }
});
