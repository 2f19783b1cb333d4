// Titles of the tasks that this page has seen, so that events can name tasks that are removed.
import type { RaidEvent, RaidState } from '@raidhall/client';
import { useRef } from 'react';
import { titlesIn } from './history';
import type { Titles } from './history';

export function useTitles(events: readonly RaidEvent[], state: RaidState): Titles {
  const titles = useRef<Titles>(new Map());
  titles.current = titlesIn(events, state, titles.current);
  return titles.current;
}
