import type { PlayerId, PlayerProfile } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cardEn } from '../src/i18n/card-en';
import { cardRu } from '../src/i18n/card-ru';
import { standingIn } from '../src/play/standing';
import { GATHER_MS, REFRESH_MS, RENEW_MS, RETRY_MS, SETTLE_MS, StandingReader } from '../src/play/standings';
import { ADA, BEN, NOW } from './states';

const EVE = 3;

const profile = (id: PlayerId, change: Partial<PlayerProfile> = {}): PlayerProfile => ({ id, name: '', level: 4, raids_won: 0, badges: [], streak_days: 12, frame: 'frame_gold', ...change });

/** A reader on paused time, with the ids of each request; `answer` says what the server returns. */
class Fixture {
  readonly requests: (readonly PlayerId[])[] = [];
  answer = async (ids: readonly PlayerId[]): Promise<PlayerProfile[]> => ids.map(id => profile(id));
  private now = 0;
  private timers: { readonly at: number; readonly run: () => void }[] = [];
  readonly reader = new StandingReader(ids => {
    this.requests.push(ids);
    return this.answer(ids);
  }, {
    now: () => this.now,
    after: (milliseconds, run) => {
      const timer = { at: this.now + milliseconds, run };
      this.timers.push(timer);
      return () => void (this.timers = this.timers.filter(other => other !== timer));
    },
  });

  constructor(members: readonly PlayerId[]) {
    this.reader.setMembers(members);
    this.reader.setActive(true);
  }

