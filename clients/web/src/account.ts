// The signed-in player of this browser: a session in local storage, shared by all tabs, and each
// tab's connection.
import { connect, keptIn, Rest, RaidhallError, Session, sessionIn } from '@raidhall/client';
import type { Client, PlayerId, PlayerRef, StopReason } from '@raidhall/client';
import { kept } from './kept';
import { commandsKey, forgetOthers, keep } from './kept-raids';
import { complain } from './notices';
import { goToLobby, parse } from './route';
import { tellsSeen } from './seen';
import { useValue, value } from './value';

export interface Account {
  readonly player: PlayerRef;
  readonly rest: Rest;
  readonly client: Client;
}

const KEY = 'raidhall.session';
/** The server without sign-in. */
export const rest = new Rest({ url: location.origin });
const keeping = sessionIn(kept, KEY);

/** The signed-in player, or null. */
export const account = value<Account | null>(null);
/** Why the last session ended, or null if the player ended it. */
export const endedBecause = value<StopReason | null>(null);

export const useAccount = (): Account | null => useValue(account);

function open(session: Session): Account {
  account.get()?.client.close();
  const client = connect({
    url: location.origin,
    getToken: session.getToken,
    storage: keptIn(kept, commandsKey(session.player.id)),
    name: 'web/1.0',
  });
  client.onSettled(settled => {
    const isOwn = 'player' in settled && tellsSeen(settled.cmd);
    if (settled.result instanceof RaidhallError && !isOwn) complain(settled.result);
  });
  client.onStatus(() => {
    const status = client.getStatus();
    if (isBanned(client)) forgetOthers(null); // deleted accounts are banned
    if (account.get()?.client === client && status.state === 'stopped' && status.reason === 'unauthenticated') close(status.reason);
  });
  forgetOthers(session.player.id);
  endedBecause.set(null);
  const opened = { player: session.player, rest: rest.as(session), client };
  account.set(opened);
  return opened;
}

function isBanned(client: Client): boolean {
  const status = client.getStatus();
  return status.state === 'stopped' && status.reason === 'banned';
}

/** Returns whether something may be kept of a player: not once they have signed out or are banned. */
export function mayKeep(player: PlayerId): boolean {
  const current = account.get();
  return current?.player.id === player && !isBanned(current.client);
}

/** Keeps a value as [`keep`] does, if it may be kept. */
export const keepWhileSignedIn: typeof keep = (kind, player, raid, value) => {
  if (mayKeep(player)) keep(kind, player, raid, value);
};

/** Called before the connection is closed: the last moment to send what is not sent yet. */
export const beforeClose = new Set<() => void>();

function close(why: StopReason | null): void {
  const current = account.get();
  if (!current) return;
  beforeClose.forEach(send => send());
  account.set(null);
  endedBecause.set(why);
  // Another tab may have stored a new session meanwhile: that one stays.
  if (keeping.load()?.player.id === current.player.id) keeping.save(null);
  current.client.close();
  // Each tab does this once its own client is closed, so the last one leaves no commands.
  forgetOthers(keeping.load()?.player.id ?? null);
  // The next player to sign in is not a member of this raid.
  if (parse(location.pathname, location.hash).at === 'raid') goToLobby('replace');
}

/** Resumes the stored session, and follows sign-ins and sign-outs of other tabs. */
export function resume(): void {
  const session = Session.resume(rest, keeping);
  if (session) open(session);
  else forgetOthers(null);
  addEventListener('storage', ({ key }) => {
    if (key !== KEY && key !== null) return;
    const newest = keeping.load();
    if (newest?.player.id === account.get()?.player.id) return;
    close(null);
    const other = Session.resume(rest, keeping);
    if (other) open(other);
  });
}

export async function signIn(name: string): Promise<Account> {
  return open(Session.begin(rest, await rest.guest(name), keeping));
}

/**
 * Signs out here, and on the server if it can be reached; otherwise the server's session expires by
 * itself.
 */
export async function signOut(): Promise<void> {
  const current = account.get();
  if (!current) return;
  beforeClose.forEach(send => send());
  await current.rest.signOut().catch(error => {
    if (!(error instanceof RaidhallError)) throw error;
  });
  close(null);
}
