import type { PlayerEvent, Rest, Seq } from '@raidhall/client';

/** Most events in an answer of the server. */
const PAGE = 100;

/** Reads the events of the player's stream after a seq and through another one. */
export async function missedEvents(rest: Rest, after: Seq, through: Seq): Promise<readonly PlayerEvent[]> {
  const page = await rest.myEvents({ after, limit: PAGE });
  const events = page.filter(({ seq }) => seq <= through);
  const last = events.at(-1);
  return last && page.length === PAGE && last.seq < through ? [...events, ...(await missedEvents(rest, last.seq, through))] : events;
}
