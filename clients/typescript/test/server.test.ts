// Tests with the built server and real WebSockets: two clients play, the server is killed, and both
// clients end with its state.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { connect, json, msgpack, Rest, Session, storeOf } from '../src/index.js';
import type { Client, Codec, WatchedRaid } from '../src/index.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const built = process.env['RAIDHALL_BIN'] ?? path.join(process.env['CARGO_TARGET_DIR'] ?? path.join(root, 'target'), 'debug/raidhall');

class Server {
  url = '';
  private child: ChildProcess | null = null;
  private readonly directory = mkdtempSync(path.join(tmpdir(), 'raidhall-client-'));

  async start(): Promise<void> {
    const listen = this.url ? new URL(this.url).host : '127.0.0.1:0';
    const child = spawn(built, ['serve'], {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        PATH: process.env['PATH'],
        RAIDHALL__SERVER__LISTEN: listen,
        RAIDHALL__DATABASE__URL: `sqlite://${this.directory}/raidhall.db`,
        RAIDHALL__TELEMETRY__METRICS_LISTEN: '',
        RAIDHALL__TELEMETRY__LOG: 'error',
        RAIDHALL__LIMITS__HEARTBEAT_MS: '1000',
        RAIDHALL__AUTH__ACCESS_TTL_SECS: '10',
      },
    });
    this.child = child;
    for await (const line of createInterface({ input: child.stdout! })) {
      this.url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? this.url;
      if (this.url) return;
    }
    throw new Error('the server printed no address');
  }

  async kill(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

/** Returns a hash of a state that does not depend on the order of its keys. */
function hash(value: unknown): string {
  const ordered = (_: string, part: unknown): unknown =>
    part && typeof part === 'object' && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part;
  return createHash('sha256').update(JSON.stringify(value, ordered)).digest('hex');
}

const server = new Server();
after(() => server.remove());

async function player(name: string, codec: Codec): Promise<{ client: Client; rest: Rest; session: Session }> {
  const rest = new Rest({ url: server.url });
  const session = Session.begin(rest, await rest.guest(name));
  const client = connect({ url: server.url, getToken: session.getToken, WebSocket, codec, name: 'test' });
  return { client, rest: rest.as(session), session };
}

test('two clients have the server\'s state after it is killed and restarted', async () => {
  await server.start();
  const [ada, ben] = [await player('Ada', msgpack), await player('Ben', json)];
  const { id, invite_code } = await ada.rest.createRaid({ title: 'Ship it', target_xp: 60, target_tasks: 2 }, 'one-raid');
  assert.equal((await ada.rest.createRaid({ title: 'Ship it', target_xp: 60, target_tasks: 2 }, 'one-raid')).id, id);
  const invite = await new Rest({ url: server.url }).invite(invite_code);
  assert.deepEqual([invite.id, invite.title, invite.host, invite.member_count], [id, 'Ship it', 'Ada', 1]);
  await ben.rest.joinRaid(invite_code);
  const listed = (await ben.rest.raids()).data[0];
  assert.deepEqual([listed?.members.map(({ name }) => name), listed?.member_count], [['Ada', 'Ben'], 2]);
  const raids = [ada, ben].map(({ client }) => client.raid(id));
  const eventTypes: string[][] = [[], []];
  raids.forEach((raid, index) => {
    raid.subscribe(() => {});
    raid.onEvent(event => eventTypes[index]!.push(event.type));
  });
  const states: WatchedRaid[] = [];
  storeOf(raids[1]!).subscribe(state => states.push(state));
  await until('both watch and see each other', () => raids.every(raid => raid.getView().live && raid.getView().online.size === 2));

  await raids[0]!.do({ type: 'start' });
  for (const title of ['One', 'Two']) await raids[0]!.do({ type: 'add_task', title, xp: 30, minutes: 5 });
  await raids[1]!.do({ type: 'claim_task', task: 1 });
  await assert.rejects(raids[0]!.do({ type: 'claim_task', task: 1 }), { type: 'task_taken', retry: false });
  await assert.rejects(raids[1]!.do({ type: 'say', text: '' }), error => (error as { fields: { field: string }[] }).fields[0]?.field === 'text');
  const signal = new Promise(resolve => raids[1]!.onSignal(resolve));
  assert.ok(raids[0]!.signal('emote', { emoji: '🔥' }));
  assert.deepEqual(await signal, { from: ada.session.player.id, kind: 'emote', data: { emoji: '🔥' } });

  await server.kill();
  await until('both notice the loss', () => [ada, ben].every(({ client }) => client.getStatus().state !== 'online'));
  assert.ok(raids.every(raid => !raid.getView().live && raid.getView().state), 'the last known state is still shown');
  const offline = raids[1]!.do({ type: 'complete_task', task: 1 });
  assert.equal(ben.client.getWaiting(), 1);
  await server.start();
  ben.client.retryNow();
  assert.equal((await offline).duplicate, false);
  await raids[0]!.do({ type: 'claim_task', task: 2 });
  await raids[0]!.do({ type: 'complete_task', task: 2 });
  await until('both have won', () => raids.every(raid => raid.getView().state?.status === 'completed'));

  const { seq, online: _, ws_url: __, ...state } = await ada.rest.raid(id);
  for (const raid of raids) assert.deepEqual([raid.getView().seq, hash(raid.getView().state)], [seq, hash(state)]);
  const ledger = (await ada.rest.events(id, { limit: 100 })).map(event => event.type);
  for (const types of eventTypes) assert.equal(types.at(-1), 'raid_completed');
  assert.equal(ledger.filter(type => type === 'task_completed').length, 2);
  assert.equal(states.at(-1), raids[1]!.getView());
  assert.deepEqual((await ada.rest.raids({ status: 'completed' })).data.map(raid => raid.id), [id]);

  // Tokens last ten seconds here, and the clients play on after that.
  const before = await ada.session.getToken('connect');
  await until('the token was renewed', async () => (await ada.session.getToken('connect')) !== before);
  await raids[0]!.do({ type: 'say', text: 'gg' });
  [ada, ben].forEach(({ client }) => client.close());
});

test('two devices of a player have the same settings, also after the server is killed', async () => {
  if (!server.url) await server.start();
  const { client: phone, session } = await player('Eve', msgpack);
  const laptop = connect({ url: server.url, getToken: session.getToken, WebSocket, codec: json, name: 'test' });
  const devices = [phone, laptop];
  devices.forEach(({ me }) => me.subscribe(() => {}));
  await until('both watch', () => devices.every(({ me }) => me.getView().live));
  await phone.me.setSetting('theme', 'dark', { ifVersion: 0 });
  await assert.rejects(laptop.me.setSetting('theme', 'light', { ifVersion: 0 }), { type: 'conflict', retry: false });
  await server.kill();
  await until('both notice the loss', () => devices.every(({ me }) => !me.getView().live));
  const offline = laptop.me.setName('Countess');
  await server.start();
  devices.forEach(client => client.retryNow());
  await offline;
  for (const value of [1, 2, 3, 4, 5, 6]) await phone.me.setSetting('app.n', value); // more than a burst
  await until('both have all events', () => devices.every(({ me }) => me.getView().seq === 8));
  const settings = { theme: { value: 'dark', version: 1 }, 'app.n': { value: 6, version: 6 } };
  const totals = { xp: 0, earned_xp: 0, level: 1, level_xp: 0, next_level_xp: 100, coins: 0, tasks: 0, raids_won: 0, raids_played: 0 };
  const lists = { raids: [], skills: [], achievements: [], counters: [], items: [] };
  const streak = { days: 0, best: 0, day: null, freezes: 0, lapses_at: null, repairable_days: 0, repairable_from: null, repairable_until: null };
  const expected = { id: session.player.id, name: 'Countess', ...totals, ...lists, streak, equipped: {}, settings, inbox: { unread: 0, items: [] }, read_through: 0 };
  for (const { me } of devices) assert.deepEqual(me.getView().state, expected);
  const shown = { id: session.player.id, name: 'Countess', level: 1, raids_won: 0, badges: [], streak_days: 0, frame: null };
  const rest = new Rest({ url: server.url });
  assert.deepEqual(await rest.as(session).profile(shown.id), shown);
  assert.deepEqual(await rest.as(session).profiles([shown.id, 999]), [shown]);
  assert.deepEqual((await rest.as(session).myEvents({ after: 6 })).map(({ seq, type }) => [seq, type]), [[7, 'setting_set'], [8, 'setting_set']]);
  assert.equal((await rest.progression()).levels.xp_factor, 50);
  assert.deepEqual((await rest.as(session).boards()).map(({ id }) => id), ['daily', 'weekly', 'season', 'all_time']);
  const daily = await rest.as(session).board('daily', { around: 'me', limit: 5 });
  assert.equal(daily.me, null);
  devices.forEach(client => client.close());
});

test('an erased player is disconnected and their chat messages are replaced', async () => {
  if (!server.url) await server.start();
  const [cal, dot] = [await player('Cal', msgpack), await player('Dot', msgpack)];
  const { id, invite_code } = await cal.rest.createRaid({ title: 'Ship it', target_xp: 60, target_tasks: 2 });
  await dot.rest.joinRaid(invite_code);
  const raid = cal.client.raid(id);
  raid.subscribe(() => {});
  await dot.client.raid(id).do({ type: 'say', text: 'I was here' });
  await until('the message is seen', () => raid.getView().state?.messages.length === 1);
  assert.deepEqual(await dot.rest.eraseMe(), { player: dot.session.player.id, erased: true });
  await until('the message is replaced', () => raid.getView().state?.messages[0]?.text === '[erased]');
  await until('the player is disconnected', () => dot.client.getStatus().state === 'stopped');
  [cal, dot].forEach(({ client }) => client.close());
});
