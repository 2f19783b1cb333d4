// React hooks for a raid, the player's stream and the connection.
import { useMemo, useSyncExternalStore } from 'react';
import type { Client } from './client.js';
import type { Status } from './connection.js';
import type { RaidId } from './protocol.js';
import type { PlayerStream, WatchedPlayer } from './player.js';
import type { Raid, WatchedRaid } from './raid.js';

/** Returns the view of a raid, which is live while the component is mounted, and the raid itself
 * for commands. */
export function useRaid(client: Client, id: RaidId): WatchedRaid & { readonly raid: Raid } {
  const raid = client.raid(id);
  const view = useSyncExternalStore(raid.subscribe, raid.getView, raid.getView);
  return useMemo(() => ({ ...view, raid }), [view, raid]);
}

/** Returns the view of the player's own stream, which is live while the component is mounted, and the
 * stream itself for commands. */
export function useMe({ me }: Client): WatchedPlayer & { readonly me: PlayerStream } {
  const view = useSyncExternalStore(me.subscribe, me.getView, me.getView);
  return useMemo(() => ({ ...view, me }), [view, me]);
}

/** Returns the status of the connection and the number of commands that wait for an answer. */
export function useConnection(client: Client): { readonly status: Status; readonly waiting: number } {
  const status = useSyncExternalStore(client.onStatus, client.getStatus, client.getStatus);
  const waiting = useSyncExternalStore(client.onStatus, client.getWaiting, client.getWaiting);
  return useMemo(() => ({ status, waiting }), [status, waiting]);
}
