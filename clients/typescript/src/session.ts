// Session of a signed-in player: a pair of tokens that is renewed in time, by one request at a
// time.
import type { Clock } from './clock.js';
import { systemClock } from './clock.js';
import { RaidhallError } from './errors.js';
import type { WebStorage } from './outbox.js';
import type { PlayerRef, TokenPair } from './protocol.js';
import type { Rest } from './rest.js';

/** The part of a session that is kept between two runs of the page. It is a secret of the player.
 */
export interface Kept {
  readonly player: PlayerRef;
  readonly access_token: string;
  readonly refresh_token: string;
  /** When the access token expires, by this machine's clock. */
  readonly until: number;
}

/** A store of a session. The tabs of a browser may share it: the first tab that renews the tokens
 * does so for all. */
export interface Keeping {
  /** Returns the stored session, or null once the player has signed out. */
  load(): Kept | null;
  save(kept: Kept | null): void;
}

/** The shortest remaining lifetime with which an access token is still handed out. */
const MARGIN_MS = 30_000;

export class Session {
  private renewing: Promise<Kept> | null = null;

  private constructor(
    private current: Kept,
    private readonly rest: Rest,
    private readonly keeping: Keeping,
    private readonly clock: Clock,
  ) {}

  /** Starts a session with a new pair of tokens. Without `keeping`, it ends with the page. */
  static begin(rest: Rest, pair: TokenPair, keeping: Keeping = inMemory(), clock: Clock = systemClock): Session {
    const kept = keptOf(pair, clock);
    keeping.save(null); // nothing of a former sign-in may be used, even if the storage is full
    keeping.save(kept);
    return new Session(kept, rest, keeping, clock);
  }

  /** Returns the stored session, or null if there is none. */
  static resume(rest: Rest, keeping: Keeping, clock: Clock = systemClock): Session | null {
    const kept = keeping.load();
    return kept && new Session(kept, rest, keeping, clock);
  }

  get player(): PlayerRef {
    return this.current.player;
  }

  /** Returns a valid access token, renewed if necessary. Pass it to `connect` and [`Rest`]. */
  readonly getToken = async (why: 'connect' | 'renew' | 'refused'): Promise<string> => {
    const renewed = this.adopt();
    const good = (why === 'connect' || renewed) && this.current.until - this.clock.now() > MARGIN_MS;
    return (good ? this.current : await this.renew()).access_token;
  };

  /** Adopts tokens that another tab has renewed, and returns whether there were any. */
  private adopt(): boolean {
    const kept = this.keeping.load();
    if (kept?.player.id !== this.current.player.id) {
      throw new RaidhallError('unauthenticated', 'The player has signed out');
    }
    const renewed = kept.refresh_token !== this.current.refresh_token;
    this.current = kept;
    return renewed;
  }

  private renew(): Promise<Kept> {
    const presented = this.current.refresh_token;
    this.renewing ??= this.rest
      .refresh(presented)
      .then(pair => {
        // Meanwhile the player may have signed out, or another player may have signed in.
        if (this.keeping.load()?.refresh_token === presented) this.keeping.save(keptOf(pair, this.clock));
        this.adopt();
        return this.current;
      })
      .finally(() => {
        this.renewing = null;
      });
    return this.renewing;
  }
}

/** Returns a store of a session under one key of `localStorage`, or of an object with its methods.
 */
export function sessionIn(storage: Pick<WebStorage, 'getItem' | 'setItem' | 'removeItem'>, key: string): Keeping {
  const memory = inMemory(); // used while the storage is full or forbidden
  const stored = (): Kept | null => {
    try {
      const value: unknown = JSON.parse(storage.getItem(key) ?? 'null');
      return isKept(value) ? value : null;
    } catch {
      return null;
    }
  };
  // A token that cannot be stored must not be presented: the server would then take the stored one,
  // which the page has after a reload, for a stolen one. The stored one stays valid until then.
  let usesStoredToken = false;
  const withStoredToken = (kept: Kept): Kept => {
    const before = stored();
    usesStoredToken = before?.player.id === kept.player.id;
    return before && usesStoredToken ? { ...kept, refresh_token: before.refresh_token } : kept;
  };
  return {
    load() {
      const kept = memory.load();
      // Another tab has renewed or ended the session, since there is room again.
      if (usesStoredToken && kept?.refresh_token !== stored()?.refresh_token) memory.save(null);
      return memory.load() ?? stored();
    },
    save(kept) {
      memory.save(null);
      try {
        if (kept) storage.setItem(key, JSON.stringify(kept));
        else storage.removeItem(key);
      } catch {
        memory.save(kept && withStoredToken(kept));
      }
    },
  };
}

/** Returns whether a value from a storage is a session; another program may have written it. */
function isKept(value: unknown): value is Kept {
  const { player, access_token, refresh_token, until } = Object(value) as Partial<Kept>;
  return (
    typeof player?.id === 'number' && typeof player.name === 'string' && typeof access_token === 'string' &&
    typeof refresh_token === 'string' && typeof until === 'number'
  );
}

function inMemory(): Keeping {
  let current: Kept | null = null;
  return { load: () => current, save: kept => (current = kept) };
}

const keptOf = ({ player, access_token, refresh_token, expires_in }: TokenPair, clock: Clock): Kept => ({
  player,
  access_token,
  refresh_token,
  until: clock.now() + expires_in * 1_000,
});
