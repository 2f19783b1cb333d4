// The client: a connection, the raids and the player's stream that are watched on it, and the
// commands that wait for answers.
import type { Clock } from './clock.js';
import { backoff, systemClock } from './clock.js';
import type { Codec } from './codec.js';
import { msgpack } from './codec.js';
import type { GetToken, Socket, Status, Welcome } from './connection.js';
import { Connection } from './connection.js';
import { RaidhallError } from './errors.js';
import type { Fetch } from './fetch.js';
import { notifyAll } from './listeners.js';
import type { AnyWaiting, Storage, Waiting, WaitingPlayerCommand } from './outbox.js';
import { newOp } from './outbox.js';
import { PlayerStream } from './player.js';
import { SOCKET_PATH } from './protocol.js';
import type { ClientMessage, PlayerEvent, PlayerRef, RaidEvent, RaidId, ServerMessage } from './protocol.js';
import { Raid } from './raid.js';
import type { Ack, WatchedStream } from './stream.js';

export interface Options {
  /** URL of the server: `https://…`, `http://…`, `wss://…` or `ws://…`, with the path before `/api`
   * if there is one. */
  readonly url: string;
  /** Access token that outlives the page. Either this or `getToken` is required. */
  readonly token?: string;
  /** Returns an access token each time that one is needed, as [`Session.getToken`] does. */
  readonly getToken?: GetToken;
  /** Store of waiting commands between two runs of the page. Without it they are lost with the
   * page. */
  readonly storage?: Storage;
  /** Age in milliseconds at which a command without an answer is given up, with the error `expired`;
   * a day by default. */
  readonly commandAgeMaxMs?: number;
  /** Codec of the messages; [`msgpack`] by default. */
  readonly codec?: Codec;
  /** Name and version of your program, for the server's logs. */
  readonly name?: string;
  /** WebSocket constructor, where none is built in (Node before 22). */
  readonly WebSocket?: new (url: string, subprotocol: string) => unknown;
  /** `fetch` to find out with why no WebSocket can be opened, in place of the built-in one. */
  readonly fetch?: Fetch;
  /** Clock and randomness, to be replaced in tests. */
  readonly clock?: Clock;
}

/** Time after which a command without an answer is sent again; its idempotency key makes that safe.
 */
const ANSWER_MS = 15_000;
const COMMAND_AGE_MAX_MS = 86_400_000;
/** How often a command is sent that the server answers with `internal`, so that a fault which one
 * command causes does not block those after it. */
const INTERNAL_MAX = 5;
/** The longest wait after which a command is sent again. A longer one is the refusal of a daily
 * allowance, and would block the commands after it. */
const RETRY_MAX_MS = 60_000;

/** The result of a command from an earlier run of the page, or from another tab. */
export type Settled = AnyWaiting & { readonly result: Ack | RaidhallError };

/** A raid or the player's stream. */
type AnyStream = WatchedStream<any, any, any, any, any>;

interface Pending {
  readonly waiting: AnyWaiting;
  /** The stream that the command is sent to. */
  readonly stream: AnyStream;
  /** Settles the promise of the command, or reports the result of one from an earlier run. */
  readonly settle: (result: Ack | RaidhallError) => void;
  /** Rejects the promise of the command, if this run has one, although its result is unknown. */
  readonly abandon: (error: RaidhallError) => void;
  tries: number;
  internalErrors: number;
  cancelRetry: (() => void) | null;
  cancelExpiry: (() => void) | null;
}

/** Starts to connect and stays connected. */
export const connect = (options: Options): Client => new Client(options);

export class Client {
  /** The player's own stream: name, settings and notifications, the same on all devices. */
  readonly me: PlayerStream;
  private readonly clock: Clock;
  private readonly codec: Codec;
  private readonly commandAgeMax: number;
  private readonly connection: Connection;
  private readonly raids = new Map<RaidId, Raid>();
  private readonly statusListeners = new Set<() => void>();
  private readonly settledListeners = new Set<(settled: Settled) => void>();
  private readonly unreported: Settled[] = [];
  /** Pending commands by correlation number, in the order in which they were issued. */
  private readonly pending = new Map<number, Pending>();
  private ids = 0;
  private lineage: string | null = null;
  private clockAhead = 0;
  /** Whether the stored commands have been read. Nothing is sent before that, so that the order is
   * kept. */
  private ready = false;
  private connectedPlayer: PlayerRef | null = null;
  /** Whether the server has players' streams; true until it is known. */
  private hasPlayerStreams = true;
  private readonly stopWakeUp: () => void;
  private stopInheriting: (() => void) | undefined;

