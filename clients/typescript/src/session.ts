// Somebody who is signed in: their tokens, renewed in time and one at a time.
import type { Clock } from './clock.js';
import { systemClock } from './clock.js';
import type { PlayerRef, TokenPair } from './protocol.js';
import type { Rest } from './rest.js';

/** What to keep of a session between two runs of the page: it is a secret of the player's. */
export interface Kept {
  readonly player: PlayerRef;
  readonly access_token: string;
  readonly refresh_token: string;
  /** When the access token ends, by this machine's clock. */
  readonly until: number;
}

/** A token that ends sooner is not given out any more. */
const MARGIN_MS = 30_000;

export class Session {
  private current: Kept;
  private renewing: Promise<Kept> | null = null;

  private constructor(
    kept: Kept,
    private readonly rest: Rest,
    private readonly keep: (kept: Kept) => void,
    private readonly clock: Clock,
  ) {
    this.current = kept;
  }

  /** A session of a pair of tokens that was just got. `keep` is called with what to keep, now and after each renewal. */
  static begin(rest: Rest, pair: TokenPair, keep: (kept: Kept) => void = () => {}, clock: Clock = systemClock): Session {
    const session = new Session(keptOf(pair, clock), rest, keep, clock);
    keep(session.current);
    return session;
  }

  /** A session of what was kept. */
  static resume(rest: Rest, kept: Kept, keep: (kept: Kept) => void = () => {}, clock: Clock = systemClock): Session {
    return new Session(kept, rest, keep, clock);
  }

  get player(): PlayerRef {
    return this.current.player;
  }

  /** For `connect` and [`Rest`]. */
  readonly getToken = async (why: 'connect' | 'renew' | 'refused'): Promise<string> => {
    const good = why === 'connect' && this.current.until - this.clock.now() > MARGIN_MS;
    return (good ? this.current : await this.renew()).access_token;
  };

  private renew(): Promise<Kept> {
    this.renewing ??= this.rest
      .refresh(this.current.refresh_token)
      .then(pair => {
        this.current = keptOf(pair, this.clock);
        this.keep(this.current);
        return this.current;
      })
      .finally(() => {
        this.renewing = null;
      });
    return this.renewing;
  }
}

const keptOf = ({ player, access_token, refresh_token, expires_in }: TokenPair, clock: Clock): Kept => ({
  player,
  access_token,
  refresh_token,
  until: clock.now() + expires_in * 1_000,
});
