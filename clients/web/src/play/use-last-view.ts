// The raid's last view, which the page shows when it is opened without a network.
import type { PlayerId, RaidId, RaidState, WatchedRaid } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import { keepWhileSignedIn } from '../account';
import { forget, load } from '../kept-raids';
import type { KeptValue } from '../kept-raids';

/** Shortest time between two writes to the storage while events arrive. */
const EVERY_MS = 2_000;

/**
 * Keeps the view while it is live, or that the player was removed. Returns the view that an earlier
 * page kept.
 */
export function useLastView(me: PlayerId, id: RaidId, { state, live, gone }: WatchedRaid): KeptValue<RaidState> | null {
  const [last] = useState(() => load('view', me, id));
  const latest = useRef(state);
  latest.current = state;
  useEffect(() => {
    if (!live) return;
    let written: RaidState | null = null;
    const write = (): void => {
      if (latest.current) keepWhileSignedIn('view', me, id, latest.current);
      written = latest.current;
    };
    const timer = setInterval(() => latest.current !== written && write(), EVERY_MS);
    addEventListener('pagehide', write);
    return () => {
      clearInterval(timer);
      removeEventListener('pagehide', write);
      write();
    };
  }, [me, id, live]);
  useEffect(() => {
    if (gone) forget('view', me, id);
    if (gone === 'kicked') keepWhileSignedIn('removed', me, id, true);
  }, [me, id, gone]);
  return last;
}
