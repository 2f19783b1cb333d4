// Media queries as observable values. They follow change events, because a query at each use would
// force the browser to lay out the page.
import { useValue, value } from './value';
import type { Value } from './value';

function watched(query: string): Value<boolean> {
  const list = matchMedia(query);
  const matches = value(list.matches);
  list.addEventListener('change', () => matches.set(list.matches));
  return matches;
}

/** Whether the player has asked the system for reduced motion. */
export const still = watched('(prefers-reduced-motion: reduce)');

/** Whether the page is visible: not in a hidden tab or behind a locked screen. */
export const visible = value(document.visibilityState === 'visible');
document.addEventListener('visibilitychange', () => visible.set(document.visibilityState === 'visible'));

/**
 * Whether the screen shows one part of a raid at a time. The width is the same as in `raid.css`.
 */
export const narrow = watched('(max-width: 56rem)');

export const useNarrow = (): boolean => useValue(narrow);
