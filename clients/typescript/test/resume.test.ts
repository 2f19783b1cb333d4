// The client's promises on an unreliable network with an unreliable server. `assertAllWell` checks
// the invariants at the end of each run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../src/client.js';
import type { Client } from '../src/client.js';
import { RaidhallError } from '../src/errors.js';
import { keptIn } from '../src/outbox.js';
import type { Storage } from '../src/outbox.js';
import type { Ack } from '../src/stream.js';
import { CALM, HeldLocks, RAID, SimulatedServer, StoredItems, VirtualClock, chance, codec } from './simulation.js';

const RUNS = Number(process.env['RUNS'] ?? 150);

const begin = (server: SimulatedServer, storage?: Storage): Client =>
  connect({ url: 'http://server', getToken: () => 'a token', WebSocket: server.WebSocket, codec, clock: server.clock, storage });

interface Given {
  text: string;
  result?: Ack | RaidhallError;
}

function give(client: Client, text: string, all: Given[]): void {
  const given: Given = { text };
  all.push(given);
  const command = text.startsWith('refused') ? ({ type: 'start' } as const) : ({ type: 'say', text } as const);
  client.raid(RAID).do(command).then(ack => (given.result = ack), error => (given.result = error));
}

function assertAllWell(server: SimulatedServer, clients: Client[], all: Given[], seed: number): void {
  const said = server.taken.map(({ event }) => (event.type === 'said' ? event.data.text : ''));
  for (const { text, result } of all) {
    assert.ok(result, `seed ${seed}: ${text} was never answered`);
    const times = said.filter(one => one === text).length;
    if (result instanceof RaidhallError) assert.deepEqual([times, result.type], [0, 'not_leader'], `seed ${seed}: ${text}`);
    else assert.deepEqual([times, said[result.seq - 1]], [1, text], `seed ${seed}: ${text}`);
  }
  for (const client of clients) {
    const view = client.raid(RAID).getView();
    assert.deepEqual([view.seq, view.live, client.getWaiting()], [server.seq, true, 0], `seed ${seed}`);
    assert.deepEqual(view.state, server.state, `seed ${seed}`);
  }
}

test('under faults every command takes effect once and all states converge', async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = chance(seed);
    const server = new SimulatedServer(new VirtualClock(random));
    const clients = [begin(server), begin(server)];
    const all: Given[] = [];
    const seqs: number[][] = [[], []];
    clients.forEach((client, index) => {
      const raid = client.raid(RAID);
      raid.subscribe(() => {});
      raid.onEvent((event, view) => {
        assert.equal(view.seq, event.seq);
        seqs[index]!.push(event.seq);
      });
    });
    server.faults = { drop: 0.05 * random(), repeat: 0.1 * random(), cut: 0.15 * random(), overload: 0.2 * random() };
    for (let turn = 0; turn < 40; turn++) {
      const client = clients[turn % 2]!;
      if (random() < 0.8) give(client, `${random() < 0.1 ? 'refused' : 'said'} ${turn}`, all);
      if (random() < 0.05) server.restart();
      await server.clock.pass(random() * 2_000);
    }
    server.faults = CALM;
    await server.clock.pass(180_000);
    assertAllWell(server, clients, all, seed);
    for (const received of seqs) assert.ok(received.every((seq, index) => index === 0 || seq > received[index - 1]!), `seed ${seed}: events in order`);
    for (const client of clients) client.close();
  }
});

test('after a restore a client discards its seqs and gets the new state', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const server = new SimulatedServer(new VirtualClock(chance(seed)));
    const client = begin(server);
    client.raid(RAID).subscribe(() => {});
    const all: Given[] = [];
    for (let turn = 0; turn < 12; turn++) give(client, `said ${turn}`, all);
    await server.clock.pass(5_000);
    server.restore(5);
    await server.clock.pass(60_000);
    for (let turn = 0; turn < 5; turn++) give(client, `again ${turn}`, []);
    await server.clock.pass(60_000);
    const view = client.raid(RAID).getView();
    assert.deepEqual([view.seq, view.state], [server.seq, server.state], `seed ${seed}`);
    client.close();
  }
});

test('commands issued offline are sent once and in order by a later run', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(1)));
  const storage = keptIn(new StoredItems(), 'commands');
  const offline = connect({ url: 'http://server', getToken: () => Promise.reject(new Error('no network')), WebSocket: server.WebSocket, codec, clock: server.clock, storage });
  const all: Given[] = [];
  await server.clock.pass(100);
  for (let n = 0; n < 3; n++) give(offline, `said ${n}`, all);
  await server.clock.pass(1_000);
  offline.close();
  await server.clock.pass(0);
  assert.deepEqual([(await storage.load()).length, all.map(({ result }) => (result as RaidhallError).type)], [3, ['closed', 'closed', 'closed']]);
  const settled: string[] = [];
  for (let run = 0; run < 2; run++) {
    const client = begin(server, storage);
    client.onSettled(({ result }) => settled.push(result instanceof RaidhallError ? result.type : `${result.seq}`));
    give(client, `then ${run}`, []);
    await server.clock.pass(20_000);
    client.close();
  }
  assert.deepEqual(server.taken.map(({ event }) => event.type === 'said' && event.data.text), ['said 0', 'said 1', 'said 2', 'then 0', 'then 1']);
  assert.deepEqual([settled, await storage.load()], [['1', '2', '3'], []]);
});

