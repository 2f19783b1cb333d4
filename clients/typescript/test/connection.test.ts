import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cause } from '../src/cause.js';
import { backoff } from '../src/clock.js';
import { RaidhallError } from '../src/errors.js';
import type { FetchInit } from '../src/fetch.js';
import { keptIn } from '../src/outbox.js';
import { Peer } from './peer.js';
import { StoredItems } from './simulation.js';

/** Returns the time until the next attempt; null if there is none. */
async function wait(peer: Peer): Promise<number | null> {
  const status = peer.client.getStatus();
  return status.state === 'waiting' ? status.until - peer.clock.now() : null;
}

function causeOf(peer: Peer): Cause | null {
  const status = peer.client.getStatus();
  return 'cause' in status ? status.cause : null;
}

test('each class of close codes leads to its own wait', async () => {
  for (const [code, expected] of [[1006, 1_000], [1001, 1_000], [4100, 1_000], [4101, 1_000], [4200, 0], [4201, 0], [4299, 0], [4001, 0], [4003, null], [4004, null], [4000, null], [1002, null], [1007, null], [1009, null]] as const) {
    const peer = new Peer();
    await peer.welcome();
    peer.lose(code);
    assert.equal(await wait(peer), expected, `${code}`);
    peer.client.close();
  }
});

test('losses in a row back off up to 30 s until a connection is good', async () => {
  const peer = new Peer();
  for (const expected of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    await peer.welcome();
    peer.lose(1006);
    assert.equal(await wait(peer), expected);
    await peer.clock.pass(expected);
  }
  await peer.welcome();
  for (let second = 0; second < 6; second++) {
    await peer.clock.pass(1_000);
    peer.say({ t: 'beat', now: 0, heads: {} });
  }
  peer.lose(1006);
  assert.equal(await wait(peer), 1_000);
  assert.deepEqual([backoff(0, 0), backoff(99, 0.5)], [0, 15_000], 'full jitter');
});

test('the client reconnects when the server\'s bye says', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.say({ t: 'bye', reason: 'draining', reconnect_after_ms: 840 });
  peer.lose(4200);
  assert.equal(await wait(peer), 840);
});

test('heartbeats are answered, and two missed ones drop the connection', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.say({ t: 'beat', now: peer.clock.now() + 700, heads: {} });
  assert.deepEqual(peer.socket.received.at(-1), { t: 'beat' });
  assert.equal(peer.client.now() - peer.clock.now(), 700);
  await peer.clock.pass(1_999);
  assert.equal(peer.state, 'online');
  await peer.clock.pass(1);
  assert.deepEqual([peer.state, peer.sockets[0]!.closed], ['connecting', true]);
});

test('silence is noticed two heartbeats after the last message, whenever that came', async () => {
  const peer = new Peer();
  await peer.welcome();
  await peer.clock.pass(100);
  peer.say({ t: 'beat', now: peer.clock.now(), heads: {} });
  await peer.clock.pass(1_999);
  assert.equal(peer.state, 'online');
  await peer.clock.pass(1);
  assert.equal(peer.state, 'connecting');
});

test('the loss of the network ends a connection at once, and its return begins the next', async () => {
  const page = new EventTarget();
  const own = { addEventListener: globalThis.addEventListener, removeEventListener: globalThis.removeEventListener };
  Object.assign(globalThis, { addEventListener: page.addEventListener.bind(page), removeEventListener: page.removeEventListener.bind(page) });
  try {
    const peer = new Peer();
    await peer.welcome();
    page.dispatchEvent(new Event('offline'));
    assert.deepEqual([peer.state, peer.sockets[0]!.closed], ['waiting', true]);
    page.dispatchEvent(new Event('online'));
    await peer.welcome();
    assert.equal(peer.state, 'online');
    peer.client.close();
    page.dispatchEvent(new Event('offline'));
    assert.equal(peer.state, 'closed');
  } finally {
    Object.assign(globalThis, own);
  }
});

test('a signal that the server refuses is reported', async () => {
  const peer = new Peer();
  await peer.welcome();
  const refused: string[] = [];
  peer.client.raid(7).onSignalRefused(({ type }) => refused.push(type));
  peer.say({ t: 'error', re: 'signal', id: null, raid: 7, error: { type: 'rate_limited', message: 'slow down', retry: true, retry_after_ms: 50, fields: null } });
  assert.deepEqual(refused, ['rate_limited']);
});

