// Commands that have not been answered. Each command has an idempotency key (`op`) from its
// creation until its answer, so it takes effect once, no matter how often it is sent, on which
// connection, and from which run of the page.
import type { Command, Me, OpKey, PlayerCommand, RaidId } from './protocol.js';

/** A command to a raid that waits for its answer. */
export interface Waiting {
  readonly op: OpKey;
  readonly raid: RaidId;
  readonly cmd: Command;
  /** When the command was created, in the server's time as far as that was known. */
  readonly at: number;
}

/** A command to the player's stream that waits for its answer. */
export interface WaitingPlayerCommand extends Omit<Waiting, 'raid' | 'cmd'> {
  readonly player: Me;
  readonly cmd: PlayerCommand;
}

/** A command that waits for its answer: it has a `raid` or a `player`. */
export type AnyWaiting = Waiting | WaitingPlayerCommand;

/** A store of waiting commands between two runs of the page, for instance in `localStorage`. Each
 * player needs a storage of their own. It should keep commands to the player's stream apart from
 * those to raids if an earlier release, which does not know the former, may read it too. */
export interface Storage {
  /** Returns the stored commands in the order in which they were put in, except those of other tabs
   * that are still open, if the storage knows them. */
  load(): readonly AnyWaiting[] | Promise<readonly AnyWaiting[]>;
  put(waiting: AnyWaiting): void;
  drop(op: OpKey): void;
  /** Calls `listener` with the commands that another tab left unanswered when it was closed or
   * stopped; they belong to this storage from then on. Returns a function that ends this and leaves
   * the commands of this storage to other tabs. */
  onInherited?(listener: (commands: readonly AnyWaiting[]) => void): () => void;
}

/** The part of `localStorage` that the client uses. */
export interface WebStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The part of `navigator.locks` that the client uses. */
export interface WebLocks {
  request(name: string, options: { ifAvailable?: boolean; signal?: any }, run: (lock: unknown) => Promise<void>): Promise<unknown>;
}

/** Returns a storage in `localStorage`, or an object with its methods. Each command is one entry,
 * and all keys begin with `key`: those of commands to raids with `key/`, those of commands to the
 * player's stream with `key.me/`. The tabs of one player may share it: each command is sent by the
 * tab that it was given in, and by one of the others once that is closed. Without Web Locks (pages
 * over plain HTTP) a tab also sends the commands that it finds when it is opened; each still takes
 * effect once. */
export function keptIn(storage: WebStorage, key: string, locks: WebLocks | undefined = webLocks()): Storage {
  return locks ? new SharedOutbox(storage, key, locks) : new Outbox(storage, key);
}

function webLocks(): WebLocks | undefined {
  return (globalThis as { navigator?: { locks?: WebLocks } }).navigator?.locks;
}

/** A stored command. `run` is the run of the page that it belongs to, and `turn` its place there. */
interface Entry {
  readonly run: string;
  readonly turn: number;
  readonly waiting: AnyWaiting;
}

/** Commands to raids and to the player's stream. **The latter have a key of their own**, so that a
 * tab with an older release, which does not know them, does not send them. */
class Outbox implements Storage {
  protected readonly run = newOp();
  private puts = 0;

  constructor(
    private readonly storage: WebStorage,
    protected readonly key: string,
  ) {}

  load(): readonly AnyWaiting[] | Promise<readonly AnyWaiting[]> {
    return this.entries().map(({ waiting }) => waiting);
  }

  put(waiting: AnyWaiting): void {
    try {
      const name = 'player' in waiting ? this.playerName(waiting.op) : this.raidName(waiting.op);
      this.storage.setItem(name, JSON.stringify({ run: this.run, turn: this.puts++, waiting }));
    } catch {
      // The storage is full or forbidden, so the command is lost with the page.
    }
  }

  drop(op: OpKey): void {
    try {
      this.storage.removeItem(this.raidName(op));
      this.storage.removeItem(this.playerName(op));
    } catch {
      // A later run sends the command again; it still takes effect once.
    }
  }

