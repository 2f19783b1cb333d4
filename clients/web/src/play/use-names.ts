// What players are called: the members now, those who have been since this page looks, and, when somebody else has a word or a
// task, whoever has ever joined.
import type { PlayerId, Raid, RaidEvent, RaidState, Rest } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import { namesIn } from './history';
import type { Names } from './history';

/** As many as the server gives at once. */
const PAGE = 100;
const PAGES_MAX = 20;

const NOBODY: Names = new Map();

export function useNames(raid: Raid, rest: Rest, state: RaidState | null): Names {
  const [former, setFormer] = useState(NOBODY);
  const names = useRef<Names>(NOBODY);
  if (state?.members.some(({ player, name }) => names.current.get(player) !== name)) names.current = new Map([...names.current, ...namesIn([], state)]);
  const known = (player: PlayerId | null): boolean => player === null || names.current.has(player) || former.has(player);
  const complete = !state || (state.messages.every(({ by }) => known(by)) && state.tasks.every(({ assignee }) => known(assignee)));
  useEffect(() => {
    if (complete) return;
    let ended = false;
    everything(raid, rest, () => ended).then(events => ended || setFormer(namesIn(events, null)), () => {});
    return () => {
      ended = true;
    };
  }, [raid, rest, complete]);
  const latest = names.current;
  const all = useRef({ former, latest, names: latest });
  if (all.current.former !== former || all.current.latest !== latest) all.current = { former, latest, names: new Map([...former, ...latest]) };
  return all.current.names;
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
