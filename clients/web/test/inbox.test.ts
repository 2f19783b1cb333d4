import type { InboxItem, PlayerCommand, PlayerState } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inboxEn } from '../src/i18n/inbox-en';
import { isShown, unreadOf } from '../src/inbox';
import { ago } from '../src/inbox/ago';
import { linkOf } from '../src/inbox/link';
import { textsOf } from '../src/inbox/texts';
import { rewardsShown, toTell } from '../src/seen';
import { NOW } from './states';

const item = (seq: number, change: Partial<InboxItem> = {}): InboxItem => ({ seq, at: NOW, kind: 'sale', data: { title: 'Sale' }, read: false, ...change });
const stateOf = (items: InboxItem[], change: Partial<PlayerState> = {}): PlayerState =>
  ({ inbox: { unread: items.length, items }, read_through: 0, settings: {}, ...change }) as unknown as PlayerState;

test('notifications without a title are shown only if their kind is known', () => {
  const data = [null, 5, {}, { title: '' }, { title: ' ' }, { title: 5 }];
  assert.deepEqual(data.map(data => isShown(item(1, { kind: 'raffle', data }))), data.map(() => false));
  assert.deepEqual([isShown(item(1)), isShown(item(1, { kind: 'streak_at_risk', data: null }))], [true, true]);
});

test('a streak at risk has a text of its own, with what its data says', () => {
  const texts = (data: unknown) => Object.values(textsOf(item(1, { kind: 'streak_at_risk', data }), inboxEn, 'en', NOW));
  assert.deepEqual(texts({ title: 'Play', body: 'Today!' }), ['Play', 'Today!']);
  assert.deepEqual(texts({ days: 12, lapses_at: NOW - 1 }), ['Your 12-day streak is at risk', '']);
  assert.match(texts({ days: 12, lapses_at: NOW + 3_600_000 })[1]!, /^Earn XP in a raid before .+ to keep it\.$/);
  for (const data of [null, 5, { days: '12', lapses_at: {} }]) assert.deepEqual(texts(data), ['Your streak is at risk', '']);
  assert.deepEqual(Object.values(textsOf(item(1), inboxEn, 'en', NOW)), ['Sale', '']);
});

test('unread notifications that no page shows are not counted', () => {
  const items = [item(1, { read: true }), item(2), item(3, { kind: 'raffle', data: null })];
  assert.deepEqual(unreadOf({ unread: 2, items }).map(({ seq }) => seq), [2]);
  assert.deepEqual(unreadOf(undefined), []);
});

test('only https and paths of the app are links', () => {
  const links = (urls: string[]) => urls.map(url => linkOf(url, 'https://play.example'));
  assert.deepEqual(links(['/#/raid/7', '/i/ABCD2345']), [{ href: 'https://play.example/#/raid/7', host: null }, { href: 'https://play.example/i/ABCD2345', host: null }]);
  assert.deepEqual(links(['https://shop.example/a?b']), [{ href: 'https://shop.example/a?b', host: 'shop.example' }]);
  const unsafe = ['', 'javascript:alert(1)', 'http://shop.example', '//evil.example', '/\\evil.example', 'data:text/html,x', 'shop', 'https://', 'https:shop'];
  assert.deepEqual(links(unsafe), unsafe.map(() => null));
});

test('an age is in the largest unit, and a week ago has its date', () => {
  const ages = [-5, 59_000, 60_000, 59 * 60_000, 3_600_000, 86_400_000, 6 * 86_400_000];
  assert.deepEqual(ages.map(age => ago(NOW - age, 'en', NOW)), ['now', 'now', '1 minute ago', '59 minutes ago', '1 hour ago', 'yesterday', '6 days ago']);
  assert.equal(ago(NOW - 5 * 60_000, 'ru', NOW), '5 минут назад');
  assert.match(ago(NOW - 7 * 86_400_000, 'en', NOW), /\d, \d/);
  const morning = new Date(2026, 10, 30, 0, 30).getTime();
  assert.equal(ago(new Date(2026, 10, 28, 23, 50).getTime(), 'en', morning), '2 days ago', 'a day ends at midnight');
});

test('rewards after an unread notification do not read it', () => {
  const unread = stateOf([item(5)]);
  assert.deepEqual(toTell(unread, 4, 0), { through: 4, setting: null });
  assert.deepEqual(toTell(unread, 7, 0), { through: null, setting: 7 });
  assert.deepEqual(toTell(unread, 7, 5), { through: 7, setting: null });
  assert.deepEqual(toTell(stateOf([item(5), item(6)]), 7, 5), { through: 5, setting: 7 });
  for (const passed of [{ read: true }, { kind: 'raffle', data: null }]) assert.deepEqual(toTell(stateOf([item(5, passed)]), 7, 0), { through: 7, setting: null });
});

test('what the state has is not told again', () => {
  const told = stateOf([item(5)], { read_through: 4, settings: { 'app.rewards': { value: 7, version: 1 } } });
  assert.deepEqual([toTell(told, 7, 0), toTell(told, 7, 4)], Array(2).fill({ through: null, setting: null }));
  assert.deepEqual(toTell(told, 8, 0), { through: null, setting: 8 });
});

test('rewards were shown as far as the stream, the setting or a waiting command says', () => {
  const settings = (value: unknown) => ({ settings: { 'app.rewards': { value, version: 1 } }, read_through: 4 });
  assert.equal(rewardsShown(stateOf([], settings(7)), []), 7);
  for (const value of ['9', null, {}]) assert.equal(rewardsShown(stateOf([], settings(value)), []), 4);
  const waiting: PlayerCommand[] = [{ type: 'read_through', seq: 8 }, { type: 'set_setting', key: 'theme', value: 90 }, { type: 'set_setting', key: 'app.rewards', value: 9 }];
  assert.deepEqual([waiting.slice(0, 1), waiting].map(pending => rewardsShown(stateOf([], settings(7)), pending)), [8, 9]);
});
