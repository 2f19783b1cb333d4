import type { Client } from '@raidhall/client';
import { useConnection } from '@raidhall/client/react';
import { useRef } from 'react';

/**
 * Returns whether the page counts as offline: from the first failed attempt until the connection is
 * back. `connecting` in between changes nothing.
 */
export function useAway(client: Client): boolean {
  const { status } = useConnection(client);
  const away = useRef(false);
  if (status.state === 'waiting' || status.state === 'online') away.current = status.state === 'waiting';
  return away.current;
}
