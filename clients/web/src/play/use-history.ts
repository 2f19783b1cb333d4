// The raid's latest events: what happened before this player looked comes over HTTP, the rest as it happens.
import type { Raid, RaidEvent, Rest } from '@raidhall/client';
import { useEffect, useState } from 'react';

const KEPT = 60;

/** The two in order, each event once. */
function merged(one: readonly RaidEvent[], other: readonly RaidEvent[]): readonly RaidEvent[] {
  const all = new Map([...one, ...other].map(event => [event.seq, event]));
  return [...all.values()].sort((a, b) => a.seq - b.seq).slice(-KEPT);
}

export function useHistory(raid: Raid, rest: Rest): readonly RaidEvent[] {
  const [events, setEvents] = useState<readonly RaidEvent[]>([]);
  useEffect(() => {
    let ended = false;
    let frame = 0;
    let fresh: RaidEvent[] = [];
    let seen = raid.getView().seq;
    const ask = (): void => {
      const after = Math.max(0, raid.getView().seq - KEPT);
      rest.events(raid.id, { after, limit: KEPT }).then(found => ended || setEvents(old => merged(old, found)), () => {});
    };
    ask();
    const end = raid.onEvent(event => {
      if (event.seq > seen + 1) ask(); // a snapshot stood for some
      seen = event.seq;
      fresh.push(event);
      frame ||= requestAnimationFrame(() => {
        const come = fresh;
        frame = 0;
        fresh = [];
        setEvents(old => merged(old, come));
      });
    });
    return () => {
      ended = true;
      end();
      cancelAnimationFrame(frame);
    };
  }, [raid, rest]);
  return events;
}
