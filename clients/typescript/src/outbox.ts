// Commands that have not been answered. Each command has an idempotency key (`op`) from its
// creation until its answer, so it takes effect once, no matter how often it is sent, on which
// connection, and from which run of the page.
import type { Command, OpKey, RaidId } from './protocol.js';

/** A command that waits for its answer. */
export interface Waiting {
  readonly op: OpKey;
  readonly raid: RaidId;
  readonly cmd: Command;
  /** When the command was created, in the server's time as far as that was known. */
  readonly at: number;
}

/** A store of waiting commands between two runs of the page, for instance in `localStorage`. Each
 * player needs a storage of their own. The tabs of one player may share it: a command that two of
 * them send takes effect once. */
export interface Storage {
  /** Returns the stored commands in the order in which they were put in. */
  load(): readonly Waiting[] | Promise<readonly Waiting[]>;
  put(waiting: Waiting): void;
  drop(op: OpKey): void;
}

/** The part of `localStorage` that the client uses. */
export interface WebStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** Returns a storage in `localStorage`, or an object with its methods. Each command is one entry,
 * and all keys begin with `key`. */
export function keptIn(storage: WebStorage, key: string): Storage {
  let puts = 0;
  return {
    load() {
      const kept: { turn: number; waiting: Waiting }[] = [];
      for (let index = 0; index < storage.length; index++) {
        const name = storage.key(index);
        if (!name?.startsWith(`${key}/`)) continue;
        try {
          const entry = JSON.parse(storage.getItem(name) ?? '');
          if (entry.waiting.op && entry.waiting.cmd) kept.push(entry);
        } catch {
          // An unreadable entry cannot be sent.
        }
      }
      return kept.sort((one, other) => one.waiting.at - other.waiting.at || one.turn - other.turn).map(({ waiting }) => waiting);
    },
    put(waiting) {
      try {
        storage.setItem(`${key}/${waiting.op}`, JSON.stringify({ turn: puts++, waiting }));
      } catch {
        // The storage is full or forbidden, so the command is lost with the page.
      }
    },
    drop(op) {
      try {
        storage.removeItem(`${key}/${op}`);
      } catch {
        // A later run sends the command again; it still takes effect once.
      }
    },
  };
}

/** Returns a new random idempotency key. */
export function newOp(): OpKey {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
