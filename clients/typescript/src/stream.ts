// A stream of numbered events, of a raid or of the player, that is watched: the live state, folded from a snapshot and the
// events after it. **If an event is missing, the stream is watched again from the last known seq**,
// or from a snapshot.
import type { Clock } from './clock.js';
import { notifyAll } from './listeners.js';
import type { ClientMessage, ErrorBody, Me, OpKey, RaidId, Seq } from './protocol.js';

/** Immutable view of a watched stream at one moment; the same object until something changes. */
export interface View<State, Gone, Waiting> {
  /** State of the stream; null until the first snapshot has arrived. */
  readonly state: State | null;
  /** Seq that the state is a function of. */
  readonly seq: Seq;
  /** Whether the state is kept up to date; false while there is no connection. */
  readonly live: boolean;
  /** Why the stream is not shown any more. */
  readonly gone: Gone | null;
  /** Commands of this client that `state` does not show yet, in their order. Use them to show
   * changes before the server has answered. */
  readonly pending: readonly Waiting[];
}

export interface Ack {
  /** Seq of the last event that the command caused; the stream's newest if it caused none. */
  readonly seq: Seq;
  /** Whether the command had already taken effect, so that only this answer was late. */
  readonly duplicate: boolean;
}

/** The services of the client that a stream uses. */
export interface Carrier {
  readonly clock: Clock;
  send(message: ClientMessage): boolean;
}

/** The stream that a message names. */
type Target = { readonly raid: RaidId } | { readonly player: Me };

/** How long the head may be ahead of the state before the stream is watched again; events in flight
 * take less. */
const BEHIND_MS = 1_000;
/** Time after which a watch without an answer is sent again. */
const ANSWER_MS = 10_000;
/** Shortest time between two requests of a snapshot because of events that cannot be folded. */
const REFETCH_MS = 1_000;

/** A stream of events, with its listeners and the commands that its state does not show yet. */
export abstract class WatchedStream<
  State,
  Event extends { readonly seq: Seq },
  Waiting extends { readonly op: OpKey },
  Gone,
  Shown extends View<State, Gone, Waiting> = View<State, Gone, Waiting>,
