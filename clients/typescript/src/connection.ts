// A connection that outlives its WebSockets: it sends hello, answers heartbeats, renews the token,
// and reconnects as the close code says.
import { findCause } from './cause.js';
import type { Cause } from './cause.js';
import type { Clock } from './clock.js';
import { backoff } from './clock.js';
import type { Codec } from './codec.js';
import { messageOf, RaidhallError } from './errors.js';
import type { Fetch } from './fetch.js';
import { CLOSE_CODES } from './protocol.js';
import type { ClientMessage, ServerMessage } from './protocol.js';

/** Status of the connection. */
export type Status =
  /** `cause` says why the attempt before failed, or the connection before ended, if there was one. */
  | { readonly state: 'connecting'; readonly cause: Cause | null }
  | { readonly state: 'online' }
  /** There is no connection; the next attempt is at `until`, by `Date.now()`. */
  | { readonly state: 'waiting'; readonly until: number; readonly cause: Cause }
  /** There are no more attempts: sign in again, or show the player the reason. `message` is for
   * logs. */
  | { readonly state: 'stopped'; readonly reason: StopReason; readonly message: string }
  /** The client was closed. */
  | { readonly state: 'closed' };

export type StopReason = 'unauthenticated' | 'banned' | 'too_many_connections' | 'refused';

const STOP_MESSAGES: Record<StopReason, string> = {
  unauthenticated: 'The session has ended',
  banned: 'The player is banned',
  too_many_connections: 'The player has too many connections',
  refused: 'The server does not accept this client',
};

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
  onclose: ((close: { code: number; reason?: string }) => void) | null;
  onerror: ((error: { message?: string }) => void) | null;
  send(frame: string | Uint8Array): void;
  close(code?: number): void;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly codec: Codec;
  readonly getToken: GetToken;
  readonly open: (url: string, subprotocol: string) => Socket;
  readonly name: string;
  readonly clock: Clock;
  readonly fetch?: Fetch | undefined;
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
/** WebSocket's own codes for a message that the server will never take. */
const UNACCEPTABLE = [1002, 1003, 1007, 1009];
const SILENT: Cause = { type: 'lost', message: 'The server was silent' };

export class Connection {
  private socket: Socket | null = null;
  private opened = false;
  private current: Status = { state: 'connecting', cause: null };
  private cause: Cause | null = null;
  private wasOnline = false;
  private diagnosing = false;
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

  /** Sends a message, if the connection is established. Returns an error if the message can never be
   * sent: it has no encoding, or is larger than the server takes, if that is known. */
  send(message: ClientMessage): 'sent' | 'away' | RaidhallError {
    let frame: string | Uint8Array;
    try {
      frame = this.options.codec.encode(message);
    } catch (error) {
      return new RaidhallError('invalid', `The message cannot be encoded: ${messageOf(error)}`, { cause: error });
    }
    if (size(frame) > this.messageBytesMax) return new RaidhallError('too_large', 'The message is larger than the server takes');
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
    else if (this.welcome && this.silence() > this.welcome.heartbeat_ms * 1.2) this.lost(CLOSE_CODES.heartbeat_timeout, SILENT);
  }