test('retryNow keeps a connection that is alive and skips a wait', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.client.retryNow();
  assert.equal(peer.sockets.length, 1, 'a message arrived just now');
  peer.lose(1006);
  await peer.clock.pass(1_000);
  await peer.welcome();
  peer.lose(1006);
  peer.client.retryNow();
  await peer.clock.pass(0);
  assert.equal(peer.sockets.length, 3);
});

test('a refused token is replaced, and the client stops without another', async () => {
  const reasons: string[] = [];
  const peer = new Peer(why => {
    reasons.push(why);
    if (reasons.length > 2) throw new RaidhallError('unauthenticated', 'over');
    return `token ${reasons.length}`;
  });
  await peer.welcome();
  peer.lose(4001);
  await peer.welcome();
  assert.deepEqual(peer.socket.received[0], { t: 'hello', token: 'token 2', client: '@raidhall/client' });
  peer.lose(4001);
  await peer.clock.pass(2_000);
  assert.deepEqual([reasons, peer.client.getStatus()], [['connect', 'refused', 'refused'], { state: 'stopped', reason: 'unauthenticated', message: 'The session has ended: over' }]);
});

test('a token is renewed on the same connection before it expires', async () => {
  let tokens = 0;
  const claims = () => btoa(JSON.stringify({ exp: (peer.clock.now() + 500) / 1_000 + 100 })).replace(/=/g, '');
  const peer: Peer = new Peer(() => `h.${claims()}.${++tokens}`);
  await peer.welcome();
  for (let second = 0; second < 80; second++) {
    await peer.clock.pass(1_000);
    peer.say({ t: 'beat', now: 0, heads: {} });
  }
  const hellos = peer.socket.received.filter(message => message.t === 'hello');
  assert.deepEqual([peer.sockets.length, hellos.length, hellos[1]?.t === 'hello' && hellos[1].token.endsWith('.2')], [1, 2, true]);
});

test('an undecodable frame or a missing welcome drops the connection', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.socket.onmessage?.({ data: 'not JSON' });
  assert.equal(peer.state, 'waiting');
  await peer.clock.pass(1_000);
  peer.socket.onopen?.();
  await peer.clock.pass(10_000);
  assert.ok(peer.sockets[1]!.closed);
});

test('a too large command and any after close are refused at once', async () => {
  const peer = new Peer();
  await peer.welcome();
  await assert.rejects(peer.client.raid(7).do({ type: 'say', text: 'x'.repeat(200) }), { type: 'too_large' });
  peer.client.close();
  await assert.rejects(peer.client.raid(7).do({ type: 'start' }), { type: 'closed' });
  assert.equal(peer.state, 'closed');
});

test('a raid without access is gone, as is one that kicked the player', async () => {
  const peer = new Peer();
  peer.client.raid(7).subscribe(() => {});
  peer.client.raid(8).subscribe(() => {});
  await peer.welcome();
  const error = { type: 'not_found', message: '', retry: false, retry_after_ms: null, fields: null };
  peer.say({ t: 'error', re: 'watch', id: null, raid: 7, error });
  peer.say({ t: 'unwatched', raid: 8, reason: 'kicked' });
  assert.deepEqual([7, 8].map(id => peer.client.raid(id).getView().gone), ['not_found', 'kicked']);
});

test('signals and presence are delivered to the raid', async () => {
  const peer = new Peer();
  const raid = peer.client.raid(7);
  const received: unknown[] = [];
  raid.onSignal(signal => received.push(signal));
  const stop = raid.subscribe(() => {});
  await peer.welcome();
  peer.say({ t: 'watching', raid: 7, seq: 0, recovered: true, online: [5] });
  peer.say({ t: 'presence', raid: 7, online: [6], offline: [5] });
  peer.say({ t: 'signal', raid: 7, from: 6, kind: 'emote', data: '🔥' });
  assert.deepEqual([[...raid.getView().online], received], [[6], [{ from: 6, kind: 'emote', data: '🔥' }]]);
  assert.ok(raid.signal('emote', 1));
  stop();
  assert.deepEqual(peer.socket.received.at(-1), { t: 'unwatch', raid: 7 });
  peer.client.close();
  assert.equal(raid.signal('emote', 1), false);
});

const jwt = (seconds: number): string => `x.${btoa(JSON.stringify({ exp: seconds }))}.x`;

