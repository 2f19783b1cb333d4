// What the pages about the player showed last, for when one is opened without a network.
import type { PlayerId } from '@raidhall/client';
import { kept } from './kept';
import { pageKey } from './kept-raids';
import type { KeptValue } from './kept-raids';
import { fits } from './shape';

/** Returns what a page showed last; null if it is not valid, as that of another release may be. */
export function loadPage<T>(player: PlayerId, page: string, isValid: (value: unknown) => value is T): KeptValue<T> | null {
  try {
    const found: unknown = JSON.parse(kept.getItem(pageKey(player, page)) ?? 'null');
    return fits(found, { at: 'number' }) && isValid((found as KeptValue<unknown>).value) ? (found as KeptValue<T>) : null;
  } catch {
    return null;
  }
}

export function keepPage(player: PlayerId, page: string, value: unknown): void {
  const key = pageKey(player, page);
  try {
    kept.setItem(key, JSON.stringify({ at: Date.now(), value }));
  } catch {
    kept.removeItem(key); // the storage is full: an old value would be wrong
  }
}
