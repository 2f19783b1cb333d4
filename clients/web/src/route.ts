// Where the player is. It stands behind the `#`, which browsers keep to themselves: no server's log has an invite code.
import type { RaidId } from '@raidhall/client';
import { useMemo, useSyncExternalStore } from 'react';

export type Route = { readonly at: 'lobby' } | { readonly at: 'invite'; readonly code: string } | { readonly at: 'raid'; readonly id: RaidId };

export function parse(hash: string): Route {
  const raid = /^#\/raid\/(\d{1,15})$/.exec(hash);
  if (raid) return { at: 'raid', id: Number(raid[1]) };
  const invite = /^#\/?([0-9A-Za-z]{8})$/.exec(hash);
  return invite?.[1] ? { at: 'invite', code: invite[1].toUpperCase() } : { at: 'lobby' };
}

const raidHash = (id: RaidId): string => `#/raid/${id}`;

export const inviteUrl = (code: string): string => `${location.origin}/#${code}`;

const subscribe = (listener: () => void): (() => void) => {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
};

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => parse(hash), [hash]);
}

export function goToRaid(id: RaidId, how: 'push' | 'replace' = 'push'): void {
  if (how === 'push') location.hash = raidHash(id);
  else location.replace(raidHash(id));
}

export function goToLobby(): void {
  location.hash = '#/';
}
