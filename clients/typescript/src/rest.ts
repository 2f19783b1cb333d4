// The REST API: signing in, creating and finding raids.
import { errorIn, messageOf, RaidhallError } from './errors.js';
import { fetchJson } from './fetch.js';
import type { Fetch, JsonResponse } from './fetch.js';
import type { BoardPage, Command, CommandResult, Contribution, InviteView, NewRaid, OpenBoard, Page, PlayerEvent, PlayerId, PlayerProfile, Profile, Progression, RaidEvent, RaidId, RaidStatus, RaidSummary, RaidView, Seq, TokenPair } from './protocol.js';

export interface RestOptions {
  /** URL of the server, as for `connect`. */
  readonly url: string;
  /** Returns the access token for `Authorization`; not needed to sign in. */
  readonly getToken?: (why: 'connect' | 'refused') => string | Promise<string>;
  /** `fetch` to use in place of the built-in one. */
  readonly fetch?: Fetch;
}

/** Client of the REST API. Each method returns the response's data, or throws a [`RaidhallError`];
 * its type is `network` if the server did not respond. */
export class Rest {
  constructor(private readonly options: RestOptions) {}

  /** Returns a client that sends the access token of a session. */
  as(session: { getToken: (why: 'connect' | 'refused') => string | Promise<string> }): Rest {
    return new Rest({ ...this.options, getToken: session.getToken });
  }

  guest = (name: string): Promise<TokenPair> => this.ask('POST', '/auth/guest', { name }, false);
  refresh = (refresh_token: string): Promise<TokenPair> => this.ask('POST', '/auth/refresh', { refresh_token }, false);
  signOut = (): Promise<{ signed_out: boolean }> => this.ask('POST', '/auth/sign-out');
  me = (): Promise<Profile> => this.ask('GET', '/me');
  /** Returns the curve of levels, what brings coins, the achievements and the shop; needs no sign-in. */
  progression = (): Promise<Progression> => this.ask('GET', '/progression', undefined, false);
  /** Returns the events of the player's own stream after a seq, oldest first, at most 100. */
  myEvents = (query: { after?: Seq; limit?: number } = {}): Promise<PlayerEvent[]> => this.ask('GET', `/me/events${search(query)}`);
  /** Returns what a player shows to others; `not_found` if this player may not see the profile. */
  profile = (id: PlayerId): Promise<PlayerProfile> => this.ask('GET', `/players/${id}/profile`);
  /** Returns the profiles of up to 100 players, without those that this player may not see. */
  profiles = (ids: readonly PlayerId[]): Promise<PlayerProfile[]> => this.ask('GET', `/players${search({ ids: ids.join(',') })}`);
  /** Returns the leaderboards, each with its window that is open now. */
  boards = (): Promise<OpenBoard[]> => this.ask('GET', '/boards');
  /** Returns a part of a window of a leaderboard: the best scores, those behind `cursor`, or those around one's own. */
  board = (id: string, query: { number?: number | 'current' | 'previous'; around?: 'me'; companions?: boolean; limit?: number; cursor?: string } = {}): Promise<BoardPage> =>
    this.page(`/boards/${encodeURIComponent(id)}${search(query)}`);
  /** Closes the account permanently. */
  eraseMe = (): Promise<{ player: number; erased: boolean }> => this.ask('DELETE', '/me');
  /** Creates a raid. Requests with the same key create only one. */
  createRaid = (raid: NewRaid, key?: string): Promise<RaidView> => this.ask('POST', '/raids', raid, true, key);
  joinRaid = (invite_code: string): Promise<RaidView> => this.ask('POST', '/raids/join', { invite_code });
  /** Returns what an invite code shows of its raid; needs no sign-in. */
  invite = (code: string): Promise<InviteView> => this.ask('GET', `/invites/${encodeURIComponent(code)}`, undefined, false);
  raid = (id: RaidId): Promise<RaidView> => this.ask('GET', `/raids/${id}`);
  raids = (query: { status?: RaidStatus; limit?: number; cursor?: string } = {}): Promise<Page<RaidSummary>> => this.page(`/raids${search(query)}`);
  command = (id: RaidId, cmd: Command, op?: string): Promise<CommandResult> => this.ask('POST', `/raids/${id}/commands`, { cmd, op });
  events = (id: RaidId, query: { after?: Seq; limit?: number } = {}): Promise<RaidEvent[]> => this.ask('GET', `/raids/${id}/events${search(query)}`);
  contributions = (id: RaidId, query: { after?: Seq; limit?: number } = {}): Promise<Contribution[]> => this.ask('GET', `/raids/${id}/contributions${search(query)}`);

  private async ask<T>(method: string, path: string, body?: unknown, signed = true, key?: string): Promise<T> {
    return ((await this.answer(method, path, body, signed, key)) as { data: T }).data;
  }

  private async page<T>(path: string): Promise<T> {
    return (await this.answer('GET', path)) as T;
  }

  /** Sends a request. If the token is refused before it expires, it is renewed once and the request
   * repeated. */
  private async answer(method: string, path: string, body?: unknown, signed = true, key?: string): Promise<unknown> {
    const { getToken } = this.options;
    if (!signed || !getToken) return this.exchange(method, path, body, null, key);
    try {
      return await this.exchange(method, path, body, await getToken('connect'), key);
    } catch (error) {
      if (!(error instanceof RaidhallError) || error.type !== 'unauthenticated') throw error;
      return this.exchange(method, path, body, await getToken('refused'), key);
    }
  }

  private async exchange(method: string, path: string, body: unknown, token: string | null, key?: string): Promise<unknown> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (key !== undefined) headers['idempotency-key'] = key;
    if (token !== null) headers['authorization'] = `Bearer ${token}`;
    const url = `${this.options.url.replace(/^ws/, 'http').replace(/\/+$/, '')}/api/v1${path}`;
    let response: JsonResponse;
    try {
      response = await fetchJson(this.options.fetch, url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    } catch (error) {
      throw new RaidhallError('network', `${method} ${url} failed: ${messageOf(error)}`, { retry: true, cause: error });
    }
    const received = response.body;
    if (response.ok && 'data' in Object(received)) return received;
    const error = errorIn(received);
    // A body without the server's error comes from a proxy in between and says nothing about the
    // request.
    throw error
      ? RaidhallError.of(error)
      : new RaidhallError('network', `${method} ${url} was answered with ${response.status}, but not by Raidhall`, { retry: true });
  }
}

function search(query: Record<string, string | number | boolean | undefined>): string {
  const given = Object.entries(query).filter((pair): pair is [string, string | number | boolean] => pair[1] !== undefined);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : '';
}
