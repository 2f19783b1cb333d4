// The raid on screen: own commands show at once, events of others at a rate that a slow phone can
// draw.
import type { PlayerId, RaidId, WatchedRaid } from '@raidhall/client';
import type { Client, Raid } from '@raidhall/client';
import { startTransition, useEffect, useMemo, useState } from 'react';
import { predict } from './predict';
import type { Shown } from './predict';

export interface RaidOnScreen {
  readonly raid: Raid;
  readonly view: WatchedRaid;
  /** Null until the first snapshot has arrived. */
  readonly shown: Shown | null;
}

export function useRaidOnScreen(client: Client, id: RaidId, me: PlayerId): RaidOnScreen {
  const raid = client.raid(id);
  const view = useView(raid);
  const { state, pending } = view;
  const shown = useMemo(() => state && predict(state, pending, me, client.now()), [state, pending, me, client]);
  return { raid, view, shown };
}

/** Shortest time between two renders in a burst: a slow phone needs the rest for animations. */
const BURST_MS = 150;

function useView(raid: Raid): WatchedRaid {
  const [view, setView] = useState(raid.getView);
  useEffect(() => {
    let drawn = raid.getView();
    let last = -Infinity;
    let cancel: (() => void) | null = null;
    const show = (): void => {
      cancel?.();
      cancel = null;
      drawn = raid.getView();
      setView(drawn);
    };
    const later = (): void => {
      last = performance.now();
      // React may interrupt this render to keep the page responsive.
      startTransition(show);
    };
    const atNextFrame = (): void => {
      const frame = requestAnimationFrame(later);
      cancel = () => cancelAnimationFrame(frame);
    };
    const end = raid.subscribe(() => {
      // The player's own commands show at once.
      if (raid.getView().pending !== drawn.pending) return show();
      if (cancel) return;
      const wait = last + BURST_MS - performance.now();
      if (wait <= 0) return atNextFrame();
      const timer = setTimeout(atNextFrame, wait);
      cancel = () => clearTimeout(timer);
    });
    show();
    return () => {
      end();
      cancel?.();
    };
  }, [raid]);
  return view;
}

/** Returns the server's time and renders again every `every` milliseconds. */
export function useNow(client: Pick<Client, 'now'>, every = 1_000): number {
  const [now, tick] = useState(() => client.now());
  useEffect(() => {
    tick(client.now());
    const timer = setInterval(() => tick(client.now()), every);
    return () => clearInterval(timer);
  }, [client, every]);
  return now;
}
