import type { RaidEvent } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { en } from '../src/i18n/en';
import { ru } from '../src/i18n/ru';
import { lineOf, namesIn } from '../src/play/history';
import { clock } from '../src/play/time';
import { parse } from '../src/route';
import { ADA, BEN, NOW, raid, task } from './states';

test('numbers have the form that the language gives them', () => {
  assert.deepEqual([1, 2, 21].map(en.waiting), ['1 command waiting', '2 commands waiting', '21 commands waiting']);
  assert.deepEqual([1, 2, 5, 11, 21, 22].map(ru.waiting), [
    '1 команда ждёт', '2 команды ждут', '5 команд ждут', '11 команд ждут', '21 команда ждёт', '22 команды ждут',
  ]);
});

test('no word is missing or left in the other language', () => {
  const texts = (words: object): string[] =>
    Object.values(words).flatMap(word => (typeof word === 'string' ? [word] : typeof word === 'object' ? texts(word as object) : []));
  for (const [words, own] of [[en, /[A-Za-z]/], [ru, /[А-Яа-яё]/]] as const) {
    const theirs = new Set(['XP', 'English', 'Русский', 'en', 'ru']);
    const foreign = texts(words).filter(text => !theirs.has(text) && !own.test(text));
    assert.deepEqual(foreign, []);
  }
});

test('the feed names who did what, those who have left too', () => {
  const event = (by: number | null, type: string, data: object): RaidEvent => ({ seq: 3, at: NOW, by, type, data }) as RaidEvent;
  const joined = event(3, 'member_joined', { player: 3, name: 'Eve', role: 'member', xp: 0, tasks: 0, energy: 100, energy_at: NOW, joined_at: NOW });
  const state = raid({ tasks: [task(1, { title: 'Dig' })] });
  const names = namesIn([joined], state);
  const told = (happened: RaidEvent, words = en) => lineOf(happened, names, state, words)?.text;
  assert.equal(told(event(3, 'member_left', { player: 3, reason: 'kicked', released: [] })), 'Eve was removed');
  assert.equal(told(event(BEN, 'task_claimed', { task: 1, player: BEN, energy: 90 })), 'Ben took “Dig”');
  assert.equal(told(event(ADA, 'task_claimed', { task: 1, player: ADA, energy: 90 }), ru), 'Ada берёт «Dig»');
  assert.equal(told(event(99, 'said', { text: 'hi' })), 'Somebody: hi');
  assert.equal(lineOf(event(1, 'of_a_newer_server', {}), names, state, en), null);
});

test('clocks count begun seconds, and hours only where there are some', () => {
  assert.deepEqual([0, 1, 59_999, 60_000, 3_600_000, 604_800_000, -5].map(clock), ['00:00', '00:01', '01:00', '01:00', '1:00:00', '168:00:00', '00:00']);
});

test('an address leads to the lobby, a raid, or the door that its code opens', () => {
  assert.deepEqual(parse('#/raid/7'), { at: 'raid', id: 7 });
  assert.deepEqual(parse('#abcd2345'), { at: 'invite', code: 'ABCD2345' });
  for (const other of ['', '#', '#/', '#/raid/x', '#/raid/7/../8', '#<img>', '#/raid/99999999999999999999']) assert.deepEqual(parse(other), { at: 'lobby' });
});
