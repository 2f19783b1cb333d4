// React hooks for a raid and for the connection.
import { useMemo, useSyncExternalStore } from 'react';
import type { Client } from './client.js';
import type { Status } from './connection.js';
import type { RaidId } from './protocol.js';
import type { Raid, WatchedRaid } from './raid.js';

/** Returns the view of a raid, which is live while the component is mounted, and the raid itself
 * for commands. */
export function useRaid(client: Client, id: RaidId): WatchedRaid & { readonly raid: Raid } {
  const raid = client.raid(id);
  const view = useSyncExternalStore(raid.subscribe, raid.getView, raid.getView);
  return useMemo(() => ({ ...view, raid }), [view, raid]);
}

/** Returns the status of the connection and the number of commands that wait for an answer. */
export function useConnection(client: Client): { readonly status: Status; readonly waiting: number } {
  const status = useSyncExternalStore(client.onStatus, client.getStatus, client.getStatus);
  const waiting = useSyncExternalStore(client.onStatus, client.getWaiting, client.getWaiting);
  return useMemo(() => ({ status, waiting }), [status, waiting]);
}