test('a token is renewed once per lifetime, despite repeated welcomes', async () => {
  let renewals = 0;
  const peer: Peer = new Peer(() => {
    renewals++;
    return jwt((peer.clock.now() + 500) / 1_000 + 900);
  });
  await peer.welcome();
  for (let second = 0, hellos = 1; second < 2_000; second++) {
    await peer.clock.pass(1_000);
    peer.say({ t: 'beat', now: peer.clock.now() + 500, heads: {} });
    if (peer.socket.received.filter(({ t }) => t === 'hello').length > hellos) {
      hellos++;
      await peer.welcome();
      peer.socket.received.pop(); // welcome() opens the socket, which says hello again
    }
  }
  assert.deepEqual([peer.sockets.length, renewals], [1, 3]);
  peer.client.close();
});

test('a token request that never resolves is abandoned', async () => {
  let requests = 0;
  const peer = new Peer(() => (requests++ === 0 ? new Promise<string>(() => {}) : 'a token'));
  await peer.clock.pass(9_000);
  assert.equal(peer.state, 'connecting');
  await peer.clock.pass(3_000);
  await peer.welcome();
  assert.equal(peer.state, 'online');
  peer.client.close();
});

test('a command that can never be sent is refused and blocks no other', async () => {
  const peer = new Peer();
  const raid = peer.client.raid(7);
  const refused: string[] = [];
  raid.do({ type: 'say', text: 'x'.repeat(300) }).catch((error: RaidhallError) => refused.push(error.type));
  raid.do({ type: 'say', text: 1n as unknown as string }).catch((error: RaidhallError) => refused.push(error.type));
  const good = raid.do({ type: 'say', text: 'short' });
  await peer.welcome();
  const sent = peer.socket.received.flatMap(message => (message.t === 'do' ? [message] : []));
  assert.deepEqual(sent.map(({ cmd }) => cmd), [{ type: 'say', text: 'short' }]);
  peer.say({ t: 'ack', id: sent[0]!.id, raid: 7, seq: 1, duplicate: false });
  assert.equal((await good).seq, 1);
  assert.deepEqual(refused, ['too_large', 'invalid']);
  assert.equal(raid.signal('emote', { emoji: 'x'.repeat(300) }), false);
  peer.client.close();
});

test('no command of a raid overtakes one that has to be retried', async () => {
  const peer = new Peer();
  await peer.welcome();
  const raid = peer.client.raid(7);
  for (const text of ['one', 'two']) raid.do({ type: 'say', text }).catch(() => {});
  const sent = () => peer.socket.received.flatMap(message => (message.t === 'do' && message.cmd.type === 'say' ? [message.cmd.text] : []));
  const id = (): number => peer.socket.received.flatMap(message => (message.t === 'do' ? [message.id] : [])).at(-1)!;
  const error = { type: 'overloaded', message: 'busy', retry: true, retry_after_ms: 500, fields: null };
  peer.say({ t: 'error', re: 'do', id: id(), raid: 7, error });
  await peer.clock.pass(1_500);
  assert.deepEqual(sent(), ['one', 'one']);
  peer.say({ t: 'ack', id: id(), raid: 7, seq: 1, duplicate: false });
  assert.deepEqual(sent(), ['one', 'one', 'two']);
  peer.client.close();
});

test('close and retryNow work inside a status listener', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.client.onStatus(() => peer.state === 'waiting' && peer.client.close());
  peer.lose(1006);
  await peer.clock.pass(60_000);
  assert.deepEqual([peer.state, peer.sockets.length], ['closed', 1]);

  const other = new Peer();
  await other.welcome();
  other.client.onStatus(() => other.state === 'waiting' && other.client.retryNow());
  other.lose(1006);
  await other.welcome();
  for (let second = 0; second < 10; second++) {
    await other.clock.pass(1_000);
    other.say({ t: 'beat', now: other.clock.now(), heads: {} });
  }
  assert.deepEqual([other.state, other.sockets.length], ['online', 2]);
  other.client.close();
});

test('every command settles once the connection has stopped', async () => {
  for (const [code, reason] of [[4003, 'banned'], [4004, 'too_many_connections'], [4000, 'refused']] as const) {
    const peer = new Peer();
    const raid = peer.client.raid(7);
    const sent = raid.do({ type: 'start' });
    const unsent = raid.do({ type: 'say', text: 'one' });
    await peer.welcome();
    peer.lose(code);
    for (const command of [sent, unsent, raid.do({ type: 'say', text: 'two' })]) {
      await assert.rejects(command, (error: RaidhallError) => error.type === 'stopped' && error.reason === reason && error.message.includes(`${code}`));
    }
    assert.deepEqual([peer.client.getWaiting(), raid.getView().pending], [0, []]);
    peer.client.close();
    await assert.rejects(raid.do({ type: 'start' }), { type: 'closed' });
  }
});

