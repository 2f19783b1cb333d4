import type { RaidEvent } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boardsEn } from '../src/i18n/boards-en';
import { boardsRu } from '../src/i18n/boards-ru';
import { en } from '../src/i18n/en';
import { inboxEn } from '../src/i18n/inbox-en';
import { inboxRu } from '../src/i18n/inbox-ru';
import { profileEn } from '../src/i18n/profile-en';
import { profileRu } from '../src/i18n/profile-ru';
import { rewardsEn } from '../src/i18n/rewards-en';
import { rewardsRu } from '../src/i18n/rewards-ru';
import { ru } from '../src/i18n/ru';
import { plain, quote } from '../src/parts/sentence';
import { lineOf, namesIn, stepsOf, titlesIn } from '../src/play/history';
import { CLAIM_COST, FAILURE_COST } from '../src/play/predict';
import { clock, timeOfDay } from '../src/play/time';
import { parse } from '../src/route';
import { ADA, BEN, NOW, raid, task } from './states';

test('nouns agree with their numbers in each language', () => {
  assert.deepEqual([1, 2, 21].map(en.waiting), ['1 change waiting to send', '2 changes waiting to send', '21 changes waiting to send']);
  assert.deepEqual([1, 2, 5, 11, 21, 22].map(ru.waiting), [
    '1 действие ждёт отправки', '2 действия ждут отправки', '5 действий ждут отправки', '11 действий ждут отправки', '21 действие ждёт отправки',
    '22 действия ждут отправки',
  ]);
  assert.deepEqual([1, 2].map(rewardsEn.coinsGained), ['+1 coin', '+2 coins']);
  assert.deepEqual([1, 3, 5, 21].map(rewardsRu.coinsGained), ['+1 монета', '+3 монеты', '+5 монет', '+21 монета']);
  assert.deepEqual([1, 2].map(rewardsEn.xpFrom.task), ['task', '2 tasks']);
  assert.deepEqual([1, 2, 5].map(rewardsRu.xpFrom.contribution), ['вклад', '2 вклада', '5 вкладов']);
});

test('places in the ranking are ordinals', () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 100].map(en.rank), [
    '1st place', '2nd place', '3rd place', '4th place', '11th place', '12th place', '13th place', '21st place', '22nd place', '23rd place', '100th place',
  ]);
  assert.deepEqual([1, 22].map(ru.rank), ['1-е место', '22-е место']);
});

test('a player who is alone reads other texts than a team', () => {
  for (const words of [en, ru]) {
    assert.notEqual(words.leaveConfirm(true).text, words.leaveConfirm(false).text);
    assert.notEqual(words.victoryText(true), words.victoryText(false));
  }
});

test('an empty list asks for an entry only from a player who can make one', () => {
  for (const words of [en, ru]) {
    for (const empty of [words.noTasks, words.noMessages]) {
      assert.equal(empty(false).split(/[.!]/).length, 2, 'it only says that there are none');
      assert.ok(empty(true).startsWith(empty(false)) && empty(true) !== empty(false));
    }
  }
});

test('energy costs in texts are those of the rules', () => {
  for (const words of [en, ru]) {
    assert.ok(words.errors.not_enough_energy.includes(`${CLAIM_COST}`));
    assert.ok(words.fail(FAILURE_COST).includes(`−${FAILURE_COST}`));
    assert.ok(words.claim(CLAIM_COST).includes(`−${CLAIM_COST}`));
    assert.match(words.failConfirm('Dig', 15, 62).text, /15.*62/);
  }
});

test('invalid fields are named as in their form', () => {
  assert.equal(en.checkFields([en.fieldNames.target_xp]), 'Check this field: XP goal.');
  assert.equal(en.checkFields([en.fieldNames.title, en.fieldNames.minutes]), 'Check these fields: title, minutes.');
  assert.equal(ru.checkFields([ru.fieldNames.target_xp]), 'Проверьте поле: цель по XP.');
  assert.equal(ru.checkFields([ru.fieldNames.title, ru.fieldNames.minutes]), 'Проверьте поля: название, минуты.');
});

