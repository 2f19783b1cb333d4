// The player's own stream: name, settings, notifications, XP, coins, items and raids, the same on each of their devices.
import { foldPlayer } from './fold.js';
import type { WaitingPlayerCommand } from './outbox.js';
import type { ErrorBody, PlayerCommand, PlayerEvent, PlayerState, Seq, UnwatchReason } from './protocol.js';
import { WatchedStream } from './stream.js';
import type { Ack, Carrier, View } from './stream.js';

/** Why the player's stream is not shown: the token names no player, the player was erased, or the
 * server is of a release without such streams. */
type Gone = UnwatchReason | 'not_found' | 'unsupported';

/** Immutable view of the player's stream at one moment; the same object until something changes. */
export type WatchedPlayer = View<PlayerState, Gone, WaitingPlayerCommand>;

/** The services of the client that the player's stream uses. */
export interface PlayerCarrier extends Carrier {
  execute(command: PlayerCommand): Promise<Ack>;
  /** Returns whether the server may have players' streams; false once it is known not to. */
  isSupported(): boolean;
}

export class PlayerStream extends WatchedStream<PlayerState, PlayerEvent, WaitingPlayerCommand, Gone> {
  constructor(protected override readonly carrier: PlayerCarrier) {
    super({ player: 'me' }, carrier, { state: null, seq: 0, live: false, gone: null, pending: [] });
  }

  /** Sets a setting. With `ifVersion` it is refused with `conflict` if the setting has another
   * version; 0 is that of a setting that was never set. Like all commands it takes effect once, and
   * the promise rejects with a [`RaidhallError`] if it is refused. */
  setSetting(key: string, value: unknown, { ifVersion }: { ifVersion?: number } = {}): Promise<Ack> {
    return this.carrier.execute({ type: 'set_setting', key, value, if_version: ifVersion });
  }

  /** Changes the player's name, for raids that they join from then on. */
  setName(name: string): Promise<Ack> {
    return this.carrier.execute({ type: 'set_name', name });
  }

  /** Marks what happened up to `seq` as seen, on all devices, and the notifications up to it as
   * read. */
  readThrough(seq: Seq): Promise<Ack> {
    return this.carrier.execute({ type: 'read_through', seq });
  }

  /** Buys an item of the shop. The promise rejects with `not_enough_coins`, or with `wrong_status` if
   * the player has the item. */
  buy(item: string): Promise<Ack> {
    return this.carrier.execute({ type: 'buy', item });
  }

  /** Puts on an item that the player has, in place of what is worn in its slot. */
  equip(item: string): Promise<Ack> {
    return this.carrier.execute({ type: 'equip', item });
  }

  /** Repairs the streak that was lost. The promise rejects with `not_enough_coins`, or with
   * `wrong_status` if there is none that can still be repaired. */
  repairStreak(): Promise<Ack> {
    return this.carrier.execute({ type: 'repair_streak' });
  }

  protected override fold(state: PlayerState, event: PlayerEvent): PlayerState | null {
    return foldPlayer(state, event);
  }

  protected override reasonOf(error: ErrorBody): Gone {
    return error.type === 'not_found' ? 'not_found' : 'forbidden';
  }

  protected override watch(): void {
    if (this.carrier.isSupported()) super.watch();
    else this.end('unsupported');
  }
}