  /** Call this when the network is lost: the socket would notice only after missed heartbeats. */
  networkLost(): void {
    if (this.current.state === 'online' || this.current.state === 'connecting') this.lost(0, { type: 'lost', message: 'The network is lost' });
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
    this.timer('opening', OPENING_MS, () => this.tooLate());
    this.setStatus({ state: 'connecting', cause: this.cause });
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
    } catch (error) {
      return this.stop('refused', messageOf(error)); // the page is not allowed to open it, or the URL is invalid
    }
    this.socket = socket;
    this.token = token;
    socket.binaryType = 'arraybuffer';
    let detail = '';
    this.opened = false;
    socket.onopen = () => {
      this.opened = true;
      socket.send(codec.encode({ t: 'hello', token, client: name }));
    };
    socket.onmessage = ({ data }) => {
      this.receivedAt = clock.now();
      let message: ServerMessage;
      try {
        message = codec.decode(data);
      } catch (error) {
        return this.lost(0, { type: 'not_raidhall', message: `The peer does not speak Raidhall's protocol: ${messageOf(error)}` });
      }
      this.receive(message);
    };
    socket.onclose = ({ code, reason }) => (this.opened ? this.lost(code, causeOf(code, reason)) : this.notOpened(detail));
    socket.onerror = error => (detail = error?.message ?? ''); // a close follows
  }

  private tooLate(): void {
    const within = `within ${OPENING_MS / 1_000} s`;
    if (!this.socket) this.lost(0, { type: 'token', message: `There was no access token ${within}` });
    else if (this.opened) this.lost(0, { type: 'not_raidhall', message: `The peer sent no welcome ${within}` });
    else this.notOpened(`no answer ${within}`);
  }

  /** Handles a WebSocket that did not open. Before the first connection, the URL or the server's
   * configuration may be wrong; later, a request more of each client would only delay a server that
   * restarts. */
  private notOpened(detail: string): void {
    const { url } = this.options;
    const unreachable: Cause = { type: 'unreachable', message: `${url} could not be opened${detail && `: ${detail}`}` };
    this.lost(0, this.wasOnline ? unreachable : (this.cause ?? unreachable));
    if (!this.wasOnline && !this.diagnosing) void this.diagnose(detail);
  }

  private async diagnose(detail: string): Promise<void> {
    this.diagnosing = true;
    const cause = await findCause(this.options.fetch, this.options.url, detail);
    this.diagnosing = false;
    const { current } = this;
    if (this.wasOnline || (current.state !== 'waiting' && current.state !== 'connecting')) return;
    this.cause = cause;
    this.setStatus({ ...current, cause });
  }

  private noToken(error: unknown): void {
    this.timer('opening', null);
    const detail = messageOf(error);
    if (error instanceof RaidhallError && !error.retry) this.stop(error.type === 'forbidden' ? 'banned' : 'unauthenticated', detail);
    else this.retryAfter(backoff(this.tries++, this.options.clock.random()), { type: 'token', message: `There is no access token: ${detail}` });
  }

  private receive(message: ServerMessage): void {
    switch (message.t) {
      case 'welcome': {
        const begins = !this.welcome;
        this.welcome = message;
        this.welcomedAt = this.options.clock.now();
        this.messageBytesMax = message.limits.message_bytes;
        this.refused = false;
        this.wasOnline = true;
        this.cause = null;
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
    this.timer('heartbeat', Math.max(1, 2 * every - this.silence()), () => {
      if (this.silence() >= 2 * every) this.lost(CLOSE_CODES.heartbeat_timeout, SILENT);
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

  private lost(code: number, cause: Cause): void {
    const { clock } = this.options;
    if (this.welcome && clock.now() - this.upSince >= GOOD_MS) this.tries = 0;
    const tries = this.tries++;
    const reconnectAfter = this.reconnectAfter;
    this.hangUp();
    if (this.current.state === 'closed') return; // the handler of `down` has closed it
    const again = () => (tries === 0 ? 0 : backoff(tries, clock.random()));
    if (code === CLOSE_CODES.unauthenticated) {
      this.refused = true;
      this.retryAfter(again(), cause);
    } else if ((code >= 4000 && code < 4100) || UNACCEPTABLE.includes(code)) {
      const reasons: Record<number, StopReason> = {
        [CLOSE_CODES.forbidden]: 'banned',
        [CLOSE_CODES.too_many_connections]: 'too_many_connections',
      };
      this.stop(reasons[code] ?? 'refused', cause.message);
    } else if (code >= 4200 && code < 4300) {
      this.retryAfter(reconnectAfter + again(), cause);
    } else {
      this.retryAfter(reconnectAfter + backoff(tries, clock.random()), cause);
    }
  }

  private stop(reason: StopReason, detail: string): void {
    this.hangUp();
    if (this.current.state === 'closed') return;
    this.cause = null;
    this.setStatus({ state: 'stopped', reason, message: `${STOP_MESSAGES[reason]}: ${detail}` });
  }

  private retryAfter(wait: number, cause: Cause): void {
    this.timer('retry', wait, () => void this.open());
    this.cause = cause;
    this.setStatus({ state: 'waiting', until: this.options.clock.now() + wait, cause });
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

/** Returns why an open WebSocket was closed. */
function causeOf(code: number, reason = ''): Cause {
  const closed = `The connection was closed with ${code}${reason && ` (${reason})`}`;
  if (code === CLOSE_CODES.unauthenticated) return { type: 'token', message: closed };
  return { type: code >= 4000 || UNACCEPTABLE.includes(code) ? 'closed' : 'lost', message: closed };
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
