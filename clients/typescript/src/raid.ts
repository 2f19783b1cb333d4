// One raid as its members see it: the live state, folded from a snapshot and the events after it, and never wrong for longer
// than it takes to ask again.
import type { Clock } from './clock.js';
import { fold } from './fold.js';
import { tellAll } from './listeners.js';
import type { Waiting } from './outbox.js';
import type { ClientMessage, Command, ErrorBody, OpKey, PlayerId, RaidEvent, RaidId, RaidState, Seq, ServerMessage, UnwatchReason } from './protocol.js';

/** A raid at one moment. The same object until something changes. */
export interface RaidView {
  /** Null until the first snapshot is there. */
  readonly state: RaidState | null;
  /** The seq that the state is a function of. */
  readonly seq: Seq;
  /** The members who are online. */
  readonly online: ReadonlySet<PlayerId>;
  /** Whether it is kept up to date now: false while the connection is away. */
  readonly live: boolean;
  /** Why it is not shown any more, if so: the player left, was kicked, may not, there is no such raid, or too many are watched. */
  readonly gone: UnwatchReason | 'not_found' | 'too_many' | null;
  /** Commands given here that `state` does not show yet, in that order: for what is shown before the server has answered. */
  readonly pending: readonly Waiting[];
}

export interface Ack {
  /** The seq of the last event that the command caused. */
  readonly seq: Seq;
  /** It had taken effect before; only this answer was late. */
  readonly duplicate: boolean;
}

export interface Signal {
  readonly from: PlayerId;
  readonly kind: string;
  readonly data: unknown;
}

/** What a raid needs of the client. */
export interface Carrier {
  readonly clock: Clock;
  send(message: ClientMessage): boolean;
  execute(raid: RaidId, command: Command): Promise<Ack>;
  /** Who is connected. */
  player(): PlayerId | null;
}

type Of<T extends ServerMessage['t']> = Extract<ServerMessage, { t: T }>;

/** How long heads may be ahead of us before we ask again: what is under way takes less. */
const BEHIND_MS = 1_000;
/** A watch that is not answered for so long is asked for again. */
const ANSWER_MS = 10_000;
const NOBODY: ReadonlySet<PlayerId> = new Set();

export class Raid {
  private current: RaidView = { state: null, seq: 0, online: NOBODY, live: false, gone: null, pending: [] };
  /** A watch was asked for, and what comes before its answer belongs to a former one. */
  private asked = false;
  /** The replay goes up to there; listeners hear of it as a whole. */
  private promised: Seq = 0;
  /** Whether the server has the history that our seq is of. */
  private sameHistory = true;
  /** Commands that have taken effect with events that are not here yet: up to which. */
  private readonly awaited = new Map<OpKey, Seq>();
  private readonly listeners = new Set<() => void>();
  private readonly eventListeners = new Set<(event: RaidEvent, view: RaidView) => void>();
  private readonly signalListeners = new Set<(signal: Signal) => void>();
  private cancelRetry: (() => void) | null = null;
  private behind: (() => void) | null = null;

  constructor(
    readonly id: RaidId,
    private readonly carrier: Carrier,
  ) {}

  /** The raid now. */
  readonly getView = (): RaidView => this.current;

  /** Calls `listener` after each change, until the function that it gives is called. The raid is watched while somebody
   * listens. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const heard = () => listener(); // the same function may subscribe twice
    this.listeners.add(heard);
    if (this.listeners.size === 1) this.refresh();
    return () => {
      if (this.listeners.delete(heard) && this.listeners.size === 0) this.unwatch();
    };
  };

  /** Calls `listener` with each event as it happens, and the raid after it. Events that a snapshot stands for are not told. */
  onEvent(listener: (event: RaidEvent, view: RaidView) => void): () => void {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  }

  /** Calls `listener` with each signal of another member's. */
  onSignal(listener: (signal: Signal) => void): () => void {
    this.signalListeners.add(listener);
    return () => this.signalListeners.delete(listener);
  }

  /** Gives a command. It takes effect once, whatever becomes of the connection; the promise is kept when it is committed, or
   * broken with a [`RaidhallError`] when it is refused. */
  do(command: Command): Promise<Ack> {
    return this.carrier.execute(this.id, command);
  }

  /** Tells the other members something that is not kept: an emote, a cursor. At most once; false if there is no connection. */
  signal(kind: string, data: unknown): boolean {
    return this.carrier.send({ t: 'signal', raid: this.id, kind, data });
  }

  /** Asks for it anew, also if it was gone: the player may have joined since. */
  refresh(): void {
    if (this.current.gone) this.become({ gone: null });
    this.watch();
  }

  /** @internal A command is on its way. */
  given(waiting: Waiting): void {
    this.become({ pending: [...this.current.pending, waiting] });
  }

  /** @internal It was answered: it shows when `seq` is here, or was refused. */
  settled(op: OpKey, seq: Seq | null): void {
    if (seq !== null && seq > this.current.seq && this.current.live) this.awaited.set(op, seq);
    else this.become({ pending: this.current.pending.filter(pending => pending.op !== op) });
  }

