// Sessions: tokens are renewed in time, by one request at a time, and by one tab for all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RaidhallError } from '../src/errors.js';
import type { TokenPair } from '../src/protocol.js';
import { Rest } from '../src/rest.js';
import { Session, sessionIn } from '../src/session.js';
import type { Keeping } from '../src/session.js';
import { StoredItems, VirtualClock, chance } from './simulation.js';

/** A server that answers each refresh token with the next pair. */
class Renewals {
  presented: string[] = [];
  readonly rest = new Rest({
    url: 'http://server',
    fetch: async (_, init) => {
      const { refresh_token } = JSON.parse(String(init?.body)) as { refresh_token: string };
      this.presented.push(refresh_token);
      return new Response(JSON.stringify({ data: pair(Number(refresh_token) + 1) }));
    },
  });
}

const pair = (number: number): TokenPair => ({
  access_token: `access ${number}`,
  refresh_token: `${number}`,
  expires_in: 900,
  player: { id: 5, name: 'Ada' },
});

function play(): { renewals: Renewals; clock: VirtualClock; keeping: () => Keeping } {
  const items = new StoredItems();
  return { renewals: new Renewals(), clock: new VirtualClock(chance(1)), keeping: () => sessionIn(items, 'session') };
}

test('a token is renewed shortly before it expires, once for all callers', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  assert.equal(await session.getToken('connect'), 'access 1');
  await clock.pass(880_000);
  const tokens = await Promise.all([session.getToken('connect'), session.getToken('renew'), session.getToken('refused')]);
  assert.deepEqual([tokens, renewals.presented], [Array(3).fill('access 2'), ['1']]);
  assert.equal(Session.resume(renewals.rest, keeping(), clock)?.player.name, 'Ada');
});

test('a tab that slept adopts the tokens that another tab renewed', async () => {
  const { renewals, clock, keeping } = play();
  const sleeper = Session.begin(renewals.rest, pair(1), keeping(), clock);
  const other = Session.resume(renewals.rest, keeping(), clock);
  assert.equal(await other?.getToken('renew'), 'access 2');
  for (const why of ['refused', 'connect'] as const) assert.equal(await sleeper.getToken(why), 'access 2');
  await clock.pass(900_000);
  assert.equal(await sleeper.getToken('connect'), 'access 3');
  assert.deepEqual(renewals.presented, ['1', '2']);
});

test('a session presents the stored token for as long as the next one cannot be stored', async () => {
  const { renewals, clock } = play();
  const items = new StoredItems();
  const storage = { getItem: items.getItem, removeItem: items.removeItem, setItem: items.setItem };
  const session = Session.begin(renewals.rest, pair(1), sessionIn(storage, 'session'), clock);
  storage.setItem = () => { throw new Error('full'); };
  for (const _ of [1, 2]) assert.equal(await session.getToken('renew'), 'access 2');
  const reloaded = Session.resume(renewals.rest, sessionIn(storage, 'session'), clock);
  assert.equal(await reloaded?.getToken('renew'), 'access 2');
  storage.setItem = items.setItem;
  for (const number of [2, 3]) assert.equal(await reloaded?.getToken('renew'), `access ${number}`);
  assert.deepEqual(renewals.presented, ['1', '1', '1', '1', '2']);
});

test('a session that could not store its tokens adopts those that another tab stores', async () => {
  const { renewals, clock } = play();
  const items = new StoredItems();
  const full = { getItem: items.getItem, removeItem: items.removeItem, setItem: items.setItem };
  const first = Session.begin(renewals.rest, pair(1), sessionIn(full, 'session'), clock);
  full.setItem = () => { throw new Error('full'); };
  assert.equal(await first.getToken('renew'), 'access 2');
  const second = Session.resume(renewals.rest, sessionIn(items, 'session'), clock);
  for (const number of [2, 3]) assert.equal(await second?.getToken('renew'), `access ${number}`);
  assert.equal(await first.getToken('refused'), 'access 3');
  assert.deepEqual(renewals.presented, ['1', '1', '2']);
  sessionIn(items, 'session').save(null);
  await assert.rejects(first.getToken('connect'), (error: RaidhallError) => error.type === 'unauthenticated');
});

