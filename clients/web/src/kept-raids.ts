// What this browser keeps of the player's raids: the last view, the chat draft, the last message that
// was seen, whether the player was removed, and the commands that wait for an answer, which the SDK
// keeps. Signing out deletes it, and what pages about the player keep.
import type { PlayerId, RaidId, RaidState, Seq } from '@raidhall/client';
import { kept } from './kept';

const PREFIX = 'raidhall.raids.';
const COMMANDS = 'raidhall.commands.';
const PLAYERS = 'raidhall.players.';
/** The most raids of which a kind is kept: the latest ones. */
const RAIDS_MAX = 20;
/** The most characters of a kind: a browser allows about 5 million for everything. */
const CHARS_MAX = 1_000_000;

interface Kinds {
  view: RaidState;
  draft: string;
  seen: Seq;
  /** The player was removed from the raid, which is for good. */
  removed: true;
}

export interface KeptValue<T> {
  /** When it was kept, by this device's clock. */
  readonly at: number;
  readonly value: T;
}

const prefixOf = (kind: keyof Kinds, player: PlayerId): string => `${PREFIX}${player}.${kind}.`;

/** Returns what the keys of a player's waiting commands begin with, before a slash, or `.me` and a
 * slash for those to the player's stream. */
export const commandsKey = (player: PlayerId): string => `${COMMANDS}${player}`;

/** Returns the key of what a page about the player keeps: see `kept-pages.ts`. */
export const pageKey = (player: PlayerId, page: string): string => `${PLAYERS}${player}.${page}`;

const keys = (prefix: string): string[] => Array.from({ length: kept.length }, (_, index) => kept.key(index) ?? '').filter(key => key.startsWith(prefix));

const isView = (value: unknown): boolean => ['members', 'tasks', 'messages'].every(name => Array.isArray((value as Record<string, unknown> | null)?.[name]));

function read<K extends keyof Kinds>(kind: K, key: string): KeptValue<Kinds[K]> | null {
  try {
    const found = JSON.parse(kept.getItem(key) ?? 'null') as KeptValue<Kinds[K]> | null;
    return found && (kind !== 'view' || isView(found.value)) ? found : null;
  } catch {
    return null;
  }
}

export const load = <K extends keyof Kinds>(kind: K, player: PlayerId, raid: RaidId): KeptValue<Kinds[K]> | null => read(kind, prefixOf(kind, player) + raid);

/** Returns the last view of each raid. */
export function lastViews(player: PlayerId): readonly KeptValue<RaidState>[] {
  const prefix = prefixOf('view', player);
  return keys(prefix).flatMap(key => read('view', key) ?? []);
}

export function keep<K extends keyof Kinds>(kind: K, player: PlayerId, raid: RaidId, value: Kinds[K]): void {
  const prefix = prefixOf(kind, player);
  const text = JSON.stringify({ at: Date.now(), value });
  const others = keys(prefix).filter(key => key !== prefix + raid).map(key => ({ key, text: kept.getItem(key) ?? '' }));
  // Each text begins with its time, so the latest come first.
  others.sort((one, other) => (one.text < other.text ? 1 : -1));
  let chars = text.length;
  others.forEach(({ key, text }, index) => {
    chars += text.length;
    if (index >= RAIDS_MAX - 1 || chars > CHARS_MAX) kept.removeItem(key);
  });
  try {
    kept.setItem(prefix + raid, text);
  } catch {
    kept.removeItem(prefix + raid); // the storage is full: an old value would be wrong
  }
}

export const forget = (kind: keyof Kinds, player: PlayerId, raid: RaidId): void => kept.removeItem(prefixOf(kind, player) + raid);

/**
 * Deletes what is kept of all players but this one, or of all players if it is null. A
 * client of another player must have been closed before: it could keep commands again.
 */
export function forgetOthers(player: PlayerId | null): void {
  const own = player === null ? [] : [`${PREFIX}${player}.`, `${commandsKey(player)}/`, `${commandsKey(player)}.me/`, pageKey(player, '')];
  const all = [PREFIX, COMMANDS, PLAYERS].flatMap(prefix => keys(prefix));
  all.filter(key => !own.some(prefix => key.startsWith(prefix))).forEach(key => kept.removeItem(key));
}