test('commands that a stop cut off are sent again from the storage', async () => {
  const peer = new Peer(undefined, { storage: keptIn(new StoredItems(), 'commands') });
  const settled: unknown[] = [];
  peer.client.onSettled(({ cmd, result }) => settled.push(cmd.type, result));
  const command = peer.client.raid(7).do({ type: 'start' });
  await peer.welcome();
  const sent = () => peer.socket.received.flatMap(message => (message.t === 'do' ? [message] : []));
  const { op } = sent()[0]!;
  peer.lose(4004);
  await assert.rejects(command, { type: 'stopped' });
  peer.client.retryNow();
  await peer.welcome();
  assert.equal(sent()[0]!.op, op);
  peer.say({ t: 'ack', id: sent()[0]!.id, raid: 7, seq: 3, duplicate: true });
  assert.deepEqual(settled, ['start', { seq: 3, duplicate: true }]);
  peer.client.close();
});

test('a command that is too old is given up, and a stored one is not sent', async () => {
  const storage = keptIn(new StoredItems(), 'commands');
  const before = new Peer(undefined, { storage, commandAgeMaxMs: 5_000 });
  const old = before.client.raid(7).do({ type: 'say', text: 'old' });
  await before.clock.pass(4_000);
  const young = before.client.raid(7).do({ type: 'say', text: 'young' });
  const ended = [assert.rejects(old, { type: 'closed' }), assert.rejects(young, { type: 'closed' })];
  before.client.close();
  await Promise.all(ended);

  const peer = new Peer(undefined, { storage, commandAgeMaxMs: 5_000 });
  const settled: unknown[] = [];
  peer.client.onSettled(({ cmd, result }) => settled.push(cmd.type === 'say' && cmd.text, (result as RaidhallError).type));
  await peer.clock.pass(6_000);
  await peer.welcome();
  const sent = () => peer.socket.received.flatMap(message => (message.t === 'do' && message.cmd.type === 'say' ? [message.cmd.text] : []));
  assert.deepEqual([settled, sent()], [['old', 'expired'], ['young']]);
  const unanswered = assert.rejects(peer.client.raid(8).do({ type: 'start' }), { type: 'expired' });
  peer.lose(1006);
  await peer.clock.pass(5_000);
  await unanswered;
  peer.client.close();
});

test('a command that the server fails at is reported and blocks no other', async () => {
  const peer = new Peer();
  await peer.welcome();
  const raid = peer.client.raid(7);
  const broken = assert.rejects(raid.do({ type: 'start' }), { type: 'internal' });
  const good = raid.do({ type: 'say', text: 'good' });
  const sent = () => peer.socket.received.flatMap(message => (message.t === 'do' ? [message] : []));
  const error = { type: 'internal', message: 'a fault', retry: true, retry_after_ms: null, fields: null };
  for (let times = 1; times <= 5; times++) {
    assert.deepEqual(sent().map(({ cmd }) => cmd.type), Array(times).fill('start'));
    peer.say({ t: 'error', re: 'do', id: sent().at(-1)!.id, raid: 7, error });
    if (times < 5) while (sent().length === times) await beat(peer);
  }
  await broken;
  peer.say({ t: 'ack', id: sent().at(-1)!.id, raid: 7, seq: 1, duplicate: false });
  assert.equal((await good).seq, 1);
  peer.client.close();
});

/** Passes a second in which the server is heard. */
async function beat(peer: Peer): Promise<void> {
  await peer.clock.pass(1_000);
  peer.say({ t: 'beat', now: peer.clock.now(), heads: {} });
}

