import type { PlayerId } from '@raidhall/client';
import { useEffect, useState } from 'react';
import { mayKeep } from '../account';
import { keepPage, loadPage } from '../kept-pages';
import type { KeptValue } from '../kept-raids';

/** Keeps what a page shows, unless it is null, and returns what the page kept when it was open before. */
export function useKept<T>(player: PlayerId, page: string, shown: T | null, isValid: (value: unknown) => value is T): KeptValue<T> | null {
  const [last] = useState(() => loadPage(player, page, isValid));
  useEffect(() => {
    if (shown !== null && mayKeep(player)) keepPage(player, page, shown);
  }, [player, page, shown]);
  return last;
}
