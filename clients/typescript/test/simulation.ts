// A simulated server, network and clock, all driven by one seeded random number generator.
import { json } from '../src/codec.js';
import type { Clock } from '../src/clock.js';
import type { Socket } from '../src/connection.js';
import { fold } from '../src/fold.js';
import type { WebLocks } from '../src/outbox.js';
import type { ClientMessage, ErrorType, RaidEvent, RaidState, ServerMessage } from '../src/protocol.js';

/** Returns a generator of numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function chance(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Clock that jumps from timer to timer. */
export class VirtualClock implements Clock {
  private time = 1_767_225_600_000;
  private timers: { at: number; order: number; run: () => void }[] = [];
  private order = 0;

  constructor(readonly random: () => number) {}

  now(): number {
    return this.time;
  }

  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.time + Math.max(0, milliseconds), order: this.order++, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter(other => other !== timer);
    };
  }

  async pass(milliseconds: number): Promise<void> {
    const until = this.time + milliseconds;
    for (;;) {
      await new Promise(setImmediate); // lets resolved promises continue
      const due = this.timers.filter(timer => timer.at <= until).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!due) break;
      this.timers = this.timers.filter(timer => timer !== due);
      this.time = due.at;
      due.run();
    }
    this.time = until;
  }
}

export interface Faults {
  /** Share of the server's frames that are lost while the connection stays; a real server never
   * does this. */
  drop: number;
  repeat: number;
  /** Share of the client's messages at which the connection is lost, before or after they took
   * effect. */
  cut: number;
  /** Share of commands that are answered with a temporary error. */
  overload: number;
}

export const CALM: Faults = { drop: 0, repeat: 0, cut: 0, overload: 0 };

export const RAID = 7;
const CODES = [1006, 1006, 1001, 4100, 4101, 4200, 4201, 4202, 4001];
const REPLAY_MAX = 20;

const blank: RaidState = {
  id: RAID, title: 'Ship it', description: null, invite_code: 'K7MQ2XNB', status: 'active', reason: null, target_xp: 500, target_tasks: 10,
  current_xp: 0, current_tasks: 0, max_members: 4, late_join: false, ranked: false, time_limit_secs: 86_400, created_at: 0, started_at: 0, deadline: null,
  ended_at: null, leader: 5, term: 1, members: [], tasks: [], messages: [], ranking: null,
};

interface Taken {
  state: RaidState;
  event: RaidEvent;
  op: string;
}

export class SimulatedServer {
  faults: Faults = CALM;
  lineage = 'one';
  heartbeat = 5_000;
  taken: Taken[] = [];
  private links = new Set<Link>();

  constructor(readonly clock: VirtualClock) {
    const beat = () => {
      this.links.forEach(link => link.say({ t: 'beat', now: clock.now(), heads: link.watches ? { [RAID]: this.seq } : {} }));
      clock.after(this.heartbeat, beat);
    };
    clock.after(this.heartbeat, beat);
  }

  /** The WebSocket constructor for the client. */
  get WebSocket(): new (url: string, subprotocol: string) => unknown {
    const server = this;
    return class {
      constructor() {
        return new Link(server).socket;
      }
    };
  }

  get seq(): number {
    return this.taken.length;
  }

  get state(): RaidState {
    return this.taken.at(-1)?.state ?? blank;
  }

  happens(probability: number): boolean {
    return this.clock.random() < probability;
  }

  /** Closes every connection. */
  restart(): void {
    [...this.links].forEach(link => link.end(1006));
  }

  /** Restores the database as it was the given number of events ago, which changes the lineage. */
  restore(events: number): void {
    this.taken = this.taken.slice(0, -events);
    this.lineage += '+';
    this.restart();
  }

  open(link: Link): void {
    this.links.add(link);
  }

  closed(link: Link): void {
    this.links.delete(link);
  }

  hear(link: Link, message: ClientMessage): void {
    const cut = this.happens(this.faults.cut);
    if (cut && this.happens(0.5)) return link.end();
    this.answer(link, message);
    if (cut) link.end();
  }

  private answer(link: Link, message: ClientMessage): void {
    switch (message.t) {
      case 'hello':
        return link.say({
          t: 'welcome', player: { id: 5, name: 'Ada' }, session: 's', now: this.clock.now(), heartbeat_ms: this.heartbeat, lineage: this.lineage,
          limits: { message_bytes: 16_384, commands_per_second: 20, watches: 32 }, features: [],
        });
      case 'watch': {
        if ('player' in message) return;
        link.watches = true;
        const { since } = message;
        if (since !== undefined && since <= this.seq && this.seq - since <= REPLAY_MAX && !this.happens(0.1)) {
          link.say({ t: 'watching', raid: RAID, seq: this.seq, recovered: true, online: [5] });
          this.taken.slice(since).forEach(({ event }) => link.say({ t: 'event', raid: RAID, ...event } as ServerMessage));
        } else {
          this.snapshot(link);
        }
        return;
      }
      case 'unwatch':
        link.watches = false;
        return link.say({ t: 'unwatched', raid: RAID, reason: 'asked' });
      case 'do':
        return 'raid' in message ? this.execute(link, message) : undefined;
      case 'signal':
      case 'beat':
    }
  }

