// The current screen, kept in the URL: the raid in its fragment, an invite in its path, so that the
// server can tell apps that show a preview what the link is. The server sends the app for unknown
// paths, too.
import type { RaidId } from '@raidhall/client';
import { useMemo, useSyncExternalStore } from 'react';

export type Route =
  | { readonly at: 'lobby' | 'me' | 'inbox' | 'nowhere' }
  | { readonly at: 'invite'; readonly code: string }
  | { readonly at: 'raid'; readonly id: RaidId }
  /** A leaderboard, null for the first one, and its window, null for the one that is open. */
  | { readonly at: 'boards'; readonly board: string | null; readonly number: number | null };

export function parse(path: string, hash: string): Route {
  // The second form is that of links that older releases created.
  const invite = /^\/i\/([0-9A-Za-z]{8})$/.exec(path) ?? /^\/#\/?([0-9A-Za-z]{8})$/.exec(path + hash);
  if (invite?.[1]) return { at: 'invite', code: invite[1].toUpperCase() };
  if (path !== '/') return { at: 'nowhere' };
  const raid = /^#\/raid\/(\d{1,15})$/.exec(hash);
  if (raid) return { at: 'raid', id: Number(raid[1]) };
  const boards = /^#\/boards(?:\/([a-z0-9_]{1,64})(?:\/(-?\d{1,15}))?)?$/.exec(hash);
  if (boards) return { at: 'boards', board: boards[1] ?? null, number: boards[2] === undefined ? null : Number(boards[2]) };
  if (hash === '#/me') return { at: 'me' };
  if (hash === '#/inbox') return { at: 'inbox' };
  return { at: /^#?\/?$/.test(hash) ? 'lobby' : 'nowhere' };
}

const invitePath = (code: string): string => `/i/${code}`;

/** Returns the link to a window of a leaderboard; null is the one that is open. */
export const boardLink = (board: string, number: number | null): string => `#/boards/${board}${number === null ? '' : `/${number}`}`;

export const inviteUrl = (code: string): string => location.origin + invitePath(code);

const current = (): string => location.pathname + location.hash;

const subscribe = (listener: () => void): (() => void) => {
  addEventListener('popstate', listener);
  return () => removeEventListener('popstate', listener);
};

export function useRoute(): Route {
  const place = useSyncExternalStore(subscribe, current);
  return useMemo(() => parse(location.pathname, location.hash), [place]);
}

/** `replace` leaves no entry in the browser's history. */
type How = 'push' | 'replace';

function go(hash: string, how: How): void {
  if (current() !== `/${hash}`) history[`${how}State`](null, '', `/${hash}`);
  dispatchEvent(new PopStateEvent('popstate'));
}

export const goToRaid = (id: RaidId, how: How = 'push'): void => go(`#/raid/${id}`, how);

export const goToMe = (): void => go('#/me', 'push');

export const goToInbox = (): void => go('#/inbox', 'push');

export const goToBoards = (): void => go('#/boards', 'push');

export const goToLobby = (how: How = 'push'): void => go('#/', how);

/**
 * Puts the lobby into the browser's history before an invite that the page was opened with, so that
 * Back leads there. A reload of the page adds no second one.
 */
export function putLobbyBeforeInvite(): void {
  const route = parse(location.pathname, location.hash);
  if (route.at !== 'invite' || history.state === 'after lobby') return;
  history.replaceState(null, '', '/#/');
  history.pushState('after lobby', '', invitePath(route.code));
}