test('no text is missing or left in the other language', () => {
  const texts = (words: object): string[] =>
    Object.values(words).flatMap(word => (typeof word === 'string' ? [word] : typeof word === 'object' ? texts(word as object) : []));
  for (const [words, own] of [[[en, boardsEn, inboxEn, profileEn, rewardsEn], /[A-Za-z]/], [[ru, boardsRu, inboxRu, profileRu, rewardsRu], /[А-Яа-яё]/]] as const) {
    const same = new Set(['XP', 'MVP', 'English', 'Русский', 'en', 'ru']);
    const foreign = texts(words).filter(text => !same.has(text) && !own.test(text));
    assert.deepEqual(foreign, []);
  }
});

test('the feed names the players who acted, those who have left too', () => {
  const event = (by: number | null, type: string, data: object): RaidEvent => ({ seq: 3, at: NOW, by, type, data }) as RaidEvent;
  const joined = event(3, 'member_joined', { player: 3, name: 'Eve', role: 'member', xp: 0, tasks: 0, energy: 100, energy_at: NOW, joined_at: NOW });
  const state = raid({ tasks: [task(1, { title: 'Dig' })] });
  const names = namesIn([joined], state);
  const titles = titlesIn([], state);
  const textOf = (happened: RaidEvent, words = en) => plain(lineOf(happened, names, titles, words)?.text ?? '');
  assert.equal(textOf(event(3, 'member_left', { player: 3, reason: 'kicked', released: [] })), 'Eve was removed');
  assert.equal(textOf(event(BEN, 'task_claimed', { task: 1, player: BEN, energy: 90 })), 'Ben took “Dig”');
  assert.equal(textOf(event(ADA, 'task_claimed', { task: 1, player: ADA, energy: 90 }), ru), 'Ada берёт «Dig»');
  assert.equal(textOf(event(99, 'said', { text: 'hi' })), 'Someone: hi');
  assert.equal(lineOf(event(1, 'of_a_newer_server', {}), names, titles, en), null);
  assert.equal(textOf(event(ADA, 'member_muted', { player: BEN, until: NOW + 1 })), 'Ben was muted');
  assert.equal(textOf(event(ADA, 'member_muted', { player: BEN, until: null })), 'Ben was unmuted');
  assert.equal(textOf(event(null, 'task_added', { task: 3, title: 'Read', xp: 1, minutes: 0 })), '“Read” was added');
  assert.equal(textOf(event(null, 'task_removed', { task: 1 })), '“Dig” was deleted');
});

test('the feed names removed tasks, and has one line for those of one kick', () => {
  const events = [
    { type: 'task_added', by: BEN, data: { task: 1, title: 'Dig', xp: 1, minutes: 0 } },
    { type: 'task_edited', by: ADA, data: { task: 1, author: BEN, title: 'Dug', minutes: null } },
    { type: 'task_removed', by: ADA, data: { task: 1 } },
    { type: 'task_removed', by: ADA, data: { task: 2 }, at: NOW + 5 },
    { type: 'task_released', by: ADA, data: { task: 3, player: ADA }, at: NOW + 5 },
    { type: 'task_removed', by: ADA, data: { task: 3 }, at: NOW + 5 },
  ].map((event, seq) => ({ seq, at: NOW, ...event }) as RaidEvent);
  const lines = (events: RaidEvent[]) => stepsOf(events).map(step => plain(lineOf(step[0]!, namesIn([], raid()), titlesIn(events, raid()), en, step.length > 1)?.text ?? ''));
  assert.deepEqual(lines(events).slice(1), ['Ada edited “Dug”', 'Ada deleted “Dug”', 'Ada deleted several tasks', '“#3” is open again']);
  const erased = { seq: 9, at: NOW, by: BEN, type: 'player_erased', data: { player: BEN, text: '[erased]', made_raid: false } } as RaidEvent;
  assert.equal(titlesIn([...events, erased], null).get(1)?.text, '[erased]');
});

