// Who plays in this browser: their session, kept in it, and the connection that goes with it.
import { connect, keptIn, Rest, RaidhallError, Session, sessionIn } from '@raidhall/client';
import type { Client, PlayerRef, StopReason } from '@raidhall/client';
import { kept } from './kept';
import { complain } from './notices';
import { goToLobby, parse } from './route';
import { useValue, value } from './value';

export interface Account {
  readonly player: PlayerRef;
  readonly rest: Rest;
  readonly client: Client;
}

const KEY = 'raidhall.session';
const rest = new Rest({ url: location.origin });
const keeping = sessionIn(kept, KEY);

/** Null while nobody is signed in. */
export const account = value<Account | null>(null);
/** Why the last session ended, if it did not end by the player's wish. */
export const endedBecause = value<StopReason | null>(null);

export const useAccount = (): Account | null => useValue(account);

function open(session: Session): void {
  account.get()?.client.close();
  const client = connect({
    url: location.origin,
    getToken: session.getToken,
    storage: keptIn(kept, `raidhall.commands.${session.player.id}`),
    name: 'web/1.0',
  });
  client.onSettled(({ result }) => {
    if (result instanceof RaidhallError) complain(result);
  });
  client.onStatus(() => {
    const status = client.getStatus();
    if (account.get()?.client === client && status.state === 'stopped' && status.reason === 'unauthenticated') close(status.reason);
  });
  endedBecause.set(null);
  account.set({ player: session.player, rest: rest.as(session), client });
}

function close(why: StopReason | null): void {
  const current = account.get();
  if (!current) return;
  account.set(null);
  endedBecause.set(why);
  // What another tab has begun meanwhile stays.
  if (keeping.load()?.player.id === current.player.id) keeping.save(null);
  current.client.close();
  // Whoever comes next is somebody else, who is not in that raid.
  if (parse(location.hash).at === 'raid') goToLobby('replace');
}

/** Goes on as whoever played here before. */
export function resume(): void {
  const session = Session.resume(rest, keeping);
  if (session) open(session);
  addEventListener('storage', ({ key }) => {
    if (key !== KEY && key !== null) return;
    const newest = keeping.load();
    if (newest?.player.id === account.get()?.player.id) return;
    close(null);
    const other = Session.resume(rest, keeping);
    if (other) open(other);
  });
}

export async function signIn(name: string): Promise<void> {
  open(Session.begin(rest, await rest.guest(name), keeping));
}

/** Tells the server too, if it can be reached: a session that it has not heard the end of ends by itself. */
export async function signOut(): Promise<void> {
  const current = account.get();
  if (!current) return;
  await current.rest.signOut().catch(error => {
    if (!(error instanceof RaidhallError)) throw error;
  });
  close(null);
}
