// A connection that outlives its WebSockets: it sends hello, answers heartbeats, renews the token,
// and reconnects as the close code says.
import type { Clock } from './clock.js';
import { backoff } from './clock.js';
import type { Codec } from './codec.js';
import { RaidhallError } from './errors.js';
import { CLOSE_CODES } from './protocol.js';
import type { ClientMessage, ServerMessage } from './protocol.js';

/** Status of the connection. */
export type Status =
  | { readonly state: 'connecting' }
  | { readonly state: 'online' }
  /** The connection was lost; the next attempt is at `until`, by `Date.now()`. */
  | { readonly state: 'waiting'; readonly until: number }
  /** There are no more attempts: sign in again, or show the player the reason. */
  | { readonly state: 'stopped'; readonly reason: StopReason }
  /** The client was closed. */
  | { readonly state: 'closed' };

export type StopReason = 'unauthenticated' | 'banned' | 'too_many_connections' | 'refused';

/** Returns an access token: to connect with (`connect`), to replace one that is about to expire
 * (`renew`), or one that was `refused`. If it throws a [`RaidhallError`] without `retry`, the
 * connection stops; after any other error it is called again. */
export type GetToken = (why: 'connect' | 'renew' | 'refused') => string | Promise<string>;

export type Welcome = Extract<ServerMessage, { t: 'welcome' }>;

/** The part of WebSocket that the client uses. */
export interface Socket {
  binaryType: string;
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((message: { data: string | ArrayBuffer }) => void) | null;
  onclose: ((close: { code: number }) => void) | null;
  onerror: (() => void) | null;
  send(frame: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly codec: Codec;
  readonly getToken: GetToken;
  readonly open: (url: string, subprotocol: string) => Socket;
  readonly name: string;
  readonly clock: Clock;
}

export interface ConnectionHandler {
  /** Called when a connection begins. */
  up(welcome: Welcome): void;
  message(message: ServerMessage): void;
  /** Called when the connection has ended. */
  down(): void;
  status(status: Status): void;
}

/** How long a connection may take until `welcome`, including the request for a token. */
const OPENING_MS = 10_000;
/** Age at which a connection counts as good, so that the next loss counts as the first. */
const GOOD_MS = 5_000;
/** The longest delay that a JavaScript timer accepts. */
const TIMER_MAX_MS = 2 ** 31 - 1;
const OPEN = 1;

export class Connection {
  private socket: Socket | null = null;
  private current: Status = { state: 'connecting' };
  private welcome: Welcome | null = null;
  private welcomedAt = 0;
  /** Access token of the current connection. */
  private token = '';
  private messageBytesMax = Infinity;
  private receivedAt = 0;
  private upSince = 0;
  private tries = 0;
  private refused = false;
  private reconnectAfter = 0;
  /** Number of the current attempt, so that callbacks of earlier attempts can be ignored. */
  private attempt = 0;
  private timers: Partial<Record<'retry' | 'opening' | 'heartbeat' | 'renewal', () => void>> = {};

  constructor(
    private readonly options: ConnectionOptions,
    private readonly handler: ConnectionHandler,
  ) {}

  get status(): Status {
    return this.current;
  }

  start(): void {
    void this.open();
  }

  close(): void {
    this.hangUp(CLOSE_CODES.normal);
    this.setStatus({ state: 'closed' });
  }

  /** Sends a message, if the connection is established and the message is within the size limit of
   * the server, if that is known. */
  send(message: ClientMessage): 'sent' | 'away' | 'too_large' {
    const frame = this.options.codec.encode(message);
    if (size(frame) > this.messageBytesMax) return 'too_large';
    if (!this.welcome || this.socket?.readyState !== OPEN) return 'away';
    this.socket.send(frame);
    return 'sent';
  }

  /** Connects immediately if the connection waits or has stopped; the cause may be gone by now. */
  retry(): void {
    if (this.current.state === 'stopped') void this.open();
    else this.wake();
  }

  /** Call this when the machine wakes, the page becomes visible or the network returns. It ends a
   * wait for the next attempt and drops a connection that has been silent. */
  wake(): void {
    if (this.current.state === 'waiting') void this.open();
    else if (this.welcome && this.silence() > this.welcome.heartbeat_ms * 1.2) this.lost(CLOSE_CODES.heartbeat_timeout);
  }

  /** Returns for how long nothing has arrived. A clock that was set back counts as silence: one
   * reconnect too many is better than a dead connection. */
  private silence(): number {
    return Math.abs(this.options.clock.now() - this.receivedAt);
  }

  private setStatus(status: Status): void {
    this.current = status;
    this.handler.status(status);
  }

  private async open(): Promise<void> {
    this.hangUp();
    const attempt = ++this.attempt;
    this.timer('opening', OPENING_MS, () => this.lost(0));
    this.setStatus({ state: 'connecting' });
    if (attempt !== this.attempt) return;
    let token: string;
    try {
      token = await this.options.getToken(this.refused ? 'refused' : 'connect');
    } catch (error) {
      if (attempt === this.attempt) this.noToken(error);
      return;
    }
    if (attempt !== this.attempt) return;
    const { codec, clock, name, url } = this.options;
    let socket: Socket;
    try {
      socket = this.options.open(url, codec.subprotocol);
    } catch {
      return this.stop('refused'); // the page is not allowed to open it, or the URL is invalid
    }
    this.socket = socket;
    this.token = token;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => socket.send(codec.encode({ t: 'hello', token, client: name }));
    socket.onmessage = ({ data }) => {
      this.receivedAt = clock.now();
      let message: ServerMessage;
      try {
        message = codec.decode(data);
      } catch {
        return this.lost(0); // the peer is not a Raidhall server
      }
      this.receive(message);
    };
    socket.onclose = ({ code }) => this.lost(code);
    socket.onerror = () => {}; // a close follows
  }

