// Commands that have not been answered. Each has a key of its own (`op`) from the moment that it is given, and keeps it until
// it is answered: so it takes effect once, however often it is sent, over whatever connection, from whatever run of the page.
import type { Command, OpKey, RaidId } from './protocol.js';

/** A command that waits. */
export interface Waiting {
  readonly op: OpKey;
  readonly raid: RaidId;
  readonly cmd: Command;
}

/** Where waiting commands are kept while nobody runs: for instance in `localStorage`. Each player needs one of their own. */
export interface Storage {
  load(): readonly Waiting[] | Promise<readonly Waiting[]>;
  /** Called with all that wait, whenever that changes. */
  save(waiting: readonly Waiting[]): void;
}

/** A storage under one key of `localStorage`, or of what has its methods. */
export function keptIn(storage: Pick<globalThis.Storage, 'getItem' | 'setItem'>, key: string): Storage {
  return {
    load() {
      try {
        const kept: unknown = JSON.parse(storage.getItem(key) ?? '[]');
        return Array.isArray(kept) ? (kept as Waiting[]) : [];
      } catch {
        return []; // whatever stands there, nobody can send it
      }
    },
    save(waiting) {
      storage.setItem(key, JSON.stringify(waiting));
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