test('a removed task loses its title once an author of it is erased', () => {
  const before = titlesIn([], raid({ tasks: [task(1, { title: 'Dig' }), task(2, { title: 'Dug', edited_by: BEN }), task(3, { title: 'Rest' })] }));
  const erased = (player: number, text: string) => ({ seq: 9, at: NOW, by: player, type: 'player_erased', data: { player, text, made_raid: false } }) as RaidEvent;
  const after = titlesIn([erased(BEN, '[erased]')], raid(), before);
  assert.deepEqual([1, 2, 3].map(id => after.get(id)?.text), ['Dig', '[erased]', 'Rest']);
  assert.deepEqual([1, 2, 3].map(id => titlesIn([erased(ADA, '[gone]')], raid(), after).get(id)?.text), Array(3).fill('[gone]'));
});

test('control characters of a quoted text do not reach the sentence around it', () => {
  assert.equal(quote('\u2069\u202eneB'), '\u2068neB\u2069');
  assert.equal(plain(en.inWorkBy(quote('Ben'))), 'Ben is on it');
});

test('a clock rounds seconds up and shows hours and days only if there are any', () => {
  const texts = (words: typeof en, times: number[]) => times.map(time => clock(time, words));
  assert.deepEqual(texts(en, [0, 1, 59_999, 60_000, 3_600_000, 86_399_000, -5]), ['00:00', '00:01', '01:00', '01:00', '1:00:00', '23:59:59', '00:00']);
  assert.deepEqual(texts(en, [86_399_001, 604_790_000, 604_800_000]), ['1 d 0 h', '6 d 23 h', '7 d 0 h']);
  assert.deepEqual(texts(ru, [604_790_000]), ['6 д 23 ч']);
});

test('a moment that is over six days away has its date, a nearer one its weekday', () => {
  const now = new Date(2026, 10, 30, 12).getTime(); // a Monday
  const texts = (language: string, days: number[]) => days.map(day => timeOfDay(new Date(2026, 10, 30 + day, 14).getTime(), language, now).replaceAll('\u202f', ' '));
  assert.deepEqual(texts('ru', [0, -3, 1, -7, -365]), ['14:00', 'пт 14:00', 'вт 14:00', '23 нояб., 14:00', '30 нояб. 2025 г., 14:00']);
  assert.deepEqual(texts('en', [0, -5, 5, -6, -365]), ['02:00 PM', 'Wed 02:00 PM', 'Sat 02:00 PM', 'Tue 02:00 PM', 'Nov 30, 2025, 02:00 PM']);
  assert.deepEqual(texts('en', [-7, 7]), ['Nov 23, 02:00 PM', 'Dec 7, 02:00 PM']);
  assert.equal(ru.mutedUntil(texts('ru', [4])[0]!), 'Не может писать до пт 14:00');
});

test('digits are grouped as the language groups them', () => {
  assert.deepEqual([en.xpOf(5_050, 100_000), en.gain(1_000), en.tasksOf(0, 10_000)], ['5,050 of 100,000 XP', '+1,000 XP', '0 of 10,000 tasks']);
  assert.equal(ru.xpOf(5_050, 100_000), '5\u00a0050 из 100\u00a0000 XP');
  assert.equal(ru.tooLong(80, 81), 'Не больше 80 символов, а здесь 81.');
});

test('a URL leads to the lobby, a raid, an invite or nowhere', () => {
  assert.deepEqual(parse('/', '#/raid/7'), { at: 'raid', id: 7 });
  assert.deepEqual(parse('/', '#abcd2345'), { at: 'invite', code: 'ABCD2345' });
  for (const at of ['me', 'inbox']) assert.deepEqual(parse('/', `#/${at}`), { at });
  assert.deepEqual(parse('/', '#/boards'), { at: 'boards', board: null, number: null });
  assert.deepEqual(parse('/', '#/boards/all_time/-3'), { at: 'boards', board: 'all_time', number: -3 });
  for (const hash of ['', '#', '#/']) assert.deepEqual(parse('/', hash), { at: 'lobby' });
  for (const hash of ['#/raid/x', '#/me/5', '#/boards/Daily', '#/boards/daily/x', '#/raid/7/../8', '#<img>', '#/raid/99999999999999999999']) assert.deepEqual(parse('/', hash), { at: 'nowhere' });
  assert.deepEqual(parse('/raid/7', ''), { at: 'nowhere' });
});