  /** Returns all stored commands in their order. */
  protected entries(): Entry[] {
    const names = Array.from({ length: this.storage.length }, (_, index) => this.storage.key(index));
    return names
      .filter(name => this.isName(name))
      .map(name => entryOf(this.storage.getItem(name!)))
      .filter(entry => entry !== null)
      .sort((one, other) => one.waiting.at - other.waiting.at || one.turn - other.turn);
  }

  /** Returns whether an item of the storage is a command. */
  protected isName(name: string | null): boolean {
    return name !== null && (name.startsWith(this.raidName('')) || name.startsWith(this.playerName('')));
  }

  private raidName(op: OpKey): string {
    return `${this.key}/${op}`;
  }

  private playerName(op: OpKey): string {
    return `${this.key}.me/${op}`;
  }
}

/** Returns a stored command, or null if another program has written something else. */
function entryOf(text: string | null): Entry | null {
  try {
    const { run = '', turn, waiting } = JSON.parse(text ?? '') as Partial<Entry>;
    const { op, raid, player, cmd, at } = Object(waiting) as { readonly [field in keyof Waiting | keyof WaitingPlayerCommand]?: unknown };
    const isCommand = typeof op === 'string' && (typeof raid === 'number' || player === 'me') && typeof Object(cmd).type === 'string' && typeof at === 'number';
    return isCommand && typeof run === 'string' && typeof turn === 'number' ? { run, turn, waiting: waiting! } : null;
  } catch {
    return null;
  }
}

/** An outbox that shares its storage with those of other tabs. **Each run of the page holds a lock
 * of its name for as long as it lives**, so the run that gets the lock of another one knows that
 * this has ended, and is the only one to take over its commands. */
class SharedOutbox extends Outbox {
  private readonly followed = new Set<string>();
  private listener: ((commands: readonly AnyWaiting[]) => void) | null = null;
  private ended = new AbortController();

  constructor(storage: WebStorage, key: string, private readonly locks: WebLocks) {
    super(storage, key);
  }

  override async load(): Promise<readonly AnyWaiting[]> {
    const runs = new Set(this.entries().map(({ run }) => run));
    runs.delete(this.run);
    try {
      for (const run of runs) await this.lock(run, { ifAvailable: true }, () => void this.inherit(run));
    } catch {
      return super.load(); // this page may not use locks
    }
    return this.of(this.run);
  }

  onInherited(listener: (commands: readonly AnyWaiting[]) => void): () => void {
    const ended = (this.ended = new AbortController());
    const { signal } = ended;
    this.listener = listener;
    void this.lock(this.run, { signal }, () => new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))).catch(() => {});
    for (const { run } of this.entries()) this.follow(run);
    const stored = ({ key, newValue }: { key: string | null; newValue: string | null }): void => {
      const entry = this.isName(key) ? entryOf(newValue) : null;
      if (entry) this.follow(entry.run);
    };
    const page = globalThis as { addEventListener?(type: string, listener: unknown): void; removeEventListener?(type: string, listener: unknown): void };
    page.addEventListener?.('storage', stored); // what other tabs store
    return () => {
      page.removeEventListener?.('storage', stored);
      this.listener = null;
      this.followed.clear();
      ended.abort();
    };
  }

  /** Waits for the end of another run, and takes over its commands. */
  private follow(run: string): void {
    if (run === this.run || this.followed.has(run)) return;
    this.followed.add(run);
    const { signal } = this.ended;
    void this.lock(run, { signal }, () => {
      this.followed.delete(run);
      const commands = this.inherit(run);
      if (commands.length > 0) this.listener?.(commands);
    }).catch(() => {});
  }

  private inherit(run: string): readonly AnyWaiting[] {
    const commands = this.of(run);
    commands.forEach(waiting => this.put(waiting));
    return commands;
  }

  private of(run: string): AnyWaiting[] {
    return this.entries().filter(entry => entry.run === run).map(({ waiting }) => waiting);
  }

  private lock(run: string, options: { ifAvailable?: boolean; signal?: AbortSignal }, held: () => void | Promise<void>): Promise<unknown> {
    return this.locks.request(`${this.key}/${run}`, options, async lock => {
      if (lock) await held();
    });
  }
}

/** Returns a new random idempotency key. */
export function newOp(): OpKey {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
