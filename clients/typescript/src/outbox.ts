// Commands that have not been answered. Each has a key of its own (`op`) from the moment that it is given, and keeps it until
// it is answered: so it takes effect once, however often it is sent, over whatever connection, from whatever run of the page.
import type { Command, OpKey, RaidId } from './protocol.js';

/** A command that waits. */
export interface Waiting {
  readonly op: OpKey;
  readonly raid: RaidId;
  readonly cmd: Command;
  /** When it was given, in the server's time as far as that was known. */
  readonly at: number;
}

/** Where waiting commands are kept while nobody runs: for instance in `localStorage`. Each player needs one of their own. The tabs
 * of one player may share it: what two of them send counts once. */
export interface Storage {
  /** What is kept, in the order that it was put in. */
  load(): readonly Waiting[] | Promise<readonly Waiting[]>;
  put(waiting: Waiting): void;
  drop(op: OpKey): void;
}

/** A storage in `localStorage`, or in what has its methods: an entry for each command, under keys that begin with `key`. */
export function keptIn(storage: Pick<globalThis.Storage, 'length' | 'key' | 'getItem' | 'setItem' | 'removeItem'>, key: string): Storage {
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
          // Whatever stands there, nobody can send it.
        }
      }
      return kept.sort((one, other) => one.waiting.at - other.waiting.at || one.turn - other.turn).map(({ waiting }) => waiting);
    },
    put(waiting) {
      try {
        storage.setItem(`${key}/${waiting.op}`, JSON.stringify({ turn: puts++, waiting }));
      } catch {
        // The storage is full or forbidden: then the command lives as long as the page.
      }
    },
    drop(op) {
      try {
        storage.removeItem(`${key}/${op}`);
      } catch {
        // Then a later run sends it again, which counts once.
      }
    },
  };
}

/** A key that nobody else makes. */
export function newOp(): OpKey {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