  async pass(milliseconds: number): Promise<void> {
    const end = this.now + milliseconds;
    for (;;) {
      await new Promise(setImmediate);
      const next = this.timers.sort((one, other) => one.at - other.at)[0];
      if (!next || next.at > end) break;
      this.timers.shift();
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }
}

test('members who come together are read once, and later only new ones', async () => {
  const fixture = new Fixture([ADA]);
  await fixture.pass(GATHER_MS / 2);
  fixture.reader.setMembers([ADA, BEN]);
  await fixture.pass(2 * GATHER_MS);
  assert.deepEqual(fixture.requests.flat(), [ADA, BEN]);
  fixture.reader.setMembers([BEN, EVE]);
  await fixture.pass(10 * REFRESH_MS);
  assert.deepEqual(fixture.requests.flat(), [ADA, BEN, EVE]);
  assert.deepEqual(fixture.reader.shown.get().get(EVE), { level: 4, frame: 'frame_gold', streak_days: 12 });
});

test('a raid without other members reads nothing', async () => {
  const fixture = new Fixture([]);
  fixture.reader.refresh();
  await fixture.pass(10 * REFRESH_MS);
  assert.deepEqual(fixture.requests, []);
});

test('events lead to one read of all members a minute', async () => {
  const fixture = new Fixture([ADA, BEN]);
  for (let second = 0; second < 3 * 60; second++) {
    fixture.reader.refresh();
    await fixture.pass(1_000);
  }
  assert.deepEqual(fixture.requests, [[ADA, BEN], [ADA, BEN], [ADA, BEN]]);
  await fixture.pass(10 * REFRESH_MS);
  assert.equal(fixture.requests.length, 5, 'the last event came too late for the fourth read');
});

test('a streak that lapses without an event is seen after a while', async () => {
  const fixture = new Fixture([BEN]);
  await fixture.pass(2 * GATHER_MS);
  fixture.answer = async ids => ids.map(id => profile(id, { streak_days: 0 }));
  await fixture.pass(RENEW_MS);
  assert.equal(fixture.reader.shown.get().get(BEN)?.streak_days, 0);
  assert.equal(fixture.requests.length, 2);
});

test('what has just happened is read once a profile has it', async () => {
  const fixture = new Fixture([ADA]);
  await fixture.pass(2 * REFRESH_MS);
  fixture.reader.refresh();
  await fixture.pass(SETTLE_MS - 1);
  assert.equal(fixture.requests.length, 1);
  await fixture.pass(1);
  assert.equal(fixture.requests.length, 2);
});

test('an unchanged member keeps the same object', async () => {
  const fixture = new Fixture([ADA, BEN]);
  await fixture.pass(GATHER_MS);
  const before = fixture.reader.shown.get();
  fixture.answer = async () => [profile(ADA), profile(BEN, { level: 5 })];
  fixture.reader.refresh();
  await fixture.pass(2 * REFRESH_MS);
  const after = fixture.reader.shown.get();
  assert.equal(after.get(ADA), before.get(ADA));
  assert.equal(after.get(BEN)?.level, 5);
});

test('nothing is read while the page is hidden', async () => {
  const fixture = new Fixture([ADA]);
  fixture.reader.setActive(false);
  await fixture.pass(2 * REFRESH_MS);
  assert.deepEqual(fixture.requests, []);
  fixture.reader.setActive(true);
  await fixture.pass(0);
  assert.deepEqual(fixture.requests, [[ADA]]);
});

test('a failed read is repeated with longer and longer waits', async () => {
  const fixture = new Fixture([ADA]);
  fixture.answer = async () => { throw new Error('no network'); };
  await fixture.pass(GATHER_MS);
  for (const [wait, requests] of [[RETRY_MS - 1, 1], [1, 2], [2 * RETRY_MS - 1, 2], [1, 3]] as const) {
    await fixture.pass(wait);
    assert.equal(fixture.requests.length, requests);
  }
  fixture.answer = async ids => ids.map(id => profile(id));
  await fixture.pass(4 * RETRY_MS);
  assert.equal(fixture.requests.length, 4);
  assert.equal(fixture.reader.shown.get().get(ADA)?.level, 4);
});

test('a profile that is not shown is read a few times, then with all', async () => {
  const fixture = new Fixture([ADA, BEN]);
  fixture.answer = async () => [profile(ADA)];
  await fixture.pass(10 * REFRESH_MS);
  assert.deepEqual(fixture.requests, [[ADA, BEN], [BEN], [BEN], [BEN]]);
  assert.ok(!fixture.reader.shown.get().has(BEN));
  fixture.answer = async () => [profile(BEN)];
  fixture.reader.refresh();
  await fixture.pass(SETTLE_MS);
  assert.deepEqual([...fixture.reader.shown.get().keys()], [BEN], 'a profile that was hidden meanwhile is dropped');
});

test('what is known of members stays after the end of the raid', async () => {
  const fixture = new Fixture([ADA, BEN]);
  await fixture.pass(GATHER_MS);
  fixture.reader.refresh();
  fixture.reader.end();
  fixture.answer = async () => [];
  await fixture.pass(10 * REFRESH_MS);
  assert.equal(fixture.requests.length, 1);
  fixture.reader.setMembers([ADA, BEN, EVE]);
  await fixture.pass(GATHER_MS);
  assert.deepEqual(fixture.requests[1], [EVE]);
  assert.deepEqual([...fixture.reader.shown.get().keys()], [ADA, BEN]);
});

test('the own standing has no days of a streak that has lapsed', () => {
  const state = { level: 3, equipped: {}, streak: { days: 5, best: 5, day: null, freezes: 0, lapses_at: NOW, repairable_days: 0, repairable_from: null, repairable_until: null } };
  assert.deepEqual(standingIn(state, NOW - 1), { level: 3, frame: null, streak_days: 5 });
  assert.equal(standingIn(state, NOW).streak_days, 0);
});

test('the days of a streak agree with their number in each language', () => {
  assert.deepEqual([1, 12, 1_000].map(cardEn.streakOf), ['1-day streak', '12-day streak', '1,000-day streak']);
  assert.deepEqual([1, 2, 12, 21].map(cardRu.streakOf), ['Серия: 1 день', 'Серия: 2 дня', 'Серия: 12 дней', 'Серия: 21 день']);
});