  private noToken(error: unknown): void {
    this.timer('opening', null);
    if (error instanceof RaidhallError && !error.retry) this.stop(error.type === 'forbidden' ? 'banned' : 'unauthenticated');
    else this.retryAfter(backoff(this.tries++, this.options.clock.random()));
  }

  private receive(message: ServerMessage): void {
    switch (message.t) {
      case 'welcome': {
        const begins = !this.welcome;
        this.welcome = message;
        this.welcomedAt = this.options.clock.now();
        this.messageBytesMax = message.limits.message_bytes;
        this.refused = false;
        this.renewInTime();
        if (!begins) return;
        this.timer('opening', null);
        this.upSince = this.receivedAt;
        this.setStatus({ state: 'online' });
        this.beat();
        this.handler.up(message);
        return;
      }
      case 'beat':
        this.send({ t: 'beat' });
        break;
      case 'bye':
        this.reconnectAfter = message.reconnect_after_ms;
        return;
    }
    this.handler.message(message);
  }

  /** Drops the connection after two missed heartbeats. */
  private beat(): void {
    const every = this.welcome?.heartbeat_ms ?? TIMER_MAX_MS;
    this.timer('heartbeat', every, () => {
      if (this.silence() > 2 * every) this.lost(CLOSE_CODES.heartbeat_timeout);
      else this.beat();
    });
  }

  /** Sends hello with a new token when three quarters of the remaining lifetime of this one have
   * passed. */
  private renewInTime(): void {
    const ends = expiry(this.token);
    if (ends === null || !this.welcome) return;
    const now = this.welcome.now + this.options.clock.now() - this.welcomedAt;
    this.renewIn(Math.max(1_000, (ends - now) * 0.75), 0);
  }

  private renewIn(wait: number, tries: number): void {
    const attempt = this.attempt;
    this.timer('renewal', wait, async () => {
      try {
        const token = await this.options.getToken('renew');
        if (attempt !== this.attempt) return;
        this.token = token;
        this.send({ t: 'hello', token, client: this.options.name });
        this.renewInTime();
      } catch (error) {
        if (attempt !== this.attempt) return;
        if (error instanceof RaidhallError && !error.retry) return; // the server will close the connection
        this.renewIn(backoff(tries, this.options.clock.random()), tries + 1);
      }
    });
  }

  private lost(code: number): void {
    const { clock } = this.options;
    if (this.welcome && clock.now() - this.upSince >= GOOD_MS) this.tries = 0;
    const tries = this.tries++;
    const reconnectAfter = this.reconnectAfter;
    this.hangUp();
    if (this.current.state === 'closed') return; // the handler of `down` has closed it
    const again = () => (tries === 0 ? 0 : backoff(tries, clock.random()));
    if (code === CLOSE_CODES.unauthenticated) {
      this.refused = true;
      this.retryAfter(again());
    } else if (code >= 4000 && code < 4100) {
      const reasons: Record<number, StopReason> = {
        [CLOSE_CODES.forbidden]: 'banned',
        [CLOSE_CODES.too_many_connections]: 'too_many_connections',
      };
      this.stop(reasons[code] ?? 'refused');
    } else if (code >= 4200 && code < 4300) {
      this.retryAfter(reconnectAfter + again());
    } else {
      this.retryAfter(reconnectAfter + backoff(tries, clock.random()));
    }
  }

  private stop(reason: StopReason): void {
    this.hangUp();
    if (this.current.state === 'closed') return;
    this.setStatus({ state: 'stopped', reason });
  }

  private retryAfter(wait: number): void {
    this.timer('retry', wait, () => void this.open());
    this.setStatus({ state: 'waiting', until: this.options.clock.now() + wait });
  }

  private hangUp(code?: number): void {
    this.attempt++;
    for (const name of ['retry', 'opening', 'heartbeat', 'renewal'] as const) this.timer(name, null);
    const { socket } = this;
    const begun = this.welcome !== null;
    this.socket = this.welcome = null;
    this.reconnectAfter = 0;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {};
      socket.close(code);
    }
    if (begun) this.handler.down();
  }

  private timer(name: 'retry' | 'opening' | 'heartbeat' | 'renewal', wait: number | null, run?: () => void): void {
    this.timers[name]?.();
    delete this.timers[name];
    if (wait !== null && run) this.timers[name] = this.options.clock.after(Math.min(wait, TIMER_MAX_MS), run);
  }
}

const size = (frame: string | Uint8Array): number => (typeof frame === 'string' ? new TextEncoder().encode(frame).length : frame.length);

/** Returns when a JSON Web Token expires, in milliseconds by its issuer's clock, or null if it has
 * no such claim. */
function expiry(token: string): number | null {
  try {
    const claims: unknown = JSON.parse(atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')));
    const ends = (claims as { exp?: unknown }).exp;
    return typeof ends === 'number' ? ends * 1_000 : null;
  } catch {
    return null;
  }
}
