// What the browser says of the screen and of the player's wishes. It is told when that changes: asking each time makes the browser
// lay out the page.
import { useValue, value } from './value';
import type { Value } from './value';

function watched(query: string): Value<boolean> {
  const list = matchMedia(query);
  const matches = value(list.matches);
  list.addEventListener('change', () => matches.set(list.matches));
  return matches;
}

/** The player wants nothing to move. */
export const still = watched('(prefers-reduced-motion: reduce)');

/** There is room for one part of a raid at a time; as in `raid.css`. */
const narrow = watched('(max-width: 56rem)');

export const useNarrow = (): boolean => useValue(narrow);