test('a connection that cannot be made tells why, and retries', async () => {
  const refused = new Response('{"error":{"type":"invalid","message":"no","retry":false}}', { status: 400 });
  const failed = () => Promise.reject(new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') }));
  const servers: [string, RegExp, (init: FetchInit) => Promise<Response>][] = [
    ['unreachable', /^Nothing answers at https:\/\/server\/sub\/api\/v1\/ws: fetch failed: connect ECONNREFUSED$/, failed],
    ['origin', /pages of this origin/, ({ mode }) => (mode === 'no-cors' ? Promise.resolve(new Response('')) : failed())],
    ['not_raidhall', /answered with 404/, () => Promise.resolve(new Response('<p>no such page', { status: 404 }))],
    ['upgrade', /: Unexpected server response: 403$/, () => Promise.resolve(refused)],
  ];
  for (const [type, message, fetch] of servers) {
    const peer = new Peer(undefined, { fetch: (_, init) => fetch(init) });
    await peer.clock.pass(0);
    peer.socket.onerror?.({ message: 'Unexpected server response: 403' });
    peer.lose(1006);
    for (let turn = 0; turn < 100 && causeOf(peer)?.message.includes('could not be opened'); turn++) await peer.clock.pass(0);
    assert.equal(causeOf(peer)?.type, type);
    assert.match(causeOf(peer)!.message, message);
    assert.equal(peer.state, 'waiting');
    await peer.clock.pass(1_000);
    assert.deepEqual([peer.state, causeOf(peer)?.type], ['connecting', type], 'the next attempt shows it, too');
    await peer.welcome();
    assert.deepEqual(peer.client.getStatus(), { state: 'online' });
    peer.client.close();
  }
});

test('a lost connection tells why, without a request of its own', async () => {
  let requests = 0;
  let token: () => string = () => 'a token';
  const peer = new Peer(() => token(), { fetch: () => Promise.reject(new Error(`${++requests}`)) });
  for (const [code, type] of [[1006, 'lost'], [4100, 'closed'], [4200, 'closed'], [4001, 'token']] as const) {
    await peer.welcome();
    peer.lose(code);
    assert.equal(causeOf(peer)?.type, type, `${code}`);
    await peer.clock.pass((await wait(peer))!);
  }
  peer.lose(1006);
  assert.equal(causeOf(peer)?.type, 'unreachable');
  token = () => { throw new RaidhallError('network', 'no answer', { retry: true }); };
  await peer.clock.pass((await wait(peer))!);
  assert.deepEqual([causeOf(peer)?.type, causeOf(peer)?.message, requests], ['token', 'There is no access token: no answer', 0]);
  peer.client.close();
});

test('a signal that the server is sure to refuse is not sent', async () => {
  const peer = new Peer();
  await peer.welcome();
  const raid = peer.client.raid(7);
  const refusals: string[] = [];
  raid.onSignalRefused(({ type }) => refusals.push(type));
  for (const kind of ['', 'Emote', 'x'.repeat(33)]) assert.equal(raid.signal(kind, 1), false, kind);
  assert.equal(raid.signal('emote', 1n), false, 'it has no encoding');
  assert.equal(raid.signal('emote', 1), true);
  const error = { type: 'rate_limited', message: 'slower', retry: true, retry_after_ms: 50, fields: null };
  peer.say({ t: 'error', re: 'signal', id: null, raid: 7, error });
  assert.deepEqual(refusals, ['rate_limited']);
  raid.subscribe(() => {});
  peer.say({ t: 'unwatched', raid: 7, reason: 'kicked' });
  assert.equal(raid.signal('emote', 1), false, 'the player is no member any more');
  assert.equal(peer.socket.received.filter(({ t }) => t === 'signal').length, 1);
  peer.client.close();
});

test('retryNow restarts a stopped connection', async () => {
  const peer = new Peer();
  await peer.welcome();
  peer.lose(4004);
  assert.equal(peer.state, 'stopped');
  peer.client.retryNow();
  await peer.welcome();
  assert.equal(peer.state, 'online');
  peer.client.close();
});

test('refresh watches a raid that was gone', async () => {
  const peer = new Peer();
  await peer.welcome();
  const raid = peer.client.raid(7);
  const end = raid.subscribe(() => {});
  const watches = () => peer.socket.received.filter(({ t }) => t === 'watch').length;
  const error = { type: 'not_found', message: 'no', retry: false, retry_after_ms: null, fields: null };
  peer.say({ t: 'error', re: 'watch', id: null, raid: 7, error });
  assert.equal(raid.getView().gone, 'not_found');
  raid.refresh();
  assert.deepEqual([raid.getView().gone, watches()], [null, 2]);
  peer.say({ t: 'error', re: 'watch', id: null, raid: 7, error: { ...error, type: 'invalid' } });
  assert.equal(raid.getView().gone, 'too_many');
  end();
  raid.subscribe(() => {})();
  assert.equal(raid.getView().gone, null);
  peer.say({ t: 'watching', raid: 7, seq: 0, online: [], ws_url: 'ws://server' });
  assert.equal(raid.getView().live, false, 'the raid has no subscriber any more');
  peer.client.close();
});
