// The raid's latest 60 events: past ones by REST, new ones from the connection.
import type { Raid, RaidEvent, Rest } from '@raidhall/client';
import { useEffect, useState } from 'react';

const KEPT = 60;

/** Merges two lists in order of seq, each event once, and keeps the latest. */
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
      if (event.seq > seen + 1) ask(); // a snapshot replaced the events in between
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