  private snapshot(link: Link): void {
    link.say({ t: 'snapshot', raid: RAID, seq: this.seq, recovered: false, online: [5], state: this.state });
  }

  private execute(link: Link, { id, op = '', cmd }: Extract<ClientMessage, { t: 'do'; raid: number }>): void {
    const refuse = (type: ErrorType, retry: boolean) =>
      link.say({ t: 'error', re: 'do', id, raid: RAID, error: { type, message: type, retry, retry_after_ms: retry ? 200 : null, fields: null } });
    const known = this.taken.findIndex(taken => taken.op === op);
    if (known >= 0) return link.say({ t: 'ack', id, raid: RAID, seq: known + 1, duplicate: true });
    if (this.happens(this.faults.overload)) return refuse('overloaded', true);
    if (cmd.type !== 'say') return refuse('not_leader', false);
    const event: RaidEvent = { seq: this.seq + 1, at: this.clock.now(), by: 5, type: 'said', data: { text: cmd.text } };
    this.taken.push({ state: fold(this.state, event)!, event, op });
    this.links.forEach(watching => {
      if (!watching.watches) return;
      if (this.happens(0.02)) this.snapshot(watching); // as if the watch had collapsed
      else watching.say({ t: 'event', raid: RAID, ...event } as ServerMessage);
    });
    link.say({ t: 'ack', id, raid: RAID, seq: event.seq, duplicate: false });
  }

  /** Returns a random code for a connection that is cut. */
  code(): number {
    return CODES[Math.floor(this.clock.random() * CODES.length)]!;
  }
}

/** One connection. Messages arrive in order and late, and not at all once the connection has ended.
 */
class Link {
  watches = false;
  private ended = false;
  private reachesClient = 0;
  private reachesServer = 0;
  readonly socket: Socket & { readyState: number };

  constructor(private readonly server: SimulatedServer) {
    const link = this;
    this.socket = {
      binaryType: '', readyState: 0, onopen: null, onmessage: null, onclose: null, onerror: null,
      send(frame) {
        const message = JSON.parse(frame as string) as ClientMessage;
        link.reachesServer = link.later(link.reachesServer, () => server.hear(link, message));
      },
      close() {
        if (link.ended) return;
        link.ended = true;
        server.closed(link);
      },
    };
    server.clock.after(5 + server.clock.random() * 100, () => {
      if (this.ended) return;
      this.socket.readyState = 1;
      server.open(this);
      this.socket.onopen?.();
    });
  }

  say(message: ServerMessage): void {
    const { faults } = this.server;
    const essential = message.t === 'welcome';
    if (!essential && this.server.happens(faults.drop)) return;
    const times = !essential && this.server.happens(faults.repeat) ? 2 : 1;
    for (let time = 0; time < times; time++) {
      this.reachesClient = this.later(this.reachesClient, () => this.socket.onmessage?.({ data: JSON.stringify(message) }));
    }
  }

  end(code = this.server.code()): void {
    if (this.ended) return;
    this.ended = true;
    this.server.closed(this);
    this.socket.readyState = 3;
    this.server.clock.after(this.server.clock.random() * 50, () => this.socket.onclose?.({ code }));
  }

  /** Calls `run` after a random delay, but not before the previous message arrives. */
  private later(before: number, run: () => void): number {
    const { clock } = this.server;
    const at = Math.max(before, clock.now() + clock.random() * 150);
    clock.after(at - clock.now(), () => this.ended || run());
    return at;
  }
}

export const codec = json;

/** In-memory stand-in for `navigator.locks`. */
export class HeldLocks implements WebLocks {
  private readonly queues = new Map<string, Promise<unknown>>();

  request: WebLocks['request'] = (name, { ifAvailable, signal }, run) => {
    const before = this.queues.get(name);
    if (before && ifAvailable) return run(null);
    const turn = (async () => {
      await before;
      if (!signal?.aborted) await run({ name });
    })();
    this.queues.set(name, turn);
    return turn.finally(() => {
      if (this.queues.get(name) === turn) this.queues.delete(name);
    });
  };
}

/** In-memory stand-in for `localStorage`. */
export class StoredItems {
  private readonly items = new Map<string, string>();
  get length(): number {
    return this.items.size;
  }
  key = (index: number): string | null => [...this.items.keys()][index] ?? null;
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.items.set(key, value);
  removeItem = (key: string): void => void this.items.delete(key);
}
