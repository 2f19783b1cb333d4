// The player's last profile, which the page shows when it is opened without a network.
import type { PlayerId, PlayerState } from '@raidhall/client';
import { useEffect, useState } from 'react';
import { keepWhileSignedIn } from '../account';
import { load, NO_RAID } from '../kept-raids';
import type { KeptValue } from '../kept-raids';

/** Keeps the state, and returns the one that an earlier page kept. */
export function useLastProfile(me: PlayerId, state: PlayerState | null): KeptValue<PlayerState> | null {
  const [last] = useState(() => load('profile', me, NO_RAID));
  useEffect(() => {
    if (state) keepWhileSignedIn('profile', me, NO_RAID, state);
  }, [me, state]);
  return last;
}
