// Sessions: renewed in time, one at a time, and by one tab for all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RaidhallError } from '../src/errors.js';
import type { TokenPair } from '../src/protocol.js';
import { Rest } from '../src/rest.js';
import { Session, sessionIn } from '../src/session.js';
import type { Keeping } from '../src/session.js';
import { StoredItems, VirtualClock, chance } from './simulation.js';

/** Gives the pair after the one that is presented. */
class Renewals {
  asked: string[] = [];
  readonly rest = new Rest({
    url: 'http://server',
    fetch: async (_, init) => {
      const { refresh_token } = JSON.parse(String(init?.body)) as { refresh_token: string };
      this.asked.push(refresh_token);
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

test('a token is renewed shortly before it ends, once for all who ask', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  assert.equal(await session.getToken('connect'), 'access 1');
  await clock.pass(880_000);
  const tokens = await Promise.all([session.getToken('connect'), session.getToken('renew'), session.getToken('refused')]);
  assert.deepEqual([tokens, renewals.asked], [Array(3).fill('access 2'), ['1']]);
  assert.equal(Session.resume(renewals.rest, keeping(), clock)?.player.name, 'Ada');
});

test('a tab that slept takes what another has renewed: it never presents an old token again', async () => {
  const { renewals, clock, keeping } = play();
  const sleeper = Session.begin(renewals.rest, pair(1), keeping(), clock);
  const other = Session.resume(renewals.rest, keeping(), clock);
  assert.equal(await other?.getToken('renew'), 'access 2');
  for (const why of ['refused', 'connect'] as const) assert.equal(await sleeper.getToken(why), 'access 2');
  await clock.pass(900_000);
  assert.equal(await sleeper.getToken('connect'), 'access 3');
  assert.deepEqual(renewals.asked, ['1', '2']);
});

test('a full storage does not make an old token a new one', async () => {
  const { renewals, clock } = play();
  const items = new StoredItems();
  const storage = { getItem: items.getItem, removeItem: items.removeItem, setItem: items.setItem };
  const session = Session.begin(renewals.rest, pair(1), sessionIn(storage, 'session'), clock);
  storage.setItem = () => { throw new Error('full'); };
  assert.equal(await session.getToken('renew'), 'access 2');
  assert.equal(await session.getToken('renew'), 'access 3');
  assert.deepEqual(renewals.asked, ['1', '2']);
});

test('signing out while a token is renewed stays signed out', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  const renewal = session.getToken('renew');
  keeping().save(null);
  await assert.rejects(renewal, (error: RaidhallError) => error.type === 'unauthenticated');
  assert.equal(keeping().load(), null);
});

test('who signs out in one tab has no session in any', async () => {
  const { renewals, clock, keeping } = play();
  const session = Session.begin(renewals.rest, pair(1), keeping(), clock);
  keeping().save(null);
  assert.equal(Session.resume(renewals.rest, keeping(), clock), null);
  await assert.rejects(session.getToken('connect'), (error: RaidhallError) => error.type === 'unauthenticated' && !error.retry);
});

test('REST renews a token that is refused before its time, once', async () => {
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

test('what something between says is no word of the server about a session', async () => {
  const rest = new Rest({ url: 'http://server', fetch: async () => new Response('{}', { status: 403 }) });
  await assert.rejects(rest.refresh('1'), (error: RaidhallError) => error.type === 'network' && error.retry);
});

test('where nothing may be kept a session lives as long as the page', async () => {
  const { renewals, clock } = play();
  const forbidden = { getItem: () => null, setItem: () => { throw new Error('forbidden'); }, removeItem: () => {} };
  const session = Session.begin(renewals.rest, pair(1), sessionIn(forbidden, 'session'), clock);
  assert.equal(await session.getToken('connect'), 'access 1');
  assert.equal(await session.getToken('renew'), 'access 2');
});