  constructor(private readonly options: Options) {
    this.clock = options.clock ?? systemClock;
    this.codec = options.codec ?? msgpack;
    this.commandAgeMax = options.commandAgeMaxMs ?? COMMAND_AGE_MAX_MS;
    this.connection = new Connection(
      {
        url: `${options.url.replace(/^http/, 'ws').replace(/\/+$/, '')}${SOCKET_PATH}`,
        codec: this.codec,
        getToken: options.getToken ?? fixed(options.token),
        open: opener(options.WebSocket),
        name: options.name ?? '@raidhall/client',
        clock: this.clock,
        fetch: options.fetch,
      },
      {
        up: welcome => this.up(welcome),
        message: message => this.receive(message),
        down: () => this.streams().forEach(stream => stream.down()),
        status: () => this.statusChanged(),
      },
    );
    this.me = new PlayerStream({
      clock: this.clock,
      send: message => this.connection.send(message) === 'sent',
      execute: cmd => this.execute({ player: 'me', cmd }),
      isSupported: () => this.hasPlayerStreams,
    });
    this.stopWakeUp = wakeUp(() => this.connection.wake(), () => this.connection.networkLost());
    void this.begin();
  }

  /** Returns the status of the connection; the same object until it changes. */
  readonly getStatus = (): Status => this.connection.status;

  /** Calls `listener` when the connection's status or the number of waiting commands changes.
   * Returns an unsubscribe function. */
  readonly onStatus = (listener: () => void): (() => void) => {
    const wrapped = () => listener(); // the same function may subscribe twice
    this.statusListeners.add(wrapped);
    return () => this.statusListeners.delete(wrapped);
  };

  /** Returns the number of commands without an answer, to be shown while there is no connection. */
  readonly getWaiting = (): number => this.pending.size;

  /** The player of the latest connection; null before the first. */
  get player(): PlayerRef | null {
    return this.connectedPlayer;
  }

  /** Returns the server's time as far as it is known, for countdowns. */
  now(): number {
    return this.clock.now() + this.clockAhead;
  }

  /** Returns a raid, always the same object for an id. The raid is watched while it has at least
   * one subscriber. */
  raid(id: RaidId): Raid {
    let raid = this.raids.get(id);
    if (!raid) {
      const { clock } = this;
      raid = new Raid(id, {
        clock,
        send: message => this.connection.send(message) === 'sent',
        execute: cmd => this.execute({ raid: id, cmd }),
        player: () => this.connectedPlayer?.id ?? null,
      });
      this.raids.set(id, raid);
    }
    return raid;
  }

  /** Calls `listener` with the result of each command from an earlier run of the page or another
   * tab, including results that arrived before the first listener. Returns an unsubscribe function. */
  onSettled(listener: (settled: Settled) => void): () => void {
    this.settledListeners.add(listener);
    for (const settled of this.unreported.splice(0)) this.reportSettled(settled);
    return () => this.settledListeners.delete(listener);
  }

  /** Connects immediately if the connection waits for its next attempt or has stopped. Call it when
   * the player asks. Commands that were unanswered when it stopped are sent again from the storage,
   * like those of an earlier run. */
  retryNow(): void {
    const stopped = this.connection.status.state === 'stopped';
    this.connection.retry();
    if (stopped) void this.loadStored();
  }

  /** Closes the client. Unanswered commands stay in the storage, and their promises reject with
   * `closed`. */
  close(): void {
    this.stopWakeUp();
    this.connection.close();
  }

  private async begin(): Promise<void> {
    await this.loadStored();
    if (this.connection.status.state !== 'closed') this.connection.start();
  }

  /** Sends the commands of a tab that was closed or has stopped. */
  private inherit(commands: readonly AnyWaiting[]): void {
    const ids = this.restore(commands);
    this.waitingChanged();
    ids.forEach(id => this.transmit(id));
  }

  /** Adds commands whose promises this run does not have. Returns their correlation numbers. */
  private restore(commands: readonly AnyWaiting[]): number[] {
    const known = new Set([...this.pending.values()].map(({ waiting }) => waiting.op));
    return commands.filter(({ op }) => !known.has(op)).map(waiting => {
      const settle = (result: Ack | RaidhallError) => this.reportSettled({ ...waiting, result });
      this.streamOf(waiting).given(waiting);
      return this.add(waiting, settle, () => {});
    });
  }

  private async loadStored(): Promise<void> {
    const { storage } = this.options;
    this.ready = false;
    try {
      const stored = (await storage?.load()) ?? [];
      if (this.ended()) return;
      const issuedMeanwhile = [...this.pending];
      this.restore(stored);
      for (const [id, pending] of issuedMeanwhile) {
        this.pending.delete(id);
        this.pending.set(id, pending); // behind those that were stored
      }
    } catch {
      // Stored commands that cannot be read cannot be sent.
    }
    try {
      if (!this.ended()) this.stopInheriting ??= storage?.onInherited?.(commands => this.inherit(commands));
    } catch {
      // Nor can those of other tabs.
    }
    this.ready = true;
    this.waitingChanged();
    this.transmitAll();
  }

