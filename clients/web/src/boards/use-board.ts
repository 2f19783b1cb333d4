// Reads a window of a leaderboard, and reads it again while it can change and the page is visible.
import { RaidhallError } from '@raidhall/client';
import type { BoardPage, Client, Rest } from '@raidhall/client';
import { useCallback, useEffect, useState } from 'react';
import { canChange, extended, refreshed, rowsOf } from '../boards';
import type { Part, ShownRows } from '../boards';
import { visible } from '../media';
import { complain } from '../notices';

type Read = (cursor?: string) => Promise<BoardPage>;

/** Time between two reads. */
const EVERY_MS = 5_000;
/** Rows in the first part, and in each further one. */
const ROWS = 20;

export interface BoardOnScreen {
  readonly shown: ShownRows | null;
  /** Whether the rows are those that were asked for last, and not the ones before. */
  readonly isCurrent: boolean;
  /** Why the last read failed; null once one succeeds. */
  readonly error: unknown;
  readonly retry: () => void;
  /** Reads further rows, and returns how many; null if that failed. */
  readonly more: () => Promise<number | null>;
}

export function useBoard(rest: Rest, client: Pick<Client, 'now'>, board: string, number: number | null, part: Part): BoardOnScreen {
  const [found, setFound] = useState<{ readonly read: Read; readonly rows: ShownRows } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [tries, setTries] = useState(0);
  const read = useCallback<Read>(cursor => {
    const around = part === 'around' ? 'me' : undefined;
    return rest.board(board, { number: number ?? 'current', around, companions: part === 'companions' || undefined, limit: ROWS, cursor });
  }, [rest, board, number, part]);
  useEffect(() => {
    setError(null);
    const onPage = (page: BoardPage): void => {
      setError(null);
      setFound(old => ({ read, rows: refreshed(old?.read === read ? old.rows : null, page) }));
    };
    return refreshing(read, () => client.now(), onPage, setError);
  }, [read, client, tries]);
  const shown = found?.rows ?? null;
  const more = async (): Promise<number | null> => {
    if (!shown?.cursor) return null;
    try {
      const page = await read(shown.cursor);
      // The first part may have been read again meanwhile: the cursor of the window is still good.
      setFound(old => (old?.read === read && old.rows.first.number === page.number ? { read, rows: extended(old.rows, page) } : old));
      return rowsOf(extended(shown, page)).length - rowsOf(shown).length;
    } catch (error) {
      complain(error);
      return null;
    }
  };
  return { shown, isCurrent: found?.read === read, error, retry: () => setTries(count => count + 1), more };
}

/**
 * Reads a window now, and every few seconds while it can change. A hidden page reads nothing. After a
 * refusal it waits for as long as the server asks. Returns a function that ends it.
 */
function refreshing(read: Read, now: () => number, onPage: (page: BoardPage) => void, onError: (error: unknown) => void): () => void {
  let ended = false;
  let busy = false;
  let timer = 0;
  const next = async (): Promise<void> => {
    if (ended || busy || !visible.get()) return;
    busy = true;
    let wait: number | null = EVERY_MS;
    try {
      const page = await read();
      if (ended) return;
      onPage(page);
      if (!canChange(page, now())) wait = null;
    } catch (error) {
      if (ended) return;
      onError(error);
      if (error instanceof RaidhallError) wait = error.retry ? Math.max(EVERY_MS, error.retryAfterMs ?? 0) : null;
    }
    busy = false;
    if (wait !== null) timer = window.setTimeout(() => void next(), wait);
  };
  const unsubscribe = visible.subscribe(() => {
    clearTimeout(timer);
    void next();
  });
  void next();
  return () => {
    ended = true;
    unsubscribe();
    clearTimeout(timer);
  };
}