test('a command that two tabs send from one storage takes effect once', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(2)));
  const items = new StoredItems();
  const first = begin(server, keptIn(items, 'commands'));
  await server.clock.pass(5_000);
  server.restart();
  first.raid(RAID).do({ type: 'say', text: 'of the first' }).catch(() => {});
  const second = begin(server, keptIn(items, 'commands'));
  second.raid(RAID).do({ type: 'say', text: 'of the second' }).catch(() => {});
  assert.equal((await keptIn(items, 'commands').load()).length, 2);
  await server.clock.pass(60_000);
  assert.deepEqual(server.taken.map(({ event }) => event.type === 'said' && event.data.text).sort(), ['of the first', 'of the second']);
  assert.deepEqual([items.length, first.getWaiting(), second.getWaiting()], [0, 0, 0]);
  first.close();
  second.close();
});

test('a tab sends the commands of one that was closed or stopped, no other', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(4)));
  const items = new StoredItems();
  const locks = new HeldLocks();
  const tab = (getToken: () => Promise<string>): Client =>
    connect({ url: 'http://server', getToken, WebSocket: server.WebSocket, codec, clock: server.clock, storage: keptIn(items, 'commands', locks) });
  const offline = () => tab(() => Promise.reject(new Error('no network')));
  const said = () => server.taken.map(({ event }) => event.type === 'said' && event.data.text);
  let stop = (): void => {};
  const closed = [offline(), tab(() => new Promise((_, reject) => (stop = () => reject(new RaidhallError('forbidden', 'banned')))))];
  await server.clock.pass(100);
  closed.forEach((client, index) => give(client, `of tab ${index}`, []));
  const open = [tab(async () => 'a token'), tab(async () => 'a token')];
  const settled: unknown[][] = [[], []];
  open.forEach((client, index) => client.onSettled(({ cmd }) => settled[index]!.push(cmd)));
  await server.clock.pass(20_000);
  assert.deepEqual([said(), open.map(client => client.getWaiting())], [[], [0, 0]], 'both tabs are still open');
  for (const [index, end] of [() => closed[0]!.close(), () => stop()].entries()) {
    end();
    await server.clock.pass(20_000);
    assert.deepEqual(said(), ['of tab 0', 'of tab 1'].slice(0, index + 1));
  }
  assert.deepEqual([settled.flat().length, items.length], [2, 0], 'one tab has sent and reported each');
  for (const client of [...closed, ...open]) client.close();
});

test('a new tab sends the commands of a closed one, in their order', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(5)));
  const items = new StoredItems();
  const locks = new HeldLocks();
  const stored = keptIn(items, 'commands'); // of a run that holds no lock
  for (const text of ['one', 'two']) stored.put({ op: text, raid: RAID, cmd: { type: 'say', text }, at: server.clock.now() });
  for (const text of ['{}', 'true', '[]', '{"run":"x","turn":1,"waiting":{"op":"x","cmd":{}}}']) items.setItem(`commands/${text}`, text);
  const client = begin(server, keptIn(items, 'commands', locks));
  give(client, 'three', []);
  await server.clock.pass(20_000);
  assert.deepEqual(server.taken.map(({ event }) => event.type === 'said' && event.data.text), ['one', 'two', 'three']);
  client.close();
});

test('a command is pending from its creation until the state shows it', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(3)));
  const client = begin(server);
  const raid = client.raid(RAID);
  const shown: string[] = [];
  raid.subscribe(() => {
    const { state, pending } = raid.getView();
    const said = state?.messages.map(({ text }) => text) ?? [];
    shown.push([...said, ...pending.map(({ cmd }) => (cmd.type === 'say' ? cmd.text : cmd.type))].join());
  });
  await server.clock.pass(5_000);
  shown.length = 0;
  raid.do({ type: 'say', text: 'hello' }).catch(() => {});
  assert.deepEqual(shown, ['hello']);
  await server.clock.pass(5_000);
  assert.ok(shown.every(texts => texts === 'hello'), `shown exactly once at all times: ${shown}`);
  assert.deepEqual(raid.getView().pending, []);
  raid.do({ type: 'start' }).catch(() => {});
  assert.equal(shown.at(-1), 'hello,start');
  await server.clock.pass(5_000);
  assert.equal(shown.at(-1), 'hello');
  client.close();
});
