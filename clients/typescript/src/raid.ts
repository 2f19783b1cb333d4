// One raid as its members see it: the live state, folded from a snapshot and the events after it.
// **If an event is missing, the raid is watched again from the last known seq**, or from a
// snapshot.
import type { Clock } from './clock.js';
import { RaidhallError } from './errors.js';
import { fold } from './fold.js';
import { notifyAll } from './listeners.js';
import type { Waiting } from './outbox.js';
import type { ClientMessage, Command, ErrorBody, OpKey, PlayerId, RaidEvent, RaidId, RaidState, Seq, ServerMessage, UnwatchReason } from './protocol.js';

/** Immutable view of a watched raid at one moment; the same object until something changes. */
export interface WatchedRaid {
  /** State of the raid; null until the first snapshot has arrived. */
  readonly state: RaidState | null;
  /** Seq that the state is a function of. */
  readonly seq: Seq;
  /** Members who are online. */
  readonly online: ReadonlySet<PlayerId>;
  /** Whether the state is kept up to date; false while there is no connection. */
  readonly live: boolean;
  /** Why the raid is not shown any more: the player left, was kicked or has no access, there is no
   * such raid, or too many raids are watched. */
  readonly gone: UnwatchReason | 'not_found' | 'too_many' | null;
  /** Commands of this client that `state` does not show yet, in their order. Use them to show
   * changes before the server has answered. */
  readonly pending: readonly Waiting[];
}

export interface Ack {
  /** Seq of the last event that the command caused; the raid's newest if it caused none. */
  readonly seq: Seq;
  /** Whether the command had already taken effect, so that only this answer was late. */
  readonly duplicate: boolean;
}

export interface Signal {
  readonly from: PlayerId;
  readonly kind: string;
  readonly data: unknown;
}

/** The services of the client that a raid uses. */
export interface Carrier {
  readonly clock: Clock;
  send(message: ClientMessage): boolean;
  execute(raid: RaidId, command: Command): Promise<Ack>;
  /** Returns the player that the connection is authenticated as. */
  player(): PlayerId | null;
}

type Of<T extends ServerMessage['t']> = Extract<ServerMessage, { t: T }>;

/** How long the head may be ahead of the state before the raid is watched again; events in flight
 * take less. */
const BEHIND_MS = 1_000;
/** Time after which a watch without an answer is sent again. */
const ANSWER_MS = 10_000;
const NO_PLAYERS: ReadonlySet<PlayerId> = new Set();
const SIGNAL_KIND = /^[a-z_]{1,32}$/;

export class Raid {
  private current: WatchedRaid = { state: null, seq: 0, online: NO_PLAYERS, live: false, gone: null, pending: [] };
  /** Whether a watch has been sent. Messages before its answer belong to the previous watch. */
  private awaitingAnswer = false;
  /** Last seq of the replay. Listeners are notified once, at its end. */
  private replayEnd: Seq = 0;
  /** Whether the server still has the history that the state's seq belongs to. */
  private sameHistory = true;
  /** Committed commands whose events have not all arrived: the last seq of each. */
  private readonly awaited = new Map<OpKey, Seq>();
  private readonly listeners = new Set<() => void>();
  private readonly eventListeners = new Set<(event: RaidEvent, view: WatchedRaid) => void>();
  private readonly signalListeners = new Set<(signal: Signal) => void>();
  private readonly refusalListeners = new Set<(error: RaidhallError) => void>();
  private cancelRetry: (() => void) | null = null;
  private cancelHeadCheck: (() => void) | null = null;

  constructor(
    readonly id: RaidId,
    private readonly carrier: Carrier,
  ) {}

  /** Returns the current view of the raid. */
  readonly getView = (): WatchedRaid => this.current;

  /** Calls `listener` after each change. Returns an unsubscribe function. The raid is watched while
   * it has at least one subscriber. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const wrapped = () => listener(); // the same function may subscribe twice
    this.listeners.add(wrapped);
    if (this.listeners.size === 1) this.refresh();
    return () => {
      if (this.listeners.delete(wrapped) && this.listeners.size === 0) this.unwatch();
    };
  };

  /** Calls `listener` with each event as it arrives and the view after it. Events covered by a
   * snapshot are not reported. Returns an unsubscribe function. */
  onEvent(listener: (event: RaidEvent, view: WatchedRaid) => void): () => void {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  }