  /** Returns the error of every command once there are no more attempts to connect. */
  private ended(): RaidhallError | null {
    const { status } = this.connection;
    if (status.state === 'closed') return new RaidhallError('closed', 'The client is closed');
    if (status.state === 'stopped') return new RaidhallError('stopped', status.message, { reason: status.reason });
    return null;
  }

  private statusChanged(): void {
    const error = this.ended();
    if (error) {
      this.abandonAll(error);
      this.stopInheriting?.();
      this.stopInheriting = undefined;
    }
    notifyAll(this.statusListeners);
  }

  /** Rejects the promises of all unanswered commands. The storage keeps the commands, for this client
   * if it tries again, or for another tab. */
  private abandonAll(error: RaidhallError): void {
    const unanswered = [...this.pending.values()];
    this.pending.clear();
    for (const { waiting, stream, abandon, cancelRetry, cancelExpiry } of unanswered) {
      cancelRetry?.();
      cancelExpiry?.();
      stream.settled(waiting.op, null);
      abandon(error);
    }
  }

  private execute(command: Pick<Waiting, 'raid' | 'cmd'> | Pick<WaitingPlayerCommand, 'player' | 'cmd'>): Promise<Ack> {
    return new Promise((resolve, reject) => {
      const ended = this.ended();
      if (ended) return reject(ended);
      const waiting: AnyWaiting = { op: newOp(), ...command, at: this.now() };
      const settle = (result: Ack | RaidhallError) => (result instanceof RaidhallError ? reject(result) : resolve(result));
      const id = this.add(waiting, settle, reject);
      this.pending.get(id)!.cancelExpiry = this.clock.after(this.commandAgeMax, () => this.expire(id));
      this.options.storage?.put(waiting);
      this.streamOf(waiting).given(waiting);
      this.waitingChanged();
      this.transmit(id);
    });
  }

  private add(waiting: AnyWaiting, settle: Pending['settle'], abandon: Pending['abandon']): number {
    const id = ++this.ids;
    this.pending.set(id, { waiting, stream: this.streamOf(waiting), settle, abandon, tries: 0, internalErrors: 0, cancelRetry: null, cancelExpiry: null });
    return id;
  }

  private expire(id: number): void {
    const hours = Math.round(this.commandAgeMax / 360_000) / 10;
    this.settle(id, new RaidhallError('expired', `The command had no answer within ${hours} h and is not sent any more`));
  }

  private transmit(id: number): void {
    const pending = this.pending.get(id);
    if (!pending || !this.ready || this.firstOf(pending.stream) !== id) return;
    if (pending.stream === this.me && !this.hasPlayerStreams) {
      return this.settle(id, new RaidhallError('unsupported', "The server is of a release without players' streams"));
    }
    // A command of this run has a timer. The age of another one is known once the server's time is.
    const isInherited = pending.cancelExpiry === null;
    if (isInherited && this.lineage !== null && this.now() - pending.waiting.at > this.commandAgeMax) return this.expire(id);
    pending.cancelRetry?.();
    pending.cancelRetry = null;
    const sent = this.connection.send(message(id, pending.waiting));
    if (sent instanceof RaidhallError) this.settle(id, sent);
    if (sent === 'sent') pending.cancelRetry = this.clock.after(ANSWER_MS, () => this.transmit(id));
  }

  /** Returns the command that may be sent to a stream. Commands are sent one at a time, so that none
   * overtakes one that has to be retried. */
  private firstOf(stream: AnyStream): number | undefined {
    for (const [id, pending] of this.pending) if (pending.stream === stream) return id;
    return undefined;
  }

  private transmitAll(): void {
    this.streams().forEach(stream => this.transmitFirst(stream));
  }

  private transmitFirst(stream: AnyStream): void {
    const first = this.firstOf(stream);
    if (first !== undefined) this.transmit(first);
  }

  private reportSettled(settled: Settled): void {
    if (this.settledListeners.size === 0) this.unreported.push(settled);
    else notifyAll(this.settledListeners, settled);
  }

  /** Ends a command with its answer. */
  private settle(id: number, result: Ack | RaidhallError): void {
    const pending = this.pending.get(id);
    if (!pending) return;
    const { waiting, stream } = pending;
    pending.cancelRetry?.();
    pending.cancelExpiry?.();
    this.pending.delete(id);
    this.options.storage?.drop(waiting.op);
    stream.settled(waiting.op, result instanceof RaidhallError ? null : result.seq);
    this.waitingChanged();
    pending.settle(result);
    this.transmitFirst(stream);
  }