  /** @internal A connection begins. */
  up(sameHistory: boolean): void {
    this.sameHistory &&= sameHistory;
    this.watch();
  }

  /** @internal The connection has ended. */
  down(): void {
    this.asked = false;
    this.calm();
    if (this.current.live) this.become({ live: false });
  }

  /** @internal */
  watching(message: Of<'watching'>): void {
    if (!this.asked) return;
    this.answered();
    if (this.listeners.size === 0) return;
    this.promised = message.seq;
    this.become({ online: new Set(message.online), live: true, gone: null });
  }

  /** @internal */
  snapshot(message: Of<'snapshot'>): void {
    this.answered();
    if (this.listeners.size === 0) return;
    this.sameHistory = true;
    this.promised = message.seq;
    const pending = this.pendingAt(message.seq);
    this.become({ state: message.state, seq: message.seq, online: new Set(message.online), live: true, gone: null, pending });
  }

  /** @internal */
  unwatched(message: Of<'unwatched'>): void {
    if (message.reason === 'asked') return;
    this.answered();
    this.lose(message.reason);
  }

  /** @internal */
  event(message: Of<'event'>): void {
    const { state, seq } = this.current;
    if (this.asked || state === null || message.seq <= seq) return;
    if (message.seq > seq + 1) return this.watch();
    const { t: _, raid: __, ...event } = message;
    const next = fold(state, event as RaidEvent);
    if (next === null) {
      this.sameHistory = false; // only a snapshot helps
      return this.watch();
    }
    const pending = this.pendingAt(message.seq);
    const made = event.by === this.carrier.player() ? pending.find(({ cmd }) => makes(cmd, event as RaidEvent)) : undefined;
    this.current = { ...this.current, state: next, seq: message.seq, pending: made ? pending.filter(other => other !== made) : pending };
    tellAll(this.eventListeners, event as RaidEvent, this.current);
    if (message.seq >= this.promised) this.tell();
  }

  /** @internal */
  presence(message: Of<'presence'>): void {
    if (this.asked || !this.current.live) return;
    const online = new Set(this.current.online);
    message.online.forEach(player => online.add(player));
    message.offline.forEach(player => online.delete(player));
    this.become({ online });
  }

  /** @internal */
  heard(message: Of<'signal'>): void {
    const { from, kind, data } = message;
    tellAll(this.signalListeners, { from, kind, data });
  }

  /** @internal The newest seq that the server has. */
  head(seq: Seq): void {
    if (seq <= this.current.seq || this.asked || this.behind) return;
    this.behind = this.carrier.clock.after(BEHIND_MS, () => {
      this.behind = null;
      if (seq > this.current.seq && this.current.live && !this.asked) this.watch();
    });
  }

  /** @internal The watch was refused. */
  refused(error: ErrorBody): void {
    this.answered();
    if (this.listeners.size === 0) return;
    if (error.retry) {
      this.cancelRetry = this.carrier.clock.after(error.retry_after_ms ?? 1_000, () => this.watch());
    } else {
      const why = { not_found: 'not_found', invalid: 'too_many' } as const;
      this.lose(this.current.gone ?? why[error.type as keyof typeof why] ?? 'forbidden');
    }
  }

  private watch(): void {
    if (this.listeners.size === 0) return;
    this.calm();
    const since = this.current.state && this.sameHistory ? this.current.seq : undefined;
    this.asked = this.carrier.send({ t: 'watch', raid: this.id, since });
    if (this.asked) this.cancelRetry = this.carrier.clock.after(ANSWER_MS, () => this.asked && this.watch());
  }

  private unwatch(): void {
    this.calm();
    this.carrier.send({ t: 'unwatch', raid: this.id });
    this.asked = false;
    this.current = { ...this.current, live: false };
  }

  private answered(): void {
    this.asked = false;
    this.cancelRetry?.();
    this.cancelRetry = null;
  }

  private calm(): void {
    this.cancelRetry?.();
    this.behind?.();
    this.cancelRetry = this.behind = null;
  }

  private lose(gone: RaidView['gone']): void {
    this.become({ live: false, gone, online: NOBODY, pending: this.pendingAt(Infinity) });
  }

  /** What is pending once the state is of `seq`. */
  private pendingAt(seq: Seq): readonly Waiting[] {
    const shown = [...this.awaited].filter(([, last]) => last <= seq).map(([op]) => op);
    if (shown.length === 0) return this.current.pending;
    shown.forEach(op => this.awaited.delete(op));
    return this.current.pending.filter(({ op }) => !shown.includes(op));
  }

  private become(change: Partial<RaidView>): void {
    this.current = { ...this.current, ...change };
    this.tell();
  }

  private tell(): void {
    tellAll(this.listeners);
  }
}

/** Whether an event is what a command adds to the state. Its answer comes later, and until then it would be there twice. */
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
