// The current screen, kept in the URL fragment: browsers do not send it, so no server log contains
// an invite code. The app has one path, and the server sends it for unknown paths, too.
import type { RaidId } from '@raidhall/client';
import { useMemo, useSyncExternalStore } from 'react';

export type Route = { readonly at: 'lobby' | 'nowhere' } | { readonly at: 'invite'; readonly code: string } | { readonly at: 'raid'; readonly id: RaidId };

export function parse(path: string, hash: string): Route {
  if (path !== '/') return { at: 'nowhere' };
  const raid = /^#\/raid\/(\d{1,15})$/.exec(hash);
  if (raid) return { at: 'raid', id: Number(raid[1]) };
  const invite = /^#\/?([0-9A-Za-z]{8})$/.exec(hash);
  if (invite?.[1]) return { at: 'invite', code: invite[1].toUpperCase() };
  return { at: /^#?\/?$/.test(hash) ? 'lobby' : 'nowhere' };
}

export const inviteUrl = (code: string): string => `${location.origin}/#${code}`;

const subscribe = (listener: () => void): (() => void) => {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
};

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => parse(location.pathname, hash), [hash]);
}

/** `replace` leaves no entry in the browser's history. */
type How = 'push' | 'replace';

function go(hash: string, how: How): void {
  if (how === 'push') location.assign(`/${hash}`);
  else location.replace(`/${hash}`);
}

export const goToRaid = (id: RaidId, how: How = 'push'): void => go(`#/raid/${id}`, how);

export const goToLobby = (how: How = 'push'): void => go('#/', how);