  private waitingChanged(): void {
    notifyAll(this.statusListeners);
  }

  private up(welcome: Welcome): void {
    const sameHistory = this.lineage === null || this.lineage === welcome.lineage;
    this.lineage = welcome.lineage;
    this.connectedPlayer = welcome.player;
    this.clockAhead = welcome.now - this.clock.now();
    this.hasPlayerStreams = welcome.features?.includes('player') ?? false; // older servers send no features
    this.streams().forEach(stream => stream.up(sameHistory));
    this.transmitAll();
  }

  private streams(): AnyStream[] {
    return [...this.raids.values(), this.me];
  }

  private streamOf(waiting: AnyWaiting): AnyStream {
    return 'raid' in waiting ? this.raid(waiting.raid) : this.me;
  }

  private receive(message: ServerMessage): void {
    switch (message.t) {
      case 'watching':
        return 'raid' in message ? this.raids.get(message.raid)?.watching(message) : this.me.watching(message);
      case 'snapshot':
        return 'raid' in message ? this.raids.get(message.raid)?.snapshot(message) : this.me.snapshot(message);
      case 'unwatched':
        return ('raid' in message ? this.raids.get(message.raid) : this.me)?.unwatched(message.reason);
      case 'event': {
        if ('raid' in message) {
          const { t: _, raid, ...event } = message;
          return this.raids.get(raid)?.event(event as RaidEvent);
        }
        const { t: _, player: __, ...event } = message;
        return this.me.event(event as PlayerEvent);
      }
      case 'presence':
        return this.raids.get(message.raid)?.presence(message);
      case 'signal':
        return this.raids.get(message.raid)?.signalled(message);
      case 'beat':
        this.clockAhead = message.now - this.clock.now();
        for (const [name, head] of Object.entries(message.heads)) (name === 'me' ? this.me : this.raids.get(Number(name)))?.head(head as number);
        return;
      case 'ack': {
        const { id, seq, duplicate } = message;
        return this.settle(id, { seq, duplicate });
      }
      case 'error':
        return this.failed(message);
    }
  }

  private failed({ re, id, raid, error }: Extract<ServerMessage, { t: 'error' }>): void {
    if (re === 'watch') return (raid == null ? this.me : this.raids.get(raid))?.refused(error);
    if (re === 'signal' && raid != null) return this.raids.get(raid)?.signalRefused(error);
    const pending = re === 'do' && id != null ? this.pending.get(id) : undefined;
    if (!pending || id == null) return;
    const isFault = error.type === 'internal' && ++pending.internalErrors >= INTERNAL_MAX;
    const isTooLong = (error.retry_after_ms ?? 0) > RETRY_MAX_MS;
    if (!error.retry || isFault || isTooLong) return this.settle(id, RaidhallError.of(error));
    pending.cancelRetry?.();
    const wait = Math.max(error.retry_after_ms ?? 0, backoff(pending.tries++, this.clock.random()));
    pending.cancelRetry = this.clock.after(wait, () => this.transmit(id));
  }
}

const message = (id: number, { at: _, ...command }: AnyWaiting): ClientMessage => ({ t: 'do', id, ...command });

function fixed(token: string | undefined): GetToken {
  if (token === undefined) throw new TypeError('connect needs a token, or getToken');
  return why => {
    if (why === 'refused') throw new RaidhallError('unauthenticated', 'The token was refused, and there is no other');
    return token;
  };
}

function opener(given: Options['WebSocket']): (url: string, subprotocol: string) => Socket {
  const Constructor = given ?? (globalThis as { WebSocket?: Options['WebSocket'] }).WebSocket;
  if (!Constructor) {
    throw new TypeError("There is no WebSocket here (Node before 22): pass one, connect({ …, WebSocket }), such as that of the npm package ws");
  }
  return (url, subprotocol) => new Constructor(url, subprotocol) as Socket;
}

/** Calls `wake` when the page becomes visible or the network returns, and `lost` when the network is
 * lost. Returns a function that stops this. */
function wakeUp(wake: () => void, lost: () => void): () => void {
  const page = (globalThis as { document?: EventTarget & { visibilityState: string } }).document;
  const visible = () => page?.visibilityState === 'visible' && wake();
  const world = globalThis as Partial<EventTarget>;
  page?.addEventListener('visibilitychange', visible);
  world.addEventListener?.('online', wake);
  world.addEventListener?.('offline', lost);
  return () => {
    page?.removeEventListener('visibilitychange', visible);
    world.removeEventListener?.('online', wake);
    world.removeEventListener?.('offline', lost);
  };
}
