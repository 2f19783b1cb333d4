// The raid on screen, drawn no faster than a slow phone can, with what this player has given shown at once.
import type { PlayerId, RaidId, RaidView } from '@raidhall/client';
import type { Client, Raid } from '@raidhall/client';
import { startTransition, useEffect, useMemo, useState } from 'react';
import { predict } from './predict';
import type { Shown } from './predict';

export interface RaidOnScreen {
  readonly raid: Raid;
  readonly view: RaidView;
  /** Null until the raid is there. */
  readonly shown: Shown | null;
}

export function useRaidOnScreen(client: Client, id: RaidId, me: PlayerId): RaidOnScreen {
  const raid = client.raid(id);
  const view = useView(raid);
  const { state, pending } = view;
  const shown = useMemo(() => state && predict(state, pending, me, client.now()), [state, pending, me, client]);
  return { raid, view, shown };
}

/** In a burst a view is drawn so often and no more: a slow phone needs the time between for what moves. */
const BURST_MS = 150;

function useView(raid: Raid): RaidView {
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
      // What others do may be drawn a piece at a time, between frames.
      startTransition(show);
    };
    const atNextFrame = (): void => {
      const frame = requestAnimationFrame(later);
      cancel = () => cancelAnimationFrame(frame);
    };
    const end = raid.subscribe(() => {
      // What the player does shows at once.
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

/** The server's time, drawn anew every `every` milliseconds. */
export function useNow(client: Client, every = 1_000): number {
  const [now, tick] = useState(() => client.now());
  useEffect(() => {
    tick(client.now());
    const timer = setInterval(() => tick(client.now()), every);
    return () => clearInterval(timer);
  }, [client, every]);
  return now;
}