test('a new sign-in with a full storage presents no token of the one before', async () => {
  const { renewals, clock } = play();
  const items = new StoredItems();
  const full = { getItem: items.getItem, removeItem: items.removeItem, setItem: items.setItem };
  Session.begin(renewals.rest, pair(1), sessionIn(full, 'session'), clock);
  full.setItem = () => { throw new Error('full'); };
  const again = Session.begin(renewals.rest, pair(7), sessionIn(full, 'session'), clock);
  assert.equal(await again.getToken('renew'), 'access 8');
  assert.deepEqual(renewals.presented, ['7']);
});

test('a session without a storage presents each token once', async () => {
  const { renewals, clock } = play();
  const forbidden = () => { throw new Error('forbidden'); };
  const storage = { getItem: forbidden, removeItem: forbidden, setItem: forbidden };
  const session = Session.begin(renewals.rest, pair(1), sessionIn(storage, 'session'), clock);
  for (const number of [2, 3]) assert.equal(await session.getToken('renew'), `access ${number}`);
  assert.deepEqual(renewals.presented, ['1', '2']);
});

test('a sign-out during a renewal ends the session', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  const renewal = session.getToken('renew');
  keeping().save(null);
  await assert.rejects(renewal, (error: RaidhallError) => error.type === 'unauthenticated');
  assert.equal(keeping().load(), null);
});

test('a sign-out in one tab ends the session in every tab', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  keeping().save(null);
  assert.equal(Session.resume(renewals.rest, keeping(), clock), null);
  await assert.rejects(session.getToken('connect'), (error: RaidhallError) => error.type === 'unauthenticated' && !error.retry);
});

test('Rest renews a token once if it is refused early', async () => {
  let refused = 0;
  const rest = new Rest({
    url: 'http://server',
    getToken: why => (why === 'refused' ? 'new' : 'old'),
    fetch: async (_, init) => {
      const good = (init?.headers as Record<string, string>)['authorization'] === 'Bearer new';
      if (!good) refused++;
      const error = { type: 'unauthenticated', message: 'no', retry: false, retry_after_ms: null, fields: null };
      return good ? new Response('{"data":{"name":"Ada"}}') : new Response(JSON.stringify({ error }), { status: 401 });
    },
  });
  assert.equal((await rest.me()).name, 'Ada');
  assert.equal(refused, 1);
});

test('a response that is not the server\'s is a network error that says so', async () => {
  for (const [body, status] of [['{}', 403], ['{"error":"no"}', 403], ['null', 404], ['<p>Welcome', 200], ['{}', 200]] as const) {
    const rest = new Rest({ url: 'http://server', fetch: async () => new Response(body, { status }) });
    await assert.rejects(rest.refresh('1'), {
      type: 'network', retry: true, message: `POST http://server/api/v1/auth/refresh was answered with ${status}, but not by Raidhall`,
    });
  }
});

test('a request that fails or is never answered is a network error with its cause', async t => {
  const unreachable = new Rest({
    url: 'http://server',
    fetch: () => Promise.reject(new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })),
  });
  await assert.rejects(unreachable.refresh('1'), { type: 'network', message: 'POST http://server/api/v1/auth/refresh failed: fetch failed: connect ECONNREFUSED' });
  t.mock.method(globalThis, 'setTimeout', (run: () => void) => queueMicrotask(run));
  const silent = new Rest({ url: 'http://server', fetch: () => new Promise(() => {}) });
  await assert.rejects(silent.refresh('1'), { type: 'network', message: 'POST http://server/api/v1/auth/refresh failed: no response within 15 s' });
});

test('a storage with anything but a session counts as signed out', async () => {
  const { renewals, clock } = play();
  const items = new StoredItems();
  const session = Session.begin(renewals.rest, pair(1), sessionIn(items, 'session'), clock);
  for (const text of ['{}', 'true', '[]', 'null', '7', '""', '{', '{"player":null}', '{"player":{"id":5,"name":"Ada"}}']) {
    items.setItem('session', text);
    assert.equal(Session.resume(renewals.rest, sessionIn(items, 'session'), clock), null, text);
    await assert.rejects(session.getToken('connect'), { type: 'unauthenticated' }, text);
  }
});

test('a session whose storage is forbidden lives as long as the page', async () => {
  const { renewals, clock } = play();
  const forbidden = { getItem: () => null, setItem: () => { throw new Error('forbidden'); }, removeItem: () => {} };
  const session = Session.begin(renewals.rest, pair(1), sessionIn(forbidden, 'session'), clock);
  assert.equal(await session.getToken('connect'), 'access 1');
  assert.equal(await session.getToken('renew'), 'access 2');
});
