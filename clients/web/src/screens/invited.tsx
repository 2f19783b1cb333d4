// An invite link: which raid it is, and one button that joins it. Nothing is joined before that.
import { LIMITS, RaidhallError } from '@raidhall/client';
import type { InviteView, PlayerId } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import { account as current, keepWhileSignedIn, rest, signIn } from '../account';
import type { Account } from '../account';
import { load } from '../kept-raids';
import { raidOfMember } from '../membership';
import { explain } from '../notices';
import { useForm } from '../parts/form';
import { quote, Sentence } from '../parts/sentence';
import { TextInput } from '../parts/text-input';
import { clock } from '../play/time';
import { useNow } from '../play/use-raid';
import { goToLobby, goToRaid } from '../route';
import { useWords } from '../settings';

/** Why an invite cannot be accepted. */
type Obstacle = 'wrong' | 'kicked' | 'full' | 'closed' | 'ended';

const REFUSALS: Partial<Record<string, Obstacle>> = { not_found: 'wrong', forbidden: 'kicked', raid_full: 'full', raid_closed: 'closed' };

const refusalIn = (error: unknown): Obstacle | null => (error instanceof RaidhallError && REFUSALS[error.type]) || null;

function obstacleOf({ status, late_join, member_count, max_members }: InviteView): Obstacle | null {
  if (status === 'completed' || status === 'failed') return 'ended';
  if (status === 'active' && !late_join) return 'closed';
  return member_count >= max_members ? 'full' : null;
}

/** A refusal applies to one player; null is a visitor who has not signed in. */
interface Refusal {
  readonly player: PlayerId | null;
  readonly obstacle: Obstacle;
}

const playerId = (account: Account | null): PlayerId | null => account?.player.id ?? null;

export function Invited({ account, code }: { account: Account | null; code: string }) {
  const words = useWords();
  const [invite, setInvite] = useState<InviteView | null>(null);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  /** The error of an attempt that can be repeated. */
  const [failure, setFailure] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);
  /** Whether the next change of the account is this page's own sign-in, which joins at once. */
  const signingIn = useRef(false);
  const me = playerId(account);
  useEffect(() => {
    if (signingIn.current) {
      signingIn.current = false;
      return;
    }
    let ended = false;
    const visitor = current.get();
    const look = async (): Promise<void> => {
      const found = await rest.invite(code);
      const raid = visitor && await raidOfMember(visitor.rest, found.id, visitor.player.id);
      if (ended) return;
      if (raid) return goToRaid(raid.id, 'replace');
      setInvite(found);
      if (visitor && load('removed', visitor.player.id, found.id)) setRefusal({ player: visitor.player.id, obstacle: 'kicked' });
    };
    setFailure(null);
    look().catch(error => {
      if (ended) return;
      const obstacle = refusalIn(error);
      if (obstacle) setRefusal({ player: playerId(visitor), obstacle });
      else setFailure(error);
    });
    return () => {
      ended = true;
    };
  }, [code, attempt, me]);
  const { onSubmit, busy } = useForm(async ({ name }) => {
    const player = current.get() ?? await signInHere(name ?? '');
    const raid = await player.rest.joinRaid(code).catch(error => {
      const obstacle = refusalIn(error);
      if (!obstacle) throw error;
      if (obstacle === 'kicked' && invite) keepWhileSignedIn('removed', player.player.id, invite.id, true);
      setRefusal({ player: player.player.id, obstacle });
    });
    if (raid && playerId(current.get()) === player.player.id) goToRaid(raid.id, 'replace');
  });
  const signInHere = async (name: string): Promise<Account> => {
    signingIn.current = true;
    try {
      return await signIn(name.trim());
    } catch (error) {
      signingIn.current = false;
      throw error;
    }
  };
  const obstacle = refusal?.player === me ? refusal.obstacle : invite && obstacleOf(invite);
  return (
    <section className="page narrow panel invited">
      {invite && <Summary invite={invite} account={account} removed={obstacle === 'kicked'} />}
      {failure ? (
        <>
          <p role="alert">{explain(failure)}</p>
          <button type="button" className="primary" onClick={() => setAttempt(attempt + 1)}>{words.retryNow}</button>
        </>
      ) : obstacle ? <Refused obstacle={obstacle} titled={invite !== null} /> : !invite ? <p className="dim" role="status">{words.loading}</p> : (
        <form onSubmit={onSubmit}>
          {!account && <label>{words.yourName}<TextInput name="name" placeholder={words.namePlaceholder} chars={LIMITS.name_chars} required autoFocus autoComplete="nickname" /></label>}
          <button className="primary" disabled={busy}>{account ? words.join : words.joinAsGuest}</button>
          {!account && <p className="dim">{words.guestNote}</p>}
        </form>
      )}
    </section>
  );
}

function Summary({ invite: { title, host, status, member_count, max_members, deadline }, account, removed }: { invite: InviteView; account: Account | null; removed: boolean }) {
  const words = useWords();
  const now = useNow(account?.client ?? Date);
  return (
    <>
      {!removed && <p className="dim">{host === null ? words.invited : <Sentence text={words.invitedBy(quote(host))} />}</p>}
      <h1><bdi>{title}</bdi></h1>
      <p className="row">
        <span className={`tag ${status}`}>{words.statusOf[status]}</span>
        <span>{words.membersOf(member_count, max_members)}</span>
        {deadline !== null && <span className="when">{words.timeLeft}: {clock(deadline - now, words)}</span>}
      </p>
    </>
  );
}

/** Says why the player cannot join, and what they can do instead. */
function Refused({ obstacle, titled }: { obstacle: Obstacle; titled: boolean }) {
  const words = useWords();
  const { text, next } = words.refused[obstacle];
  const Heading = titled ? 'h2' : 'h1';
  const create = (): void => {
    goToLobby();
    requestAnimationFrame(() => document.querySelector<HTMLElement>('[name=title]')?.focus());
  };
  return (
    <>
      <div role="alert"><Heading>{text}</Heading><p className="dim">{next}</p></div>
      <div className="row">
        <button type="button" className="primary" onClick={create}>{words.createOwn}</button>
        <button type="button" onClick={() => goToLobby()}>{words.home}</button>
      </div>
    </>
  );
}
