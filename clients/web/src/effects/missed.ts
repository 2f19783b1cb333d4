// Reads the events of the player's stream that were missed. It is loaded when there are some.
import type { PlayerEvent, Rest, Seq } from '@raidhall/client';

/** Most events in an answer of the server. */
const PAGE = 100;

/** Waits before further attempts. */
const RETRY_MS = [1_000, 4_000, 15_000];

/**
 * Reads the events of the player's stream after a seq and through another one. A read that fails is
 * repeated a few times.
 */
export async function missedEvents(rest: Rest, after: Seq, through: Seq): Promise<readonly PlayerEvent[]> {
  for (const wait of RETRY_MS) {
    try {
      return await read(rest, after, through);
    } catch {
      await new Promise(done => setTimeout(done, wait));
    }
  }
  return read(rest, after, through);
}

async function read(rest: Rest, after: Seq, through: Seq): Promise<readonly PlayerEvent[]> {
  const page = await rest.myEvents({ after, limit: PAGE });
  const events = page.filter(({ seq }) => seq <= through);
  const last = events.at(-1);
  return last && page.length === PAGE && last.seq < through ? [...events, ...(await read(rest, last.seq, through))] : events;
}
