// Whether the player is in a raid, as the server answers.
import { RaidhallError } from '@raidhall/client';
import type { PlayerId, RaidId, RaidState, Rest, Seq } from '@raidhall/client';

/** What the server answers to a player who may not see a raid. */
const REFUSALS = ['not_found', 'forbidden'];

/** Reads a raid of the player's. Returns null if they are not a member. */
export async function raidOfMember(rest: Rest, id: RaidId, me: PlayerId): Promise<(RaidState & { seq: Seq }) | null> {
  try {
    const raid = await rest.raid(id);
    return raid.members.some(({ player }) => player === me) ? raid : null;
  } catch (error) {
    if (error instanceof RaidhallError && REFUSALS.includes(error.type)) return null;
    throw error;
  }
}
