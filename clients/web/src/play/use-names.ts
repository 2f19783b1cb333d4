// What players are called: the members now, those who have been since this page looks, and, when somebody else has a word, those
// who were there at the beginning.
import type { PlayerId, Raid, RaidState, Rest } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import { namesIn } from './history';
import type { Names } from './history';

const EARLIEST = 500;

export function useNames(raid: Raid, rest: Rest, state: RaidState): Names {
  const [early, setEarly] = useState<Names>(new Map());
  const names = useRef<Names>(early);
  const changed = state.members.some(({ player, name }) => names.current.get(player) !== name) || early.size > 0;
  if (changed) names.current = new Map([...early, ...names.current, ...namesIn([], state)]);
  const unknown = state.messages.some(({ by }: { by: PlayerId }) => !names.current.has(by));
  useEffect(() => {
    if (!unknown) return;
    let ended = false;
    rest.events(raid.id, { limit: EARLIEST }).then(events => ended || setEarly(namesIn(events, null)), () => {});
    return () => {
      ended = true;
    };
  }, [raid, rest, unknown]);
  return names.current;
}
