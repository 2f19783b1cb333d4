// Names of players: of the members that this page has seen and, if a message or task belongs to
// another player, of everyone who has ever joined, from the raid's events.
import type { PlayerId, Raid, RaidEvent, RaidState, Rest } from '@raidhall/client';
import { useEffect, useReducer, useState } from 'react';
import { namesIn } from './history';
import type { Names } from './history';

/** The largest page that the server returns. */
const PAGE = 100;
const PAGES_MAX = 20;

export function useNames(raid: Raid, rest: Rest, state: RaidState | null): Names {
  const [names] = useState(() => new Map<PlayerId, string>());
  const [, draw] = useReducer((times: number) => times + 1, 0);
  namesIn([], state).forEach((name, player) => names.set(player, name));
  const known = (player: PlayerId | null): boolean => player === null || names.has(player);
  const complete = !state || (state.messages.every(({ by }) => known(by)) && state.tasks.every(({ assignee }) => known(assignee)));
  useEffect(() => {
    if (complete) return;
    let ended = false;
    const learn = (events: RaidEvent[]): void => {
      if (ended) return;
      namesIn(events, null).forEach((name, player) => known(player) || names.set(player, name));
      draw();
    };
    everything(raid, rest, () => ended).then(learn, () => {});
    return () => {
      ended = true;
    };
  }, [raid, rest, complete]);
  return names;
}

async function everything(raid: Raid, rest: Rest, ended: () => boolean): Promise<RaidEvent[]> {
  const events: RaidEvent[] = [];
  for (let page = 0; page < PAGES_MAX && !ended(); page++) {
    const found = await rest.events(raid.id, { after: events.at(-1)?.seq ?? 0, limit: PAGE });
    events.push(...found);
    if (found.length < PAGE) break;
  }
  return events;
}