> {
  /** Whether a watch has been sent. Messages before its answer belong to the previous watch. */
  protected awaitingAnswer = false;
  /** Last seq of the replay. Listeners are notified once, at its end. */
  private replayEnd: Seq = 0;
  /** Whether the server still has the history that the state's seq belongs to. */
  private sameHistory = true;
  /** When the next snapshot may be requested because of an event that cannot be folded. */
  private refetchFrom = 0;
  /** Committed commands whose events have not all arrived: the last seq of each. */
  private readonly awaited = new Map<OpKey, Seq>();
  private readonly listeners = new Set<() => void>();
  private readonly eventListeners = new Set<(event: Event, view: Shown, replayed: boolean) => void>();
  private cancelRetry: (() => void) | null = null;
  private cancelHeadCheck: (() => void) | null = null;

  constructor(
    private readonly target: Target,
    protected readonly carrier: Carrier,
    protected current: Shown,
  ) {}

  /** Returns the current view. */
  readonly getView = (): Shown => this.current;

  /** Calls `listener` after each change. Returns an unsubscribe function. The stream is watched while
   * it has at least one subscriber. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const wrapped = () => listener(); // the same function may subscribe twice
    this.listeners.add(wrapped);
    if (this.listeners.size === 1) this.refresh();
    return () => {
      if (this.listeners.delete(wrapped) && this.listeners.size === 0) this.unwatch();
    };
  };

  /** Calls `listener` with each event as it arrives, the view after it, and whether the event is an
   * earlier one that was missed. Events covered by a snapshot are not reported. Returns an
   * unsubscribe function. */
  onEvent(listener: (event: Event, view: Shown, replayed: boolean) => void): () => void {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  }

  /** Watches the stream again, even if it was `gone`: the player may have joined since. */
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

  /** @internal Handles the answer to a watch that is resumed. `shown` is what else the view has from
   * the message. */
  watching({ seq }: { readonly seq: Seq }, shown: Partial<Shown> = {}): void {
    if (!this.awaitingAnswer) return;
    this.answered();
    if (this.listeners.size === 0) return;
    this.replayEnd = seq;
    this.update({ ...shown, live: true, gone: null });
  }

  /** @internal Handles a snapshot. `shown` is what else the view has from the message. */
  snapshot({ state, seq }: { readonly state: State; readonly seq: Seq }, shown: Partial<Shown> = {}): void {
    this.answered();
    if (this.listeners.size === 0) return;
    this.sameHistory = true;
    this.replayEnd = seq;
    this.update({ ...shown, state, seq, live: true, gone: null, pending: this.pendingAt(seq) });
  }

  /** @internal Handles the end of the watch. */
  unwatched(reason: Gone | 'asked'): void {
    if (reason === 'asked') return;
    this.answered();
    this.end(reason);
  }

  /** @internal */
  event(event: Event): void {
    const { state, seq } = this.current;
    if (this.awaitingAnswer || state === null || event.seq <= seq) return;
    if (event.seq > seq + 1) return this.watch();
    const next = this.fold(state, event);
    if (next === null) return this.refetch();
    const pending = this.pendingAt(event.seq);
    const made = pending.find(waiting => this.makes(waiting, event));
    this.current = { ...this.current, state: next, seq: event.seq, pending: made ? pending.filter(other => other !== made) : pending };
    notifyAll(this.eventListeners, event, this.current, event.seq <= this.replayEnd);
    if (event.seq >= this.replayEnd) this.notify();
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
    if (error.retry) this.cancelRetry = this.carrier.clock.after(error.retry_after_ms ?? 1_000, () => this.watch());
    else this.end(this.current.gone ?? this.reasonOf(error));
  }

  /** Returns the state after an event, or null if only a snapshot helps. */
  protected abstract fold(state: State, event: Event): State | null;

  /** Returns why a stream whose watch was refused is gone. */
  protected abstract reasonOf(error: ErrorBody): Gone;

  /** Returns whether an event is the result of a command whose answer has not arrived, so that both
   * would be shown until then. */
  protected makes(_waiting: Waiting, _event: Event): boolean {
    return false;
  }

  protected watch(): void {
    if (this.listeners.size === 0) return;
    this.cancelTimers();
    const since = this.current.state && this.sameHistory ? this.current.seq : undefined;
    this.awaitingAnswer = this.carrier.send({ t: 'watch', ...this.target, since });
    if (this.awaitingAnswer) this.cancelRetry = this.carrier.clock.after(ANSWER_MS, () => this.awaitingAnswer && this.watch());
  }

  protected end(gone: Gone, shown: Partial<Shown> = {}): void {
    this.update({ ...shown, live: false, gone, pending: this.pendingAt(Infinity) });
  }

  protected update(change: Partial<Shown> | Partial<View<State, Gone, Waiting>>): void {
    this.current = { ...this.current, ...change };
    this.notify();
  }

  /** Watches the stream again for a snapshot, and discards its events until then. */
  private refetch(): void {
    const wait = this.refetchFrom - this.carrier.clock.now();
    this.sameHistory = false; // so that the watch gets a snapshot
    this.refetchFrom = this.carrier.clock.now() + Math.max(0, wait) + REFETCH_MS;
    if (wait <= 0) return this.watch();
    this.cancelTimers();
    this.awaitingAnswer = true;
    this.cancelRetry = this.carrier.clock.after(wait, () => this.watch());
  }

  private unwatch(): void {
    this.cancelTimers();
    if (this.current.live || this.awaitingAnswer) this.carrier.send({ t: 'unwatch', ...this.target });
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

  /** Returns the commands that are still pending once the state has reached `seq`. */
  private pendingAt(seq: Seq): readonly Waiting[] {
    const shown = [...this.awaited].filter(([, last]) => last <= seq).map(([op]) => op);
    if (shown.length === 0) return this.current.pending;
    for (const op of shown) this.awaited.delete(op);
    return this.current.pending.filter(({ op }) => !shown.includes(op));
  }

  private notify(): void {
    notifyAll(this.listeners);
  }
}