  /** Calls `listener` with each signal of another member. Returns an unsubscribe function. */
  onSignal(listener: (signal: Signal) => void): () => void {
    this.signalListeners.add(listener);
    return () => this.signalListeners.delete(listener);
  }

  /** Sends a command. It takes effect once, even if the connection is lost. The promise resolves
   * once the command is committed, and rejects with a [`RaidhallError`] if it is refused. */
  do(command: Command): Promise<Ack> {
    return this.carrier.execute(this.id, command);
  }

  /** Sends a signal, which is never stored, to the other members: an emote, a cursor. It arrives at
   * most once. `kind` is 1 to 32 characters of `a-z _`. Returns whether it was sent: not without a
   * connection, and not if the server is sure to refuse it. Whether the server refused one that was
   * sent, [`onSignalRefused`] tells. */
  signal(kind: string, data: unknown): boolean {
    const { gone } = this.current;
    const isMember = gone === null || gone === 'too_many';
    return isMember && SIGNAL_KIND.test(kind) && this.carrier.send({ t: 'signal', raid: this.id, kind, data });
  }

  /** Calls `listener` with the error of each signal that the server refused: too large, too many, or
   * the player is not a member. Returns an unsubscribe function. */
  onSignalRefused(listener: (error: RaidhallError) => void): () => void {
    this.refusalListeners.add(listener);
    return () => this.refusalListeners.delete(listener);
  }

  /** Watches the raid again, even if it was `gone`: the player may have joined since. */
  refresh(): void {
    if (this.current.gone) this.update({ gone: null });
    this.watch();
  }

  /** @internal Adds a command that waits for its answer. */
  given(waiting: Waiting): void {
    this.update({ pending: [...this.current.pending, waiting] });
  }

  /** @internal Handles the answer to a command: the state shows it at `seq`; null means it was
   * refused. */
  settled(op: OpKey, seq: Seq | null): void {
    if (seq !== null && seq > this.current.seq && this.current.live) this.awaited.set(op, seq);
    else this.update({ pending: this.current.pending.filter(pending => pending.op !== op) });
  }

  /** @internal Handles the start of a connection. */
  up(sameHistory: boolean): void {
    this.sameHistory &&= sameHistory;
    this.watch();
  }

  /** @internal Handles the end of the connection. */
  down(): void {
    this.awaitingAnswer = false;
    this.cancelTimers();
    if (this.current.live) this.update({ live: false });
  }

  /** @internal */
  watching(message: Of<'watching'>): void {
    if (!this.awaitingAnswer) return;
    this.answered();
    if (this.listeners.size === 0) return;
    this.replayEnd = message.seq;
    this.update({ online: new Set(message.online), live: true, gone: null });
  }

  /** @internal */
  snapshot(message: Of<'snapshot'>): void {
    this.answered();
    if (this.listeners.size === 0) return;
    this.sameHistory = true;
    this.replayEnd = message.seq;
    const pending = this.pendingAt(message.seq);
    this.update({ state: message.state, seq: message.seq, online: new Set(message.online), live: true, gone: null, pending });
  }

  /** @internal */
  unwatched(message: Of<'unwatched'>): void {
    if (message.reason === 'asked') return;
    this.answered();
    this.end(message.reason);
  }

  /** @internal */
  event(message: Of<'event'>): void {
    const { state, seq } = this.current;
    if (this.awaitingAnswer || state === null || message.seq <= seq) return;
    if (message.seq > seq + 1) return this.watch();
    const { t: _, raid: __, ...event } = message;
    const next = fold(state, event as RaidEvent);
    if (next === null) {
      this.sameHistory = false; // so that the watch gets a snapshot
      return this.watch();
    }
    const pending = this.pendingAt(message.seq);
    const made = event.by === this.carrier.player() ? pending.find(({ cmd }) => makes(cmd, event as RaidEvent)) : undefined;
    this.current = { ...this.current, state: next, seq: message.seq, pending: made ? pending.filter(other => other !== made) : pending };
    notifyAll(this.eventListeners, event as RaidEvent, this.current);
    if (message.seq >= this.replayEnd) this.notify();
  }

