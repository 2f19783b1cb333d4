// Why there is no connection. A browser does not say why a WebSocket could not be opened, so the
// client asks the same server by HTTP.
import { errorIn, messageOf } from './errors.js';
import { fetchJson } from './fetch.js';
import type { Fetch } from './fetch.js';

/** Why the latest connection ended, or could not be made. */
export interface Cause {
  /** - `lost`: the network failed, or the server ended without a word.
   * - `closed`: the server closed the connection.
   * - `token`: there is no access token at the moment, or it was refused.
   * - `unreachable`: nothing answers at the URL.
   * - `origin`: a server answers, but not to pages of this origin: it is not in the server's
   *   `allowed_origins`, or the URL is another server's.
   * - `not_raidhall`: something other than Raidhall answers at the URL.
   * - `upgrade`: Raidhall answers, but the WebSocket is refused, by the server or by a proxy in
   *   between. */
  readonly type: 'lost' | 'closed' | 'token' | 'unreachable' | 'origin' | 'not_raidhall' | 'upgrade';
  /** What happened, in English, for logs. */
  readonly message: string;
}

/** Finds out why a WebSocket could not be opened. `detail` is what the WebSocket said, if it said
 * anything. */
export async function findCause(fetch: Fetch | undefined, socketUrl: string, detail: string): Promise<Cause> {
  const url = socketUrl.replace(/^ws/, 'http');
  const withDetail = (message: string): string => (detail ? `${message}: ${detail}` : message);
  try {
    // Raidhall refuses a request that is not an upgrade with an error of its own.
    const { status, body } = await fetchJson(fetch, url, {});
    return errorIn(body)
      ? { type: 'upgrade', message: withDetail(`Raidhall answers at ${url}, but the WebSocket is refused`) }
      : { type: 'not_raidhall', message: `${url} was answered with ${status}, but not by Raidhall` };
  } catch (error) {
    // Only the browser's check of the origin is left out now.
    return fetchJson(fetch, url, { mode: 'no-cors' }).then(
      () => ({ type: 'origin', message: `A server answers at ${url}, but not to pages of this origin` }),
      () => ({ type: 'unreachable', message: `Nothing answers at ${url}: ${messageOf(error)}` }),
    );
  }
}
