// One raid as its members see it: its live state, who is online, and signals.
import { RaidhallError } from './errors.js';
import { fold } from './fold.js';
import { notifyAll } from './listeners.js';
import type { Waiting } from './outbox.js';
import type { Command, ErrorBody, PlayerId, RaidEvent, RaidId, RaidState, ServerMessage, UnwatchReason } from './protocol.js';
import { WatchedStream } from './stream.js';
import type { Ack, Carrier, View } from './stream.js';

/** Why a raid is not shown any more: the player left, was kicked or has no access, there is no such
 * raid, or too many raids are watched. */
type Gone = UnwatchReason | 'not_found' | 'too_many';

/** Immutable view of a watched raid at one moment; the same object until something changes. */
export interface WatchedRaid extends View<RaidState, Gone, Waiting> {
  /** Members who are online. */
  readonly online: ReadonlySet<PlayerId>;
}

export interface Signal {
  readonly from: PlayerId;
  readonly kind: string;
  readonly data: unknown;
}

/** The services of the client that a raid uses. */
export interface RaidCarrier extends Carrier {
  execute(command: Command): Promise<Ack>;
  /** Returns the player that the connection is authenticated as. */
  player(): PlayerId | null;
}

type Of<T extends ServerMessage['t']> = Extract<ServerMessage, { t: T; raid: RaidId }>;

const NO_PLAYERS: ReadonlySet<PlayerId> = new Set();
const SIGNAL_KIND = /^[a-z_]{1,32}$/;

export class Raid extends WatchedStream<RaidState, RaidEvent, Waiting, Gone, WatchedRaid> {
  private readonly signalListeners = new Set<(signal: Signal) => void>();
  private readonly refusalListeners = new Set<(error: RaidhallError) => void>();

  constructor(
    readonly id: RaidId,
    protected override readonly carrier: RaidCarrier,
  ) {
    super({ raid: id }, carrier, { state: null, seq: 0, online: NO_PLAYERS, live: false, gone: null, pending: [] });
  }

  /** Calls `listener` with each signal of another member. Returns an unsubscribe function. */
  onSignal(listener: (signal: Signal) => void): () => void {
    this.signalListeners.add(listener);
    return () => this.signalListeners.delete(listener);
  }

  /** Sends a command. It takes effect once, even if the connection is lost. The promise resolves
   * once the command is committed, and rejects with a [`RaidhallError`] if it is refused. */
  do(command: Command): Promise<Ack> {
    return this.carrier.execute(command);
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

  /** @internal */
  override watching(message: Of<'watching'>): void {
    super.watching(message, { online: new Set(message.online) });
  }

  /** @internal */
  override snapshot(message: Of<'snapshot'>): void {
    super.snapshot(message, { online: new Set(message.online) });
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

  protected override fold(state: RaidState, event: RaidEvent): RaidState | null {
    return fold(state, event);
  }

  protected override reasonOf(error: ErrorBody): Gone {
    const why = { not_found: 'not_found', invalid: 'too_many' } as const;
    return why[error.type as keyof typeof why] ?? 'forbidden';
  }

  protected override makes({ cmd }: Waiting, event: RaidEvent): boolean {
    if (event.by !== this.carrier.player()) return false;
    switch (cmd.type) {
      case 'say':
        return event.type === 'said' && event.data.text === cmd.text.trim();
      case 'add_task':
        return event.type === 'task_added' && event.data.title === cmd.title.trim();
      default:
        return false;
    }
  }

  protected override end(gone: Gone): void {
    super.end(gone, { online: NO_PLAYERS });
  }
}