  /** @internal */
  presence(message: Of<'presence'>): void {
    if (this.awaitingAnswer || !this.current.live) return;
    const online = new Set(this.current.online);
    for (const player of message.online) online.add(player);
    for (const player of message.offline) online.delete(player);
    this.update({ online });
  }

  /** @internal */
  signalled(message: Of<'signal'>): void {
    const { from, kind, data } = message;
    notifyAll(this.signalListeners, { from, kind, data });
  }

  /** @internal */
  signalRefused(error: ErrorBody): void {
    notifyAll(this.refusalListeners, RaidhallError.of(error));
  }

  /** @internal Compares the state with the newest seq of the server. */
  head(seq: Seq): void {
    if (seq <= this.current.seq || this.awaitingAnswer || this.cancelHeadCheck) return;
    this.cancelHeadCheck = this.carrier.clock.after(BEHIND_MS, () => {
      this.cancelHeadCheck = null;
      if (seq > this.current.seq && this.current.live && !this.awaitingAnswer) this.watch();
    });
  }

  /** @internal Handles the refusal of the watch. */
  refused(error: ErrorBody): void {
    this.answered();
    if (this.listeners.size === 0) return;
    if (error.retry) {
      this.cancelRetry = this.carrier.clock.after(error.retry_after_ms ?? 1_000, () => this.watch());
    } else {
      const why = { not_found: 'not_found', invalid: 'too_many' } as const;
      this.end(this.current.gone ?? why[error.type as keyof typeof why] ?? 'forbidden');
    }
  }

  private watch(): void {
    if (this.listeners.size === 0) return;
    this.cancelTimers();
    const since = this.current.state && this.sameHistory ? this.current.seq : undefined;
    this.awaitingAnswer = this.carrier.send({ t: 'watch', raid: this.id, since });
    if (this.awaitingAnswer) this.cancelRetry = this.carrier.clock.after(ANSWER_MS, () => this.awaitingAnswer && this.watch());
  }

  private unwatch(): void {
    this.cancelTimers();
    this.carrier.send({ t: 'unwatch', raid: this.id });
    this.awaitingAnswer = false;
    this.current = { ...this.current, live: false };
  }

  private answered(): void {
    this.awaitingAnswer = false;
    this.cancelRetry?.();
    this.cancelRetry = null;
  }

  private cancelTimers(): void {
    this.cancelRetry?.();
    this.cancelHeadCheck?.();
    this.cancelRetry = null;
    this.cancelHeadCheck = null;
  }

  private end(gone: WatchedRaid['gone']): void {
    this.update({ live: false, gone, online: NO_PLAYERS, pending: this.pendingAt(Infinity) });
  }

  /** Returns the commands that are still pending once the state has reached `seq`. */
  private pendingAt(seq: Seq): readonly Waiting[] {
    const shown = [...this.awaited].filter(([, last]) => last <= seq).map(([op]) => op);
    if (shown.length === 0) return this.current.pending;
    for (const op of shown) this.awaited.delete(op);
    return this.current.pending.filter(({ op }) => !shown.includes(op));
  }

  private update(change: Partial<WatchedRaid>): void {
    this.current = { ...this.current, ...change };
    this.notify();
  }

  private notify(): void {
    notifyAll(this.listeners);
  }
}

/** Returns whether an event is the result of a command. The answer to the command arrives later,
 * and until then its text would be shown twice. */
function makes(cmd: Command, event: RaidEvent): boolean {
  switch (cmd.type) {
    case 'say':
      return event.type === 'said' && event.data.text === cmd.text.trim();
    case 'add_task':
      return event.type === 'task_added' && event.data.title === cmd.title.trim();
    default:
      return false;
  }
}
