// What the page of a leaderboard shows. Pure.
import type { BoardEntry, BoardPage, PlayerId } from '@raidhall/client';

/** Which players are shown: the best, the player's companions, or those with scores near the player's. */
export type Part = 'all' | 'companions' | 'around';

/** The rows on the page. */
export interface ShownRows {
  /** The first part, as last read. */
  readonly first: BoardPage;
  /** Rows that the player asked for, after the first part. */
  readonly more: readonly BoardEntry[];
  readonly cursor: string | null;
}

/** Returns what is shown once the first part has been read again: later rows stay as they were read. */
export function refreshed(shown: ShownRows | null, first: BoardPage): ShownRows {
  if (!shown || shown.more.length === 0 || shown.first.number !== first.number) return { first, more: [], cursor: first.next_cursor };
  return { ...shown, first };
}

/** Returns what is shown with a further part. */
export const extended = (shown: ShownRows, { data, next_cursor }: BoardPage): ShownRows => ({ ...shown, more: [...shown.more, ...data], cursor: next_cursor });

/** Returns the rows in order, each player once and as last read. */
export function rowsOf({ first, more }: ShownRows): readonly BoardEntry[] {
  const seen = new Set<PlayerId>(first.data.map(({ player }) => player.id));
  const lastRank = first.data.at(-1)?.rank ?? 0;
  const later = more.filter(({ rank, player }) => rank > lastRank && !seen.has(player.id) && seen.add(player.id));
  return [...first.data, ...later];
}

export type Phase = 'open' | 'counting' | 'final';

/** Returns whether scores still move, and if not, whether the results are final. */
export function phaseOf({ closes_at, final }: BoardPage, now: number): Phase {
  if (final) return 'final';
  return closes_at === null || now < closes_at ? 'open' : 'counting';
}

/** For how long after the end the page waits for the results. */
const COUNTING_MS = 10 * 60_000;

/** Returns whether a window can change, so that it is worth reading again. */
export const canChange = (page: BoardPage, now: number): boolean => phaseOf(page, now) !== 'final' && (page.closes_at === null || now < page.closes_at + COUNTING_MS);

/** The time that is left, in whole minutes, rounded up. */
export function timeLeft(milliseconds: number): { readonly days: number; readonly hours: number; readonly minutes: number } {
  const minutes = Math.max(0, Math.ceil(milliseconds / 60_000));
  return { days: Math.floor(minutes / 1_440), hours: Math.floor(minutes / 60) % 24, minutes: minutes % 60 };
}
